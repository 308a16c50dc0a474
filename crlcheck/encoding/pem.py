"""
Read PEM (RFC 7468) in one pass, from bytes or from a stream.

Text before, between and after the blocks is allowed, as OpenSSL writes it with
``-text``, and a byte order mark at the very start. The rule for the rest:

- A boundary is a line of its own: ``-----BEGIN label-----`` or its END, with nothing
  before it, and behind it only blanks and a line end (LF or CRLF). It has at most
  256 bytes, so that it is the same line in however many chunks it comes.
- A line that holds a boundary and anything else, or one that is written wrong,
  is an error. So is an END without its BEGIN, or another BEGIN before the END.
- A block of what is asked for is read: base64 and white space, nothing else.
- A block of PKCS #7 is read as a bundle: what is asked for in it counts as if each had a
  block of its own there, and the rest of it is ignored.
- A block that cannot hold what is asked for (private keys, parameters, a CRL
  among certificates) is ignored by its label. Every other label is an error.
- Text that begins as every certificate and CRL does in base64 is an error: it is a
  block of which the boundary was not understood, however that is written.

So no block is ever taken for text, and none stands in for one before it that was
not understood. Every error has its line number.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator

from crlcheck.encoding.signed_data import MAX_BUNDLE_SIZE, read_bundle

CERTIFICATE = "CERTIFICATE"
CRL = "X509 CRL"


def _labels(*labels: str) -> frozenset[bytes]:
    """Return the labels as they stand in a file."""
    return frozenset(label.encode("ascii") for label in labels)


_KEYS_AND_PARAMETERS = _labels(
    "ANY PRIVATE KEY",
    "DSA PRIVATE KEY",
    "EC PRIVATE KEY",
    "ENCRYPTED PRIVATE KEY",
    "OPENSSH PRIVATE KEY",
    "PRIVATE KEY",
    "RSA PRIVATE KEY",
    "TSS2 PRIVATE KEY",
    "EC PUBLIC KEY",
    "PUBLIC KEY",
    "RSA PUBLIC KEY",
    "DH PARAMETERS",
    "DSA PARAMETERS",
    "EC PARAMETERS",
    "PARAMETERS",
    "X9.42 DH PARAMETERS",
)
_OLD_CERTIFICATE = "X509 CERTIFICATE"
# RFC 7468 sections 8 and 9, and what OpenSSL reads beside it.
_BUNDLES = _labels("PKCS7", "CMS", "PKCS #7 SIGNED DATA")
# RFC 7468 5.1 allows the old label of certificates; section 6 no other for CRLs.
_READ = {
    CERTIFICATE: _labels(CERTIFICATE, _OLD_CERTIFICATE) | _BUNDLES,
    CRL: _labels(CRL) | _BUNDLES,
}
_PASSED_OVER = {
    CERTIFICATE: _KEYS_AND_PARAMETERS | _labels(CRL),
    CRL: _KEYS_AND_PARAMETERS | _labels(CERTIFICATE, _OLD_CERTIFICATE, "TRUSTED CERTIFICATE"),
}

_REMEDIES = {
    b"TRUSTED CERTIFICATE": ": `openssl x509` writes it so",
    b"CERTIFICATE REQUEST": ": a CA answers the request with it",
    b"NEW CERTIFICATE REQUEST": ": a CA answers the request with it",
    b"PKCS12": ": `openssl pkcs12 -nokeys` writes its certificates so",
}

_BEGIN_LINE = b"-----BEGIN CERTIFICATE-----\n"
_END_LINES = (b"-----END CERTIFICATE-----\n", b"-----END CERTIFICATE-----")

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_BLANKS = b" \t\r"
_WHITE_SPACE = b" \t\r\n"
# No DER certificate or CRL is without one of these in its first bytes: the tags
# of INTEGER, OBJECT IDENTIFIER and BIT STRING are among them.
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1f]")
_PREFIX_SIZE = 64

# What is taken for a boundary, well written or not. Hyphens may be lost, and word
# processors make dashes of them (U+2010 to U+2015 and U+2212 in UTF-8).
_HYPHENS = re.compile(rb"-----[ \t]{0,4}(?:BEGIN|END)|--[ \t]{0,4}(?-i:BEGIN|END)\b", re.IGNORECASE)
_DASHES = re.compile(
    rb"\xe2(?:\x80[\x90-\x95]|\x88\x92)(?:-|\xe2\x80[\x90-\x95]|\xe2\x88\x92){0,4}"
    rb"[ \t]{0,4}(?:BEGIN|END)\b"
)
# How the base64 of a SEQUENCE of more than 127 bytes begins: 48 characters, of which a
# line has more as a rule. The base64 of a SHA-256 hash, as in a comment, has fewer.
_BODY = re.compile(rb"(?<![A-Za-z0-9+/=])MI[G-T][A-Za-z0-9+/]{45}")
# RFC 7468 section 3: labelchar *( ["-" / SP] labelchar ).
_BOUNDARY = re.compile(rb"-----(BEGIN|END) ([!-,.-~](?:[- ]?[!-,.-~])*)-----")
# A line with a boundary may have this many bytes, and so many of an unfinished line
# are kept for the next chunk.
_MAX_LINE = 256
_ALONE = "expected a line that is a PEM boundary by itself, or none"
_NO_BASE64 = re.compile(rb"[^A-Za-z0-9+/= \t\r\n]")
_SHOWN = 40  # characters of a line, which may be part of a certificate


class NoBlockError(ValueError):
    """The text has no block of what is asked for."""


def looks_like_pem(prefix: bytes) -> bool:
    """
    Tell text from DER by the first bytes of a source.

    The BEGIN line may still be far ahead: OpenSSL's ``-text`` output comes
    first, and for a large CRL that is most of the file.
    """
    return bool(prefix) and _CONTROL.search(prefix[:_PREFIX_SIZE]) is None


def only_certificate(data: bytes) -> bytes | None:
    """
    Return the bytes of the certificate where *data* is one block of it, written as most
    programs do, and nothing else. For None ``pem_contents`` finds out what there is.
    """
    stop = data.find(b"-", len(_BEGIN_LINE))
    if (
        not data.startswith(_BEGIN_LINE)
        or data[stop:] not in _END_LINES
        or data[stop - 1 : stop] != b"\n"
    ):
        return None
    try:
        characters = data[len(_BEGIN_LINE) : stop].translate(None, _WHITE_SPACE)
        return _decoded(characters) or None
    except binascii.Error:
        return None


def _decoded(characters: bytes) -> bytes:
    """
    Decode groups of four characters, of which the last one may have padding.

    Raises:
        binascii.Error: they are no base64 (RFC 4648).
    """
    # In strict mode too, some versions of Python take padding behind a group that is full.
    if len(characters) % 4 or characters.endswith(b"==="):
        raise binascii.Error
    return binascii.a2b_base64(characters, strict_mode=True)


def pem_blocks(data: bytes, label: str) -> list[bytes]:
    """
    Return the bytes of every block of *label*: CERTIFICATE or CRL.

    Raises:
        ValueError: the text breaks a rule of this module; the message has the line number.
    """
    return pem_contents(data, label)[0]


def pem_contents(data: bytes, label: str) -> tuple[list[bytes], int]:
    """
    Return the blocks as ``pem_blocks`` does, and how many are in the largest PKCS #7 bundle.

    That is 0 where there is no bundle. What is in one has no order.
    """
    scanner = _Scanner(label)
    # A block comes in one piece where the text does.
    blocks = [octets for _, octets in scanner.scan(data)]
    blocks += [octets for _, octets in scanner.end()]
    return blocks, scanner.largest_bundle


class PemDecoder:
    """
    Decode the first block of a label while its source arrives in chunks.

    Later blocks of the label are checked and counted, not handed out.
    """

    def __init__(self, label: str) -> None:
        self._splitter = PemSplitter(label)

    @property
    def num_blocks(self) -> int:
        """How many blocks of the label have begun so far."""
        return self._splitter.num_blocks

    def feed(self, chunk: bytes) -> bytes:
        """
        Take the next bytes of the source; return what they add to the first block.

        Raises:
            ValueError: the text breaks a rule of this module; the message has the line number.
        """
        return b"".join(octets for number, octets in self._splitter.feed(chunk) if number == 1)

    def finish(self) -> bytes:
        """
        State that the source ends here; return what that adds to the first block.

        Raises:
            NoBlockError: there was no block.
            ValueError: the last one has no END line.
        """
        return b"".join(octets for number, octets in self._splitter.finish() if number == 1)


class PemSplitter:
    """Decode every block of a label while its source arrives in chunks."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._scanner = _Scanner(label)

    @property
    def num_blocks(self) -> int:
        """How many blocks of the label have begun so far."""
        return self._scanner.num_blocks

    @property
    def next_block(self) -> int:
        """The number of the block that is open; between blocks, that of the next one."""
        is_counted = self._scanner.is_reading and self._scanner.bundle is None
        return self._scanner.num_blocks + (not is_counted)

    def feed(self, chunk: bytes) -> Iterator[tuple[int, bytes]]:
        """
        Take the next bytes of the source; yield the number of a block, from 1, and
        what they add to it.

        Raises:
            ValueError: the text breaks a rule of this module, in ``next_block`` or before it.
        """
        return self._scanner.scan(chunk)

    def finish(self) -> list[tuple[int, bytes]]:
        """
        State that the source ends here; return what ``feed`` would yield yet.

        Raises: as PemDecoder.finish.
        """
        last = self._scanner.end()
        if not self.num_blocks:
            raise NoBlockError(f"PEM: no line -----BEGIN {self._label}----- found")
        return last


