"""The base type of an index, whose ``in`` is native."""

from __future__ import annotations

from crlcheck import _native

# C code of the module makes the type, and can only run once the module is there.
if _native.lib.crlcheck_register_lookup():
    raise ImportError("crlcheck._native.Lookup could not be made")

Lookup = _native.Lookup
