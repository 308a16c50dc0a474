"""
Tell what a file is from its first bytes, so that an error can name what was found.

The answer has a name only, and no contents, because these may be a private key. Whatever
the bytes are, the work is bounded: only the first ``LOOKED_AT`` bytes of a text are read,
and of DER only the headers of a few elements. Nothing here decides whether a file is
accepted. A reader asks once it has refused the file.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from crlcheck.encoding.der import header_at
from crlcheck.encoding.signed_data import is_signed_data, read_bundle

LOOKED_AT = 1 << 14
"""``recognise`` needs this many of the first bytes; to count what is in PKCS #7, all."""

IMAGE_MAGIC = b"\x89CRLX\r\n\x1a"
IMAGE_MAJOR_VERSION = 1


@dataclass(frozen=True, slots=True)
class Kind:
    """
    What a file is.

    ``name`` is a stable word, ``text`` the same for people, and ``remedy`` what to do.
    ``may_continue`` is set where what was asked for may follow later in the file, as a CRL
    may follow a certificate in PEM.
    """

    name: str
    text: str
    remedy: str = ""
    may_continue: bool = False


_UNPACK = "unpack it first"
_SECRET = "a key is never needed here, keep it secret"
_ASCII = "save it as UTF-8 or ASCII; PowerShell's > writes UTF-16"
_TO_PEM = "wrap it in BEGIN and END lines, or decode it"
_NO_CRL = "ask for the URL where the CRL itself is"

_CERTIFICATE = Kind("certificate", "a certificate")
_CRL = Kind("crl", "a CRL")
_REQUEST = Kind(
    "certificate_request",
    "a certificate request",
    "a CA answers it with the certificate, which is what to give",
)
_ATTRIBUTE_CERTIFICATE = Kind("attribute_certificate", "an attribute certificate")
_PRIVATE_KEY = Kind("private_key", "a private key", _SECRET)
_ENCRYPTED_KEY = Kind("private_key", "an encrypted private key", _SECRET)
_PUBLIC_KEY = Kind("public_key", "a public key", "give the certificate that it is in")
_PKCS12 = Kind(
    "pkcs12",
    "a PKCS #12 file, which usually has a private key",
    "`openssl pkcs12 -nokeys` prints its certificates",
)
_PKCS7 = Kind("pkcs7", "PKCS #7")
_PARAMETERS = Kind("parameters", "parameters of a key")
_OCSP_RESPONSE = Kind(
    "ocsp_response", "an OCSP response", "it says nothing about other certificates"
)
_OCSP_REQUEST = Kind("ocsp_request", "an OCSP request")
_TIMESTAMP = Kind("timestamp", "a time-stamp (RFC 3161)")
_TIMESTAMP_REQUEST = Kind("timestamp", "a request for a time-stamp (RFC 3161)")

_EMPTY = Kind("empty", "an empty file or text", "a download or a full disk may have cut it short")
_ZEROS = Kind("zeros", "nothing but zero bytes", "the file was not written to its end")

_MAGIC = (
    (b"\x1f\x8b", Kind("gzip", "a gzip file", "unpack it first, with gunzip")),
    (b"\x1f\x9d", Kind("compress", "a file packed by compress", _UNPACK)),
    (b"BZh", Kind("bzip2", "a bzip2 file", _UNPACK)),
    (b"\xfd7zXZ\0", Kind("xz", "an xz file", _UNPACK)),
    (b"\x28\xb5\x2f\xfd", Kind("zstd", "a zstd file", _UNPACK)),
    (b"\x04\x22\x4d\x18", Kind("lz4", "an lz4 file", _UNPACK)),
    (b"LZIP", Kind("lzip", "an lzip file", _UNPACK)),
    (b"PK\3\4", Kind("zip", "a zip file", _UNPACK)),
    (b"PK\5\6", Kind("zip", "an empty zip file")),
    (b"7z\xbc\xaf\x27\x1c", Kind("7z", "a 7z file", _UNPACK)),
    (b"Rar!\x1a\7", Kind("rar", "a rar file", _UNPACK)),
    (b"MSCF\0\0\0\0", Kind("cab", "a cabinet file", _UNPACK)),
    (b"%PDF-", Kind("pdf", "a PDF file")),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", Kind("ole", "a Microsoft Office file")),
    (b"\x89PNG\r\n", Kind("picture", "a picture")),
    (b"\xff\xd8\xff", Kind("picture", "a picture")),
    (b"GIF8", Kind("picture", "a picture")),
    (b"\x7fELF", Kind("program", "a program")),
    (b"SQLite format 3\0", Kind("database", "an SQLite database")),
    (b"\xfe\xed\xfe\xed", Kind("key_store", "a Java key store", _SECRET)),
    (b"\xce\xce\xce\xce", Kind("key_store", "a Java key store", _SECRET)),
    (b"\0\0\0\0CERT", Kind("sst", "a serialized certificate store of Windows")),
    (b"openssh-key-v1\0", _PRIVATE_KEY),
)
_TAR = Kind("tar", "a tar file", _UNPACK)

