"""The generator of benchmark CRLs, and the writer of CRLs below it."""

from __future__ import annotations

import io
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography import x509
from pyasn1.codec.der import decoder
from pyasn1_modules import rfc5280

from crlcheck.demo.encoding import encode_extension
from crlcheck.demo.pki import CertificateAuthority, KeyType, encode_entry, sign_crl, write_crl
from support.benchmark_package import generate, serials

KINDS = serials.KINDS
NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
NUM_ENTRIES = 3000


@pytest.fixture(scope="module")
def authority() -> CertificateAuthority:
    """An authority whose signatures depend on the signed bytes only."""
    return CertificateAuthority.create("Benchmark CA", key_type="ed25519")


def entries_of(crl: x509.CertificateRevocationList) -> list[tuple[int, datetime, int, Any]]:
    """Serial, date, reason and invalidity date of every entry, as ``cryptography`` reads them."""
    entries = []
    for entry in crl:
        reason, invalidity = generate.NO_REASON, None
        for extension in entry.extensions:
            if isinstance(extension.value, x509.CRLReason):
                names = ["unspecified", "keyCompromise", "cACompromise", "affiliationChanged",
                         "superseded", "cessationOfOperation", "certificateHold", "",
                         "removeFromCRL", "privilegeWithdrawn", "aACompromise"]  # fmt: skip
                reason = names.index(extension.value.reason.value)
            elif isinstance(extension.value, x509.InvalidityDate):
                invalidity = extension.value.invalidity_date_utc
        entries.append((entry.serial_number, entry.revocation_date_utc, reason, invalidity))
    return entries


def expected_entries(crl: generate.GeneratedCrl) -> list[tuple[int, datetime, int, Any]]:
    """What the generator says that it wrote."""
    attributes = crl.attributes
    calendar = attributes.calendar
    invalidity: list[datetime | None] = [None] * len(crl.serials)
    if attributes.invalidity_dates is not None:
        invalidity = [calendar[place] for place in attributes.invalidity_dates]
    dates = [calendar[place] for place in attributes.dates]
    reasons = [int(reason) for reason in attributes.reasons]
    return list(zip(crl.serials.integers(), dates, reasons, invalidity, strict=True))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("reasons", "invalidity_dates"), [(False, False), (True, True)])
def test_a_generated_crl_is_what_it_says(
    authority: CertificateAuthority, kind: str, reasons: bool, invalidity_dates: bool
) -> None:
    """
    ``cryptography`` reads the serials, dates and reasons that the generator
    reports, in that order, under a valid signature.
    """
    crl = generate.generate_crl(
        NUM_ENTRIES,
        kind,
        authority=authority,
        reasons=reasons,
        invalidity_dates=invalidity_dates,
    )
    assert crl.der is not None
    assert crl.size == len(crl.der)
    parsed = x509.load_der_x509_crl(crl.der)
    public_key: Any = authority.private_key.public_key()
    assert parsed.is_signature_valid(public_key)
    assert entries_of(parsed) == expected_entries(crl)


@pytest.mark.parametrize("kind", KINDS)
def test_serials_are_distinct_and_misses_miss(kind: str) -> None:
    """
    No serial occurs twice; members are members, non-members are not, and
    neither repeats a few values.
    """
    made = serials.make_serials(kind, NUM_ENTRIES, seed=7)
    listed = set(made.integers())
    assert len(listed) == len(made) == NUM_ENTRIES
    assert min(listed) > 0
    rng = np.random.default_rng(3)
    members = made.members(rng, 500)
    assert listed.issuperset(members)
    assert len(set(members)) > 400
    strangers = made.non_members(rng, 500)
    assert len(strangers) == 500
    assert listed.isdisjoint(strangers)
    assert len(set(strangers)) > 400
    packed = made.non_member_rows(rng, 10)
    assert listed.isdisjoint(int.from_bytes(row.tobytes(), "big") for row in packed)


def test_an_empty_crl_lists_nothing(authority: CertificateAuthority) -> None:
    """
    A CRL of no entry is one, and any serial misses it.
    """
    crl = generate.generate_crl(0, authority=authority, reasons=True)
    assert crl.der is not None
    assert list(x509.load_der_x509_crl(crl.der)) == []
    assert len(crl.serials.non_members(np.random.default_rng(3), 5)) == 5


@pytest.mark.parametrize(
    ("kind", "lengths"),
    [("random8", {8}), ("random16", {16}), ("random20", {20}), ("mixed_lengths", {*range(8, 21)})],
)
def test_lengths_are_those_of_the_encoding(kind: str, lengths: set[int]) -> None:
    """
    The random kinds have exactly the length they are named for, and the
    lengths told are those of the INTEGERs.
    """
    made = serials.make_serials(kind, NUM_ENTRIES)
    assert set(made.lengths.tolist()) == lengths
    for value, length in zip(made.integers(), made.lengths.tolist(), strict=True):
        assert value.bit_length() // 8 + 1 == length


@pytest.mark.parametrize("mean_gap", [1, 2, 4, 8, 16, 64])
def test_dense_serials_have_their_mean_gap(mean_gap: int) -> None:
    """
    The gaps between dense serials average what the kind says.
    """
    values = serials.make_serials(f"dense{mean_gap}", 20_000).integers()
    gap = (values[-1] - values[0]) / (len(values) - 1)
    assert gap == pytest.approx(mean_gap, rel=0.05)


