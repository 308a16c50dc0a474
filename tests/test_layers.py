"""Imports point down the layers of docs/design.md, never up and never sideways."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import crlcheck

ROOT = Path(__file__).parents[1]

# From the bottom up. A package stands for everything in it.
LAYERS = (
    {"_der", "_json"},
    {
        "errors",
        "types",
        "settings",
        "_serial",
        "_pem",
        "_name",
        "_worker",
        "_deadline",
        "_key_ids",
        "_best_path",
        "_refresher",
    },
    {
        "_binding",
        "_bitmap",
        "_metadata",
        "_object_store",
        "_polling",
        "_s3_get",
        "_signature_scheme",
        "_source",
    },
    {"_s3", "_points", "_issuers", "_records"},
    {"certificate", "signature", "index", "scope", "catalog", "stores", "_wording"},
    {"_pipeline", "_images", "_swap", "_difference", "_results"},
    {"compiler", "verdict", "_snapshot", "_serial_question"},
    {"_comparison"},
    {"_follow", "_path", "_publication", "_publication_warnings", "rejections"},
    {"_health"},
    {"publisher", "checker"},
    {"operations", "mirror", "fetcher"},
    {"issuers"},
    {"demo"},
    {"cli"},
)
LAYER_OF = {module: number for number, layer in enumerate(LAYERS) for module in layer}
FUNCTIONS = ("lambda_authorizer", "preprocessor")


def _modules(package: str) -> dict[str, Path]:
    """Every module of a top-level package, by dotted name."""
    found = {}
    for path in sorted((ROOT / package).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def _resolve(package: str, name: str) -> str:
    """What ``from package import name`` refers to, as a dotted name."""
    if package == "crlcheck" and name in crlcheck.__all__:
        return f"crlcheck.{crlcheck._HOME_OF[name]}.{name}"
    return f"{package}.{name}"


def imports(source: str) -> set[str]:
    """
    Dotted names of everything that *source* imports, wherever it does so, and
    of what it reaches through ``crlcheck`` itself.
    """
    found = set()
    package_names = set()  # what crlcheck itself is called in this source
    nodes = list(ast.walk(ast.parse(source)))
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                found.add(alias.name)
                if alias.name == "crlcheck":
                    package_names.add(alias.asname or "crlcheck")
                elif alias.name.startswith("crlcheck.") and not alias.asname:
                    package_names.add("crlcheck")
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports are not used"
            found |= {_resolve(str(node.module), alias.name) for alias in node.names}
    found |= {
        _resolve("crlcheck", node.attr)
        for node in nodes
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id in package_names
    }
    return found


CORE = _modules("crlcheck")
HANDLERS = {name: path for package in FUNCTIONS for name, path in _modules(package).items()}


def upward_imports(module: str, source: str) -> list[str]:
    """What *module* of crlcheck imports that does not lie in a layer below it."""
    unit = module.split(".")[1]
    wrong = []
    for name in sorted(imports(source)):
        top, *rest = name.split(".")
        if top in FUNCTIONS:
            allowed = unit == "demo"
        elif top == "crlcheck" and rest:
            imported = rest[0]
            # The compiled module is below every layer, and only one module sees it.
            allowed = (
                unit == "_binding"
                if imported == "_native"
                else imported in {unit, "__version__"}
                or LAYER_OF.get(imported, len(LAYERS)) < LAYER_OF.get(unit, -1)
            )
        else:
            allowed = True
        if not allowed:
            wrong.append(name)
    return wrong


def private_imports(module: str, source: str) -> list[str]:
    """What a Lambda module imports that is neither its own nor a public crlcheck name."""
    own = module.split(".", maxsplit=1)[0]
    wrong = []
    for name in sorted(imports(source)):
        top, *rest = name.split(".")
        if top in FUNCTIONS:
            allowed = top == own
        elif top == "crlcheck" and rest:
            public = len(rest) > 1 and rest[1] in crlcheck.__all__
            allowed = public or rest == ["__version__"] or rest[0] == "settings"
        else:
            allowed = True
        if not allowed:
            wrong.append(name)
    return wrong


def test_every_module_has_a_layer() -> None:
    """
    A new module of crlcheck is placed in a layer, and the table names no module
    that is gone.
    """
    assert {name.split(".")[1] for name in CORE if "." in name} == LAYER_OF.keys()


@pytest.mark.parametrize("module", [name for name in CORE if "." in name])
def test_imports_point_down(module: str) -> None:
    """
    A module imports from lower layers only, lazily or not; only ``_binding``
    imports the compiled module, and only the demo knows the Lambda functions.
    """
    assert upward_imports(module, CORE[module].read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("module", HANDLERS)
def test_functions_use_public_names_only(module: str) -> None:
    """
    The Lambda functions use public names of crlcheck, and never each other.
    """
    assert private_imports(module, HANDLERS[module].read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("module", "source", "wrong"),
    [
        ("crlcheck.index", "from crlcheck.scope import covers", ["crlcheck.scope.covers"]),
        ("crlcheck.scope", "import crlcheck.checker", ["crlcheck.checker"]),
        ("crlcheck.index", "from crlcheck._native import lib", ["crlcheck._native.lib"]),
        ("crlcheck._binding", "from crlcheck._native import lib", []),
        ("crlcheck.index", "from crlcheck import publish_crl", ["crlcheck.publisher.publish_crl"]),
        ("crlcheck.index", "import crlcheck\ncrlcheck.errors.StoreError", []),
        (
            "crlcheck.index",
            "import crlcheck as c\nc.publish_crl",
            ["crlcheck.publisher.publish_crl"],
        ),
        ("crlcheck.cli", "from crlcheck.cli.commands import crlcheck\ncrlcheck.invoke()", []),
        ("crlcheck.stores", "def f():\n from crlcheck.cli import main", ["crlcheck.cli.main"]),
        ("crlcheck.checker", "import preprocessor.handler", ["preprocessor.handler"]),
        ("crlcheck.demo.run", "import preprocessor.handler, crlcheck.demo.pki", []),
    ],
)
def test_the_layer_rule_sees_what_it_should(module: str, source: str, wrong: list[str]) -> None:
    """
    Sideways, upward, lazy and indirect imports are all seen; downward ones pass.
    """
    assert upward_imports(module, source) == wrong


@pytest.mark.parametrize(
    ("source", "wrong"),
    [
        ("from crlcheck import RevocationChecker", []),
        ("import crlcheck\ncrlcheck.open_store('.')", []),
        ("import crlcheck\ncrlcheck._HOMES", ["crlcheck._HOMES"]),
        ("from crlcheck.settings import read_settings", []),
        ("from crlcheck._pem import pem_blocks", ["crlcheck._pem.pem_blocks"]),
        ("from crlcheck.scope import covers", ["crlcheck.scope.covers"]),
        ("import preprocessor.events", ["preprocessor.events"]),
        ("from lambda_authorizer.events import parse", []),
    ],
)
def test_the_public_names_rule_sees_what_it_should(source: str, wrong: list[str]) -> None:
    """
    Private modules, names that are not exported and the other function are all
    seen; public names and the function's own modules pass.
    """
    assert private_imports("lambda_authorizer.handler", source) == wrong
