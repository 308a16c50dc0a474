"""
PEM (RFC 7468) in one pass, from bytes or from a stream.

Text before, between and after the blocks is allowed, as OpenSSL writes it with
``-text``; blocks of other labels count as text. Inside a block only base64 and
white space are: anything else is refused with its line number.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_WHITE_SPACE = b" \t\r\n"
# No DER certificate or CRL is without one of these in its first octets: the tags
# of INTEGER, OBJECT IDENTIFIER and BIT STRING are among them.
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1f]")
_PREFIX_SIZE = 64
_BODY_LINE = re.compile(rb"[A-Za-z0-9+/ \t]*=?[ \t]*=?[ \t\r]*")
# An unfinished line is kept for the next chunk only while it may be a boundary.
_MAX_BOUNDARY = 256


def looks_like_pem(prefix: bytes) -> bool:
    """
    Tell text from DER by the first octets of a source.

    The BEGIN line may still be far ahead: OpenSSL's ``-text`` output comes
    first, and for a large CRL that is most of the file.
    """
    return bool(prefix) and _CONTROL.search(prefix[:_PREFIX_SIZE]) is None


def pem_blocks(data: bytes, label: str) -> list[bytes]:
    """
    Return the octets of every block of *label*, such as ``"CERTIFICATE"``.

    Raises:
        ValueError: a block is broken; the message has the line number.
    """
    scanner = _Scanner(label)
    blocks: list[bytearray] = []
    for number, octets in scanner.scan(data):
        if number > len(blocks):
            blocks.append(bytearray())
        blocks[number - 1] += octets
    scanner.end()
    return [bytes(block) for block in blocks]


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
        Take the next octets of the source; return what they add to the first block.

        Raises:
            ValueError: a block is broken; the message has the line number.
        """
        return b"".join(octets for number, octets in self._splitter.feed(chunk) if number == 1)

    def finish(self) -> None:
        """
        State that the source ends here.

        Raises:
            ValueError: there was no block, or the last one has no END line.
        """
        self._splitter.finish()


class PemSplitter:
    """Decode every block of a label while its source arrives in chunks."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._scanner = _Scanner(label)

    @property
    def num_blocks(self) -> int:
        """How many blocks of the label have begun so far."""
        return self._scanner.num_blocks

    def feed(self, chunk: bytes) -> Iterator[tuple[int, bytes]]:
        """
        Take the next octets of the source; yield the number of a block, from 1, and
        what they add to it.

        Raises:
            ValueError: the block that was begun last is broken.
        """
        return self._scanner.scan(chunk)

    def finish(self) -> None:
        """State that the source ends here. Raises: as PemDecoder.finish."""
        self._scanner.end()
        if not self.num_blocks:
            raise ValueError(f"PEM: no line -----BEGIN {self._label}----- found")


class _Scanner:
    """Finds the blocks of one label and decodes them, in pieces as they come."""

    def __init__(self, label: str) -> None:
        self._begin = f"-----BEGIN {label}-----".encode("ascii")
        self._end = f"-----END {label}-----".encode("ascii")
        self.num_blocks = 0
        self._in_block = False
        self._in_long_line = False
        self._line = 1  # number of the first line that is not done with
        self._carry = b""  # an unfinished line that may be a boundary
        self._quantum = b""  # base64 characters that do not make up three octets yet
        self._padded = False

    def scan(self, chunk: bytes) -> Iterator[tuple[int, bytes]]:
        """Yield the number of a block, from 1, and its next octets."""
        text = self._carry + chunk
        self._carry = b""
        position = 0
        while position < len(text):
            if self._in_block:
                boundary = text.find(b"-", position)
                stop = len(text) if boundary < 0 else boundary
                yield self.num_blocks, self._decode(text[position:stop])
                position = self._close(text, stop)
            else:
                position = self._open(text, position)

    def end(self) -> None:
        """Take the last line, which may lack its newline, and require that no block is open."""
        for _ in self.scan(b"\n"):
            pass
        if self._in_block:
            raise self._error("the input ends inside a block", "expected " + self._end.decode())

    def _open(self, text: bytes, position: int) -> int:
        """Go on to the next block, or to the end of *text*; return where to read on."""
        if self._in_long_line:
            return self._leave_long_line(text, position)
        begin = text.find(self._begin, position)
        start = text.rfind(b"\n", position, begin if begin >= 0 else None) + 1 or position
        self._line += text.count(b"\n", position, start)
        newline = text.find(b"\n", start)
        if newline < 0:
            self._in_long_line = len(text) - start > _MAX_BOUNDARY
            self._carry = b"" if self._in_long_line else text[start:]
            return len(text)
        line = text[start:newline].removeprefix(_BYTE_ORDER_MARK)
        if line.rstrip(_WHITE_SPACE) == self._begin:
            self._in_block = True
            self._padded = False
            self.num_blocks += 1
        self._line += 1
        return newline + 1

    def _leave_long_line(self, text: bytes, position: int) -> int:
        """Pass over the rest of a line that is too long for a boundary."""
        newline = text.find(b"\n", position)
        if newline < 0:
            return len(text)
        self._in_long_line = False
        self._line += 1
        return newline + 1

    def _close(self, text: bytes, position: int) -> int:
        """Take the END line at *position*; return where to read on."""
        newline = text.find(b"\n", position)
        line = text[position : len(text) if newline < 0 else newline]
        if newline < 0 and len(line) <= _MAX_BOUNDARY:
            self._carry = line
            return len(text)
        if line.rstrip(_WHITE_SPACE) != self._end:
            raise self._error(f"found {line[:40]!r}", "expected base64 or " + self._end.decode())
        if self._quantum:
            raise self._error("the base64 ends early", "expected groups of four characters")
        self._in_block = False
        self._line += 1
        return newline + 1

    def _decode(self, body: bytes) -> bytes:
        """Decode the next piece of a block's body."""
        characters = self._quantum + body.translate(None, _WHITE_SPACE)
        whole = len(characters) & ~3
        group, self._quantum = characters[:whole], characters[whole:]
        try:
            if self._padded and characters:
                raise binascii.Error
            octets = binascii.a2b_base64(group, strict_mode=True)
        except binascii.Error:
            self._line += _broken_line(body)
            raise self._error("the base64 is broken", "expected RFC 4648 base64") from None
        self._padded |= group.endswith(b"=")
        self._line += body.count(b"\n")
        return octets

    def _error(self, found: str, expected: str) -> ValueError:
        return ValueError(f"PEM line {self._line}: {found}, {expected}")


def _broken_line(body: bytes) -> int:
    """Return which line of *body*, from 0, is the first that base64 cannot have."""
    lines = body.split(b"\n")
    for number, line in enumerate(lines):
        if not _BODY_LINE.fullmatch(line) or (b"=" in line and any(lines[number + 1 :])):
            return number
    return 0
