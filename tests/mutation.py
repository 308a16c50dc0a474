"""
Mutation testing of the modules that decide: small faults are put into them, one at
a time, and each has to make a test fail.

``make mutants`` runs it with mutmut in build/mutants, in a copy of the tree and an
environment of its own. ``[tool.mutmut]`` in pyproject.toml names the modules and
the tests; mutmut chooses for each fault those tests that reach its function.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import dataclasses
import gc
import importlib
import os
import random
import shutil
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, cast

import libcst as cst
import mutmut.__main__ as mutmut
from mutmut.mutation import mutators
from mutmut.mutation.data import SourceFileMutationData
from mutmut.mutation.diff_apply import get_diff_for_mutant
from mutmut.stats import status_by_exit_code
from mutmut.utils.file_utils import copy_src_dir, walk_mutatable_files

ROOT = Path(__file__).resolve().parent.parent
TREE = ROOT / "build" / "mutants" / "tree"
SURVIVORS = ROOT / "build" / "mutants" / "survivors.diff"
LOG = ROOT / "build" / "mutants" / "mutmut.log"
EQUIVALENTS = ROOT / "tests" / "data" / "equivalent_mutants.toml"
COPIED = ("crlcheck", "lambda_authorizer", "preprocessor", "tests", "docs", "pyproject.toml")

KILLED = ("killed", "timeout", "segfault")
COLUMNS = ("killed", "timeout", "survived", "no tests", "equivalent")


# ---- the faults ------------------------------------------------------------------


def mutated_string(node: cst.BaseString) -> Iterator[cst.BaseString]:
    """Change a string that programs read; prose, which has a space in it, may be reworded."""
    if isinstance(node, cst.SimpleString) and node.raw_value and " " not in node.raw_value:
        quote = node.prefix + node.quote
        yield node.with_changes(value=f"{quote}XX{node.raw_value}{node.quote}")


def mutated_assignment(node: cst.Assign | cst.AnnAssign) -> Iterator[cst.CSTNode]:
    """As mutmut's, but False does not become None, which is as false."""
    if not (isinstance(node.value, cst.Name) and node.value.value == "False"):
        yield from mutators.operator_assignment(node)


def negated_condition(
    node: cst.If | cst.While | cst.IfExp | cst.CompIf,
) -> Iterator[cst.CSTNode]:
    """Negate a condition that has no operator which mutmut changes."""
    if isinstance(node.test, cst.Name | cst.Attribute | cst.Call | cst.Subscript):
        yield node.with_changes(test=cst.UnaryOperation(cst.Not(), node.test))


def dropped_call(node: cst.Expr) -> Iterator[cst.Expr]:
    """Leave out a statement that is a call."""
    if isinstance(node.value, cst.Call):
        yield node.with_changes(value=cst.Name("None"))


def install_operators() -> None:
    """Give mutmut the operators it lacks, and one change of each string instead of three."""
    operators = [
        (kind, operator)
        for kind, operator in mutators.mutation_operators
        if operator not in (mutators.operator_string, mutators.operator_assignment)
    ]
    operators.append((cst.BaseString, mutated_string))
    operators += [(kind, mutated_assignment) for kind in (cst.Assign, cst.AnnAssign)]
    operators += [(kind, negated_condition) for kind in (cst.If, cst.While, cst.IfExp, cst.CompIf)]
    operators.append((cst.Expr, dropped_call))
    cast("list[Any]", mutators.mutation_operators)[:] = operators


# ---- the tree --------------------------------------------------------------------


def lay_out(native: Path, *, anew: bool) -> None:
    """Copy what the tests need; unless *anew*, what mutmut made of it before stays."""
    if anew:
        shutil.rmtree(TREE, ignore_errors=True)
    # Which tests reach a function is asked anew: mutmut would ask new tests only.
    (TREE / "mutants" / "mutmut-stats.json").unlink(missing_ok=True)
    for name in COPIED:
        for old in (TREE / name, TREE / "mutants" / name):
            # mutmut renews what it makes of the modules by itself.
            if old.is_dir() and old != TREE / "mutants" / "crlcheck":
                shutil.rmtree(old)
        source = ROOT / name
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, TREE / name, ignore=ignored)
        else:
            shutil.copy2(source, TREE / name)
    for package in (TREE / "crlcheck", TREE / "mutants" / "crlcheck"):
        package.mkdir(parents=True, exist_ok=True)
        shutil.copy2(native, package)
    os.chdir(TREE)


