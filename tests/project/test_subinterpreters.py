"""
Importing crlcheck in a subinterpreter is an ImportError that says so.

What goes wrong there goes wrong in C, and ends the process: each order of imports
has a process of its own.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

CHILD = """
import sys, threading
if sys.version_info >= (3, 13):
    import _interpreters as interpreters
    create = interpreters.create
else:
    import _xxsubinterpreters as interpreters
    def create(kind):
        return interpreters.create(isolated=kind == "isolated")

ATTEMPTS = '''
import importlib
for module in ("crlcheck.image.index", "crlcheck._native", "crlcheck", "crlcheck.compiler.compile"):
    try:
        importlib.import_module(module).open_index
    except ImportError as error:
        assert "does not support" in str(error) and "subinterpreters" in str(error), error
    else:
        raise SystemError(module + " was imported")
'''

def run(kind):
    interpreter = create(kind)
    failure = interpreters.run_string(interpreter, ATTEMPTS)  # raises before 3.13
    assert failure is None, failure
    interpreters.destroy(interpreter)

def run_in_main():
    import crlcheck
    assert crlcheck.open_index and crlcheck.compile_crl

for step in sys.argv[1:]:
    if step == "main":
        run_in_main()
        continue
    kind, _, where = step.partition("-")
    if where:
        outcomes = []
        def attempt():
            run(kind)
            outcomes.append(kind)
        threads = [threading.Thread(target=attempt) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(outcomes) == 4, outcomes
    else:
        run(kind)
run_in_main()
print("done")
"""


@pytest.mark.uninstrumented
@pytest.mark.parametrize(
    "steps",
    [
        "isolated",
        "legacy",
        "isolated legacy",
        "legacy isolated",
        "isolated isolated legacy legacy",
        "main isolated legacy",
        "main legacy isolated main legacy",
        "legacy main legacy",
        "isolated-threads",
        "legacy-threads",
        "main legacy-threads isolated-threads",
    ],
)
def test_subinterpreters_are_refused_in_every_order(steps: str) -> None:
    """
    Interpreters with and without a GIL of their own are refused, whichever comes
    first and in threads, and the main interpreter works before and afterwards.
    """
    ended = subprocess.run(
        [sys.executable, "-P", "-c", CHILD, *steps.split()],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (0, "done\n"), ended.stderr