_IMAGE = Kind("image", "an image that crlcheck compiled")
_LATER_IMAGE = Kind("later_image", "an image of a later version of crlcheck", "update crlcheck")
_DAMAGED_IMAGE = Kind(
    "image_as_text",
    "an image whose line ends were converted",
    "copy it again as binary",
)

_HTML = Kind(
    "html",
    "an HTML page",
    "a web server's page for an error or a login is the usual reason",
)
_XML = Kind("xml", "an XML document")
_CATALOG = Kind("catalog", "a catalog of crlcheck", "give the store that it is in")
_EVENT = Kind("event", "an event in JSON")
_JSON = Kind("json", "a JSON document")
_GIT_LFS = Kind("git_lfs", "a Git LFS pointer", "`git lfs pull` fetches the file itself")
_HTTP = Kind("http", "an HTTP response with its header", "save the body alone, without curl's -i")
_OPENSSL_DATABASE = Kind(
    "openssl_database",
    "the list of certificates that `openssl ca` keeps",
    "`openssl ca -gencrl` makes the CRL of it",
)
_LDIF = Kind("ldif", "an LDIF file", "decode the attribute that has the CRL")
_SSH_KEY = Kind("public_key", "a public key of SSH")
_PGP = Kind("pgp", "an OpenPGP message")
_URL = Kind("url", "a URL", "fetch what it names")
_TEXT = Kind("text", "text that is not PEM")

# By label; RFC 7468, and what OpenSSL, OpenSSH and Windows write beside it.
_LABELS = {
    b"CERTIFICATE": _CERTIFICATE,
    b"X509 CERTIFICATE": _CERTIFICATE,
    b"TRUSTED CERTIFICATE": replace(
        _CERTIFICATE,
        text="a certificate with the trust settings of OpenSSL",
        remedy="`openssl x509` writes the certificate alone",
    ),
    b"X509 CRL": _CRL,
    b"CERTIFICATE REQUEST": _REQUEST,
    b"NEW CERTIFICATE REQUEST": _REQUEST,
    b"ATTRIBUTE CERTIFICATE": _ATTRIBUTE_CERTIFICATE,
    b"PKCS7": _PKCS7,
    b"PKCS #7 SIGNED DATA": _PKCS7,
    b"CMS": _PKCS7,
    b"PKCS12": _PKCS12,
    b"ENCRYPTED PRIVATE KEY": _ENCRYPTED_KEY,
    b"PUBLIC KEY": _PUBLIC_KEY,
    b"RSA PUBLIC KEY": _PUBLIC_KEY,
    b"EC PUBLIC KEY": _PUBLIC_KEY,
    b"SSH2 PUBLIC KEY": _SSH_KEY,
    b"OCSP RESPONSE": _OCSP_RESPONSE,
    b"OCSP REQUEST": _OCSP_REQUEST,
}
_OTHER_PEM = Kind("pem", "a block of another kind")

_WHITE_SPACE = b" \t\r\n\f\v"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_PEM = re.compile(rb"-----BEGIN ([!-~ ]{1,64}?)-----")
_BINARY = re.compile(rb"[\x00-\x08\x0e-\x1f]")
_BASE64 = re.compile(rb"[A-Za-z0-9+/=_\s-]+")
_HEX = re.compile(rb"(?:0[xX])?[0-9A-Fa-f:\s]+")
_PERCENT = re.compile(rb"%[0-9A-Fa-f]{2}")
_S3_CODE = re.compile(rb"<Code>([A-Za-z]{1,40})</Code>")
_OPENSSL_LINE = re.compile(rb"[VRE]\t[0-9]{12,14}Z\t")
_MEMBERS_OF_EVENTS = (b'"Records"', b'"detail-type"', b'"requestContext"', b'"fetch"', b'"rescan"')
_SEQUENCE = 0x30
_UTF32_MARKS = ((b"\xff\xfe\0\0", "utf-32-le"), (b"\0\0\xfe\xff", "utf-32-be"))
_UTF16_MARKS = ((b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))
_LEAST_UTF16 = 8  # characters that are ASCII, where no mark says so
_NOTHING_NAMED = ("empty", "text", "zeros")
_MAX_NESTING = 3  # of encodings: UTF-16 of base64 of a certificate


