"""``crlcheck publish``: verify the CRLs of files, compile them and publish the images."""

from __future__ import annotations

import contextlib
import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from crlcheck.catalog.descriptions import count, some_of
from crlcheck.cli.actor import actor
from crlcheck.cli.command import command
from crlcheck.cli.inputs import (
    STANDARD_INPUT,
    crl_files_of,
    input_name,
    issuer_sources,
    open_crl,
    open_for_change,
    source_names,
)
from crlcheck.cli.options import (
    allow_shrink_option,
    change_options,
    compile_options,
    given_options,
    issuer_option,
    max_crls_option,
    to_option,
)
from crlcheck.cli.output import output
from crlcheck.cli.progress import counting_results, working_on_one
from crlcheck.cli.status import (
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_USAGE,
    JsonArray,
    describe,
    report_error,
    report_failure,
    warn,
)
from crlcheck.cli.text import (
    answer,
    changes_text,
    compiled_text,
    entries_text,
    published_members,
    report_members,
    say,
    say_table,
    say_warnings,
)
from crlcheck.encoding.paths import source_name
from crlcheck.errors import CrlError
from crlcheck.publisher.publish_many import (
    PublishResult,
    PublishSource,
    PublishSummary,
    SourceCrl,
    publish_many,
)
from crlcheck.types import PublishReport
from crlcheck.x509.certificates import load_certificates

# Of more files than this only those are told that were not published, and how many there are.
_TOLD_ONE_BY_ONE = 20
_TOLD_ALIKE = 5  # failures in the same words that have a line each


@command(
    "publish",
    short_help="Verify CRLs, compile them and publish the images.",
    exit_statuses={
        0: "every CRL is published, now or already",
        EXIT_USAGE: "wrong usage",
        EXIT_FAILED: "a CRL was refused or a file not read; the others are published",
    },
    examples=[
        "crlcheck publish ca.crl --issuer ca.pem --to published",
        "crlcheck publish crls/ --issuers issuers/ --jobs 8 --to published",
        "curl -s http://crl.example/ca.crl | crlcheck publish - --issuer ca.pem --to s3://crls/published",
    ],
)
@click.argument("crls", metavar="CRL...", type=click.Path(path_type=Path), nargs=-1, required=True)
@issuer_option
@to_option
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    metavar="N",
    help="Compile so many files at once, by default one for each core.",
)
@allow_shrink_option
@click.option(
    "--rebuild",
    is_flag=True,
    help="Write the image anew if it is missing, damaged or outdated.",
)
@max_crls_option
@change_options
@compile_options
def publish_command(
    crls: tuple[Path, ...],
    issuers: tuple[Path, ...],
    store: str,
    jobs: int | None,
    max_crls: int,
    allow_shrink: bool,
    rebuild: bool,
    note: str,
    **options: Any,
) -> int:
    """
    Verify each CRL, compile it and publish the image in its scope.

    CRL is DER or PEM; "-" is standard input, and of a directory each file is
    published. Every CRL of a PEM file is published. One that is refused keeps no
    other from being published. Many are published together, in any order: a delta CRL
    finds its base, and of several CRLs of one scope the newest one stays.

    A CRL is refused if it is not newer than the published one, or if it lacks most
    of more than ten entries. It is also refused if it is past its nextUpdate and
    would replace a current one that revokes no less. Publishing the same CRL again
    changes nothing.
    """
    target, paths = open_for_change(store), crl_files_of(crls)
    publish_options: dict[str, Any] = {
        "issuers": load_certificates(issuer_sources(issuers)),
        "issuers_from": source_names(issuers),
        "jobs": jobs,
        "max_crls": max_crls,
        "allow_shrink": allow_shrink,
        "rebuild": rebuild,
        "note": note,
        "actor": actor(),
        **given_options(options),
    }
    words = f"publishing {count(len(paths), 'file')}"
    with (
        contextlib.closing(_Results(target.url, paths)) as results,
        _sources(paths) as sources,
        # Of a single file the bytes are shown that are read.
        counting_results(words, len(paths)) if len(paths) > 1 else working_on_one() as shown,
    ):
        places = {source: place for place, source in enumerate(sources)}

        def note_result(crl: SourceCrl, result: PublishResult) -> None:
            assert isinstance(crl.given, PublishSource)
            with shown(is_done=crl.number == 1, is_told=results.tells(result)):
                results.note(places[crl.given], crl.number, result)

        try:
            summary = publish_many(sources, target, on_result=note_result, **publish_options)
        except BaseException as error:
            if not isinstance(error, Exception):
                results.tell_interrupted()
            raise
        return results.finish(summary)


@contextlib.contextmanager
def _sources(paths: Sequence[Path]) -> Iterator[list[PublishSource]]:
    """Give the sources of files; a single file shows how far it is read."""
    with contextlib.ExitStack() as stack:
        sources = []
        for path in paths:
            is_input = path == STANDARD_INPUT
            # Standard input is taken here: this thread is the one with the command's context.
            source = stack.enter_context(open_crl(path)) if len(paths) == 1 or is_input else path
            name = None if is_input else source_name(path)
            sources.append(PublishSource(source=source, name=name))
        yield sources


