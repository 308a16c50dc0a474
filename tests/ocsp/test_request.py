"""What counts as an OCSP request, by bytes that no library would write."""

from __future__ import annotations

import base64
from urllib.parse import quote_from_bytes

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from hypothesis import given
from hypothesis import strategies as st
from pyasn1.codec.der import decoder
from pyasn1_modules import rfc6960

from crlcheck.ocsp.request import MAX_REQUEST, OcspRequestError, read_request, request_in_path
from support.ocsp import make_request
from support.pki import make_authority
from support.values import der

CA = make_authority()
PLAIN = make_request(CA, 5)

SHA1 = der(0x06, bytes.fromhex("2b0e03021a"))
NULL = b"\x05\x00"
NONCE = der(0x06, bytes.fromhex("2b0601050507300102"))
UNKNOWN = der(0x06, b"\x2a\x03\x04")
CRITICAL = b"\x01\x01\xff"


def cert_id(
    serial_number: bytes = b"\x05", algorithm: bytes = SHA1 + NULL, size: int = 20
) -> bytes:
    """A CertID."""
    hashed = der(0x04, b"n" * size), der(0x04, b"k" * size)
    return der(0x30, der(0x30, algorithm), *hashed, der(0x02, serial_number))


def request(*cert_ids: bytes, before: bytes = b"", after: bytes = b"", also: bytes = b"") -> bytes:
    """A request; *before* and *after* stand in the TBSRequest, *also* behind it."""
    listed = der(0x30, *(der(0x30, one) for one in cert_ids))
    return der(0x30, der(0x30, before, listed, after), also)


def extension(oid: bytes, value: bytes, critical: bytes = b"") -> bytes:
    """An Extension."""
    return der(0x30, oid, critical, der(0x04, value))


def extensions(*ones: bytes) -> bytes:
    """The requestExtensions."""
    return der(0xA2, der(0x30, *ones))


def nonce(octets: bytes, critical: bytes = b"") -> bytes:
    """The requestExtensions with a nonce."""
    return extensions(extension(NONCE, der(0x04, octets), critical))


REFUSED = {
    "nothing": b"",
    "no CertID": request(),
    "two CertIDs": request(cert_id(), cert_id(b"\x06")),
    "the same CertID twice": request(cert_id(), cert_id()),
    "a byte behind it": PLAIN + b"\0",
    "a byte too few": PLAIN[:-1],
    "a length not in its shortest form": b"\x30\x81" + PLAIN[1:],
    "indefinite length": b"\x30\x80" + request(cert_id())[2:] + b"\0\0",
    "version 2": request(cert_id(), before=der(0xA0, der(0x02, b"\x01"))),
    "version 1 spelt out": request(cert_id(), before=der(0xA0, der(0x02, b"\x00"))),
    "an empty serial number": request(cert_id(b"")),
    "a serial number not in its shortest form": request(cert_id(b"\x00\x05")),
    "a negative serial number": request(cert_id(b"\x80")),
    "a serial number of 65 bytes": request(cert_id(b"\x01" + bytes(64))),
    "an empty nonce": request(cert_id(), after=nonce(b"")),
    "a nonce of 129 bytes": request(cert_id(), after=nonce(b"n" * 129)),
    "a nonce without its OCTET STRING": request(
        cert_id(), after=extensions(extension(NONCE, b"n" * 16))
    ),
    "nothing for a nonce": request(cert_id(), after=extensions(extension(NONCE, b""))),
    "two nonces": request(
        cert_id(),
        after=extensions(*(extension(NONCE, der(0x04, octet)) for octet in (b"a", b"b"))),
    ),
    "an unknown critical extension": request(
        cert_id(), after=extensions(extension(UNKNOWN, b"x", CRITICAL))
    ),
    "too many bytes": request(cert_id(), after=extensions(extension(UNKNOWN, b"x" * MAX_REQUEST))),
    "a response": bytes.fromhex("30030a0101"),
    "a certificate": CA.der,
}


@pytest.mark.parametrize("body", REFUSED.values(), ids=REFUSED)
def test_what_is_no_request_is_refused(body: bytes) -> None:
    """And the message repeats no byte of it."""
    with pytest.raises(OcspRequestError) as caught:
        read_request(body)
    assert "nnnn" not in str(caught.value)


def test_a_request_has_up_to_8_kib() -> None:
    """With extensions that nobody reads."""

    def padded(size: int) -> bytes:
        value = b"x" * (size - 200)
        body = request(cert_id(), after=extensions(extension(UNKNOWN, value)))
        value += b"x" * (size - len(body))
        return request(cert_id(), after=extensions(extension(UNKNOWN, value)))

    largest = padded(8192)
    assert (len(largest), MAX_REQUEST) == (8192, 8192)
    assert read_request(largest).cert_id.serial_number == 5
    with pytest.raises(OcspRequestError, match="at most 8192 bytes, found 8193"):
        read_request(padded(8193))


def test_a_request_names_one_certificate() -> None:
    """Its fields are those that another library reads."""
    for algorithm in (hashes.SHA1(), hashes.SHA256(), hashes.SHA384(), hashes.SHA512()):
        body = make_request(CA, 1 << 150, algorithm=algorithm)
        found, found_nonce = read_request(body)
        decoded, _ = decoder.decode(body, asn1Spec=rfc6960.OCSPRequest())
        expected = decoded["tbsRequest"]["requestList"][0]["reqCert"]
        assert found.algorithm is not None
        assert found.algorithm.name == algorithm.name
        assert found.name_hash == expected["issuerNameHash"].asOctets()
        assert found.key_hash == expected["issuerKeyHash"].asOctets()
        assert found.serial_number == int(expected["serialNumber"]) == 1 << 150
        assert found_nonce is None


