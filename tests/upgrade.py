"""
Let another version and this one read and continue what the other has published.

``python tests/upgrade.py REF`` builds crlcheck at a commit or a tag of this repository, and
uses both by the command line alone, which is what stays the same between versions. A refusal
is right only where it names a later format, lets no client pass, and the one that is refused
does write a later one. Prints a line for each combination; the exit status is 1 if one is wrong.
"""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WORK = ROOT / "build" / "upgrade"

CLIENTS = {"good.pem": 0, "revoked.pem": 1, "foreign.pem": 3}
"""The clients that the demo makes, and the exit status that each should get."""

UNDETERMINED, FAILED = 3, 4
"""The exit statuses where no verdict is given, of a certificate or at all."""

LATER = re.compile(
    "written by a later crlcheck|image has format version|signed has the later format"
)
"""What is said of a root, of an image and of a signed statement that are of a later format."""


@dataclass(frozen=True)
class Version:
    """crlcheck as it lies in a directory, which ``modules`` is None for this one."""

    name: str
    modules: Path | None = None

    def run(self, *arguments: object) -> tuple[int, str]:
        """Run the command; return its exit status and all that it says."""
        run = self._python("-m", "crlcheck", *map(str, arguments))
        return run.returncode, run.stdout + run.stderr

    def python(self, program: str) -> str:
        """Run a program that can import this version; return what it prints."""
        return self._python("-c", program).stdout

    def _python(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environ = {
            name: value for name, value in os.environ.items() if not name.startswith("CRLCHECK_")
        }
        if self.modules is not None:
            # Its packages are those of this environment, from which -S keeps this crlcheck.
            environ["PYTHONPATH"] = f"{self.modules}{os.pathsep}{sysconfig.get_path('purelib')}"
        command = [sys.executable, "-P", *(["-S"] if self.modules else []), *arguments]
        return subprocess.run(command, env=environ, capture_output=True, text=True, check=False)

    def must(self, *arguments: object) -> str:
        """Run the command, which must succeed."""
        status, said = self.run(*arguments)
        if status != 0:
            sys.exit(f"{self.name}: crlcheck {' '.join(map(str, arguments))}: {status}\n{said}")
        return said


def build(ref: str) -> Version:
    """Build crlcheck at a commit, into a directory of its own."""
    shutil.rmtree(WORK, ignore_errors=True)
    source = WORK / "source"
    archive = subprocess.run(
        ["git", "archive", "--format=tar", ref], cwd=ROOT, check=False, capture_output=True
    )
    if archive.returncode != 0:
        sys.exit(f"{ref}: git has no such commit or tag here: {archive.stderr.decode().strip()}")
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as opened:
        opened.extractall(source, filter="data")
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(WORK)]
    subprocess.run([*pip, str(source)], check=True)
    (wheel,) = WORK.glob("crlcheck-*.whl")
    with zipfile.ZipFile(wheel) as opened:
        opened.extractall(WORK / "modules")
    return Version(ref, WORK / "modules")


def formats_of(store: Path) -> tuple[int, int]:
    """Return the format of a store, and the latest one of its images."""
    images = [path.read_bytes()[8:10] for path in store.glob("images/*.crlx")]
    root = json.loads((store / "catalog.json").read_text(encoding="utf-8"))
    return int(root["format"]), max((int.from_bytes(one, "little") for one in images), default=0)


def publish(version: Version, files: Path, store: Path) -> None:
    """Publish the demo's CRL, and deny a client of another CA beside it."""
    version.must("publish", files / "ca.crl", "--issuer", files / "ca.pem", "--to", store)


def ask(reader: Version, store: Path, files: Path) -> dict[str, tuple[int, str]]:
    """Return the exit status for each client, and what was said."""
    return {client: reader.run("check", store, files / client) for client in CLIENTS}


def wrong_verdicts(answers: dict[str, tuple[int, str]]) -> str:
    """Return what is wrong with a reader's verdicts; empty if nothing."""
    return "; ".join(
        f"{client}: status {status}, expected {CLIENTS[client]}: {said.strip()}"
        for client, (status, said) in answers.items()
        if status != CLIENTS[client]
    )


def is_refusal(answers: dict[str, tuple[int, str]]) -> bool:
    """Whether what is not as expected lets nobody pass and names a later format."""
    refused = [one for client, one in answers.items() if one[0] != CLIENTS[client]]
    return bool(refused) and all(
        status in (UNDETERMINED, FAILED) and LATER.search(said) for status, said in refused
    )


def cross(writer: Version, other: Version, files: Path) -> list[str]:
    """Return what is wrong where *other* reads and continues what *writer* has published."""
    store, own = WORK / f"by-{writer.name}", WORK / f"of-{other.name}"
    for one in (store, own):
        shutil.rmtree(one, ignore_errors=True)
    publish(writer, files, store)
    publish(other, files, own)
    answers = ask(other, store, files)
    written = formats_of(store)
    later = written > formats_of(own)
    deny = ("deny", "add", store, files / "good.pem", "--for", "1h", "--note", "upgrade check")
    if later and is_refusal(answers):
        if written[0] > formats_of(own)[0]:
            before = (store / "catalog.json").read_bytes()
            status, said = other.run(*deny)
            if status != FAILED or (store / "catalog.json").read_bytes() != before:
                return [f"{other.name} writes over a later format: status {status}: {said}"]
        print(f"{other.name} refuses what {writer.name} writes, in a later format: as documented")
        return []
    wrong = wrong_verdicts(answers)
    if wrong:
        return [f"{other.name} reads a store of {writer.name}: {wrong}"]
    # It goes on: denies the good client, and the first version still reads that.
    other.must(*deny)
    other.must("verify", store)
    found = []
    status, said = other.run("check", store, files / "good.pem")
    if status != 1:
        found.append(f"{other.name} after its own denial: status {status}: {said}")
    answer = writer.run("check", store, files / "good.pem")
    too_new = formats_of(own) > written and is_refusal({"good.pem": answer})
    if answer[0] != 1 and not too_new:
        found.append(f"{writer.name} after {other.name} denied: status {answer[0]}: {answer[1]}")
    if found:
        return found
    print(f"{other.name} reads and continues what {writer.name} publishes")
    return []


def main() -> None:
    """Try both directions."""
    if len(sys.argv) != 2:
        sys.exit("usage: upgrade.py REF, a commit or a tag such as v0.1.0")
    old, new = build(sys.argv[1]), Version("this version")
    files = WORK / "files"
    files.mkdir()
    new.must("demo", "--files", files, "--entries", "1000")
    where = old.python("import crlcheck; print(crlcheck.__file__)")
    if not where.startswith(str(WORK)):
        sys.exit(f"{where.strip()} is not that of {old.name}")
    found = cross(old, new, files) + cross(new, old, files)
    if found:
        sys.exit("\n".join(found))


if __name__ == "__main__":
    main()
