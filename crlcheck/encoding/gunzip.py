"""Decode gzip data (RFC 1952) as a stream, so that a reader can stop at any size."""

from __future__ import annotations

import zlib
from typing import Protocol

_CHUNK = 1 << 16
_GZIP = 31  # the window of 32 KB, with a gzip header and its checksum


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class Gunzip:
    """
    Reads the contents of gzip data from *source*, of several members one after another.

    Each read returns at most what is asked for, however well the data are compressed.
    """

    def __init__(self, source: _Readable) -> None:
        self._source = source
        self._member = zlib.decompressobj(_GZIP)
        self._has_begun = False
        self._input = b""
        self._has_more = False  # output that the last read had no room for

    def read(self, size: int, /) -> bytes:
        """
        Return the next bytes, at most *size*; b"" at the end.

        Raises:
            ValueError: the data are not gzip data, are damaged or end too early.
        """
        while size > 0:
            if self._member.eof:
                # Behind the last member there may be zero bytes.
                self._input = self._member.unused_data.lstrip(b"\0")
                self._member = zlib.decompressobj(_GZIP)
                self._has_begun = self._has_more = False
            if not self._input and not self._has_more:
                self._input = self._source.read(_CHUNK)
                if not self._input:
                    if self._has_begun:
                        raise ValueError("gzip data end too early")
                    break
            self._has_begun = True
            try:
                found = self._member.decompress(self._input, size)
            except zlib.error as error:
                raise ValueError(f"gzip data are damaged: {error}") from error
            self._input = self._member.unconsumed_tail
            self._has_more = len(found) == size and not self._member.eof
            if found:
                return found
        return b""
