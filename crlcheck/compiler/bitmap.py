"""Writes roaring bitmaps, which the native core reads where they lie."""

from __future__ import annotations

from array import array


def serialize_bitmap(members: array[int]) -> bytes:
    """
    Return the portable 64-bit serialization of a roaring bitmap of *members*.

    Optimised for runs, so that it depends on the members alone.
    """
    # Only here: few CRLs need it, and reading an image never does.
    from pyroaring import BitMap64

    bitmap = BitMap64(members)
    bitmap.run_optimize()
    return bitmap.serialize()
