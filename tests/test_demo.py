"""The demo: a small run of the whole path, and what it would say if something were wrong."""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from crlcheck.cli import main
from crlcheck.demo import apis, pkits, tour
from crlcheck.demo.apis import EXPECTED, Answer
from crlcheck.demo.events import HTTP_RESOURCE, REST_RESOURCE, http_request, rest_request
from crlcheck.demo.pkits import PkitsReport, Refusal
from crlcheck.demo.process import DemoError, ModuleProcess
from crlcheck.demo.tour import Decision, Step, TourReport
from crlcheck.demo.world import make_world

COMMAND = [sys.executable, "-P", "-m", "crlcheck.cli", "demo", "--entries", "2000"]


def environment(directory: Path, marker: str) -> dict[str, str]:
    """An environment that would lead AWS clients astray, were it passed on."""
    return {
        **os.environ,
        "TMPDIR": str(directory),
        "AWS_PROFILE": "no-such-profile",
        "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:1",
        "HTTP_PROXY": "http://127.0.0.1:1",
        "CRLCHECK_STORE": "s3://somebody-elses-bucket",
        "DEMO_TEST_RUN": marker,
    }


def processes_of(marker: str) -> list[str]:
    """The command lines of all processes that inherited the marker."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit() and marker.encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_bytes().decode())
        except OSError:
            continue  # gone meanwhile, or somebody else's
    return found


@dataclass(frozen=True)
class Run:
    """A run that has ended."""

    status: int
    output: str
    errors: str
    directory: Path
    marker: str


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """One run of the command, in a directory for its temporary files."""
    directory, marker = tmp_path_factory.mktemp("demo"), secrets.token_hex(16)
    done = subprocess.run(
        COMMAND, env=environment(directory, marker), capture_output=True, text=True, check=False
    )
    return Run(done.returncode, done.stdout, done.stderr, directory, marker)


def test_every_verdict_is_right(run: Run) -> None:
    """
    Through both kinds of API, the good client is allowed in, the revoked one and
    the one of another CA are denied for the right reason, and the exit status
    says so.
    """
    assert (run.status, run.errors) == (0, "")
    rows = [
        [cell.strip() for cell in re.split("[│|]", line)[1:6]]
        for line in run.output.splitlines()
        if re.match("[│|] (REST|HTTP)", line)
    ]
    assert rows == [
        [api, client, *answer]
        for api in ("REST", "HTTP 2.0")
        for client, *answer in (
            ["good: not listed", "allow", "not_revoked", ""],
            ["revoked: listed", "deny", "revoked", ""],
            ["foreign: of another CA", "deny", "undetermined", "unknown_issuer"],
        )
    ]


def test_the_output_tells_times_and_sizes(run: Run) -> None:
    """
    Each step has its time, the image is compared with the CRL, and a log that
    is no terminal gets no escape sequences.
    """
    assert len(re.findall(r"^ *[\d,]+\.\d ms  \S", run.output, re.MULTILINE)) == 8
    sizes = re.search(
        r"image of 2,000 entries has ([\d,]+) octets, \d+% of the CRL's ([\d,]+)", run.output
    )
    assert sizes is not None
    image, crl = (int(size.replace(",", "")) for size in sizes.groups())
    assert 0 < image < crl
    assert "\x1b" not in run.output
    assert max(map(len, run.output.splitlines())) <= 120


def test_every_crl_of_pkits_is_accounted_for(run: Run) -> None:
    """
    The counts add up to the number of files, and each refusal has its line.
    """
    counts = re.search(r"PKITS: (\d+) CRLs, (\d+) compiled, (\d+) refused", run.output)
    assert counts is not None
    total, compiled, refused = map(int, counts.groups())
    assert total == len(list((pkits.pkits_directory() / "crls").iterdir())) == compiled + refused
    assert len(re.findall(r"^  \w+\.crl +\w+ +\S", run.output, re.MULTILINE)) == refused


def test_a_run_leaves_nothing_behind(run: Run) -> None:
    """
    Neither temporary files nor processes outlive a run.
    """
    assert list(run.directory.iterdir()) == []
    assert processes_of(run.marker) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_run_leaves_no_process_behind(
    tmp_path: Path, number: signal.Signals
) -> None:
    """
    However the demo ends, its servers end with it; its temporary files too
    where it has a say in that.
    """
    marker = secrets.token_hex(16)
    with subprocess.Popen(
        COMMAND, env=environment(tmp_path, marker), stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert "S3 starts" in process.stdout.readline()
        assert len(processes_of(marker)) > 1
        process.send_signal(number)
        status = process.wait(60)
    assert status == (-number if number is signal.SIGKILL else 128 + number)
    deadline = time.monotonic() + 60
    while processes_of(marker) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert processes_of(marker) == []
    if number is not signal.SIGKILL:
        assert list(tmp_path.iterdir()) == []


# ---- the judgement itself --------------------------------------------------------


def report_of(**answers: Answer | None) -> TourReport:
    """A report in which all is right but for *answers*, on the HTTP API."""
    decisions = [
        Decision(api, client, answers.get(client, right) if api == "HTTP 2.0" else right, 0.1, 0.1)
        for api in ("REST", "HTTP 2.0")
        for client, right in EXPECTED.items()
    ]
    return TourReport((Step("a step", "", 0.1),), tuple(decisions), 10, 1000, 500)


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Lets ``crlcheck demo`` show a report made here, as if it had happened."""

    def show(report: TourReport, *arguments: str) -> int:
        pkits_report = PkitsReport(1, ("a.crl",), (Refusal("b.crl", "CrlError", "why", "b"),), 0.1)
        monkeypatch.setattr(tour, "run_tour", lambda *_, **__: report)
        monkeypatch.setattr(pkits, "compile_all", lambda _: pkits_report)
        return main(["demo", *arguments])

    return show


