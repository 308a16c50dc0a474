"""The pages of docs/reference have what the code has: no more, no less, and the same values."""

from __future__ import annotations

import dataclasses
import enum
import json
import logging
import re
import typing
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import NoneType
from typing import Any

import click
import pytest

import crlcheck
from crlcheck import Policy
from crlcheck.access import Decision as AccessDecision
from crlcheck.access import VerifiedBy
from crlcheck.cli import status
from crlcheck.cli.actor import ACTOR_VARIABLE
from crlcheck.cli.command import DONE, Command
from crlcheck.cli.root import root
from crlcheck.serve.access_log import access_line
from crlcheck.serve.settings import ServeSettings
from crlcheck.signing.signing_key import write_new_key
from lambda_authorizer import metrics as authorizer_metrics
from lambda_authorizer.events import AuthorizerRequest, EventFormat
from lambda_authorizer.responses import Decision, render
from lambda_authorizer.settings import ResponseKind
from lambda_authorizer.settings import Settings as AuthorizerSettings
from preprocessor import events, outcomes
from preprocessor.events import ObjectEvent, parse_event
from preprocessor.settings import DIMENSIONS
from preprocessor.settings import Settings as PreprocessorSettings
from preprocessor.store_status import record_status
from support.authorizer import publish as publish_example
from support.blocks import blocks
from support.documents import document, rows, section
from support.example_pki import example_pki

ROOT = Path(__file__).parents[2]


def commands(command: click.Command = root, path: str = "") -> Iterator[tuple[str, Command]]:
    """All commands with their names, without those that only group others."""
    if isinstance(command, click.Group):
        for name in sorted(command.commands):
            yield from commands(command.commands[name], f"{path} {name}".strip())
    else:
        assert isinstance(command, Command)
        yield path, command


# ---- settings ----------------------------------------------------------------------------

POLICY = {field.name.upper() for field in dataclasses.fields(Policy)}
SETTINGS: dict[str, tuple[Any, bool]] = {
    "## The authorizer": (AuthorizerSettings, True),
    "## The preprocessor": (PreprocessorSettings, False),
    "## crlcheck serve": (ServeSettings, True),
}
"""By the heading of a table its class, and whether the settings of the policy are left out."""

LISTED = {
    ("## crlcheck serve", "VERIFIED_BY"): {VerifiedBy.PROXY.value, VerifiedBy.CRLCHECK.value},
    ("## The preprocessor", "METRICS_DIMENSIONS"): set(DIMENSIONS),
}
"""The values of settings that take some of an enumeration, or several."""


def kind_of(settings: Any, name: str) -> Any:
    """The type of a setting, without None."""
    hint = typing.get_type_hints(settings)[name.lower()]
    kinds = [one for one in typing.get_args(hint) if one is not NoneType]
    return kinds[0] if kinds and typing.get_origin(hint) is not tuple else hint


