"""What importing crlcheck costs, and what it offers."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

import crlcheck

HEAVY = {"boto3", "botocore", "cryptography", "numpy", "pyroaring"}
WEB = {"asgiref", "django", "fastapi", "flask", "gunicorn", "starlette", "uvicorn"}


def _loaded_after(statement: str) -> set[str]:
    """The top-level modules a fresh interpreter holds after *statement*."""
    program = f"{statement}\nimport sys\nprint(*sys.modules)"
    run = subprocess.run(
        [sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True
    )
    return {name.split(".", maxsplit=1)[0] for name in run.stdout.split()}


@pytest.mark.parametrize(
    "statement",
    [
        "import crlcheck",
        "import crlcheck; crlcheck.open_index, crlcheck.open_store, crlcheck.RevocationChecker",
        "import crlcheck; crlcheck.load_certificate, crlcheck.Policy, crlcheck.StoreError",
        "import lambda_authorizer.events, lambda_authorizer.responses, crlcheck.settings",
        "import crlcheck.asgi, crlcheck.wsgi",
    ],
    ids=["crlcheck", "checking", "values", "authorizer", "middleware"],
)
def test_importing_loads_no_heavy_package(statement: str) -> None:
    """
    Neither importing crlcheck nor looking up what an authorizer uses of it loads
    a package that a cold start would have to wait for.
    """
    loaded = _loaded_after(statement)
    assert "crlcheck" in loaded
    assert loaded & (HEAVY | WEB) == set()


def test_headers_of_proxies_cost_an_authorizer_of_api_gateway_nothing() -> None:
    """
    Only a function whose certificate comes in a header loads what reads headers.
    """
    program = (
        "import lambda_authorizer.authorizer as a, lambda_authorizer.settings as s, sys\n"
        "for source in s.CertificateFrom:\n"
        "    if source is s.CertificateFrom.ALB_PASSTHROUGH: continue\n"
        "    a.Authorizer(s.Settings(store='x', certificate_from=source), None)\n"
        "    print(source.value, 'crlcheck.encoding.header_forms' in sys.modules)\n"
    )
    run = subprocess.run(
        [sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True
    )
    assert run.stdout.splitlines() == ["api-gateway False", "alb-verify True", "cloudfront True"]


def test_a_store_at_a_url_costs_the_others_nothing() -> None:
    """
    A function on S3 or a directory starts without what reads from web servers.
    """
    program = (
        "import crlcheck, sys; crlcheck.open_store('published'); crlcheck.RevocationChecker; "
        "crlcheck.S3Store; print(*sys.modules)"
    )
    run = subprocess.run(
        [sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True
    )
    loaded = set(run.stdout.split())
    assert "crlcheck.stores.s3_http" in loaded
    others = {"https", "proxies", "examine_https"}
    assert loaded.isdisjoint({f"crlcheck.stores.{name}" for name in others})


def test_importing_crlcheck_loads_no_module_of_its_own() -> None:
    """
    Public names are resolved when they are first used, not at import.
    """
    run = subprocess.run(
        [sys.executable, "-P", "-c", "import crlcheck, sys; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert [name for name in run.stdout.split() if name.startswith("crlcheck.")] == []


@pytest.mark.parametrize("name", crlcheck.__all__)
def test_public_names_resolve_to_their_home(name: str) -> None:
    """
    Every public name is there, is the object its module defines, and is listed
    by ``dir``.
    """
    home = importlib.import_module(f"crlcheck.{crlcheck._HOME_OF[name]}")
    assert getattr(crlcheck, name) is getattr(home, name)
    assert name in dir(crlcheck)


def test_type_checkers_see_the_public_names_that_there_are() -> None:
    """
    What is imported for them, each name as itself, is what the table of homes has.
    """
    tree = ast.parse(Path(crlcheck.__file__).read_text(encoding="utf-8"))
    imported = [
        (str(node.module).removeprefix("crlcheck."), name.name, name.asname)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("crlcheck.")
        for name in node.names
    ]
    homes = [(home, name, name) for home, names in crlcheck._HOMES.items() for name in names]
    assert sorted(imported) == sorted(homes)
    assert sorted(crlcheck.__all__) == sorted(name for _, name, _ in homes)


def test_every_exception_is_public() -> None:
    """
    Whatever crlcheck raises of its own can be caught by a public name.
    """
    errors = importlib.import_module("crlcheck.errors")
    defined = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and value.__module__ == errors.__name__
    }
    assert "CrlCheckError" in defined
    assert defined <= set(crlcheck.__all__)


def test_unknown_names_are_attribute_errors() -> None:
    """
    A misspelt name fails as it does on any module.
    """
    with pytest.raises(AttributeError, match="compile_crll"):
        getattr(crlcheck, "compile_crll")  # noqa: B009


def test_the_version_is_that_of_the_distribution() -> None:
    """
    The version stands in one place, and the installed metadata repeats it.
    """
    assert crlcheck.__version__ == importlib.metadata.version("crlcheck")


@pytest.mark.parametrize("package", ["crlcheck", "lambda_authorizer", "preprocessor"])
def test_the_packages_are_marked_as_typed(package: str) -> None:
    """
    Type checkers read the annotations of the package and of the functions (PEP 561).
    """
    assert Path(str(importlib.import_module(package).__file__)).with_name("py.typed").exists()


@pytest.mark.parametrize(
    ("name", "package"), [("aiohttp", "aiohttp"), ("columns", "pyarrow"), ("grpc", "grpc")]
)
def test_a_module_without_its_package_names_the_extra(name: str, package: str) -> None:
    """
    Who has installed crlcheck alone reads what is missing, and what brings it.
    """
    program = (
        f"import sys; sys.modules[{package!r}] = None\n"
        "try:\n"
        f"    import crlcheck.{name}\n"
        "except ImportError as error:\n"
        "    print(error.name, error)\n"
    )
    run = subprocess.run(
        [sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True
    )
    assert run.stdout.startswith(f"{package} crlcheck.{name} needs ")
    assert run.stdout.endswith(f": pip install 'crlcheck[{name}]'\n")
