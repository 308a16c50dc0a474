"""The recipes of docs/guides/operations.md for cron and systemd work as they stand there."""

from __future__ import annotations

import configparser
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from crlcheck.publisher.locks import run_lock
from crlcheck.stores import LocalStore
from support.blocks import blocks
from support.documents import document
from support.pki import delta_of, make_crl
from support.publishing import CA, OTHER_CA, catalog_of
from support.site import Site, web_site

TEXT = document("operations.md").read_text(encoding="utf-8")
BLOCKS = blocks("operations.md", "### Fetch on a schedule")
HERE = Path(sys.executable).with_name("crlcheck")
NOW = datetime.now(UTC).replace(microsecond=0)


def block(first_line: str) -> str:
    """The code block that begins with a line."""
    (found,) = (one.text for one in BLOCKS if one.text.startswith(f"{first_line}\n"))
    return found


def systemd(name: str) -> configparser.ConfigParser:
    """A unit of the document."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(block(f"# /etc/systemd/system/{name}"))
    return parser


def cron_command() -> str:
    """The command of the line for cron, without time and user."""
    line = block("# /etc/cron.d/crlcheck").splitlines()[1]
    *times, user, command = line.split(" ", 6)
    assert times == ["*/10", "*", "*", "*", "*"]
    assert user == "crlcheck"
    assert "%" not in command  # cron makes a line end of it
    return command


COMMANDS = {
    "cron": cron_command(),
    "systemd": systemd("crlcheck-fetch.service")["Service"]["ExecStart"],
}


@pytest.fixture
def site() -> Iterator[Site]:
    """The CA's web server."""
    with web_site() as made:
        yield made


def adapted(command: str, path: Path) -> str:
    """The command with this machine's paths, for a CA on this machine."""
    for there, here in (
        ("/opt/crlcheck/bin/crlcheck", str(HERE)),
        ("/etc/crlcheck", str(path)),
        ("/var/lib/crlcheck", str(path)),
    ):
        assert there in command
        command = command.replace(there, here)
    return command.replace(" fetch ", " fetch --allow-private ")


def current_crl(crl_number: int, *extensions: bytes) -> bytes:
    """A CRL of an hour ago."""
    return make_crl(
        CA,
        crl_number,
        [crl_number],
        this_update=NOW - timedelta(hours=1),
        next_update=NOW + timedelta(days=1),
        extensions=extensions,
    )


@pytest.mark.parametrize("kind", COMMANDS)
def test_the_recipe_runs(kind: str, site: Site, tmp_path: Path) -> None:
    """
    With the list of the document, as cron runs a line: it publishes, then says nothing,
    fails in part, and ends at once beside another run.
    """
    site.pages["/ca.crl"] = 200, {}, current_crl(4)
    site.pages["/ca-delta.crl"] = 200, {}, current_crl(5, delta_of(4))
    urls = block("# Example CA: the complete CRL, and the delta CRL of every hour")
    assert urls.count("http://crl.example.com/") == 2
    (tmp_path / "urls.txt").write_text(urls.replace("http://crl.example.com", site.url))
    (tmp_path / "issuers.pem").write_bytes(OTHER_CA.pem + CA.pem)
    command = adapted(COMMANDS[kind], tmp_path)

    def run() -> tuple[int, str]:
        done = subprocess.run(
            ["/bin/sh", "-c", command],
            env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout

    store = LocalStore(tmp_path / "published")
    assert run() == (0, "")
    (record,) = catalog_of(store).scopes.values()
    assert record.delta is not None
    assert run() == (0, "")
    with run_lock(store):
        status, shown = run()
    assert status == 6
    assert "another fetch to" in shown
    del site.pages["/ca-delta.crl"]
    status, shown = run()
    assert status == 5
    assert shown.startswith(f"crlcheck: {site.url}/ca-delta.crl: was answered 404, expected 200")
    assert shown.count("\n") == 1
    site.pages.clear()
    assert run()[0] == 4


def test_the_units_fit_each_other() -> None:
    """The service takes a run that another one keeps out for a success; the timer is enabled."""
    service = systemd("crlcheck-fetch.service")
    assert service["Service"]["SuccessExitStatus"] == "6"
    assert service["Service"]["Type"] == "oneshot"
    assert COMMANDS["cron"] == COMMANDS["systemd"]
    assert "/var/lib/" + service["Service"]["StateDirectory"] in COMMANDS["systemd"]
    timer = systemd("crlcheck-fetch.timer")
    assert timer["Timer"]["OnCalendar"] == "*:0/10"
    assert timer["Install"]["WantedBy"] == "timers.target"


def test_the_statuses_are_those_of_the_help() -> None:
    """The table has each of them."""
    done = subprocess.run([HERE, "fetch", "--help"], capture_output=True, text=True, check=True)
    section = done.stdout.split("\nExit status:\n")[1].split("\n\n")[0]
    of_help = re.findall(r"^ +(\d+)", section, re.MULTILINE)
    table = TEXT.split("| exit status | what to do |\n")[1].split("\n\n")[0]
    assert re.findall(r"^\| (\d+) \|", table, re.MULTILINE) == of_help
    assert shlex.split(COMMANDS["cron"])[1] == "fetch"
