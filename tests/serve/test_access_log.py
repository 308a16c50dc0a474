"""The access log: one line for each decision, and no decision waits for it."""

from __future__ import annotations

import dataclasses
import json
import os
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from crlcheck.access import Decision
from crlcheck.serve.access_log import MAX_WAITING, LineWriter, access_line
from crlcheck.types import CheckResult, RevocationStatus
from support.blocks import blocks

AT = datetime(2026, 3, 1, 12, 30, 15, 123456, tzinfo=UTC)
REVOKED = Decision(
    False,
    "revoked",
    "certificate 2a is revoked",
    b"-----BEGIN",
    CheckResult(
        RevocationStatus.REVOKED, None, "", serial_number=0x2A, crl_number=1 << 80, waived=()
    ),
    0.00123456,
)
NO_CERTIFICATE = Decision(False, "no_certificate", "the request has no client certificate")


def line_of(decision: Decision = REVOKED, *, method: str = "GET", path: str = "/check") -> bytes:
    """The line of a denied request."""
    return access_line(decision, "deny", method=method, path=path, worker=3, at=AT)


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until something is so, for as long as a busy machine may take."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


class Counted:
    """Counts what could not be written."""

    def __init__(self) -> None:
        self.number = 0

    def __call__(self, number: int) -> None:
        self.number += number


# ---- lines -----------------------------------------------------------------------


def test_a_line_has_the_decision_and_nothing_of_the_certificate_but_its_serial_number() -> None:
    """
    A CRL number is text, because JSON readers keep no more than 53 bits of a number.
    """
    assert json.loads(line_of()) == {
        "time": "2026-03-01T12:30:15.123Z",
        "method": "GET",
        "path": "/check",
        "decision": "deny",
        "verdict": "revoked",
        "cause": "revoked",
        "serial_number": "2a",
        "crl_number": str(1 << 80),
        "seconds": 0.001235,
        "worker": 3,
    }


def test_the_line_of_the_page_is_one() -> None:
    """
    Of a denied request, with every member.
    """
    (shown,) = blocks("log-lines.md", "## The access log of crlcheck serve")
    told = json.loads(shown.text)
    number = int(told["crl_number"])
    result = CheckResult(
        RevocationStatus.REVOKED,
        None,
        "",
        serial_number=int(told["serial_number"], 16),
        crl_number=number,
        waived=(),
    )
    decision = dataclasses.replace(REVOKED, result=result, seconds=told["seconds"])
    at = datetime.fromisoformat(told["time"])
    line = access_line(decision, "deny", method="GET", path="/check", worker=told["worker"], at=at)
    assert line.decode() == shown.text


def test_a_line_without_a_result_says_so() -> None:
    """
    The members are always the same.
    """
    told = json.loads(line_of(NO_CERTIFICATE))
    assert list(told) == list(json.loads(line_of()))
    assert [told[name] for name in ("verdict", "serial_number", "crl_number")] == [None] * 3


@pytest.mark.parametrize(
    "hostile",
    [
        'x"} \n{"decision":"allow"',
        "\r\n\x00\x1b[31m\x7f",
        "\u2028\u2029\u202e\ufeff",
        "\ud800 half a character",
        "\U0001f600 and é",
        "\\u000a",
    ],
)
def test_what_a_client_chooses_stays_within_its_member(hostile: str) -> None:
    """
    The line is one line of printable ASCII, and its other members stay as they are.
    """
    line = line_of(path=hostile, method=hostile)
    assert line.endswith(b"\n")
    assert all(0x20 <= byte < 0x7F for byte in line[:-1])
    told = json.loads(line)
    assert told["decision"] == "deny"
    assert told["path"] == hostile.encode("utf-8", "replace").decode()
    told["path"].encode("utf-8")


def test_what_a_client_chooses_is_cut_off() -> None:
    """
    However a character is written in JSON, a line stays short.
    """
    line = line_of(path="/" + "\U0001f600" * 100_000, method="\x01" * 100_000)
    told = json.loads(line)
    assert len(told["path"]) == 256
    assert len(told["method"]) == 16
    assert len(line) < 4096


# ---- the writer ------------------------------------------------------------------


def test_lines_come_to_the_file_in_their_order(tmp_path: Path) -> None:
    """
    All that waits is written before the end.
    """
    unwritten = Counted()
    writer = LineWriter(str(tmp_path / "access.log"), unwritten)
    lines = [b"%d\n" % number for number in range(5_000)]
    for line in lines:
        writer.put(line)
    writer.close(30)
    assert (tmp_path / "access.log").read_bytes() == b"".join(lines)
    assert unwritten.number == 0
    mode = stat.S_IMODE((tmp_path / "access.log").stat().st_mode)
    assert mode & 0o137 == 0  # for its owner, and for the group to read


def test_a_file_that_was_rotated_is_made_anew(tmp_path: Path) -> None:
    """
    What was written before stays in the renamed one.
    """
    path, old = tmp_path / "access.log", tmp_path / "access.log.1"
    writer = LineWriter(str(path), Counted())
    writer.put(b"before\n")
    wait_for(lambda: path.exists() and path.read_bytes() == b"before\n")
    path.rename(old)

    def is_back() -> bool:
        writer.put(b"after\n")
        return path.exists()

    wait_for(is_back)
    writer.close(30)
    assert set(path.read_bytes().split()) == {b"after"}
    assert old.read_bytes().startswith(b"before\n")