@pytest.mark.parametrize(
    "wrong",
    [
        {"revoked": Answer(True, "not_revoked", None)},
        {"revoked": Answer(False, "undetermined", "stale")},
        {"good": Answer(False, "revoked", None)},
        {"foreign": Answer(True, "undetermined", "unknown_issuer")},
        {"foreign": Answer(False, "undetermined", "store_unavailable")},
        {"good": None},
    ],
    ids=str,
)
def test_a_wrong_verdict_fails_the_demo(
    shown: Any, capsys: pytest.CaptureFixture[str], wrong: dict[str, Answer | None]
) -> None:
    """
    One decision that is not exactly what it must be is shown as wrong, and the
    exit status is 4.
    """
    assert shown(report_of(**wrong)) == 4
    assert "1 of 6 verdicts are WRONG" in capsys.readouterr().out
    assert shown(report_of()) == 0
    assert "WRONG" not in capsys.readouterr().out


def test_a_missing_verdict_fails_the_demo(shown: Any) -> None:
    """
    A client that nobody decided on is no success.
    """
    report = report_of()
    assert shown(replace(report, decisions=report.decisions[1:])) == 4


def test_the_demo_as_json(shown: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """
    One document holds decisions, sizes and what became of PKITS.
    """
    assert shown(report_of(good=None), "--json") == 4
    found = json.loads(capsys.readouterr().out)
    assert (found["right"], found["crl_size"], found["image_size"]) == (False, 1000, 500)
    assert [d["right"] for d in found["decisions"]] == [True] * 3 + [False] + [True] * 2
    assert (found["pkits"]["num_crls"], found["pkits"]["refused"][0]["reason"]) == (2, "why")


def _policy(**changes: Any) -> dict[str, Any]:
    statement = {
        "Action": "execute-api:Invoke",
        "Effect": "Deny",
        "Resource": f"{REST_RESOURCE}/*",
        **changes,
    }
    return {
        "principalId": "1f",
        "policyDocument": {"Version": "2012-10-17", "Statement": [statement]},
        "context": {"verdict": "revoked"},
    }


def test_answers_are_read_as_api_gateway_does() -> None:
    """
    A policy for another API, an unknown effect, a context of more than scalars, or
    a flag that is no boolean is no answer at all.
    """
    assert apis.read_policy(_policy()) == Answer(False, "revoked", None)
    for change in ({"Resource": f"{HTTP_RESOURCE}/*"}, {"Effect": "deny"}, {"Action": "*"}):
        assert apis.read_policy(_policy(**change)) is None
    nested = {**_policy(), "context": {"verdict": "revoked", "cause": ["stale"]}}
    assert apis.read_policy(nested) is None
    simple = {"isAuthorized": False, "context": {"verdict": "undetermined", "cause": "stale"}}
    assert apis.read_simple(simple) == Answer(False, "undetermined", "stale")
    assert apis.read_simple({**simple, "isAuthorized": "false"}) is None
    unreadable: Any
    for unreadable in (None, {}, [], "deny", {"policyDocument": {"Statement": []}}):
        assert apis.read_policy(unreadable) is None
        assert apis.read_simple(unreadable) is None


# ---- parts -------------------------------------------------------------------------


def test_pkits_refusals_are_the_right_ones() -> None:
    """
    Refused are exactly the CRLs of PKITS that are broken by design, signed by
    nobody known, or signed with DSA.
    """
    report = pkits.compile_all(pkits.pkits_directory())
    assert {refusal.name: (refusal.error, refusal.reason) for refusal in report.refused} == {
        "BadCRLIssuerNameCACRL.crl": ("CrlSignatureError", "no_issuer"),
        "BadCRLSignatureCACRL.crl": ("MalformedCrlError", "bad_bit_string"),
        "DSACACRL.crl": ("UnsupportedCrlError", "signature_algorithm"),
        "DSAParametersInheritedCACRL.crl": ("UnsupportedCrlError", "signature_algorithm"),
        "TwoCRLsCABadCRL.crl": ("CrlSignatureError", "no_issuer"),
        "UnknownCRLEntryExtensionCACRL.crl": (
            "UnsupportedCrlError",
            "unknown_critical_entry_extension",
        ),
        "UnknownCRLExtensionCACRL.crl": ("UnsupportedCrlError", "unknown_critical_extension"),
        "keyUsageCriticalcRLSignFalseCACRL.crl": ("CrlSignatureError", "key_usage"),
        "keyUsageNotCriticalcRLSignFalseCACRL.crl": ("CrlSignatureError", "key_usage"),
    }


def test_the_world_repeats_but_for_keys() -> None:
    """
    Serial numbers are the same in every run, so that examples can be compared.
    """
    now = datetime.now(UTC)
    first, second = make_world(5, now=now), make_world(5, now=now)
    for name, client in first.clients.items():
        again = second.clients[name].certificate
        assert client.certificate.serial_number == again.serial_number
        assert client.certificate.public_key() != again.public_key()


def test_events_carry_the_certificate_where_api_gateway_puts_it() -> None:
    """
    The demo's events have the members of those recorded in ``tests/events``.
    """
    certificate = make_world(1, now=datetime.now(UTC)).good.certificate
    for name, make in (("rest", rest_request), ("http_2_0", http_request)):
        path = Path(__file__).parent / "events" / f"authorizer_{name}.json"
        assert _shape(make(certificate)) == _shape(json.loads(path.read_text()))


def _shape(value: Any, place: str = "") -> set[str]:
    """The members of a JSON object, at any depth, but for request headers."""
    if not isinstance(value, dict) or place.lower().endswith("headers"):
        return {place}
    return {inner for name in value for inner in _shape(value[name], f"{place}/{name}")}


def test_a_process_that_fails_says_why() -> None:
    """
    What a module wrote before it ended early is in the error.
    """
    with (
        pytest.raises(DemoError, match="No module named 'no_such_function'"),
        ModuleProcess("crlcheck.demo.function", "no_such_function.x", environ=dict(os.environ)),
    ):
        pass
