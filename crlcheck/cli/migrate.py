"""``crlcheck migrate``: take over from another program."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from crlcheck.catalog.descriptions import count, crl_text
from crlcheck.cli.actor import actor
from crlcheck.cli.command import group
from crlcheck.cli.inputs import open_for_change, open_target, read_input
from crlcheck.cli.options import change_options
from crlcheck.cli.parameters import STORE
from crlcheck.cli.status import EXIT_FAILED, EXIT_USAGE, describe
from crlcheck.cli.text import answer, changes_text, published_members, say
from crlcheck.errors import CrlCheckError, naming
from crlcheck.migration import (
    NUM_EXAMPLES,
    SampleCrl,
    SampleReport,
    SettingText,
    examine_sample,
    settings_in,
    translate_settings,
)
from crlcheck.times import time_text
from crlcheck.types import PublishReport

_STORE_TO_COME = "s3://BUCKET/published"


@group(
    "migrate",
    examples=["crlcheck migrate aws-sample --bucket partner-crls"],
)
def migrate_group() -> None:
    """Take over from another program."""


@migrate_group.command(
    "aws-sample",
    short_help="Verify and compare what the AWS sample for API Gateway denies.",
    exit_statuses={
        0: "the sample denies exactly what the verified CRLs list",
        1: "something is different, or could not be verified",
        EXIT_USAGE: "wrong usage",
        EXIT_FAILED: "the bucket or the store cannot be used",
    },
    examples=[
        "crlcheck migrate aws-sample --bucket partner-crls",
        "crlcheck migrate aws-sample --bucket partner-crls --to s3://partner-crls/published "
        "--dry-run",
        "crlcheck migrate aws-sample --bucket partner-crls --to s3://partner-crls/published",
        "crlcheck migrate aws-sample --bucket ./copy-of-the-bucket --issuer ca.pem --json",
    ],
)
@click.option(
    "--bucket",
    required=True,
    metavar="BUCKET",
    help="The sample's bucket, with or without /prefix, or a directory with a copy of it.",
)
@click.option(
    "--issuer",
    "issuers",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="FILE",
    help="A further CA certificate, where the sample has asked AWS Private CA for it.",
)
@click.option(
    "--to",
    "store",
    type=STORE,
    metavar="STORE",
    help="Publish the CRLs that are verified there. Without it nothing is written.",
)
@click.option(
    "--dry-run",
    is_flag=True,
    help="Compare with what STORE has published, say what would be published, and write nothing.",
)
@click.option(
    "--settings",
    "settings_files",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="FILE",
    help="What aws lambda get-function-configuration prints of a function of the sample.",
)
@change_options
def migrate_aws_sample(
    bucket: str,
    issuers: tuple[Path, ...],
    store: str | None,
    dry_run: bool,
    settings_files: tuple[Path, ...],
    note: str,
) -> int:
    """
    Verify the CRLs in the AWS sample's bucket, which the sample never did, and compare each
    serial number that it denies with those that the CRL lists.

    The bucket is only read, and the sample goes on as before. With --to the verified CRLs are
    published there, and crlcheck's functions can decide by them beside the sample.
    """
    if dry_run and store is None:
        raise click.UsageError("--dry-run needs --to: without a store nothing is published")
    place = _place_of(bucket)
    settings = [_settings(path) for path in settings_files]
    translated = [
        one for given in settings for one in translate_settings(given, store or _STORE_TO_COME)
    ]
    read_list = next((given["s3Key"] for given in settings if "s3Key" in given), None)
    target = None if store is None else open_for_change(store, dry_run=dry_run)
    below = "" if store is None else store.removeprefix(f"{place.rstrip('/')}/")
    report = examine_sample(
        open_target(place),
        issuers=[read_input(path) for path in issuers],
        left_out=[f"{below}/"] if below != (store or "") else [],
        read_list=read_list,
        to=target,
        on_crl=functools.partial(_say_crl, dry_run=dry_run),
        note=note or f"from the AWS sample in {bucket}",
        actor=actor(),
    )
    for name in report.orphans:
        say(f"{name}: a list without its CRL: nobody can tell whether what it denies is revoked")
    for name in report.unread:
        say(
            f"{name!r}: was not read: its name has an empty part, a part that begins with a dot, "
            "or a control character. Copy it to another name"
        )
    if not report.crls and not report.unread:
        say(f"{bucket}: there is no CRL of the sample in it")
    _say_settings(translated)
    _say_sum(report, store)
    if dry_run:
        say("Nothing was published: this was a dry run.")
    answer(
        {
            "bucket": bucket,
            "store": store,
            "dry_run": dry_run,
            "equal": report.is_equal,
            "crls": [_members(one, dry_run=dry_run) for one in report.crls],
            "orphans": list(report.orphans),
            "unread": list(report.unread),
            "num_shared": report.num_shared,
            "settings": [
                {"sample": one.sample, "value": one.value, "crlcheck": one.crlcheck or None}
                for one in translated
            ],
        }
    )
    return 0 if report.is_equal else 1


def _place_of(bucket: str) -> str:
    is_path = bucket.startswith(("s3://", "/", ".")) or Path(bucket).is_dir()
    return bucket if is_path else f"s3://{bucket}"


def _settings(path: Path) -> Mapping[str, str]:
    with naming(path):
        try:
            document = json.loads(read_input(path))
        except ValueError as error:
            raise CrlCheckError(f"found no JSON: {error}") from error
        return settings_in(document)


def _say_crl(crl: SampleCrl, *, dry_run: bool) -> None:
    if crl.metadata is None:
        assert crl.refused is not None, "it has either"
        say(f"{crl.name}: refused: {describe(crl.refused)}")
        if crl.num_listed:
            say(f"  the sample denies {count(crl.num_listed, 'serial number')} for it, unverified")
    else:
        say(
            f"{crl.name}: {crl_text(crl.metadata)} is verified: "
            f"{count(crl.num_entries, 'entry', 'entries')}, {crl.num_equal:,} of them denied by "
            f"the sample{_publication_text(crl.publication, dry_run=dry_run)}"
        )
    if crl.unpublished is not None:
        say(f"  not published: {describe(crl.unpublished)}")
    for numbers, total, what in (
        (crl.only_in_list, crl.num_only_in_list, "denied by the sample, and not revoked"),
        (crl.only_in_crl, crl.num_only_in_crl, "revoked, and allowed by the sample"),
    ):
        if total:
            some = ", ".join(f"{one:x}" for one in numbers)
            more = f" and {total - NUM_EXAMPLES:,} more" if total > NUM_EXAMPLES else ""
            say(f"  {total:,} {what}: {some}{more}")
    for finding in crl.findings:
        say(f"  {finding}")


def _publication_text(publication: PublishReport | None, *, dry_run: bool) -> str:
    if publication is None:
        return ""
    if not publication.published:
        return ", published already"
    return f", {'would be ' if dry_run else ''}published{changes_text(publication)}"


def _say_settings(translated: list[SettingText]) -> None:
    for one in translated:
        say(f"{one.sample}={one.value} -> {one.crlcheck or 'nothing'}: {one.why}")


def _say_sum(report: SampleReport, store: str | None) -> None:
    if report.num_shared:
        say(
            f"{count(report.num_shared, 'serial number is', 'serial numbers are')} listed by CRLs "
            "of several keys: the sample cannot tell whose certificate is meant."
        )
    if len(report.crls) > 1:
        say(
            "The sample's authorizer reads one of these lists (s3Key) and allows what only the "
            "others have; crlcheck's decides by all."
        )
    if report.is_equal:
        say("The sample denies exactly what the verified CRLs list.")
    elif report.crls:
        say("The sample and the verified CRLs differ.")
    if store is None and report.crls:
        say("Nothing was published: --to STORE does that.")


def _members(crl: SampleCrl, *, dry_run: bool) -> dict[str, Any]:
    metadata, publication = crl.metadata, crl.publication
    return {
        "name": crl.name,
        "list": crl.list_name,
        "refused": None if crl.refused is None else describe(crl.refused),
        "unpublished": None if crl.unpublished is None else describe(crl.unpublished),
        "crl_number": None if metadata is None else metadata.crl_number,
        "next_update": None
        if metadata is None or metadata.next_update is None
        else time_text(metadata.next_update),
        "num_entries": crl.num_entries,
        "num_listed": crl.num_listed,
        "num_equal": crl.num_equal,
        "num_only_in_list": crl.num_only_in_list,
        "num_only_in_crl": crl.num_only_in_crl,
        "only_in_list": [f"{one:x}" for one in crl.only_in_list],
        "only_in_crl": [f"{one:x}" for one in crl.only_in_crl],
        "findings": list(crl.findings),
        "generation": None if publication is None or dry_run else publication.generation,
        "publication": None if publication is None else published_members(publication),
    }
