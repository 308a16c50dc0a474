"""Restores, repairs and mirrors in processes of their own: killed at any moment, and at once."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from crlcheck.catalog.published_set import read_set
from crlcheck.publisher.clean_up import clean_up
from crlcheck.publisher.mirror import mirror_store
from crlcheck.publisher.verify import verify_store
from crlcheck.stores import LocalStore
from support.pki import DAY, NOW, make_crl
from support.publish_worker import publisher
from support.publishing import CA, OTHER_CA, publish

pytestmark = [pytest.mark.uninstrumented, pytest.mark.whole]

NUM_KILLS = int(os.environ.get("CRLCHECK_KILLS", "6"))


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    """A store at generation 3 with two scopes, whose objects are kept, and its mirror."""
    store = LocalStore(tmp_path / "store", fsync=False)
    publish(store, make_crl(CA, 1, range(1, 2000)))
    publish(store, make_crl(OTHER_CA, 1, [1]), OTHER_CA.pem)
    publish(store, make_crl(CA, 2, range(1, 3000)))
    clean_up(store, keep=3650 * DAY, now=NOW)
    mirror_store(store, tmp_path / "mirror")
    return store


def command(*arguments: object) -> subprocess.Popen[bytes]:
    """Start the command."""
    return subprocess.Popen([sys.executable, "-P", "-m", "crlcheck", *map(str, arguments), "-q"])


@pytest.mark.parametrize("what", ["restore", "verify", "mirror"])
def test_a_command_that_is_killed(tmp_path: Path, store: LocalStore, what: str) -> None:
    """
    At whatever moment: the set before is whole, or the one after; and a second run ends it.
    """
    mirror, copy = tmp_path / "mirror", tmp_path / "copy"
    arguments = {
        "restore": ("restore", tmp_path / "store", "--from", "@1"),
        "verify": ("verify", tmp_path / "store", "--repair-from", mirror),
        "mirror": ("mirror", tmp_path / "store", copy),
    }[what]
    started = time.monotonic()
    with command(*arguments) as process:
        assert process.wait() == 0
    seconds = time.monotonic() - started
    for number in range(NUM_KILLS):
        if what == "verify":
            for name in (*store.names("images/"), *store.names("nodes/")):
                store.delete(name)
        if what == "mirror":
            publish(store, make_crl(CA, 3 + number, [7]), allow_shrink=True)
        with command(*arguments) as process:
            time.sleep(random.uniform(seconds / 3, seconds))
            process.send_signal(signal.SIGKILL)
        if what == "restore":
            assert verify_store(store).is_whole
        elif what == "mirror":
            assert verify_store(copy).is_whole
        with command(*arguments) as process:
            assert process.wait() == 0
        report = verify_store(copy if what == "mirror" else store)
        assert report.is_whole
        assert report.num_scopes == (1 if what == "restore" else 2)


def test_two_publishers_and_a_restore_at_once(tmp_path: Path, store: LocalStore) -> None:
    """
    Nobody loses a swap for good, each generation is whole, and clean-up leaves no rest.
    """
    issuer = tmp_path / "ca.pem"
    issuer.write_bytes(CA.pem)
    crls = []
    for number in range(3, 23):
        crls.append(tmp_path / f"{number}.crl")
        crls[-1].write_bytes(make_crl(CA, number, range(1, 3000)))
    before = read_set(store)[0].generation
    publishers = [publisher(tmp_path / "store", issuer, *crls[place::2]) for place in range(2)]
    with command("restore", tmp_path / "store", "--from", "@1") as restoring:
        assert restoring.wait() == 0
    assert verify_store(store).is_whole
    for one in publishers:
        one.communicate(timeout=120)
        assert one.returncode == 0
    held, _ = read_set(store)
    assert held.generation > before
    with command("restore", tmp_path / "store", "--from", "@2") as first:
        with command("restore", tmp_path / "store", "--from", tmp_path / "mirror") as second:
            assert second.wait() == 0
        assert first.wait() == 0
    clean_up(store, keep=0 * DAY)
    clean_up(store, grace=0 * DAY)
    clean_up(store, grace=0 * DAY)
    report = verify_store(store)
    assert (report.is_whole, report.num_unnamed, report.num_waiting) == (True, 0, 0)
    assert report.num_scopes == 2
