"""
Use a store from a process of its own, for tests that count together or kill it.

    store_worker.py increment STORE NAME TIMES   add to the number in an object
    store_worker.py hold DIRECTORY               take the store's lock, say so, wait
    store_worker.py write DIRECTORY NAME FILE    write an object from a file
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from crlcheck.errors import PreconditionFailedError
from crlcheck.stores import LocalStore, ObjectStore, open_store


def worker(*arguments: object) -> subprocess.Popen[str]:
    """Start this module as a process with these arguments; its output is a pipe."""
    command = [sys.executable, __file__, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def increment_together(url: str, name: str, *, processes: int, times: int) -> None:
    """Add *processes* times *times* to the number in an object, in that many processes."""
    workers = [worker("increment", url, name, times) for _ in range(processes)]
    for process in workers:
        process.communicate(timeout=60)
        assert process.returncode == 0


def increment(store: ObjectStore, name: str, times: int) -> None:
    """Add 1 to the number in the object, *times* times, by compare-and-swap."""
    for _ in range(times):
        while True:
            found = store.read(name)
            try:
                store.write(name, b"%d" % (int(found.body) + 1), if_match=found.etag)
                break
            except PreconditionFailedError:
                continue


def main(command: str, target: str, *rest: str) -> None:
    """Run one of the commands above."""
    if command == "increment":
        increment(open_store(target), rest[0], int(rest[1]))
    elif command == "hold":
        with LocalStore(target)._locked():
            print("locked", flush=True)
            time.sleep(60)
    elif command == "write":
        LocalStore(target).write(rest[0], Path(rest[1]))


if __name__ == "__main__":
    main(*sys.argv[1:])
