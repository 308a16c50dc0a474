"""A single thing in the place of several is refused, with what to write instead."""

from __future__ import annotations

import contextlib
import inspect
import io
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import crlcheck
from crlcheck import (
    RevocationChecker,
    compile_crl,
    fetch_each,
    load_certificate,
    load_certificates,
    open_index,
    publish_crl,
    publish_many,
    read_root_keys,
    validate_path,
    verify_store,
    withdraw_issuers,
)
from crlcheck.settings import read_policy
from support.memory_store import MemoryStore
from support.pki import NOW, make_crl
from support.publishing import CA

CRL = make_crl(CA)


def _checker() -> RevocationChecker:
    return RevocationChecker(MemoryStore())


def _contains(given: Any) -> object:
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder) / "ca.crlx"
        compile_crl(CRL, image, issuer=CA.der)
        with open_index(image) as index:
            return index.contains_many(given)


# By the function and the argument.
CALLS: dict[str, Callable[[Any], object]] = {
    "publish_many.sources": lambda one: publish_many(one, MemoryStore(), issuers=CA.der, now=NOW),
    "fetch_each.urls": lambda one: list(fetch_each(one, MemoryStore(), issuer=CA.der)),
    "withdraw_issuers.present": lambda one: withdraw_issuers(MemoryStore(), one, added_by="x"),
    "verify_store.repair_from": lambda one: verify_store(MemoryStore(), repair_from=one),
    "RevocationChecker.source": RevocationChecker,
    "RevocationChecker.check_many.certificates": lambda one: _checker().check_many(one),
    "RevocationChecker.check_serials.serial_numbers": lambda one: list(
        _checker().check_serials(CA.der, one)
    ),
    "RevocationChecker.check_serials.distribution_points": lambda one: list(
        _checker().check_serials(CA.der, [1], distribution_points=one)
    ),
    "RevocationChecker.check_serial.distribution_points": lambda one: _checker().check_serial(
        CA.der, 1, distribution_points=one
    ),
    "RevocationIndex.contains_many.serial_numbers": _contains,
    "validate_path.chain": lambda one: validate_path(one, [], now=NOW),
    "validate_path.anchors": lambda one: validate_path([load_certificate(CA.der)], one, now=NOW),
    "read_root_keys.given": read_root_keys,
    "read_policy.rules": read_policy,
}
# A str is a store or an image for the one, and several keys with commas for the other.
TAKES_STR = {"RevocationChecker.source", "read_root_keys.given"}
TAKES_PATH = {"RevocationChecker.source"}
SINGLE = {
    "str": ("crls", '["…"]'),
    "bytes": (b"crls", '[b"…"]'),
    "bytearray": (bytearray(b"crls"), '[b"…"]'),
    "memoryview": (memoryview(b"crls"), '[b"…"]'),
    "path": (Path("crls"), '[Path("…")]'),
    "file": (io.BytesIO(b"a line\nanother"), "[…]"),
    "number": (17, "[…]"),
}


@pytest.mark.parametrize("kind", SINGLE)
@pytest.mark.parametrize("call", CALLS)
def test_a_single_one_is_refused_with_what_to_write(call: str, kind: str) -> None:
    """
    Text would be iterated over letters, bytes over numbers and a file over lines: nothing
    of what was meant would be read.
    """
    if (kind == "str" and call in TAKES_STR) or (kind == "path" and call in TAKES_PATH):
        return
    given, written = SINGLE[kind]
    with pytest.raises(TypeError) as caught:
        CALLS[call](given)
    argument = call.rpartition(".")[2]
    assert str(caught.value) == (
        f"{'root_keys' if argument == 'given' else argument}: found {type(given).__name__}, "
        f"expected an iterable, such as a list: for a single one write {written}"
    )


def test_no_file_with_the_name_of_a_letter_is_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The letters of a path are no files."""
    monkeypatch.chdir(tmp_path)
    Path("c").write_bytes(CRL)
    store = MemoryStore()
    with pytest.raises(TypeError, match="sources: found str"):
        publish_many("crls", store, issuers=CA.der, now=NOW)
    assert list(store.names("")) == []


def _public_calls() -> Iterator[tuple[str, Any]]:
    for name in crlcheck.__all__:
        found = getattr(crlcheck, name)
        if not inspect.isclass(found):
            yield name, found
            continue
        for member, function in inspect.getmembers(found, inspect.isfunction):
            if member == "__init__":
                yield name, function
            elif not member.startswith("_"):
                yield f"{name}.{member}", function


def test_every_argument_that_is_several_is_tried() -> None:
    """An argument that may be a single one too, such as *issuers*, is none of them."""
    several = set()
    for name, function in _public_calls():
        with contextlib.suppress(TypeError, ValueError):
            for argument in inspect.signature(function).parameters.values():
                if str(argument.annotation).startswith(("Iterable[", "Sequence[Certificate")):
                    several.add(f"{name}.{argument.name}")
    # Its keys are tried at ``read_root_keys``, by which every function reads them.
    tried = {
        call for call in CALLS if call not in ("read_policy.rules", "RevocationChecker.source")
    }
    assert {one for one in several if not one.endswith(".root_keys")} == tried


@pytest.mark.parametrize("call", ["issuer", "issuers", "load_certificates"])
@pytest.mark.parametrize("as_path", [True, False], ids=["path", "str"])
def test_a_directory_of_issuers_is_said_to_be_one(tmp_path: Path, call: str, as_path: bool) -> None:
    """The error says that its files are given instead."""
    given: Any = tmp_path if as_path else str(tmp_path)
    error = IsADirectoryError if as_path else crlcheck.CertificateError
    calls: dict[str, Callable[[], object]] = {
        "issuer": lambda: publish_crl(CRL, MemoryStore(), issuer=given, now=NOW),
        "issuers": lambda: publish_many([CRL], MemoryStore(), issuers=given, now=NOW),
        "load_certificates": lambda: load_certificates([given]),
    }
    with pytest.raises(
        error, match="it is a directory.*give the paths of the files in it"
    ) as caught:
        calls[call]()
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize("as_path", [True, False], ids=["path", "str"])
@pytest.mark.parametrize("content_encoding", ["", "gzip"])
def test_a_directory_of_crls_is_said_to_be_one(
    tmp_path: Path, as_path: bool, content_encoding: str
) -> None:
    """By publish_many, in whatever way it opens the file, and where a single CRL is taken."""
    given = tmp_path if as_path else str(tmp_path)
    source = crlcheck.PublishSource(source=given, content_encoding=content_encoding)
    summary = publish_many([source], MemoryStore(), issuers=CA.der, now=NOW)
    (error,) = summary.failed.values()
    assert isinstance(error, IsADirectoryError)
    assert "give the paths of the files in it" in str(error)
    with pytest.raises(IsADirectoryError, match="give the paths of the files in it"):
        compile_crl(given, issuer=CA.der)


def test_a_file_of_certificates_is_no_list_of_lines() -> None:
    """A file is refused as what it is."""
    with pytest.raises(TypeError, match="found BytesIO, expected bytes, a path"):
        load_certificates(io.BytesIO(CA.pem))


def test_the_remedy_for_a_certificate_as_a_crl_is_for_python_too() -> None:
    """The arguments have other names than the command's options."""
    with pytest.raises(crlcheck.MalformedCrlError) as caught:
        compile_crl(CA.pem, issuer=CA.der)
    assert caught.value.remedy is not None
    assert "with --issuer, in Python as issuer or issuers" in caught.value.remedy
