"""Imports point down the floors of the tree, never up, never sideways, never in a circle."""

from __future__ import annotations

import ast
import graphlib
import re
from pathlib import Path

import pytest

import crlcheck
from support.documents import document

ROOT = Path(__file__).parents[2]

# The files and folders of crlcheck, from the ground up. Those of one floor know nothing
# of each other.
FLOORS = (
    {"__version__", "_native", "times"},
    {"errors"},
    {"types"},
    {"settings", "encoding", "remedies", "cloudwatch"},
    {"_binding"},
    {"x509", "stores", "image", "signing"},
    {"compiler", "catalog"},
    {"publisher", "checker"},
    {"demo", "access", "migration", "prometheus"},
    {"asgi", "wsgi", "aiohttp", "grpc", "ssl", "ocsp", "columns"},
    {"serve", "duckdb", "pandas", "polars", "spark"},
    {"cli"},
    {"__main__"},
)
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
FUNCTIONS = {"lambda_authorizer", "preprocessor"}


def modules_of(package: str) -> dict[str, str]:
    """Return the source of each module of a top-level package, by dotted name."""
    found = {}
    for path in sorted((ROOT / package).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts).removesuffix(".__init__")] = path.read_text("utf-8")
    return found


CORE = {name: text for name, text in modules_of("crlcheck").items() if name != "crlcheck"}
HANDLERS = {name: text for package in FUNCTIONS for name, text in modules_of(package).items()}


def imports(source: str) -> set[str]:
    """
    Return the dotted names of all that *source* imports, wherever it does so.

    A public name that it takes from ``crlcheck`` stands for the place where that lives.
    """
    found = set()
    own_names = set()  # what crlcheck is called in this source
    nodes = list(ast.walk(ast.parse(source)))
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
            own_names |= {
                alias.asname or "crlcheck"
                for alias in node.names
                if alias.name == "crlcheck"
                or (alias.name.startswith("crlcheck.") and alias.asname is None)
            }
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports are not used"
            found |= {home_of(f"{node.module}.{alias.name}") for alias in node.names}
    return found | {
        home_of(f"crlcheck.{node.attr}")
        for node in nodes
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id in own_names
    }


def home_of(name: str) -> str:
    """Return where a public name of ``crlcheck`` lives, and any other name as it is."""
    home = crlcheck._HOME_OF.get(name.removeprefix("crlcheck."))
    return name if home is None else f"crlcheck.{home}.{name.removeprefix('crlcheck.')}"


def upward_imports(module: str, source: str) -> list[str]:
    """Return what a module of crlcheck imports that does not lie on a floor below it."""
    room = module.split(".")[1]
    wrong = []
    for name in sorted(imports(source)):
        top, _, rest = name.partition(".")
        other = rest.partition(".")[0]
        if top in FUNCTIONS:
            is_allowed = room == "demo"  # which starts them
        elif top != "crlcheck" or other in {"", room}:
            is_allowed = True
        elif other == "_native":
            is_allowed = room == "_binding"
        else:
            is_allowed = FLOOR_OF.get(other, len(FLOORS)) < FLOOR_OF[room]
        if not is_allowed:
            wrong.append(name)
    return wrong


def private_imports(module: str, source: str) -> list[str]:
    """Return what a Lambda module imports that is neither its own nor a public name."""
    own = module.partition(".")[0]
    wrong = []
    for name in sorted(imports(source)):
        top, *rest = name.split(".")
        is_public = rest[-1:] == ["__version__"] or rest[:1] in SHARED or name in PUBLIC
        if top in FUNCTIONS - {own} or (top == "crlcheck" and rest and not is_public):
            wrong.append(name)
    return wrong


SHARED = (["settings"], ["cloudwatch"])  # what the two functions have in common
PUBLIC = {home_of(f"crlcheck.{name}") for name in crlcheck.__all__}


def test_the_design_has_the_layers_that_are_enforced() -> None:
    """
    The layers of docs/explanation/design.md are those of the test that enforces them, in order.
    """
    text = document("design.md").read_text(encoding="utf-8")
    table = re.search(r"^\| in `crlcheck/` .*\n\|-.*\n((?:\|.*\n)+)", text, re.MULTILINE)
    assert table is not None
    cells = [row.split("|")[1] for row in table[1].splitlines()]
    named = [set(re.findall(r"`(\w+)`", cell)) for cell in cells]
    folders = [floor - {"__main__", "__version__", "_native"} for floor in FLOORS]
    assert named == [floor for floor in folders if floor]


@pytest.mark.parametrize("module", CORE)
def test_imports_point_down(module: str) -> None:
    """
    A module imports from floors below its own, lazily or not; only ``_binding``
    imports the compiled module, and only the demo knows the Lambda functions.
    """
    assert upward_imports(module, CORE[module]) == []


@pytest.mark.parametrize("module", HANDLERS)
def test_functions_use_public_names_only(module: str) -> None:
    """
    The Lambda functions use public names of crlcheck, and never each other.
    """
    assert private_imports(module, HANDLERS[module]) == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    """
    Inside a folder, too, imports have an order.
    """
    modules = CORE | HANDLERS
    graph = {
        module: {name if name in modules else name.rpartition(".")[0] for name in imports(source)}
        - {module}
        for module, source in modules.items()
    }
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError


@pytest.mark.parametrize(
    ("module", "source", "wrong"),
    [
        (
            "crlcheck.image.index",
            "import crlcheck.checker.checker.path",
            ["crlcheck.checker.checker.path"],
        ),
        (
            "crlcheck.image.index",
            "import crlcheck.stores.s3",
            ["crlcheck.stores.s3"],
        ),
        ("crlcheck.image.index", "from crlcheck._native import lib", ["crlcheck._native.lib"]),
        ("crlcheck._binding.image", "from crlcheck._native import lib", []),
        ("crlcheck.image.index", "import crlcheck\ncrlcheck.errors.StoreError", []),
        (
            "crlcheck.stores.s3",
            "def f():\n from crlcheck.cli import x",
            ["crlcheck.cli.x"],
        ),
        (
            "crlcheck.checker.checker.checker",
            "import preprocessor.handler",
            ["preprocessor.handler"],
        ),
        ("crlcheck.demo.tour", "import preprocessor.handler, crlcheck.demo.pki", []),
        ("crlcheck.cli", "from crlcheck.cli.root import crlcheck\ncrlcheck.invoke()", []),
    ]
    + [
        ("crlcheck.image.index", source, [home_of("crlcheck.publish_crl")])
        for source in (
            "from crlcheck import publish_crl",
            "import crlcheck\ncrlcheck.publish_crl",
            "import crlcheck as c\nc.publish_crl",
        )
    ],
)
def test_the_rule_of_floors_sees_what_it_should(module: str, source: str, wrong: list[str]) -> None:
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
        ("from crlcheck.encoding.pem import x", ["crlcheck.encoding.pem.x"]),
        ("import preprocessor.events", ["preprocessor.events"]),
        ("from lambda_authorizer.events import parse", []),
    ],
)
def test_the_rule_of_public_names_sees_what_it_should(source: str, wrong: list[str]) -> None:
    """
    Private modules, names that are not exported and the other function are all
    seen; public names and the function's own modules pass.
    """
    assert private_imports("lambda_authorizer.handler", source) == wrong