class _Results:
    """Tells the results of a run as they come, and at its end what they were."""

    def __init__(self, store: str, paths: Sequence[Path]) -> None:
        self._store = store
        self._paths = paths
        self._started = time.monotonic()
        self._counts: Counter[str] = Counter()
        self._generation = 0
        self._members: list[tuple[int, int, str]] = []
        self._array = JsonArray()
        # Where the store is down, all fail in the same words.
        self._failures: dict[str, list[str]] = {}
        # The error of a single CRL ends the run, so it waits for a second CRL.
        self._only_error: tuple[int, Exception] | None = None

    def close(self) -> None:
        """Name the CRLs that failed like others; forget the members of the document."""
        for said, subjects in self._failures.items():
            more = subjects[_TOLD_ALIKE:]
            if more and not output().as_json:
                names = some_of(more, _TOLD_ONE_BY_ONE)
                report_error(f"{count(len(more), 'more CRL')} failed like these: {said}: {names}")
        self._array.close()

    def tells(self, result: PublishResult) -> bool:
        """Whether a result is told by itself, and not only counted."""
        return isinstance(result, Exception) or len(self._paths) <= _TOLD_ONE_BY_ONE

    def note(self, place: int, number: int, result: PublishResult) -> None:
        """Tell the result of a CRL: the file's place among the paths, and its number there."""
        self._tell_only_error()
        if isinstance(result, Exception):
            self._counts["refused" if isinstance(result, CrlError) else "failed"] += 1
            if len(self._paths) == sum(self._counts.values()) == 1:
                self._only_error = number, result
            else:
                self._note_failure(place, number, result)
        elif result is not None:
            self._note_report(result)
            self._add(
                place, number, {**published_members(result), **report_members(result.compiled)}
            )

    def _tell_only_error(self) -> None:
        if self._only_error is not None:
            (number, error), self._only_error = self._only_error, None
            self._note_failure(0, number, error)

    def _note_failure(self, place: int, number: int, error: Exception) -> None:
        subject, said = self._subject(place, number), describe(error)
        alike = self._failures.setdefault(said, [])
        alike.append(subject)
        if output().as_json or len(alike) <= _TOLD_ALIKE:
            self._add(place, number, report_failure(error, subject))

    def _subject(self, place: int, number: int) -> str:
        name = input_name(self._paths[place])
        return name if number == 1 else f"{name}#{number}"

    def _add(self, place: int, number: int, members: dict[str, Any]) -> None:
        if output().as_json:
            named = {"store": self._store, "source": str(self._paths[place])}
            self._members.append((place, number, json.dumps({**named, **members})))

    def _note_report(self, report: PublishReport) -> None:
        outcome = "published" if report.published else "published already"
        self._counts["published" if report.published else "unchanged"] += 1
        self._generation = max(self._generation, report.generation)
        if len(self._paths) <= _TOLD_ONE_BY_ONE:
            changes = changes_text(report)
            say(f"{self._store}: {outcome}: generation {report.generation}{changes}")
            if report.published:
                say(f"{report.image_name or 'no image'}: {compiled_text(report.compiled)}")
            else:
                in_use = f"; in use is {report.image_name}" if report.image_name else ""
                say(f"{entries_text(report.compiled)}: no new image{in_use}")
            say_warnings(report.compiled)

    def finish(self, summary: PublishSummary) -> int:
        """Tell what the results were; return the exit status. Raise the error of a single CRL."""
        if self._only_error is not None:
            number, error = self._only_error
            if isinstance(error, CrlError):
                error.add_note(self._subject(0, number))
            raise error
        status = EXIT_FAILED if summary.num_refused or summary.num_failed else 0
        if sum(self._counts.values()) > 1:
            self._say_table()
        self._answer(status)
        return status

    def tell_interrupted(self) -> None:
        """Say how many CRLs were published before the run was interrupted."""
        self._tell_only_error()
        num_published = self._counts["published"]
        generation = f", generation {self._generation}" if self._generation else ""
        warn(
            f"interrupted: {count(num_published, 'CRL')} of {count(len(self._paths), 'file')} "
            f"published{generation}; what is published is whole"
        )
        self._answer(EXIT_INTERRUPTED, interrupted=True)

    def _say_table(self) -> None:
        seconds = time.monotonic() - self._started
        table = Table("outcome", "CRLs")
        table.columns[1].justify = "right"
        for outcome in ("published", "unchanged", "refused", "failed"):
            if self._counts[outcome]:
                table.add_row(outcome, f"{self._counts[outcome]:,}")
        say_table(table)
        generation = f"generation {self._generation}, " if self._generation else ""
        say(f"{self._store}: {generation}{seconds:.1f} seconds")

    def _answer(self, status: int, **members: object) -> None:
        if not output().as_json:
            return
        found = [json.loads(text) for _, _, text in sorted(self._members)]
        if len(found) == 1 and not members:
            answer(found[0])
            return
        for one in found:
            self._array.add(one)
        counts = {f"num_{name}": self._counts[name] for name in _OUTCOMES}
        generation = self._generation or None
        self._array.answer(
            "crls",
            {**members, **counts, "generation": generation, "exit_status": status},
        )


_OUTCOMES = ("published", "unchanged", "refused", "failed")
