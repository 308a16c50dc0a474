"""PKCS #7 bundles of certificates and CRLs, in DER and in PEM."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crlcheck.demo.encoding import der, der_integer, der_oid
from crlcheck.demo.pki import pem_block
from crlcheck.encoding.pem import CERTIFICATE, CRL, PemSplitter, pem_blocks, pem_contents
from crlcheck.encoding.signed_data import MAX_MEMBERS, is_signed_data, read_bundle
from support.kinds import AUTHORITY, make_bundle
from support.kinds import CERTIFICATE as LEAF
from support.kinds import CRL as LIST

BUNDLE = make_bundle([LEAF, AUTHORITY.der], [LIST, LIST])


def test_members_come_in_the_order_of_the_file() -> None:
    """
    Certificates and CRLs are told apart by their field, RFC 5652 5.1.
    """
    bundle = read_bundle(BUNDLE)
    assert bundle.certificates == (LEAF, AUTHORITY.der)
    assert bundle.crls == (LIST, LIST)
    assert read_bundle(make_bundle()).crls == ()


@pytest.mark.parametrize("form", ["DER", "PEM"])
def test_what_openssl_writes_is_read(form: str, tmp_path: Path) -> None:
    """
    ``openssl crl2pkcs7`` makes bundles as CAs publish them.
    """
    (tmp_path / "ca.crl").write_bytes(pem_block("X509 CRL", LIST))
    (tmp_path / "ca.pem").write_bytes(pem_block("CERTIFICATE", AUTHORITY.der))
    out = tmp_path / "bundle.p7b"
    command = ["openssl", "crl2pkcs7", "-in", "ca.crl", "-certfile", "ca.pem", "-outform", form]
    subprocess.run([*command, "-out", out], check=True, cwd=tmp_path, capture_output=True)
    data = out.read_bytes()
    if form == "DER":
        assert is_signed_data(data[:64])
        assert read_bundle(data).crls == (LIST,)
        assert read_bundle(data).certificates == (AUTHORITY.der,)
    else:
        assert pem_blocks(data, CRL) == [LIST]
        assert pem_blocks(data, CERTIFICATE) == [AUTHORITY.der]


@pytest.mark.parametrize(
    ("octets", "words"),
    [
        (make_bundle([LEAF], signers=der(0x30)), "a signature"),
        (make_bundle([LEAF], content=der(0x04, b"text")), "content"),
        (make_bundle([LEAF], choices=der(0xA2, b"")), r"else among its certificates \(tag a2\)"),
        (make_bundle([], [der(0xA1, b"")]), r"else among its CRLs \(tag a1\)"),
        (BUNDLE + b"\0", "trailing data"),
        (BUNDLE[:-1], "cut short"),
        (b"\x30\x80" + BUNDLE[4:] + b"\0\0", "in BER"),
        (b"\x30\x84\0\0" + BUNDLE[2:], "no DER"),
        (der(0x30, der_oid("1.2.840.113549.1.7.3"), der(0xA0)), "another kind"),
        (der(0x30, der_oid("1.2.840.113549.1.7.2")), "expected tag a0, found the end"),
        (der(0x30, der_oid("1.2.840.113549.1.7.2"), der(0xA0, der_integer(1))), "found 02"),
        (b"", "expected tag 30, found the end"),
    ],
)
def test_everything_else_is_refused(octets: bytes, words: str) -> None:
    """
    Nothing of a bundle is ignored: it is read whole, or refused with the reason.
    """
    with pytest.raises(ValueError, match=words):
        read_bundle(octets)


@given(st.integers(0, len(BUNDLE) - 1), st.integers(0, 255), st.binary(max_size=40))
def test_damage_is_refused_or_harmless(position: int, octet: int, junk: bytes) -> None:
    """
    No octet that is wrong does more than a ValueError, and no member grows out of its place.
    """
    damaged = BUNDLE[:position] + bytes((octet,)) + BUNDLE[position + 1 :]
    for data in (damaged, BUNDLE[:position] + junk, junk):
        try:
            bundle = read_bundle(data)
        except ValueError:
            continue
        assert all(member in data for member in (*bundle.certificates, *bundle.crls))


@pytest.mark.parametrize("of_certificates", [True, False])
def test_members_are_limited(of_certificates: bool) -> None:
    """
    Millions of tiny ones would take a hundred times their size in memory.
    """

    def bundle(number: int) -> bytes:
        members = [b"\x30\x00" * number]
        return make_bundle(members) if of_certificates else make_bundle([], members)

    read = read_bundle(bundle(MAX_MEMBERS))
    assert len(read.certificates if of_certificates else read.crls) == MAX_MEMBERS
    with pytest.raises(ValueError, match="more than 50,000 (certificates|CRLs)"):
        read_bundle(bundle(MAX_MEMBERS + 1))


@pytest.mark.parametrize("label", ["PKCS7", "CMS", "PKCS #7 SIGNED DATA"])
@pytest.mark.parametrize("size", [1, 7, 64, 10_000])
@pytest.mark.parametrize("last", [b"\n", b"\r\n", b""])
def test_a_block_of_pkcs7_counts_as_its_members(label: str, size: int, last: bytes) -> None:
    """
    In PEM, at the end of the file with or without a newline, among other blocks.
    """
    bundle = pem_block(label, BUNDLE)
    one = pem_block("X509 CRL", LIST)
    for data, expected in (
        (bundle, [LIST] * 2),
        (one + bundle, [LIST] * 3),
        (bundle + one + bundle, [LIST] * 5),
        (pem_block("CERTIFICATE", LEAF) + bundle, [LIST] * 2),
    ):
        text = data.rstrip(b"\n") + last
        assert pem_contents(text, CRL) == (expected, 2)
        splitter = PemSplitter(CRL)
        found: dict[int, bytes] = {}
        pieces = [
            piece
            for start in range(0, len(text), size)
            for piece in splitter.feed(text[start : start + size])
        ]
        for number, octets in [*pieces, *splitter.finish()]:
            found[number] = found.get(number, b"") + octets
        assert list(found.values()) == expected
        assert splitter.num_blocks == len(expected)


@pytest.mark.parametrize("damage", ["signed", "cut", "no end"])
def test_a_block_that_is_no_bundle_is_an_error(damage: str) -> None:
    """
    It is never text, and nothing behind it takes its place.
    """
    bundle = make_bundle([LEAF], signers=der(0x30)) if damage == "signed" else BUNDLE
    block = pem_block("PKCS7", bundle[:-2] if damage == "cut" else bundle)
    data = block.split(b"-----END")[0] if damage == "no end" else block
    for text in (data, data + pem_block("X509 CRL", LIST)):
        splitter = PemSplitter(CRL)
        with pytest.raises(ValueError, match="PEM line [0-9]+"):
            assert [*splitter.feed(text), splitter.finish()] == []
        assert splitter.next_block == 1
        with pytest.raises(ValueError, match="PEM line [0-9]+"):
            pem_blocks(text, CRL)
