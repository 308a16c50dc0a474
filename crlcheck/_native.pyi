"""The compiled module, made by cffi from native/include/crlcheck.h."""

from typing import Any

ffi: Any
lib: Any