def recognise(data: bytes) -> Kind | None:
    """
    Return what the bytes of a file are, from its beginning; None if they are of no known kind.

    The whole file is needed only to count what is in PKCS #7.
    """
    return _recognise(data, _MAX_NESTING)


def mistaken(data: bytes, *expected: str, remedies: Mapping[str, str] | None = None) -> Kind | None:
    """
    Return what a refused file is; None where that is not known, or is as *expected*.

    *remedies* say what to do with kinds that this reader knows more of, by their names.
    """
    kind = recognise(data)
    if kind is None or kind.name in expected:
        return None
    return replace(kind, remedy=(remedies or {}).get(kind.name, kind.remedy))


def found_text(kind: Kind, expected: str) -> str:
    """Return what was found and *expected* as text, with what to do where there is something."""
    text = f"found {kind.text}, expected {expected}"
    return f"{text}: {kind.remedy}" if kind.remedy else text


def _recognise(data: bytes, levels: int) -> Kind | None:
    if not data:
        return _EMPTY
    head = data[:LOOKED_AT]
    found = _by_magic(head) or _of_wide_text(head, levels)
    if found is not None:
        return found
    if is_signed_data(head):
        return _of_signed_data(data)
    if not head.strip(b"\0"):
        return _ZEROS
    if head[0] == _SEQUENCE and (kind := _of_der(head)) is not None:
        return kind
    text = head.removeprefix(_BYTE_ORDER_MARK).strip(_WHITE_SPACE)
    if _BINARY.search(text) is not None or not _is_utf8(text):
        return None
    return _of_text(text, levels) if text else replace(_EMPTY, text="nothing but white space")