class _Scanner:
    """Finds the blocks of one label and decodes them, in pieces as they come."""

    # Of the block that is read; each begins with them anew.
    _at_line_start: bool
    _is_empty: bool
    _padded: bool

    def __init__(self, label: str) -> None:
        self._label = label
        self._read = _READ[label]
        self._passed_over = _PASSED_OVER[label]
        self.num_blocks = 0
        self.is_reading = False
        self.bundle: bytearray | None = None  # while a block of PKCS #7 is read
        self._bundle_line = 0  # where that block begins
        self.largest_bundle = 0
        self._open_label: bytes | None = None  # of the block that was begun last
        self._line = 1  # number of the first line that was not read
        self._carry = b""  # an unfinished line, or its end if it is long
        self._quantum = b""  # base64 characters that do not make up three bytes yet

    def scan(self, chunk: bytes) -> Iterator[tuple[int, bytes]]:
        """Yield the number of a block, from 1, and its next bytes."""
        text = self._carry + chunk
        self._carry = b""
        position = 0
        while position < len(text):
            if not self.is_reading:
                position = self._pass_text(text, position)
                continue
            hyphen = text.find(b"-", position)
            stop = len(text) if hyphen < 0 else hyphen
            if position < stop:
                octets = self._decode(text[position:stop])
                if self.bundle is None:
                    yield self.num_blocks, octets
                else:
                    self._keep(octets)
            position = self._close(text, stop) if stop < len(text) else stop
            if self.bundle is not None and self._open_label is None:
                yield from self._unpack()

    def end(self) -> list[tuple[int, bytes]]:
        """
        Take the last line, which may lack its newline, and require that no block is open.

        A bundle that ends with it is what is returned.
        """
        # Without either, a line end ends nothing.
        is_unfinished = self._carry or self._open_label is not None
        last = list(self.scan(b"\n")) if is_unfinished else []
        if self._open_label is not None:
            expected = f"expected {self._end_line().decode()}"
            raise self._error("the input ends inside a block", expected)
        return last

    # ---- outside the blocks that are read ------------------------------------

    def _pass_text(self, text: bytes, position: int) -> int:
        """Go on to the next boundary and take it, or to the end; return where to read on."""
        boundary = _next_boundary(text, position)
        if boundary is None:
            return self._keep_last_line(text, position)
        # *position* follows a line end, if it does not begin the text.
        start = text.rfind(b"\n", 0, boundary.start()) + 1
        self._refuse_in_text(text, position, start)
        self._line += text.count(b"\n", position, start)
        line = self._whole_line(text, start)
        if line is None:
            return len(text)
        self._take_boundary(line)
        self._line += 1
        return start + len(line) + 1

    def _keep_last_line(self, text: bytes, position: int) -> int:
        """Pass over the lines of *text* that are whole, and keep what may become a boundary."""
        self._refuse_in_text(text, position, len(text))
        self._line += text.count(b"\n", position)
        last = text[text.rfind(b"\n") + 1 :]
        self._carry = last[-_MAX_LINE:]
        return len(text)

    def _whole_line(self, text: bytes, start: int) -> bytes | None:
        """Return the line at *start* with a boundary; None, and keep it, until it is whole."""
        line, newline, _ = text[start : start + _MAX_LINE + 1].partition(b"\n")
        if newline:
            return line
        if len(line) > _MAX_LINE:
            found = f"found {_shown(line)} in a line of more than {_MAX_LINE} bytes"
            raise self._error(found, self._expected_in_block() if self.is_reading else _ALONE)
        self._carry = line
        return None

    def _refuse_in_text(self, text: bytes, start: int, stop: int) -> None:
        """Refuse what shows that a boundary was not understood."""
        if start == stop:
            return
        # In UTF-16, no boundary would be found.
        null = text.find(b"\0", start, stop)
        if null >= 0:
            self._line += text.count(b"\n", start, null)
            raise self._error("found a NUL", "expected text")
        body = _BODY.search(text, start, stop) if self._open_label is None else None
        if body is not None:
            self._line += text.count(b"\n", start, body.start())
            raise self._error(
                "found what begins like a certificate or CRL in base64 outside a block",
                f"expected a line -----BEGIN {self._label}----- before it",
            )

    def _take_boundary(self, line: bytes) -> None:
        """Begin or end a block with the line that is the boundary."""
        if self._line == 1:
            line = line.removeprefix(_BYTE_ORDER_MARK)
        match = _BOUNDARY.fullmatch(line.rstrip(_BLANKS))
        if match is None:
            raise self._not_alone(line)
        verb, label = match.groups()
        if self._open_label is not None:
            if verb != b"END" or label != self._open_label:
                expected = f"expected {self._end_line().decode()}"
                raise self._error(f"found {_shown(line)}", expected)
            self._open_label = None
        elif verb == b"END":
            raise self._error(f"found {_shown(line)}", "expected its BEGIN before it")
        elif label in self._read:
            self._open_label = label
            self.is_reading = self._at_line_start = self._is_empty = True
            self._padded = False
            if label in _BUNDLES:
                self.bundle = bytearray()
                self._bundle_line = self._line
            else:
                self.num_blocks += 1
        elif label in self._passed_over:
            self._open_label = label
        else:
            expected = f"expected -----BEGIN {self._label}-----"
            raise self._error(f"found {_shown(line)}", expected + _REMEDIES.get(label, ""))

    # ---- inside a block that is read -----------------------------------------

    def _close(self, text: bytes, position: int) -> int:
        """Take the END line at *position*; return where to read on."""
        line = self._whole_line(text, position)
        if line is None:
            return len(text)
        if not self._at_line_start:
            raise self._error(f"found {_shown(line)} inside a line", self._expected_in_block())
        if line.rstrip(_BLANKS) != self._end_line():
            raise self._error(f"found {_shown(line)}", self._expected_in_block())
        if self._quantum:
            raise self._error("the base64 ends early", "expected groups of four characters")
        if self._is_empty:
            raise self._error("the block is empty", "expected base64")
        self.is_reading = False
        self._open_label = None
        self._line += 1
        return position + len(line) + 1

    def _end_line(self) -> bytes:
        """Return the line that ends the block that was begun last."""
        assert self._open_label is not None, "a block is open"
        return b"-----END %b-----" % self._open_label

    def _decode(self, body: bytes) -> bytes:
        """Decode the next piece of a block's body."""
        characters = self._quantum + body.translate(None, _WHITE_SPACE)
        whole = len(characters) & ~3
        group, self._quantum = characters[:whole], characters[whole:]
        try:
            if self._padded and characters:
                raise binascii.Error
            octets = _decoded(group)
        except binascii.Error:
            self._line += _broken_line(body)
            raise self._error("the base64 is broken", "expected RFC 4648 base64") from None
        self._padded |= group.endswith(b"=")
        self._is_empty = self._is_empty and not octets
        self._at_line_start = body.endswith(b"\n")
        self._line += body.count(b"\n")
        return octets

    # ---- PKCS #7 ---------------------------------------------------------------

    def _keep(self, octets: bytes) -> None:
        assert self.bundle is not None, "the block is one of PKCS #7"
        self.bundle += octets
        if len(self.bundle) > MAX_BUNDLE_SIZE:
            raise self._error("PKCS #7 is too large", f"expected {MAX_BUNDLE_SIZE} bytes at most")

    def _unpack(self) -> Iterator[tuple[int, bytes]]:
        """Yield what is asked for from the bundle that has just ended."""
        assert self.bundle is not None, "the block was one of PKCS #7"
        try:
            bundle = read_bundle(bytes(self.bundle))
        except ValueError as error:
            expected = "expected a bundle of certificates and CRLs"
            self._line = self._bundle_line
            raise self._error(f"found {error}", expected) from error
        self.bundle = None
        members = bundle.certificates if self._label == CERTIFICATE else bundle.crls
        self.largest_bundle = max(self.largest_bundle, len(members))
        for member in members:
            self.num_blocks += 1
            yield self.num_blocks, member

    # ---- errors --------------------------------------------------------------

    def _expected_in_block(self) -> str:
        return f"expected base64 or {self._end_line().decode()}"

    def _not_alone(self, line: bytes) -> ValueError:
        return self._error(f"found {_shown(line)}", _ALONE)

    def _error(self, found: str, expected: str) -> ValueError:
        return ValueError(f"PEM line {self._line}: {found}, {expected}")


def _next_boundary(text: bytes, position: int) -> re.Match[bytes] | None:
    """Return the next boundary, well written or not; None where there is none."""
    hyphens = _HYPHENS.search(text, position)
    stop = len(text) if hyphens is None else hyphens.start()
    return _DASHES.search(text, position, stop) or hyphens


def _shown(line: bytes) -> str:
    return repr(line.rstrip(_BLANKS)[:_SHOWN].decode("ascii", "backslashreplace"))


def _broken_line(body: bytes) -> int:
    """Return which line of *body*, from 0, is the first that base64 cannot have."""
    bad = _NO_BASE64.search(body)
    position = body.find(b"=") if bad is None else bad.start()
    if position < 0:  # whole, but behind the padding
        position = len(body) - len(body.lstrip(_WHITE_SPACE))
    return body.count(b"\n", 0, position)