def generate(jobs: int) -> None:
    """Let mutmut write the mutants, without testing any yet."""
    Path("mutants").mkdir(exist_ok=True)
    copy_src_dir()
    mutmut.create_mutants(jobs)
    importlib.invalidate_caches()  # the directory may not have been there when Python started


# ---- the results -----------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True)
class Mutant:
    """One fault and what became of it."""

    module: str
    name: str
    status: str
    path: Path

    @property
    def is_killed(self) -> bool:
        return self.status in KILLED


def all_mutants() -> list[Mutant]:
    """Return every mutant that there is."""
    found = []
    for path in walk_mutatable_files():
        data = SourceFileMutationData(path=path)
        data.load()
        for name, exit_code in data.exit_code_by_key.items():
            found.append(Mutant(path.stem, name, status_by_exit_code[exit_code], path))
    return found


def changed_lines(diff: str) -> tuple[str, str]:
    """Return what a mutant's lines were and what they are, each in one line."""
    lines = [line for line in diff.splitlines() if not line.startswith(("---", "+++"))]
    was, now = (
        " ".join(line[1:].strip() for line in lines if line.startswith(sign)) for sign in "-+"
    )
    return was, now


def read_equivalents() -> set[tuple[str, str, str]]:
    """Return the mutants that no test can tell from their module, by it and their lines."""
    listed = tomllib.loads(EQUIVALENTS.read_text("utf-8"))["mutant"]
    return {(one["module"], one["was"], one["now"]) for one in listed}


def report(tested: Iterable[Mutant]) -> None:
    """Print the numbers for each module, and write the survivors with their diffs."""
    equivalents = read_equivalents()
    counts: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    survivors = []
    for mutant in tested:
        status = mutant.status
        if not mutant.is_killed:
            diff = get_diff_for_mutant(mutant.name, path=mutant.path)
            if (mutant.module, *changed_lines(diff)) in equivalents:
                status = "equivalent"
            else:
                survivors.append(f"# {status}: {mutant.name}\n{diff}\n")
        counts[mutant.module][status] += 1
        counts["all"][status] += 1
    print(f"\n{'module':<16}" + "".join(f"{column:>12}" for column in (*COLUMNS, "score")))
    for module, statuses in sorted(counts.items()):
        killed = sum(statuses[status] for status in KILLED)
        score = killed / max(1, statuses.total() - statuses["equivalent"])
        numbers = "".join(f"{statuses[column]:>12}" for column in COLUMNS)
        print(f"{module:<16}{numbers}{score:>12.1%}")
    SURVIVORS.write_text("\n".join(survivors), "utf-8")
    print(f"\n{len(survivors)} not killed; their diffs: {SURVIVORS.relative_to(ROOT)}")


# ---- the run ---------------------------------------------------------------------


@contextlib.contextmanager
def output_to(path: Path) -> Iterator[None]:
    """Have this process and its children write to a file: in it is which test failed, and why."""
    sys.stdout.flush()
    kept = os.dup(1), os.dup(2)
    with path.open("wb") as file:
        for descriptor in (1, 2):
            os.dup2(file.fileno(), descriptor)
    try:
        yield
    finally:
        sys.stdout.flush()
        for descriptor, was in zip((1, 2), kept, strict=True):
            os.dup2(was, descriptor)
            os.close(was)


def main() -> None:
    """Run what the command line asks for, and report it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("modules", nargs="*", help="such as scope; all that are configured if none")
    parser.add_argument("--native", type=Path, required=True, help="the built native module")
    parser.add_argument("--sample", type=int, help="so many mutants only, always the same ones")
    parser.add_argument("--again", action="store_true", help="only those not killed the last time")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    os.register_at_fork(before=gc.freeze)  # thousands of children that need not look through it all
    install_operators()
    lay_out(arguments.native, anew=not arguments.again)
    generate(arguments.jobs)
    chosen = [
        one for one in all_mutants() if not arguments.modules or one.module in arguments.modules
    ]
    if arguments.again:
        chosen = [one for one in chosen if not one.is_killed]
    if arguments.sample is not None:
        chosen = random.Random(0).sample(chosen, min(arguments.sample, len(chosen)))
    names = {one.name for one in chosen}
    print(f"{len(names)} mutants; follow them in {LOG.relative_to(ROOT)}", flush=True)
    try:
        with output_to(LOG):
            mutmut.cli(
                ["run", "--max-children", str(arguments.jobs), *sorted(names)],
                standalone_mode=False,
            )
    finally:
        os.chdir(TREE)
        report(one for one in all_mutants() if one.name in names and one.status != "not checked")


if __name__ == "__main__":
    main()
