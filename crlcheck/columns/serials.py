"""Read serial numbers of a column, in whatever type it has them."""

from __future__ import annotations

import enum

import pyarrow as pa
import pyarrow.compute as pc

from crlcheck._binding.columns import (
    BINARY,
    DECIMAL,
    HEX,
    SIGNED,
    UNSIGNED,
    ColumnBuffers,
)
from crlcheck.encoding.serials import parse_serial_text


class SerialText(enum.Enum):
    """How serial numbers are written where they are text."""

    HEX = "hex"
    DECIMAL = "decimal"


class Serials:
    """
    The serial numbers of a part of a table.

    ``buffers`` and ``form`` are for the core.
    """

    def __init__(self, array: pa.Array, text: SerialText) -> None:
        """
        Take a column of numbers, of text or of bytes, which are unsigned and big-endian.

        Raises:
            TypeError: it is of another type.
        """
        self._array = _plain(array)
        kind = self._array.type
        if pa.types.is_large_string(kind):
            is_hex = text is SerialText.HEX and not pa.types.is_decimal(array.type)
            self.form = HEX if is_hex else DECIMAL
        elif pa.types.is_int64(kind):
            self.form = SIGNED
        elif pa.types.is_uint64(kind):
            self.form = UNSIGNED
        else:
            self.form = BINARY
        self.buffers = buffers_of(self._array)

    def number(self, row: int) -> int | None:
        """Return the serial number of a row that has a value, None where that is none."""
        value = self._array[row].as_py()
        if isinstance(value, int):
            return value
        if isinstance(value, bytes):
            return int.from_bytes(value, "big") if value else None
        try:
            return parse_serial_text(value) if self.form == HEX else int(value)
        except ValueError:  # more digits than int reads, too
            return None


def buffers_of(array: pa.Array) -> ColumnBuffers:
    """Return the buffers of a column of bytes, of text or of integers of eight bytes."""
    kind = array.type
    validity, *others = array.buffers()
    if array.null_count == 0:
        validity = None
    if pa.types.is_fixed_size_binary(kind):
        offsets, data, width, offset_size = None, others[0], kind.byte_width, 0
    elif pa.types.is_integer(kind):
        offsets, data, width, offset_size = None, others[0], 8, 0
    else:
        offsets, data = others
        width, offset_size = 0, 4 if pa.types.is_binary(kind) or pa.types.is_string(kind) else 8
    return ColumnBuffers(
        b"" if data is None else data, offsets, validity, array.offset, offset_size, width
    )


def _plain(array: pa.Array) -> pa.Array:
    """Return a column as one of the few types that the core reads."""
    kind = array.type
    if pa.types.is_dictionary(kind):
        return _plain(array.dictionary_decode())
    if pa.types.is_run_end_encoded(kind):
        return _plain(pc.run_end_decode(array))
    if pa.types.is_integer(kind):
        wide = pa.uint64() if pa.types.is_unsigned_integer(kind) else pa.int64()
        return array if kind == wide else array.cast(wide)
    if pa.types.is_decimal(kind) and kind.scale == 0:
        return array.cast(pa.decimal256(76, 0)).cast(pa.large_string())
    if pa.types.is_string(kind) or pa.types.is_string_view(kind):
        return array.cast(pa.large_string())
    if pa.types.is_binary_view(kind):
        return array.cast(pa.large_binary())
    if pa.types.is_null(kind):
        return array.cast(pa.large_binary())
    if (
        pa.types.is_large_string(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_fixed_size_binary(kind)
    ):
        return array
    raise TypeError(
        f"serial numbers: found a column of {kind}, expected binary, text, integers or decimals "
        "without fraction"
    )
