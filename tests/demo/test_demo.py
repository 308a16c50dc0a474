"""The demo: a small run of the whole path, and what it would say if something were wrong."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from crlcheck.cli import main
from crlcheck.demo import apis, mutual_tls, pkits, site, tour
from crlcheck.demo.apis import EXPECTED, Answer
from crlcheck.demo.events import HTTP_RESOURCE, REST_RESOURCE, http_request, rest_request
from crlcheck.demo.mutual_tls import Call, MutualTlsReport
from crlcheck.demo.pkits import PkitsReport, Refusal
from crlcheck.demo.process import DemoError, ModuleProcess
from crlcheck.demo.site import Step
from crlcheck.demo.tour import Decision, TourReport
from crlcheck.demo.world import make_world
from support.demo import Run, check_interrupted, processes_of, run_demo

# ``crlcheck demo`` on a machine without nginx; tests/e2e has the other.
WITHOUT_NGINX = """
import sys
from crlcheck.cli import main
from crlcheck.demo import mutual_tls
mutual_tls.find_nginx = lambda: None
sys.exit(main(["demo", "--entries", "2000"]))
"""
COMMAND = [sys.executable, "-P", "-c", WITHOUT_NGINX]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """One run of the command, in a directory for its temporary files."""
    return run_demo(COMMAND, tmp_path_factory.mktemp("demo"))


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
        r"image of 2,000 entries has ([\d,]+) bytes, \d+% of the CRL's ([\d,]+)", run.output
    )
    assert sizes is not None
    image, crl = (int(size.replace(",", "")) for size in sizes.groups())
    assert 0 < image < crl
    assert "\x1b" not in run.output
    assert max(map(len, run.output.splitlines())) <= 120


def test_without_nginx_the_rest_is_shown(run: Run) -> None:
    """
    One line says what was left out and how to get it.
    """
    (line,) = [line for line in run.output.splitlines() if "nginx" in line]
    assert line == (
        "Left out: the same by real mutual TLS, for which nginx is missing "
        "(apt install nginx-light)."
    )


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
    assert len(check_interrupted(COMMAND, tmp_path, number, after="S3 starts")) > 1


WITHOUT_FUNCTIONS = """
import sys
from pathlib import Path
sys.path[:] = [path for path in sys.path if not Path(path, "preprocessor").exists()]
sys.path += sys.argv[1:]
from crlcheck.cli import main
sys.exit(main(["demo", "--entries", "10"]))
"""


@pytest.mark.parametrize("others", [[], ["preprocessor.py"], ["preprocessor/__init__.py"]])
def test_without_the_functions_the_demo_says_what_to_do(tmp_path: Path, others: list[str]) -> None:
    """
    Where crlcheck alone is installed, or beside another distribution's package called
    preprocessor, one line says what is missing and where the demo runs.
    """
    for name in others:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    run = subprocess.run(
        [sys.executable, "-P", "-c", WITHOUT_FUNCTIONS, tmp_path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, run.stdout) == (4, "")
    assert run.stderr == (
        "crlcheck: the demo runs the Lambda functions, and lambda_authorizer and preprocessor "
        "cannot be imported: an installed crlcheck does not bring them; run 'make demo' in a "
        "checkout of crlcheck\n"
    )


# ---- the judgement itself --------------------------------------------------------


def report_of(**answers: Answer | None) -> TourReport:
    """A report in which all is right but for *answers*, on the HTTP API."""
    decisions = [
        Decision(api, client, answers.get(client, right) if api == "HTTP 2.0" else right, 0.1, 0.1)
        for api in ("REST", "HTTP 2.0")
        for client, right in EXPECTED.items()
    ]
    return TourReport((Step("a step", "", 0.1),), tuple(decisions), 10, 1000, 500)


def calls_of(**got: tuple[int, Answer]) -> MutualTlsReport:
    """A report in which all is right but for *got*: a status and what the access log has."""
    revoked = EXPECTED["revoked"]
    calls = []
    for client, right in [*EXPECTED.items(), ("good", revoked)]:
        name = "again" if client == "good" and right == revoked else client
        status, answer = got.get(name, (200 if right.allowed else 403, right))
        calls.append(Call(client, right, status, (answer,), ("GET /",), 0.1))
    return MutualTlsReport((), tuple(calls))


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Lets ``crlcheck demo`` show a report made here, as if it had happened."""

    def show(
        report: TourReport, *arguments: str, mutual_tls_report: MutualTlsReport | None = None
    ) -> int:
        pkits_report = PkitsReport(1, ("a.crl",), (Refusal("b.crl", "CrlError", "why", "b"),), 0.1)
        monkeypatch.setattr(site, "open_site", lambda *_, **__: contextlib.nullcontext())
        monkeypatch.setattr(tour, "run_tour", lambda _: report)
        monkeypatch.setattr(mutual_tls, "run_mutual_tls", lambda _: mutual_tls_report)
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


@pytest.mark.parametrize(
    "wrong",
    [
        {"again": (200, Answer(True, "not_revoked", None))},
        {"revoked": (200, Answer(False, "revoked", None))},
        {"foreign": (403, Answer(False, "undetermined", "store_unavailable"))},
        {"good": (502, Answer(True, "not_revoked", None))},
    ],
    ids=str,
)
def test_a_wrong_answer_through_nginx_fails_the_demo(
    shown: Any, capsys: pytest.CaptureFixture[str], wrong: dict[str, tuple[int, Answer]]
) -> None:
    """
    A client that got another status, or the right one for another reason, is shown
    as wrong, and the exit status is 4; so it is where a call is missing.
    """
    report = calls_of(**wrong)
    assert sum("WRONG, expected" in call.detail for call in report.calls) == 1
    assert shown(report_of(), mutual_tls_report=report) == 4
    assert "1 of 4 answers through nginx are WRONG" in capsys.readouterr().out
    right = calls_of()
    assert shown(report_of(), mutual_tls_report=right) == 0
    assert "WRONG" not in capsys.readouterr().out
    assert shown(report_of(), mutual_tls_report=replace(right, calls=right.calls[:-1])) == 4


def test_the_demo_as_json(shown: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """
    One document holds decisions, sizes, calls and what became of PKITS.
    """
    assert shown(report_of(good=None), "--json") == 4
    found = json.loads(capsys.readouterr().out)
    assert (found["right"], found["crl_size"], found["image_size"]) == (False, 1000, 500)
    assert [d["right"] for d in found["decisions"]] == [True] * 3 + [False] + [True] * 2
    assert found["mutual_tls"] is None
    wrong = calls_of(revoked=(200, Answer(True, "not_revoked", None)))
    capsys.readouterr()
    assert shown(report_of(), "--json", mutual_tls_report=wrong) == 4
    found = json.loads(capsys.readouterr().out)
    assert found["right"] is False
    calls = found["mutual_tls"]["calls"]
    assert [c["right"] for c in calls] == [True, False, True, True]
    assert (calls[1]["client"], calls[1]["status"]) == ("revoked", 200)
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
        path = Path(__file__).parents[1] / "events" / f"authorizer_{name}.json"
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


def test_the_functions_are_missed_before_the_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has neither would install the packages in vain: no package has the functions."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(ImportError, match="runs the Lambda functions.*make demo"):
        site.require_packages()