def _is_utf8(text: bytes) -> bool:
    """Whether this is UTF-8, of which the last character may be cut off."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(text)
    except UnicodeDecodeError:
        return False
    return True


def _by_magic(head: bytes) -> Kind | None:
    if head.startswith(IMAGE_MAGIC):
        version = int.from_bytes(head[8:10], "little")
        return _LATER_IMAGE if version > IMAGE_MAJOR_VERSION else _IMAGE
    if b"CRLX" in head[:8] and head.startswith((b"\x89CRLX", b"\xc2\x89CRLX", b"\xef\xbf\xbdCRLX")):
        return _DAMAGED_IMAGE
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return kind
    return _TAR if head[257:262] == b"ustar" else None


def _of_wide_text(head: bytes, levels: int) -> Kind | None:
    """Recognise UTF-16 and UTF-32 by a byte order mark, or by the NULs beside ASCII letters."""
    for marks, name in ((_UTF32_MARKS, "UTF-32"), (_UTF16_MARKS, "UTF-16")):
        for mark, encoding in marks:
            if head.startswith(mark):
                return _of_wide(head[len(mark) :], encoding, name, levels)
    pairs = head[: len(head) & ~1]
    for zeros, others, encoding in (
        (pairs[1::2], pairs[::2], "utf-16-le"),
        (pairs[::2], pairs[1::2], "utf-16-be"),
    ):
        if len(zeros) >= _LEAST_UTF16 and not zeros.strip(b"\0") and _BINARY.search(others) is None:
            return _of_wide(pairs, encoding, "UTF-16", levels)
    return None


def _of_wide(head: bytes, encoding: str, name: str, levels: int) -> Kind:
    text = head.decode(encoding, "replace").encode("utf-8", "replace")
    inner = _recognise(text, levels - 1) if levels and text else None
    is_known = inner is not None and inner.name not in _NOTHING_NAMED
    what = f" of {inner.text}" if inner is not None and is_known else ""
    return Kind(name.lower().replace("-", ""), f"{name} text{what}", _ASCII)


# ---- DER -----------------------------------------------------------------------


def _of_signed_data(data: bytes) -> Kind:
    try:
        bundle = read_bundle(data)
    except ValueError:
        return replace(_PKCS7, text="PKCS #7 (CMS)")
    counts = [
        f"{len(members)} {word if len(members) == 1 else word + 's'}"
        for members, word in ((bundle.certificates, "certificate"), (bundle.crls, "CRL"))
    ]
    return replace(_PKCS7, text=f"PKCS #7 with {' and '.join(counts)}")


class _Element:
    """The place of one DER element, which may end after the bytes that are given."""

    def __init__(self, octets: bytes, tag: int, start: int, end: int) -> None:
        self._octets = octets
        self.tag = tag
        self.start = start
        self.end = end

    def contents(self, size: int) -> bytes:
        """Return the first bytes of the contents, at most *size*."""
        return self._octets[self.start : min(self.end, self.start + size)]

    def children(self, limit: int = 8) -> list[_Element]:
        """Return the first elements in it that begin within the bytes that are given."""
        return list(self._walk(limit))

    def _walk(self, limit: int) -> Iterator[_Element]:
        offset = self.start
        for _ in range(limit):
            if offset >= self.end:
                return
            header = header_at(self._octets, offset)
            if header is None:
                return
            tag, start, end = header
            end = self.end if end is None else end
            if end > self.end:
                return
            yield _Element(self._octets, tag, start, end)
            offset = end


def _tags(elements: list[_Element]) -> bytes:
    return bytes(element.tag for element in elements)


def _of_der(head: bytes) -> Kind | None:
    header = header_at(head, 0)
    if header is None:
        return None
    tag, start, end = header
    fields = _Element(head, tag, start, len(head) * 256 if end is None else end).children()
    tags = _tags(fields)
    if tags.startswith(b"\x06"):
        # An algorithm, or the parameters of a key, or a ContentInfo of another type.
        return _PKCS7 if tags == b"\x06\xa0" else None
    if tags.startswith(b"\x0a"):
        return _OCSP_RESPONSE
    if tags.startswith(b"\x02"):
        return _of_version_first(fields, tags)
    if tags.startswith(b"\x30"):
        return _of_sequence_first(fields, tags)
    return None


def _of_version_first(fields: list[_Element], tags: bytes) -> Kind | None:
    """Recognise what begins with an INTEGER: keys, PKCS #12 and requests of time-stamps."""
    version = fields[0].contents(9)
    begins_with_oid = len(fields) > 1 and _tags(fields[1].children(1)) == b"\x06"
    if version == b"\3" and begins_with_oid:
        return _PKCS12
    if tags.startswith(b"\x02\x30\x04") and begins_with_oid:
        return _PRIVATE_KEY  # PKCS #8
    if version == b"\1" and tags.startswith(b"\x02\x30"):
        return _TIMESTAMP_REQUEST
    if version == b"\1" and tags.startswith(b"\x02\x04"):
        return _PRIVATE_KEY  # RFC 5915
    if version in (b"\0", b"\1") and tags.startswith(b"\x02\x02\x02\x02"):
        return _PRIVATE_KEY  # PKCS #1, or DSA
    if tags == b"\x02\x02":
        return _PUBLIC_KEY if len(version) > 8 else None  # PKCS #1
    return _PARAMETERS if tags in (b"\x02\x02\x02", b"\x02\x02\x02\x02") else None


def _of_sequence_first(fields: list[_Element], tags: bytes) -> Kind | None:
    """Recognise what begins with a SEQUENCE, which in most cases is the signed part."""
    inner = fields[0].children()
    inside = _tags(inner)
    if inside.startswith(b"\x06"):
        if tags == b"\x30\x03":
            return _PUBLIC_KEY  # SubjectPublicKeyInfo
        return _ENCRYPTED_KEY if tags == b"\x30\x04" else None  # PKCS #8
    for beginning, kind in _SIGNED:
        if beginning.match(inside) is not None:
            return kind
    if tags == b"\x30\x30" and inside.startswith(b"\x02"):
        answers = fields[1].children(1)
        return _TIMESTAMP if _tags(answers) == b"\x06" else None
    if len(tags) <= _MOST_IN_REQUEST and inside.lstrip(b"\xa0\xa1").startswith(b"\x30"):
        requests = next(one for one in inner if one.tag == _SEQUENCE).children(1)
        if requests and _tags(requests[0].children(1)) == b"\x30":
            return _OCSP_REQUEST
    return None


