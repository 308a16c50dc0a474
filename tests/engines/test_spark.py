"""Spark: two executors in processes of their own answer as one process does."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as sql

from crlcheck import publish_crl
from crlcheck.columns import ColumnChecker
from crlcheck.spark import check, register
from support.inventory import AUTHORITIES, Inventory, make_inventory
from support.pki import NOW, make_crl


@pytest.fixture(scope="module")
def session() -> Iterator[SparkSession]:
    """Spark with two executors, each a process with one core and 1 GiB."""
    os.environ["PYSPARK_PYTHON"] = sys.executable
    os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
    made = (
        SparkSession.builder.master("local-cluster[2,1,1024]")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.executor.memory", "1g")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.execution.arrow.maxRecordsPerBatch", "1000")
        .getOrCreate()
    )
    yield made
    made.stop()


def frame_of(session: SparkSession, inventory: Inventory) -> DataFrame:
    """The table of an inventory, in eight partitions."""
    return session.createDataFrame(inventory.table).repartition(8)


def verdicts_of(frame: DataFrame) -> list[dict[str, Any]]:
    """The verdict of each row, in order; times with their zone."""
    rows = frame.orderBy("row").select("verdict").collect()
    return [{name: aware(value) for name, value in row.verdict.asDict().items()} for row in rows]


def aware(value: Any) -> Any:
    """A time of Spark, which has the zone of this machine."""
    return value.astimezone(UTC) if isinstance(value, datetime) else value


def test_executors_say_what_one_process_does(session: SparkSession, inventory: Inventory) -> None:
    """
    Row for row, in every field, and the other columns stay.
    """
    frame = frame_of(session, inventory)
    found = check(frame, inventory.store.url, issuer="issuer", serial="serial", at=NOW)
    assert found.columns == [*frame.columns, "verdict"]
    assert verdicts_of(found) == inventory.verdicts

    def parents(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for _ in batches:
            yield pa.RecordBatch.from_pydict({"process": [os.getppid()]})

    assert found.mapInArrow(parents, "process long").distinct().count() == 2


def test_the_set_is_that_of_the_call(session: SparkSession, tmp_path: Path) -> None:
    """
    While another is published, every partition answers by the set of before. Its generation
    is with the result.
    """
    mine = make_inventory(tmp_path)
    with ColumnChecker(mine.store, at=NOW) as checker:
        generation = checker.generation
        found = check(frame_of(session, mine), checker, issuer="issuer", serial="serial")
    crl = make_crl(AUTHORITIES[0], 2, [])
    publish_crl(crl, mine.store, issuer=AUTHORITIES[0].der, now=NOW, allow_shrink=True)
    assert verdicts_of(found) == mine.verdicts
    metadata = found.schema["verdict"].metadata
    assert metadata["crlcheck.generation"] == generation
    assert metadata["crlcheck.at"] == NOW.isoformat()
    found.write.parquet(str(tmp_path / "out"))
    kept = session.read.parquet(str(tmp_path / "out")).schema["verdict"].metadata
    assert kept["crlcheck.generation"] == generation


def test_a_lost_executor_changes_nothing(session: SparkSession, inventory: Inventory) -> None:
    """
    Its tasks run again elsewhere, and give the same rows.
    """

    def slowly(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            time.sleep(0.1)
            yield batch

    frame = frame_of(session, inventory)
    slow = frame.mapInArrow(slowly, frame.schema)
    found = check(slow, inventory.store.url, issuer="issuer", serial="serial", at=NOW)
    lost: list[int] = []

    def lose() -> None:
        while not lost:
            time.sleep(0.5)
            lost.extend(executors()[:1])
        os.kill(lost[0], signal.SIGKILL)

    thread = threading.Thread(target=lose)
    thread.start()
    assert verdicts_of(found) == inventory.verdicts
    thread.join()
    assert lost
    assert lost[0] not in executors()


def test_sql(session: SparkSession, inventory: Inventory) -> None:
    """
    A function for queries, and for DataFrames.
    """
    function = register(session, inventory.store.url, at=NOW)
    frame_of(session, inventory).createOrReplaceTempView("inventory")
    query = "select row, crl_verdict(issuer, serial) as verdict from inventory"
    assert verdicts_of(session.sql(query)) == inventory.verdicts
    counted = session.sql(
        "select count(*) as n from inventory "
        "where crl_verdict(issuer, serial).status = 'not_revoked'"
    ).first()
    assert counted is not None
    assert counted.n == inventory.statuses.count("not_revoked")
    frame = frame_of(session, inventory)
    found = frame.withColumn("verdict", function(sql.col("issuer"), sql.col("serial")))
    assert verdicts_of(found) == inventory.verdicts


def test_certificates(session: SparkSession, certificates: Inventory) -> None:
    """
    In the place of issuers and serial numbers.
    """
    frame = session.createDataFrame(certificates.table)
    found = check(frame, certificates.store.url, certificate="certificate", at=NOW)
    assert verdicts_of(found) == certificates.verdicts


def test_what_cannot_be_is_refused_by_the_driver(
    session: SparkSession, inventory: Inventory, tmp_path: Path
) -> None:
    """
    Before any executor begins.
    """
    frame = frame_of(session, inventory)
    with pytest.raises(KeyError, match="found no column 'serial_number'"):
        check(frame, inventory.store.url, issuer="issuer", serial="serial_number")
    with pytest.raises(ValueError, match="there is a column 'row' already"):
        check(frame, inventory.store.url, issuer="issuer", serial="serial", column="row")
    with pytest.raises(FileNotFoundError, match="catalog.json"):
        check(frame, str(tmp_path / "none"), issuer="issuer", serial="serial")


def executors() -> list[int]:
    """The processes of Spark's executors, which are children of this one's."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes()
            parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
        if b"CoarseGrainedExecutorBackend" in command and is_descendant(parent):
            found.append(int(folder.name))
    return sorted(found)


def is_descendant(process: int) -> bool:
    """Whether a process is this one, or was started by it."""
    while process > 1:
        if process == os.getpid():
            return True
        stat = Path(f"/proc/{process}/stat").read_text()
        process = int(stat.rsplit(")", 1)[1].split()[1])
    return False
