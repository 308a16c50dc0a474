"""The public C header, the compiled module and the Python enums say the same."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import cffi
import pytest

from crlcheck._native import ffi, lib
from crlcheck.types import CrlWarning

ROOT = Path(__file__).parents[2]
INCLUDE = ROOT / "native" / "include"
# In the order in which CMakeLists.txt has them.
HEADERS = tuple(
    INCLUDE / f"crlcheck_{name}.h" for name in ("values", "crl", "certificate", "image", "columns")
)


def _load_make_cdef() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_cdef", ROOT / "native" / "make_cdef.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MAKE_CDEF = _load_make_cdef()
CDEF: str = "".join(
    MAKE_CDEF.extract_cdef(header.read_text(encoding="utf-8")) for header in HEADERS
)
CODE = re.sub(r"//.*", "", CDEF)

# Each function as (return type, name, parameters).
FUNCTIONS = re.findall(r"^([\w ]+?[ *]+)(crlcheck_\w+)\(([^;]*?)\);", CODE, re.MULTILINE)
STRUCTS = re.findall(r"\bstruct (crlcheck_\w+) \{", CODE)
HANDLES = re.findall(r"\btypedef struct (crlcheck_\w+) \1;", CODE)
ENUMERATORS = re.findall(r"\b(CRLCHECK_[A-Z0-9_]+)\b", CODE)


@pytest.fixture(scope="module")
def declared() -> Any:
    """The header as cffi reads it now, apart from what was compiled."""
    reader = cffi.FFI()
    reader.cdef(CDEF)
    return reader


def _enumerators(reader: Any, enum: str) -> dict[str, int]:
    return {name: value for value, name in reader.typeof(enum).elements.items()}


def _spelling(kind: Any) -> str:
    """A type in words; whether by typedef or by tag depends on where cffi saw it first."""
    return re.sub(r"\b(struct|enum) ", "", kind.cname)


def test_the_patterns_see_the_whole_header() -> None:
    """
    The patterns above miss no declaration, so the tests below cover all of them.
    """
    assert len(FUNCTIONS) == CODE.count(");")
    assert len(STRUCTS) + len(HANDLES) + CODE.count("typedef enum") == CODE.count("typedef")
    assert {"CRLCHECK_OK", "CRLCHECK_RULE_NONE", "CRLCHECK_MAX_SERIAL"} <= set(ENUMERATORS)


@pytest.mark.parametrize(("returns", "name", "parameters"), FUNCTIONS, ids=lambda text: text)
def test_each_declared_function_is_compiled(
    returns: str, name: str, parameters: str, declared: Any
) -> None:
    """
    A function of the header exists in the compiled module, with the same types.
    """
    compiled = ffi.typeof(ffi.addressof(lib, name))
    assert _spelling(compiled) == _spelling(declared.typeof(f"{returns} (*)({parameters})"))


def test_nothing_is_compiled_that_the_header_does_not_declare() -> None:
    """
    The compiled module offers the header's functions and constants and no others.
    """
    assert set(dir(lib)) == {name for _, name, _ in FUNCTIONS} | set(ENUMERATORS)


@pytest.mark.parametrize("name", STRUCTS)
def test_each_declared_struct_is_compiled_with_its_layout(name: str, declared: Any) -> None:
    """
    A struct of the header has the same size and field offsets for the C compiler,
    for cffi, and for the module as it was compiled.
    """
    compiled, expected = (
        [(field, kind.offset, _spelling(kind.type)) for field, kind in reader.typeof(name).fields]
        for reader in (ffi, declared)
    )
    assert compiled == expected
    assert ffi.sizeof(name) == declared.sizeof(name)


@pytest.mark.parametrize("name", HANDLES)
def test_handles_are_opaque(name: str) -> None:
    """
    Nobody outside the core can look into a parser, a builder or an image.
    """
    with pytest.raises(ffi.error, match="size"):
        ffi.sizeof(name)


@pytest.mark.parametrize("enum", ["crlcheck_status", "crlcheck_rule", "crlcheck_warning"])
def test_enum_values_are_those_compiled(enum: str, declared: Any) -> None:
    """
    Every enumerator of the header has the value that the C compiler gave it.
    """
    expected = _enumerators(declared, enum)
    assert _enumerators(ffi, enum) == expected
    assert {name: getattr(lib, name) for name in expected} == expected


def test_warnings_are_those_of_python() -> None:
    """
    CrlWarning names each warning of the core, with its bit; what Python adds
    cannot collide with a later one of the core.
    """
    native = {
        name.removeprefix("CRLCHECK_WARNING_"): value
        for name, value in _enumerators(ffi, "crlcheck_warning").items()
    }
    python = {str(warning.name): warning.value for warning in CrlWarning}
    assert native.items() <= python.items()
    assert all(python[name] >= 1 << 16 for name in python.keys() - native.keys())
    assert all(value < 1 << 16 for value in native.values())


def test_each_rule_has_its_name() -> None:
    """
    crlcheck_rule_name gives every rule its own name in lower case, and says
    "unknown" outside the enum.
    """
    rules = _enumerators(ffi, "crlcheck_rule")
    num_rules = rules.pop("CRLCHECK_RULE_COUNT")
    assert sorted(rules.values()) == list(range(num_rules))
    for name, value in rules.items():
        expected = name.removeprefix("CRLCHECK_RULE_").lower()
        assert ffi.string(lib.crlcheck_rule_name(value)).decode() == expected
    for outside in (-1, num_rules):
        assert ffi.string(lib.crlcheck_rule_name(outside)) == b"unknown"


def test_array_lengths_are_those_of_the_constants() -> None:
    """
    The arrays, whose lengths cffi needs as numbers, follow the named constants.
    """
    fields = dict(ffi.typeof("crlcheck_error").fields)
    assert fields["detail"].type.length == lib.CRLCHECK_MAX_DETAIL
    fields = dict(ffi.typeof("crlcheck_found").fields)
    assert fields["serial"].type.length == lib.CRLCHECK_MAX_SERIAL


@pytest.mark.parametrize(
    "header",
    [
        "int f(void);",
        "// cdef: begin\nint f(void);",
        "// cdef: end\n// cdef: begin\n",
        "// cdef: begin\n// cdef: begin\n// cdef: end\n",
    ],
    ids=["no_marks", "no_end", "wrong_order", "twice"],
)
def test_a_header_without_its_marks_stops_the_build(header: str) -> None:
    """
    A header whose marks are missing or doubled is refused, never half read.
    """
    with pytest.raises(ValueError, match="cdef"):
        MAKE_CDEF.extract_cdef(header)
