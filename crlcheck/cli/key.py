"""``crlcheck key``: make a key that signs roots, and show a key's public part."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import click

from crlcheck.cli.command import group
from crlcheck.cli.inputs import open_target, read_published_set, usage
from crlcheck.cli.options import root_key_option
from crlcheck.cli.parameters import STORE
from crlcheck.cli.text import answer, say, say_fields
from crlcheck.errors import CrlCheckError
from crlcheck.signing.root_key import RootKey
from crlcheck.signing.signing_key import (
    is_kms_id,
    load_signing_key,
    make_key,
    read_public_key,
    write_new_key,
)


@group(
    "key",
    short_help="Make and show the keys that sign a published set.",
    examples=["crlcheck key new --out root-key.pem", "crlcheck key show root-key.pem"],
)
def key_group() -> None:
    """
    Make and show the keys that sign the root of a published set.

    Publishers sign with a private key (--sign-with), from a file or in AWS KMS. Checkers
    are given the public key, which is one word.
    """


@key_group.command(
    "new",
    examples=["crlcheck key new --out root-key.pem", "crlcheck key new --json"],
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write the private key to this new file, which only its owner may read (0600).",
)
def key_new_command(out: Path | None) -> int:
    """
    Make an Ed25519 key, and show its public part.

    Without --out the private key is written to standard output in PEM (PKCS #8), and
    nothing else.
    """
    if out is None:
        body, root_key = make_key()
        text = body.decode("ascii")
        answer({**_members(root_key), "private_key": text})
        for line in text.splitlines():
            say(line)
        return 0
    root_key = write_new_key(out)
    answer({**_members(root_key), "file": str(out)})
    _say(root_key)
    return 0


@key_group.command(
    "show",
    examples=["crlcheck key show root-key.pem", "crlcheck key show alias/crlcheck-root"],
)
@click.argument("key", metavar="KEY")
@click.option(
    "--store",
    type=STORE,
    help="Bind the public key to this store: its signature counts for no other.",
)
@root_key_option
def key_show_command(key: str, store: str | None) -> int:
    """
    Show the public part of KEY, and its id.

    KEY is a file with a private or public key in PEM, a key in AWS KMS by its ARN, id or
    alias, or a public key as this command shows it.
    """
    root_key = _read(key)
    if store is not None:
        published = read_published_set(open_target(store))
        if not published.root.store:
            raise CrlCheckError(f"{store}: its catalog has format 1, and the store no id yet")
        root_key = dataclasses.replace(root_key, store=published.root.store)
    answer(_members(root_key))
    _say(root_key)
    return 0


def _read(key: str) -> RootKey:
    if is_kms_id(key):
        return load_signing_key(key).root_key
    is_token = ":" in key and not Path(key).exists()
    with usage():
        return RootKey.parse(key) if is_token else read_public_key(key)


def _members(root_key: RootKey) -> dict[str, Any]:
    return {
        "public_key": root_key.token,
        "key_id": root_key.key_id,
        "kind": root_key.kind.value,
    }


def _say(root_key: RootKey) -> None:
    say_fields({"public key": root_key.token, "key id": root_key.key_id})
