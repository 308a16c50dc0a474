"""Every cause and every refusal names its remedy, and what a remedy names is there."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from crlcheck import (
    CrlCheckError,
    CrlError,
    CrlSignatureError,
    Policy,
    Rejection,
    UndeterminedCause,
    UnsupportedCrlError,
    read_rejections,
    remedy_of,
)
from crlcheck.catalog.descriptions import WAIVED_TEXTS
from crlcheck.checker.results import uncovered
from crlcheck.checker.scope import Coverage
from crlcheck.cli.root import root
from crlcheck.cli.status import describe
from crlcheck.publisher.publish import publish_crl
from crlcheck.remedies import REMEDIES, REMEDIES_BY_REASON, WITHOUT_REMEDY, Cause
from crlcheck.serve.settings import ServeSettings
from lambda_authorizer.settings import Settings as AuthorizerSettings
from preprocessor.settings import Settings as PreprocessorSettings
from support.documents import document
from support.memory_store import MemoryStore
from support.pki import NOW, make_authority, make_crl
from support.values import make_certificate

ROOT = Path(__file__).parents[1]
TEXTS = sorted({*REMEDIES.values(), *REMEDIES_BY_REASON.values()})


def _all_errors() -> list[type[CrlCheckError]]:
    kinds = [CrlCheckError]
    for kind in kinds:
        kinds += (one for one in kind.__subclasses__() if one.__module__ == "crlcheck.errors")
    return kinds


@pytest.mark.parametrize("cause", [*UndeterminedCause, *_all_errors()], ids=str)
def test_every_cause_has_a_remedy_or_a_reason_why_not(cause: Cause) -> None:
    """One of the two, never both."""
    bases = cause.__mro__[:-1] if isinstance(cause, type) else (cause,)
    found = next(one for one in bases if one in REMEDIES or one in WITHOUT_REMEDY)
    assert (found in REMEDIES) != (found in WITHOUT_REMEDY)
    # Not because of the common base: a new kind of error is thought about.
    assert cause is CrlCheckError or found is not CrlCheckError
    assert cause is CrlError or found is not CrlError


def test_the_most_special_remedy_of_an_error_is_given() -> None:
    """By its reason or feature, else by its class; the bases say nothing."""
    for reason in re.findall(r'``"(\w+)"``', CrlSignatureError.__doc__ or ""):
        assert remedy_of(CrlSignatureError("", reason=reason)) == REMEDIES_BY_REASON[reason]
    assert remedy_of(UnsupportedCrlError("", feature="new")) == REMEDIES[UnsupportedCrlError]
    for kind, text in REMEDIES.items():
        if isinstance(kind, type):
            assert remedy_of(kind.__new__(kind)) == text
    assert remedy_of(CrlCheckError()) is None
    assert remedy_of(KeyError("x")) is None


def test_each_reason_and_feature_with_a_remedy_is_raised_somewhere() -> None:
    """A word that nothing raises any more would be in the table for nothing."""
    source = "".join(path.read_text("utf-8") for path in (ROOT / "crlcheck").rglob("*.py"))
    header = (ROOT / "native/include/crlcheck_values.h").read_text("utf-8")
    for word in REMEDIES_BY_REASON:
        raised = re.search(rf'(?:reason|feature)="{word}"', source)
        assert raised or f"CRLCHECK_RULE_{word.upper()}," in header, word


# ---- what a remedy names ---------------------------------------------------------------


def _command_named(words: list[str]) -> click.Command:
    """The command that these words of a sentence begin with."""
    command: click.Command = root
    for word in words:
        if not isinstance(command, click.Group):
            break
        assert word in command.commands, words
        command = command.commands[word]
    assert not isinstance(command, click.Group), words
    return command


def _all_commands(command: click.Command) -> Iterator[click.Command]:
    yield command
    for one in command.commands.values() if isinstance(command, click.Group) else ():
        yield from _all_commands(one)


def _options(*commands: click.Command) -> set[str]:
    return {option for command in commands for one in command.params for option in one.opts}


@pytest.mark.parametrize("text", TEXTS)
def test_the_commands_and_options_that_a_remedy_names_exist(text: str) -> None:
    """Each command, and each option: of its command, or of any where it stands alone."""
    for words in re.findall(r"\bcrlcheck((?: [a-z][a-z-]*)+)", text):
        _command_named(words.split())
    for words, option in re.findall(r"\bcrlcheck((?: [a-z][a-z-]*)+) (--[a-z0-9-]+)", text):
        assert option in _options(_command_named(words.split())), option
    for option in re.findall(r"--[a-z0-9-]+", text):
        assert option in _options(*_all_commands(root)), option


@pytest.mark.parametrize("text", TEXTS)
def test_the_settings_that_a_remedy_names_exist(text: str) -> None:
    """Environment variables of the functions and the service, and fields of a policy."""
    variables = {
        f"CRLCHECK_{field.name.upper()}"
        for settings in (AuthorizerSettings, PreprocessorSettings, ServeSettings)
        for field in dataclasses.fields(settings)
    }
    assert set(re.findall(r"CRLCHECK_\w+", text)) <= variables
    fields = {field.name for field in dataclasses.fields(Policy)}
    assert set(re.findall(r"Policy\.(\w+)", text)) <= fields


@pytest.mark.parametrize("text", TEXTS)
def test_the_documents_that_a_remedy_names_exist(text: str) -> None:
    """And the heading, where it names one."""
    for name, _, fragment in re.findall(r"(docs/[\w/-]+\.md)(#([\w-]+))?", text):
        headings = re.findall(r"^#+ (.*)$", (ROOT / name).read_text("utf-8"), re.MULTILINE)
        anchors = {re.sub(r"[^\w -]", "", one).lower().replace(" ", "-") for one in headings}
        assert not fragment or fragment in anchors, fragment


# ---- where remedies are said -----------------------------------------------------------


def test_the_documents_have_each_cause_with_its_remedy() -> None:
    """The table of docs/reference/supported-crls.md, word for word."""
    text = document("supported-crls.md").read_text("utf-8").replace("`", "")
    for cause in UndeterminedCause:
        (row,) = re.findall(rf"^\| {cause.name} \|.*$", text, re.MULTILINE)
        assert (REMEDIES.get(cause) or WITHOUT_REMEDY[cause]) in row


def test_each_cause_that_a_policy_can_waive_has_words_for_that() -> None:
    """A waiver is told by the text, whichever it is."""
    text = document("supported-crls.md").read_text("utf-8")
    section = text.partition("## Undetermined")[2].partition("\n## ")[0]
    waivable = re.findall(r"^\| `(\w+)` \|[^|]*\| `Policy\.\w+`.*$", section, re.MULTILINE)
    assert {UndeterminedCause[name] for name in waivable} == set(WAIVED_TEXTS)


@pytest.mark.parametrize("cause", ["unknown_issuer", "ambiguous_issuer", "out_of_scope"])
def test_a_verdict_says_what_can_be_done(cause: str) -> None:
    """After the reason, as one sentence."""
    found = UndeterminedCause(cause)
    detail = uncovered(make_certificate(), Coverage(cause=found)).detail
    assert detail.endswith(f". What to do: {REMEDIES[found]}")


def test_a_refused_crl_says_what_can_be_done() -> None:
    """In the status object in the store, and on the command line."""
    authority, store = make_authority(), MemoryStore()
    publish_crl(make_crl(authority, 5), store, issuer=authority.der, now=NOW)
    with pytest.raises(CrlCheckError) as caught:
        publish_crl(
            make_crl(authority, 4), store, issuer=authority.der, now=NOW, source_name="old.crl"
        )
    remedy = remedy_of(caught.value)
    assert remedy is not None
    assert "crlcheck scope reset" in remedy
    (rejection,) = read_rejections(store)
    assert isinstance(rejection, Rejection)
    assert rejection.remedy == remedy
    assert describe(caught.value) == f"{caught.value}. What to do: {remedy}"