def test_skewed_kinds_are_skewed() -> None:
    """
    Prefixes are shared and low bytes are sequential where the kind says so,
    among members and non-members alike.
    """
    rng = np.random.default_rng(5)
    for kind, count in (("prefix_counter", 1), ("two_prefixes", 2)):
        made = serials.make_serials(kind, NUM_ENTRIES)
        everything = made.integers() + made.non_members(rng, 100)
        assert len({value >> 64 for value in everything}) == count
    low = serials.make_serials("sequential_low", NUM_ENTRIES).integers()
    assert [value & 0xFFFFFFFF for value in low] == [*range(NUM_ENTRIES)]


def test_equal_seeds_give_equal_bytes(authority: CertificateAuthority) -> None:
    """
    A CRL depends on its arguments only (the signature too, where the scheme
    takes no randomness), and another seed gives other serials.
    """
    first, second, other = (
        generate.generate_crl(NUM_ENTRIES, authority=authority, seed=seed, reasons=True)
        for seed in (4, 4, 5)
    )
    assert first.der == second.der
    assert not set(first.serials.integers()) & set(other.serials.integers())


def test_a_file_gets_the_bytes_that_memory_gets(
    authority: CertificateAuthority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Writing to a file, and in chunks of another size, gives the same CRL.
    """
    kind = "mixed_lengths"
    in_memory = generate.generate_crl(NUM_ENTRIES, kind, authority=authority, reasons=True)
    monkeypatch.setattr("benchmarks.generate._ENTRIES_A_CHUNK", 7)
    path = tmp_path / "generated.crl"
    on_disk = generate.generate_crl(
        NUM_ENTRIES, kind, authority=authority, reasons=True, output=path
    )
    assert on_disk.der is None
    assert on_disk.path == path
    assert path.read_bytes() == in_memory.der


def test_an_unknown_kind_is_misuse() -> None:
    """
    A kind that there is not is refused with the kinds that there are.
    """
    with pytest.raises(ValueError, match=r"'random17'.*random16"):
        generate.generate_crl(10, "random17")


# The package lies in the source tree only, whose crlcheck is not the one to be tested.
RUN_GENERATE = """
import runpy, sys
sys.path.append(".")
runpy.run_module("benchmarks.generate", run_name="__main__", alter_sys=True)
"""


def test_the_command_writes_crl_and_certificate(tmp_path: Path) -> None:
    """
    ``python -m benchmarks.generate`` writes a CRL and the certificate that
    verifies it.
    """
    crl_path, ca_path = tmp_path / "big.crl", tmp_path / "ca.pem"
    subprocess.run(
        [sys.executable, "-P", "-c", RUN_GENERATE, "--kind", "random20", "--entries", "100",
         "--out", crl_path, "--ca", ca_path],
        check=True,
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
    )  # fmt: skip
    certificate = x509.load_pem_x509_certificate(ca_path.read_bytes())
    crl = x509.load_der_x509_crl(crl_path.read_bytes())
    public_key: Any = certificate.public_key()
    assert crl.is_signature_valid(public_key)
    assert len(list(crl)) == 100


# ---- writing ----------------------------------------------------------------


@pytest.mark.parametrize("key_type", ["ec-p256", "ec-p521", "ed25519"])
def test_outer_lengths_hold_at_every_size(key_type: KeyType) -> None:
    """
    The outer length, whose place is kept before the size of an ECDSA signature
    is known, is right around every change of its own size.
    """
    signer = CertificateAuthority.create("CA", key_type=key_type)
    public_key: Any = signer.private_key.public_key()

    def padded(size: int) -> bytes:
        padding = encode_extension("1.2.3", bytes(size))
        return sign_crl(
            signer, authority_key_id=False, extensions=[padding], this_update=NOW, next_update=None
        )

    sizes = set()
    smallest = len(padded(0))
    for border in (256, 1 << 16):
        for size in range(max(0, border - smallest - 16), border - smallest + 8):
            encoded = padded(size)
            sizes.add(encoded[1])
            assert x509.load_der_x509_crl(encoded).is_signature_valid(public_key)
    assert sizes >= {0x82, 0x83}


def test_a_wrong_size_is_noticed(authority: CertificateAuthority) -> None:
    """
    Entries of another size than announced are refused, because the lengths are
    written already.
    """
    entry = encode_entry(1, NOW)
    for size in (len(entry) - 1, len(entry) + 1):
        with pytest.raises(ValueError, match="announced"):
            write_crl(io.BytesIO(), authority, [entry], size, this_update=NOW, next_update=NOW)


@pytest.mark.parametrize("serial", [0, 1, -1, 127, 128, -128, -129, 255, 256, 1 << 159, -(1 << 64)])
def test_entries_hold_any_integer(authority: CertificateAuthority, serial: int) -> None:
    """
    Any integer can be an entry's serial, in the INTEGER that pyasn1 reads back.
    """
    decoded, rest = decoder.decode(encode_entry(serial, NOW, reason=1, invalidity_date=NOW))
    assert rest == b""
    assert int(decoded[0]) == serial
    issued = authority.issue("client", serial_number=serial)
    parsed, _ = decoder.decode(issued.der, asn1Spec=rfc5280.Certificate())
    assert int(parsed["tbsCertificate"]["serialNumber"]) == serial
