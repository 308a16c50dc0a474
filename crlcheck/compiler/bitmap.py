"""Serialize roaring bitmaps, which the native core reads in place."""

from __future__ import annotations

from array import array


def serialize_bitmap(members: array[int]) -> bytes:
    """
    Return the portable 64-bit serialization of a roaring bitmap of *members*.

    It is optimised for runs, so the same members always give the same bytes.
    """
    # Only here: few CRLs need it, and reading an image never does.
    from pyroaring import BitMap64

    bitmap = BitMap64(members)
    bitmap.run_optimize()
    return bitmap.serialize()