# Kinds by the tags inside the first element, which is the signed part in most cases.
_SIGNED = (
    (re.compile(rb"\xa0\x02\x30"), _CERTIFICATE),
    (re.compile(rb"\x02\x30\x30[\x17\x18]"), _CRL),
    (re.compile(rb"\x02\x30\x30\xa0"), _REQUEST),
    (re.compile(rb"\x02\x30\x30\x30\x30"), _CERTIFICATE),  # version 1
    (re.compile(rb"\x02(?:\x30\xa0\x30\x02|[\xa0\xa1]\x30)"), _ATTRIBUTE_CERTIFICATE),
    (re.compile(rb"\x30\x30[\x17\x18]"), _CRL),  # version 1
)
_MOST_IN_REQUEST = 2


# ---- text ----------------------------------------------------------------------


def _of_text(text: bytes, levels: int) -> Kind | None:
    found = _PEM.search(text)
    if found is not None:
        return _of_label(found[1])
    lowered = text[:512].lower()
    if lowered.startswith(b"<"):
        return _of_markup(text, lowered)
    if lowered.startswith((b"{", b"[")):
        return _of_json(text)
    for beginning, kind in _BEGINNINGS:
        if lowered.startswith(beginning):
            return kind
    if _OPENSSL_LINE.match(text) is not None:
        return _OPENSSL_DATABASE
    return (_of_encoded(text, levels) if levels else None) or replace(_TEXT, may_continue=True)


_BEGINNINGS = (
    (b"version https://git-lfs", _GIT_LFS),
    (b"http/1.", _HTTP),
    (b"http/2 ", _HTTP),
    (b"http://", _URL),
    (b"https://", _URL),
    (b"[internetshortcut]", _URL),
    (b"ssh-", _SSH_KEY),
    (b"ecdsa-sha2-", _SSH_KEY),
    (b"---- begin ssh2", _SSH_KEY),
    (b"dn: ", _LDIF),
    (b"putty-user-key-file-", _PRIVATE_KEY),
)


def _of_label(label: bytes) -> Kind:
    kind = _LABELS.get(label)
    if kind is None and label.startswith(b"PGP "):
        kind = _PGP
    if kind is None and label.endswith(b"PRIVATE KEY"):
        kind = _PRIVATE_KEY
    if kind is None and label.endswith(b"PARAMETERS"):
        kind = _PARAMETERS
    kind = kind or _OTHER_PEM
    return replace(kind, text=f"{kind.text} in PEM", may_continue=True)


def _of_markup(text: bytes, lowered: bytes) -> Kind:
    if b"<html" in lowered or b"<!doctype html" in lowered:
        return _HTML
    code = _S3_CODE.search(text)
    if code is not None and b"<Error" in text[:512]:
        return Kind(
            "s3_error",
            f"an error of S3 ({code[1].decode('ascii')})",
            "the object could not be read when the file was made",
        )
    is_page = lowered.startswith(
        (b"<head", b"<body", b"<title", b"<script", b"<meta", b"<p", b"<h")
    )
    return _HTML if is_page else _XML


def _of_json(text: bytes) -> Kind:
    if b'"generation"' in text and b'"format"' in text:
        return _CATALOG
    return _EVENT if any(member in text for member in _MEMBERS_OF_EVENTS) else _JSON


def _of_encoded(text: bytes, levels: int) -> Kind | None:
    """Recognise what was encoded as text: in base64, in hexadecimal, or for a URL."""
    if _PERCENT.search(text, 0, 64) is not None:
        plain = _PERCENT.sub(lambda found: bytes((int(found[0][1:], 16),)), text)
        inner = _recognise(plain.replace(b"+", b" "), levels - 1)
        return _wrapped("url_encoded", "URL-encoded text", inner, "decode it first")
    if _HEX.fullmatch(text) is not None:
        digits = re.sub(rb"[:\s]|^0[xX]", b"", text)
        octets = binascii.unhexlify(digits[: len(digits) & ~1])
        return _wrapped(
            "hex", "hexadecimal digits", _recognise(octets, levels - 1), "decode it first"
        )
    if _BASE64.fullmatch(text) is not None:
        characters = re.sub(rb"[=\s]", b"", text).translate(_URL_SAFE)
        whole = characters[: len(characters) & ~3]
        octets = base64.b64decode(whole)
        inner = _recognise(octets, levels - 1) if octets else None
        return _wrapped("base64", "base64", inner, _TO_PEM)
    return None


_URL_SAFE = bytes.maketrans(b"-_", b"+/")


def _wrapped(name: str, text: str, inner: Kind | None, remedy: str) -> Kind | None:
    """Return the kind of text that encodes *inner*; None where it seems to encode nothing."""
    if inner is None or inner.name in _NOTHING_NAMED:
        return None
    return Kind(name, f"{text} of {inner.text}", remedy)