def shown(value: Any) -> str:
    """A default as the page has it."""
    if value is dataclasses.MISSING:
        return "required"
    if value in (None, (), timedelta(0)):
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, enum.Enum):
        return f"`{value.value}`"
    if isinstance(value, timedelta):
        for unit, one in (("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)):
            if not value % timedelta(seconds=one):
                return f"`{value // timedelta(seconds=one)}{unit}`"
    return f"`{','.join(value) if isinstance(value, tuple) else value}`"


def compare(heading: str, settings: Any, names: set[str]) -> None:
    """Compare the table below *heading* with the fields of *settings* that have these names."""
    table = rows(section("settings.md", heading))
    assert set(table) == names
    fields = {field.name.upper(): field for field in dataclasses.fields(settings)}
    for name, (values, default, meaning) in table.items():
        assert default == shown(fields[name].default), name
        assert meaning, name
        kind = kind_of(settings, name)
        words = {bool: "boolean", int: "number", timedelta: "duration"}
        listed = set(re.findall(r"`([^`]+)`", values))
        if (heading, name) in LISTED:
            assert listed == LISTED[heading, name]
        elif isinstance(kind, type) and issubclass(kind, enum.Enum):
            assert listed == {one.value for one in kind}, name
        elif kind in words:
            assert values == words[kind], name
        elif typing.get_origin(kind) is tuple:
            assert values == "list", name
        else:
            assert values, name


@pytest.mark.parametrize("heading", SETTINGS)
def test_every_setting_has_its_row(heading: str) -> None:
    """
    With its kind or its values, and its default.
    """
    settings, has_policy = SETTINGS[heading]
    fields = {field.name.upper() for field in dataclasses.fields(settings)}
    compare(heading, settings, fields - POLICY if has_policy else fields)
    if has_policy:
        assert fields > POLICY
        assert "[the policy](#the-policy)" in section("settings.md", heading)


@pytest.mark.parametrize("settings", [AuthorizerSettings, ServeSettings])
def test_the_policy_is_the_same_for_all_that_have_it(settings: Any) -> None:
    """
    Its table has the defaults of each.
    """
    compare("## The policy", settings, POLICY)


def test_the_variables_of_commands_have_their_rows() -> None:
    """
    All that an option names, with the commands that read it or a word for them.
    """
    table = rows(section("settings.md", "## Commands"))
    read_by: dict[str, set[str]] = {}
    for path, command in commands():
        for parameter in command.params:
            if parameter.envvar is not None:
                assert isinstance(parameter.envvar, str)
                read_by.setdefault(parameter.envvar, set()).add(path)
                assert f"`{parameter.opts[0]}`" in table[parameter.envvar][1]
    assert set(table) == {*read_by, ACTOR_VARIABLE}
    assert table["CRLCHECK_MINIMUM_GENERATION"][0] == ", ".join(
        f"`{path}`" for path in sorted(read_by["CRLCHECK_MINIMUM_GENERATION"])
    )


def test_no_other_variable_is_read() -> None:
    """
    Whatever the code, a script or a document names is on the page, or a constant in C.
    """
    page = document("settings.md").read_text(encoding="utf-8")
    known = {
        f"CRLCHECK_{name}" for heading in SETTINGS for name in rows(section("settings.md", heading))
    }
    known |= {f"CRLCHECK_{name}" for name in rows(section("settings.md", "## The policy"))}
    known |= set(re.findall(r"`(CRLCHECK_[A-Z_]+)`", page))
    for header in (ROOT / "native" / "include").glob("*.h"):
        known |= set(re.findall(r"\bCRLCHECK_[A-Z0-9_]+", header.read_text(encoding="utf-8")))
    places = [
        *(ROOT / "lambda_authorizer").rglob("*.py"),
        *(ROOT / "preprocessor").rglob("*.py"),
        *(ROOT / "crlcheck").rglob("*.py"),
        *(path for path in (ROOT / "deploy").rglob("*") if path.is_file()),
        *(ROOT / "docs").rglob("*.md"),
        ROOT / "README.md",
    ]
    for path in places:
        text = path.read_text(encoding="utf-8", errors="replace")
        named = set(re.findall(r"(?<!\w)CRLCHECK_[A-Z0-9_]*[A-Z0-9]\b", text))
        assert named - known <= {"CRLCHECK_NAME"}, path


# ---- events ------------------------------------------------------------------------------


def test_the_events_of_the_page_are_read() -> None:
    """
    Each names the object that it is about.
    """
    examples = blocks("events.md", "## What the preprocessor takes", language="json")
    assert len(examples) == 3
    for example in examples:
        (task,) = parse_event(json.loads(example.text)).tasks
        assert isinstance(task.event, ObjectEvent)
        assert (task.event.created, task.event.url) == (True, "s3://my-crls/crl/ca.crl")


def test_every_direct_invocation_has_its_row() -> None:
    """
    With members that are read, also those that may stand beside them.
    """
    table = rows(section("events.md", "## What the preprocessor takes"))
    asked = set()
    for example, (meaning,) in table.items():
        event = json.loads(example)
        for beside in re.findall(r'`("\w+"(?:: true)?)`', meaning):
            event |= json.loads("{" + (beside if ":" in beside else f'{beside}: "other"') + "}")
        parse_event(event)
        asked |= event.keys()
    assert asked == events._DIRECT_MEMBERS | {"key", "allow_shrink"}


def test_every_event_of_the_authorizer_has_its_row() -> None:
    """
    By the word that the log has for it.
    """
    text = section("events.md", "## What the authorizer takes")
    words = re.findall(r"^\|[^|]+\| `([^`]+)` \|", text, re.MULTILINE)
    assert words == [one.value for one in EventFormat]


def test_every_member_of_an_answer_has_its_row() -> None:
    """
    Those of the context one each, those around it in the text.
    """
    text = section("events.md", "## What the authorizer returns")
    known: dict[str, Any] = dict.fromkeys(Decision._fields, "x")
    assert list(rows(text)) == list(Decision(**known).context())
    decision = Decision(allowed=False, verdict="revoked")
    for kind in ResponseKind:
        request = AuthorizerRequest("arn/*", EventFormat.HTTP_2_0)
        for member in render(decision, request, kind):
            assert f"`{member}`" in text


# ---- metrics -----------------------------------------------------------------------------


def units(heading: str) -> dict[str, str]:
    """The metrics of a table, each with its unit."""
    return {name: cells[0] for name, cells in rows(section("metrics.md", heading)).items()}


def test_the_metrics_of_the_authorizer_have_their_rows() -> None:
    """
    With their units.
    """
    assert units("### The authorizer") == {"decisions": "Count", **authorizer_metrics._UNITS}


def test_the_metrics_of_the_preprocessor_have_their_rows() -> None:
    """
    With their units; one for each outcome first.
    """
    measures = {name: unit.value for name, unit in outcomes._MEASURES.values()}
    expected = {**dict.fromkeys(outcomes._METRIC_NAMES.values(), "Count"), **measures}
    assert list(units("### The preprocessor").items()) == list(expected.items())


def test_the_metrics_of_the_status_have_their_rows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    A signed store has all of them.
    """
    store, key = tmp_path / "store", tmp_path / "key.pem"
    publish_example(store, example_pki().crl())
    write_new_key(key)
    crlcheck.sign_root(store, key, adopt=True)
    settings = PreprocessorSettings(store=str(store), issuers="issuers.pem")
    record_status(crlcheck.open_store(str(store)), settings, logging.getLogger("preprocessor"))
    written = {
        metric["Name"]: metric["Unit"]
        for line in capsys.readouterr().out.splitlines()
        for directive in json.loads(line)["_aws"]["CloudWatchMetrics"]
        for metric in directive["Metrics"]
    }
    assert units('### The event `{"status": true}`') == written


# ---- log lines ---------------------------------------------------------------------------


def members(heading: str) -> set[str]:
    """The members that a table of the page of log lines has."""
    return set(rows(section("log-lines.md", heading)))


def test_the_line_of_the_authorizer_is_explained() -> None:
    """
    What the context has not: the rest of a decision, and what is put beside it.
    """
    known: dict[str, Any] = dict.fromkeys(Decision._fields, "x")
    decision = Decision(**known)
    own = decision.scalars().keys() - decision.context().keys()
    table = rows(section("log-lines.md", "## The authorizer"))
    assert set(table) == {*own, "format", "certificate"}


def test_every_outcome_is_explained_with_its_level() -> None:
    """
    A publication with a warning has a level of its own.
    """
    table = rows(section("log-lines.md", "### Outcomes"))
    assert set(table) == set(outcomes._METRIC_NAMES)
    levels = {str(name): level for name, level in outcomes._LEVELS.items()}
    for name, (level, _) in table.items():
        usual, _, other = level.partition(", ")
        assert usual == logging.getLevelName(levels.get(name, logging.INFO)), name
        assert other == ("WARNING with a warning" if name in ("published", "unchanged") else "")


def test_the_line_of_a_publication_is_explained(tmp_path: Path) -> None:
    """
    A later CRL of a scope has all members, those of the comparison among them.
    """
    pki = example_pki()
    publish_example(tmp_path, pki.crl(number=1))
    report = crlcheck.publish_crl(pki.crl(number=2), tmp_path, issuer=pki.authority.pem)
    outcome = outcomes.of_report("ca.crl", report, 1.0, datetime.now(UTC))
    common = {"object", "message", "outcome"}
    assert set(outcome.members()) == common | members("### Of a published CRL")
    assert common == set(rows(section("log-lines.md", "## The preprocessor").partition("\n###")[0]))


def test_the_line_of_a_refusal_is_explained() -> None:
    """
    All but the attributes of the exception, of which this one has none.
    """
    outcome = outcomes.refused("ca.crl", crlcheck.CrlError("no reason"))
    common = {"object", "message", "outcome"}
    assert set(outcome.members()) == common | members("### Of one that was refused or failed")


def test_the_line_of_the_status_is_explained(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """
    It has all members, whether they are known or not.
    """
    publish_example(tmp_path, example_pki().crl())
    settings = PreprocessorSettings(store=str(tmp_path), issuers="issuers.pem")
    caplog.set_level(logging.INFO, "preprocessor")
    record_status(crlcheck.open_store(str(tmp_path)), settings, logging.getLogger("preprocessor"))
    written = json.loads(caplog.messages[-1])
    assert set(written) == members('### Of the event `{"status": true}`')


def test_a_line_of_the_access_log_is_explained() -> None:
    """
    So is the example, which has the same members in the same order.
    """
    decision = AccessDecision(False, "no_certificate", "the request has no client certificate")
    line = access_line(decision, "deny", method="GET", path="/", worker=1, at=datetime.now(UTC))
    heading = "## The access log of crlcheck serve"
    (example,) = blocks("log-lines.md", "## The access log of crlcheck serve", language="json")
    assert list(json.loads(example.text)) == list(json.loads(line))
    assert list(json.loads(line)) == list(rows(section("log-lines.md", heading)))


# ---- exit statuses -----------------------------------------------------------------------


def test_the_exit_statuses_of_each_command_have_their_rows() -> None:
    """
    In the words of its help, unless they are those of most commands.
    """
    text = section("exit-statuses.md", "## By command")
    listed = re.findall(r"^\| `([^`]+)` \| (\d+) \| (.*) \|$", text, re.MULTILINE)
    assert listed == [
        (path, str(number), words)
        for path, command in commands()
        if command.exit_statuses != DONE
        for number, words in command.exit_statuses.items()
    ]
    assert list(DONE) == [0, 2, 4]


def test_every_exit_status_is_explained() -> None:
    """
    Those that a command may have, and those of a run that was ended.
    """
    text = document("exit-statuses.md").read_text(encoding="utf-8").partition("## By")[0]
    cells = re.findall(r"^\| ([\d, ]+) \|", text, re.MULTILINE)
    listed = {int(number) for cell in cells for number in cell.split(",")}
    known = {value for name, value in vars(status).items() if name.startswith("EXIT_")}
    assert listed == known
    assert listed >= {one for _, command in commands() for one in command.exit_statuses}
