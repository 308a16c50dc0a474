"""``crlcheck status``."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

import crlcheck
from crlcheck.cli import main
from crlcheck.demo.pki import CertificateAuthority
from crlcheck.signing.signing_key import write_new_key
from crlcheck.stores import LocalStore
from support.blocks import blocks
from support.documents import rows, section
from support.pki import make_crl

HOUR = timedelta(hours=1)


def publish(directory: Path, left: timedelta, name: str = "Status CA", number: int = 1) -> None:
    """Publish a CRL of ten hours, of which so much is left."""
    now = datetime.now(UTC).replace(microsecond=0)
    authority = AUTHORITIES.setdefault(name, CertificateAuthority.create(name, now=now))
    until = now + left
    crl = make_crl(authority, number, this_update=until - 10 * HOUR, next_update=until)
    crlcheck.publish_crl(crl, LocalStore(directory), issuer=authority.pem, source_name=name)


AUTHORITIES: dict[str, CertificateAuthority] = {}


@pytest.mark.parametrize(
    ("left", "expected", "words"),
    [(9 * HOUR, 0, "generation 1"), (2 * HOUR, 1, "stale in "), (-HOUR, 3, "stale for 1:00:0")],
)
def test_the_exit_status_tells_cron_what_to_do(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    left: timedelta,
    expected: int,
    words: str,
) -> None:
    """
    Quietly, too; and JSON has it.
    """
    publish(tmp_path / "s", left)
    store = str(tmp_path / "s")
    assert main(["status", store]) == expected
    assert words in capsys.readouterr().out
    assert main(["status", store, "--quiet"]) == expected
    assert capsys.readouterr().out == ""
    assert main(["status", store, "--json"]) == expected
    document = json.loads(capsys.readouterr().out)
    assert document["exit_status"] == expected
    assert len(document["scopes"]) == bool(expected)
    assert main(["status", store, "--quick"]) == expected


def test_a_refused_crl_asks_for_attention(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Until a CRL of the same source is published.
    """
    publish(tmp_path, 9 * HOUR, number=2)
    with pytest.raises(crlcheck.CrlRollbackError):
        publish(tmp_path, 9 * HOUR, number=1)
    assert main(["status", str(tmp_path)]) == 1
    assert "refused" in capsys.readouterr().out


@pytest.mark.parametrize("given", ["0%", "100%", "12.5%", "6h", "90m"])
def test_the_warning_time_is_a_part_or_a_time(tmp_path: Path, given: str) -> None:
    """
    As the help says.
    """
    publish(tmp_path, 9.5 * HOUR)
    assert main(["status", str(tmp_path), "--warn", given, "-q"]) == (given == "100%")


@pytest.mark.parametrize("given", ["101%", "-1%", "soon", "%", "-6h"])
def test_another_warning_time_is_wrong_usage(tmp_path: Path, given: str) -> None:
    """
    Before the store is asked.
    """
    assert main(["status", str(tmp_path), f"--warn={given}"]) == 2


def test_a_store_without_anything_published_fails(tmp_path: Path) -> None:
    """
    All is not well there.
    """
    assert main(["status", str(tmp_path)]) == 4


def test_prometheus_reads_what_is_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Each scope has its nextUpdate, whatever its issuer is called.
    """
    names = ["Status CA", 'Odd "CA" \\ with\nlines']
    for name in names:
        publish(tmp_path, 9 * HOUR, name)
    assert main(["status", str(tmp_path), "--format", "prometheus"]) == 0
    families = {one.name: one for one in text_string_to_metric_families(capsys.readouterr().out)}
    assert families["crlcheck_generation"].samples[0].value == 2
    assert families["crlcheck_scopes"].samples[0].value == 2
    assert families["crlcheck_stale_scopes"].samples[0].value == 0
    assert families["crlcheck_unreadable_objects"].samples[0].value == 0
    until = families["crlcheck_next_update_timestamp_seconds"].samples
    assert len(until) == 2
    assert all(one.value > datetime.now(UTC).timestamp() for one in until)
    assert {one.labels["store"] for one in until} == {str(tmp_path)}


def test_a_damaged_shard_hides_no_other_scope(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    It has its own line and its own metric, and the exit status says that something is wrong.
    """
    monkeypatch.setattr("crlcheck.catalog.tree.MAX_LEAF", 3000)
    for number in range(6):
        publish(tmp_path, 9 * HOUR, f"CA {number}")
    root = json.loads((tmp_path / "catalog.json").read_bytes())
    top = json.loads((tmp_path / root["top"][0]).read_bytes())
    lost = top["nodes"][-1][1]
    assert main(["status", str(tmp_path), "--all"]) == 0
    healthy = capsys.readouterr().out
    (tmp_path / lost).unlink()
    store = str(tmp_path) + "/."  # nothing of it is in memory
    assert main(["status", store, "--all"]) == 4
    told = capsys.readouterr().out
    assert f"nothing is known of what lies in {lost}: " in told
    assert "crlcheck verify" in told
    num_told = told.count("current for")
    assert 0 < num_told < healthy.count("current for") == 6
    assert main(["status", store, "--json"]) == 4
    document = json.loads(capsys.readouterr().out)
    assert [one["name"] for one in document["unreadable"]] == [lost]
    assert main(["status", store, "--format", "prometheus"]) == 4
    families = {one.name: one for one in text_string_to_metric_families(capsys.readouterr().out)}
    assert families["crlcheck_unreadable_objects"].samples[0].value == 1
    assert families["crlcheck_scopes"].samples[0].value == 6
    assert len(families["crlcheck_next_update_timestamp_seconds"].samples) == num_told


def test_the_document_lists_every_gauge(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    Of a signed store with a CRL that was refused, which has all of them.
    """
    publish(tmp_path, 9 * HOUR)
    with pytest.raises(crlcheck.CrlError):
        crlcheck.publish_crl(
            b"no CRL", tmp_path, issuer=AUTHORITIES["Status CA"].pem, source_name="README.txt"
        )
    write_new_key(tmp_path / "key.pem")
    crlcheck.sign_root(tmp_path, tmp_path / "key.pem", adopt=True)
    capsys.readouterr()
    assert main(["status", str(tmp_path), "--format", "prometheus"]) == 1
    printed = {
        one.name for one in text_string_to_metric_families(capsys.readouterr().out) if one.samples
    }
    assert set(rows(section("metrics.md", "### The published set"))) == printed


@pytest.mark.parametrize(("left", "expected"), [(9 * HOUR, 0), (2 * HOUR, 1), (-HOUR, 3)])
def test_the_line_for_cron_keeps_what_is_printed(
    tmp_path: Path, left: timedelta, expected: int
) -> None:
    """
    Whatever the exit status is; where nothing is printed the file before stays.
    """
    (block,) = blocks("operations.md", "### For Prometheus")
    found = re.fullmatch(r"\*/5 \* \* \* \* (.*)\n", block.text)
    assert found is not None
    folder, store = tmp_path / "collector", tmp_path / "published"
    folder.mkdir()
    publish(store, left)
    line = found[1].replace("/var/lib/node_exporter", str(folder))
    line = line.replace("s3://bucket/published", str(store))
    line = line.replace("crlcheck status", f"{sys.executable} -P -m crlcheck.cli status")
    assert main(["status", str(store), "--format", "prometheus"]) == expected
    for _ in range(2):
        subprocess.run(["sh", "-c", line], env=os.environ, check=False)
        assert "crlcheck_generation{" in (folder / "crlcheck.prom").read_text("utf-8")
        (store / "catalog.json").unlink(missing_ok=True)  # and once more