def test_the_standard_output_may_be_the_destination() -> None:
    """
    It is written to without Python's buffer.
    """
    program = (
        "from crlcheck.serve.access_log import LineWriter\n"
        "writer = LineWriter('-', print)\n"
        "writer.put(b'one\\n'); writer.put(b'two\\n'); writer.close(30)\n"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", program], check=True, capture_output=True, timeout=60
    )
    assert done.stdout == b"one\ntwo\n"
    assert done.stderr == b""


def test_no_write_ends_within_a_line_that_others_could_break(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    A pipe takes 4,096 bytes as a whole, so each write has whole lines and is no longer.
    """
    writes: list[bytes] = []
    may_write = threading.Event()

    def write(_: int, octets: bytes) -> int:
        may_write.wait(30)
        writes.append(octets)
        return len(octets)

    monkeypatch.setattr("crlcheck.serve.access_log.os.write", write)
    writer = LineWriter("-", Counted())
    lines = [b"z" * length + b"\n" for length in [0, 4094, 4095, *range(0, 3500, 7)]]
    for line in lines:
        writer.put(line)
    may_write.set()
    writer.close(30)
    assert b"".join(writes) == b"".join(lines)
    assert all(one.endswith(b"\n") and len(one) <= 4096 for one in writes)
    assert len(writes) < len(lines)


def test_a_destination_that_takes_nothing_delays_nobody() -> None:
    """
    What does not fit the queue is left out and counted, and the rest is written when the
    destination goes on. Every line is whole.
    """
    unwritten = Counted()
    reading, writing = os.pipe()
    writer = LineWriter(writing, unwritten)
    line = b"x" * 99 + b"\n"
    num_put = 2 * MAX_WAITING
    for _ in range(num_put):  # this thread would never come through, if it waited
        writer.put(line)
    assert unwritten.number > 0
    received = bytearray()

    def read() -> None:
        while part := os.read(reading, 1 << 16):
            received.extend(part)

    reader = threading.Thread(target=read)
    reader.start()
    writer.close(30)
    os.close(writing)
    reader.join(30)
    os.close(reading)
    assert received == line * (num_put - unwritten.number)


def test_the_process_ends_although_the_destination_hangs(tmp_path: Path) -> None:
    """
    A fifo that nobody reads cannot even be opened.
    """
    os.mkfifo(tmp_path / "fifo")
    program = (
        "import sys\n"
        "from crlcheck.serve.access_log import LineWriter\n"
        "writer = LineWriter(sys.argv[1], print)\n"
        "writer.put(b'one\\n'); writer.close(0.1)\n"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", program, str(tmp_path / "fifo")],
        check=True,
        capture_output=True,
        timeout=60,
    )
    assert (done.stdout, done.stderr) == (b"", b"")


@pytest.mark.parametrize("kind", ["directory", "missing", "full", "closed"])
def test_a_destination_that_fails_is_counted(
    kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """
    One message tells of it, not one for each line.
    """
    unwritten = Counted()
    reading, writing = os.pipe()
    os.close(reading)
    destinations: dict[str, str | int] = {
        "directory": str(tmp_path),
        "missing": str(tmp_path / "none" / "access.log"),
        "full": "/dev/full",
        "closed": writing,
    }
    if kind == "full" and not Path("/dev/full").exists():
        destinations["full"] = str(tmp_path)  # where there is no such device
    writer = LineWriter(destinations[kind], unwritten)
    for _ in range(100):
        writer.put(b"lost\n")
    writer.close(30)
    os.close(writing)
    assert unwritten.number == 100
    assert [record.getMessage() for record in caplog.records if "cannot be written" in record.msg]
    assert len(caplog.records) == 1


def test_a_destination_is_tried_again(tmp_path: Path) -> None:
    """
    After a pause, so that a full disk is not asked at every line.
    """
    unwritten = Counted()
    path = tmp_path / "later" / "access.log"
    writer = LineWriter(str(path), unwritten)
    writer.put(b"lost\n")
    wait_for(lambda: unwritten.number == 1)
    path.parent.mkdir()

    def is_written() -> bool:
        writer.put(b"kept\n")
        return path.exists() and path.read_bytes() != b""

    wait_for(is_written)
    writer.close(30)
    assert set(path.read_bytes().split()) == {b"kept"}


def test_a_line_after_a_broken_one_begins_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Where a disk is full in the middle of a line, the next one is not glued to it.
    """
    monkeypatch.setattr("crlcheck.serve.access_log._PAUSE", 0.0)
    unwritten = Counted()
    path = tmp_path / "access.log"
    write, calls = os.write, []

    def write_some(file: int, octets: bytes) -> int:
        calls.append(octets)
        if len(calls) == 1:
            return write(file, octets[:4])
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        return write(file, octets)

    monkeypatch.setattr("crlcheck.serve.access_log.os.write", write_some)
    writer = LineWriter(str(path), unwritten)
    writer.put(b"broken\n")
    wait_for(lambda: unwritten.number == 1)
    writer.put(b"whole\n")
    writer.close(30)
    assert path.read_bytes() == b"brok\nwhole\n"


def test_an_open_file_that_does_not_wait_is_waited_for() -> None:
    """
    Whoever gave the standard output may have made it non-blocking.
    """
    unwritten = Counted()
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    writer = LineWriter(writing, unwritten)
    line = b"y" * 999 + b"\n"
    for _ in range(500):  # more than the pipe takes
        writer.put(line)
    received = bytearray()
    while len(received) < 500 * len(line):
        received.extend(os.read(reading, 1 << 16))
    writer.close(30)
    os.close(reading)
    os.close(writing)
    assert received == line * 500
    assert unwritten.number == 0
