"""Publishers in processes of their own: at once, and killed at any moment."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from pathlib import Path

import pytest

from crlcheck.catalog.catalog import Catalog
from crlcheck.catalog.published_set import read_set
from crlcheck.demo.encoding import encode_extension
from crlcheck.image.index import open_index
from crlcheck.publisher.clean_up import clean_up
from crlcheck.publisher.publish import publish_crl
from crlcheck.stores import LocalStore, ObjectStore, S3Store
from support.moto_server import S3Environment
from support.pki import make_crl
from support.publish_worker import publisher
from support.publishing import CA, given_up_of

pytestmark = [pytest.mark.uninstrumented, pytest.mark.whole]

NUM_PARTITIONS = int(os.environ.get("CRLCHECK_PARTITIONS", "16"))
NUM_KILLS = int(os.environ.get("CRLCHECK_KILLS", "6"))


def partition(number: int) -> bytes:
    """A CRL for the certificates that name distribution point *number*."""
    uri = b"http://ca.test/%d.crl" % number
    name = b"\x86" + bytes([len(uri)]) + uri
    for tag in (b"\xa0", b"\xa0", b"\x30"):
        name = tag + bytes([len(name)]) + name
    point = encode_extension("2.5.29.28", name, critical=True)
    return make_crl(CA, 1, [number + 1], extensions=[point])


def whole(store: ObjectStore) -> Catalog:
    """Return the catalog, all of whose images are there and right."""
    catalog = read_set(store)[0].everything()
    for image in catalog.images():
        with open_index(store.load(image.name)) as index:
            assert (index.digest, index.metadata) == (image.digest, image.metadata)
    return catalog


@pytest.mark.parametrize(("kind", "num_processes"), [("local", 8), ("s3", 8)])
def test_partitions_uploaded_at_once_all_land(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    kind: str,
    num_processes: int,
) -> None:
    """
    Each is a scope of its own, all in one catalog: nobody's swap loses another's.
    """
    count = 128 if kind == "local" else NUM_PARTITIONS
    issuer = tmp_path / "ca.pem"
    issuer.write_bytes(CA.pem)
    paths = [tmp_path / f"{number}.crl" for number in range(count)]
    for number, path in enumerate(paths):
        path.write_bytes(partition(number))
    store: ObjectStore
    if kind == "local":
        store, url = LocalStore(tmp_path / "store", fsync=False), str(tmp_path / "store")
    else:
        s3: S3Environment = request.getfixturevalue("s3")
        url = f"s3://{s3.bucket}/published"
        store = S3Store(url, client=s3.client)
    started = time.monotonic()
    processes = [publisher(url, issuer, *paths[i::num_processes]) for i in range(num_processes)]
    outputs = [process.communicate(timeout=120)[0] for process in processes]
    seconds = time.monotonic() - started
    assert [process.returncode for process in processes] == [0] * num_processes
    reports = [json.loads(line) for output in outputs for line in output.splitlines()]
    assert [report.get("published") for report in reports] == [True] * count
    catalog = whole(store)
    assert len(catalog.scopes) == count
    assert catalog.generation >= count
    assert set(store.names("images/")) == catalog.image_names()
    num_lost = sum(report["num_lost_swaps"] for report in reports)
    print(f"{count} partitions, {num_processes} processes: {seconds:.1f} s, {num_lost} lost swaps")


def test_publishers_killed_at_any_moment_leave_a_whole_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Whatever ``kill -9`` hits, what the catalog names is there, no number goes
    back, the next publisher gets through, and what was left behind is cleaned up.
    """
    # Nobody but the system removes what a killed process was compiling.
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    issuer = tmp_path / "ca.pem"
    issuer.write_bytes(CA.pem)
    store = LocalStore(tmp_path / "store", fsync=False)
    choose = random.Random(7)
    last = number = 0
    for _ in range(NUM_KILLS):
        paths = []
        for _ in range(40):
            number += 1
            paths.append(tmp_path / f"{number}.crl")
            paths[-1].write_bytes(make_crl(CA, number, range(1, 400)))
        process = publisher("--for-ever", store.url, issuer, *paths)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(choose.uniform(0, 0.05))
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        process.stdout.close()
        (record,) = whole(store).scopes.values()
        found = record.base.metadata.crl_number or 0
        assert found > last, "the first of the forty was there before the kill"
        last = found
    crl = make_crl(CA, number + 1, range(1, 400))
    assert publish_crl(crl, store, issuer=CA.pem).published
    catalog = whole(store)
    left = set(store.names("images/")) - catalog.image_names() - {*given_up_of(store)}
    clean_up(store)
    assert left <= {*given_up_of(store)}
    assert not list((tmp_path / "store").glob(".tmp-*"))