@pytest.mark.parametrize("critical", [b"", CRITICAL], ids=["plain", "critical"])
@pytest.mark.parametrize("size", [1, 16, 32, 122, 123, 124, 125, 126, 127, 128])
def test_a_nonce_has_1_to_128_bytes(size: int, critical: bytes) -> None:
    """Also where its length takes two bytes, inside or outside."""
    octets = bytes(range(size))
    assert read_request(request(cert_id(), after=nonce(octets, critical))).nonce == octets
    if not critical:
        assert read_request(make_request(CA, 5, nonce=octets)).nonce == octets


def test_a_serial_number_has_up_to_64_bytes() -> None:
    """As in CRLs, more than RFC 5280 has."""
    for octets in (b"\0", b"\x7f" * 20, b"\x00" + b"\xff" * 20, b"\x7f" + b"\xff" * 63):
        found = read_request(request(cert_id(octets))).cert_id.serial_number
        assert found == int.from_bytes(octets, "big")


def test_other_hashes_are_read() -> None:
    """MD5 or an unknown one names no issuer, which is another answer than malformedRequest."""
    md5 = der(0x06, bytes.fromhex("2a864886f70d0205")) + NULL
    assert read_request(request(cert_id(algorithm=md5, size=16))).cert_id.algorithm is None
    assert read_request(request(cert_id(algorithm=UNKNOWN))).cert_id.algorithm is None
    assert read_request(request(cert_id(algorithm=SHA1))).cert_id.algorithm is not None


def test_what_an_answer_does_not_need_is_left_out() -> None:
    """A signature, the asker's name, extensions that are not critical."""
    signature = der(0xA0, der(0x30, der(0x30, SHA1), der(0x03, b"\0abc")))
    name = der(0xA1, der(0x82, b"example.org"))
    for body in (
        request(cert_id(), also=signature),
        request(cert_id(), before=name, also=signature),
        request(cert_id(), after=extensions(extension(UNKNOWN, b"x"))),
        request(cert_id() + der(0xA0, der(0x30, extension(UNKNOWN, b"x")))),
    ):
        assert read_request(body).cert_id.serial_number == 5


# ---- any bytes -----------------------------------------------------------------------------


@given(st.binary(max_size=300))
def test_random_bytes_are_no_request(body: bytes) -> None:
    """Nothing but the one error."""
    with pytest.raises(OcspRequestError):
        read_request(body)


@given(
    st.sampled_from([PLAIN, make_request(CA, 5, nonce=b"n" * 32), *REFUSED.values()]),
    st.lists(st.tuples(st.integers(0, 400), st.binary(max_size=3)), max_size=4),
)
def test_a_changed_request_is_one_or_is_refused(
    body: bytes, changes: list[tuple[int, bytes]]
) -> None:
    """Whatever is changed in it; a serial number that is read is the one in the bytes."""
    for place, octets in changes:
        body = body[:place] + octets + body[place + len(octets) :]
    try:
        found = read_request(body)
    except OcspRequestError:
        return
    decoded, rest = decoder.decode(body, asn1Spec=rfc6960.OCSPRequest())
    assert rest == b""
    (only,) = decoded["tbsRequest"]["requestList"]
    assert int(only["reqCert"]["serialNumber"]) == found.cert_id.serial_number


# ---- in the path of a GET --------------------------------------------------------------------


def _with_slashes() -> bytes:
    """A request whose base64 has two slashes together, a plus and padding."""
    for number in range(100_000):
        body = make_request_with(b"\xff" * 12 + number.to_bytes(3, "big"))
        text = base64.b64encode(body)
        if b"//" in text and b"+" in text and text.endswith(b"="):
            return body
    raise AssertionError("there is one")


def make_request_with(octets: bytes) -> bytes:
    """A request with a serial number that ends with these bytes."""
    return request(cert_id(b"\x01" + octets))


SLASHES = _with_slashes()


@pytest.mark.parametrize("body", [PLAIN, SLASHES], ids=["plain", "slashes"])
def test_a_path_has_the_request_in_base64(body: bytes) -> None:
    """Plain, URL-encoded in whole or in part, behind several slashes, without its padding."""
    text = base64.b64encode(body)
    every = b"".join(b"%%%02x" % octet for octet in text)
    for path in (
        text,
        text.rstrip(b"="),
        quote_from_bytes(text, safe="/").encode(),
        quote_from_bytes(text, safe="").encode(),
        quote_from_bytes(text, safe="+=").encode(),
        every,
        b"/" + text,
        b"//" + text,
        b"%2f" + text,
    ):
        assert request_in_path(path) == body


@pytest.mark.parametrize(
    "path",
    [
        b"%",
        b"%zz",
        b"M",
        b"M\xc3\xa4==",
        b"MFEw TzBN",
        b"MFEw\nTzBN",
        b"MF-_",
        b"MFEw=TzB",
        b"M" * 20000,
    ],
    ids=repr,
)
def test_a_path_with_anything_else_is_refused(path: bytes) -> None:
    """Also base64 of another alphabet, or with white space in it."""
    with pytest.raises(OcspRequestError):
        read_request(request_in_path(path))


@given(st.binary(max_size=300))
def test_random_paths_are_no_request(path: bytes) -> None:
    """Nothing but the one error."""
    with pytest.raises(OcspRequestError):
        read_request(request_in_path(path))


def test_the_oid_of_the_nonce_is_that_of_the_library() -> None:
    """So that the tests here try what they say."""
    assert x509.OCSPNonce(b"").oid.dotted_string == "1.3.6.1.5.5.7.48.1.2"
