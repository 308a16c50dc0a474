"""
The kinds of values that commands take, with what a shell completes for them.

Names in a store are completed from directories only: nobody waits for a server because
he pressed a key.
"""

from __future__ import annotations

import os
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from crlcheck.catalog.catalog import Catalog
from crlcheck.catalog.published_set import set_of
from crlcheck.catalog.root import CATALOG_NAME
from crlcheck.errors import CrlCheckError
from crlcheck.stores import open_store


class StoreType(click.ParamType[str]):
    """A store: completed as a directory."""

    name = "text"

    def shell_complete(
        self, _context: click.Context, _parameter: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Let the shell complete directories."""
        return [CompletionItem(incomplete, type="dir")]


class TargetType(click.ParamType[str]):
    """A store or a file: completed as a file."""

    name = "text"

    def shell_complete(
        self, _context: click.Context, _parameter: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Let the shell complete files and directories."""
        return [CompletionItem(incomplete, type="file")]


class KeyType(click.ParamType[str]):
    """A key: completed as a file. An environment variable has commas between several."""

    name = "text"
    envvar_list_splitter = ","

    def shell_complete(
        self, _context: click.Context, _parameter: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Let the shell complete files."""
        return [CompletionItem(incomplete, type="file")]


class ScopeType(click.ParamType[str]):
    """A scope: completed from the store that stands before it, if that is a directory."""

    name = "text"

    def shell_complete(
        self, context: click.Context, _parameter: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return the published, removed and reset scopes that begin so."""
        catalog = _catalog_of(context)
        if catalog is None:
            return []
        keys = [*catalog.scopes, *(key for key in catalog.tombstones if key not in catalog.scopes)]
        return [CompletionItem(key) for key in keys if key.startswith(incomplete)]


class IssuerType(click.ParamType[str]):
    """An issuer: completed as a fingerprint in such a store, or as a file."""

    name = "text"

    def shell_complete(
        self, context: click.Context, _parameter: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return the fingerprints that begin so; if there is none, let the shell complete files."""
        catalog = _catalog_of(context)
        known = [] if catalog is None else _fingerprints(catalog)
        found = [CompletionItem(one) for one in known if one.startswith(incomplete)]
        return found or [CompletionItem(incomplete, type="file")]


def _fingerprints(catalog: Catalog) -> list[str]:
    return [*(one.fingerprint for one in catalog.issuers), *catalog.removed_issuers]


def _catalog_of(context: click.Context) -> Catalog | None:
    directory = Path(os.fspath(context.params.get("store") or ""))
    path = directory / CATALOG_NAME
    try:
        if not path.is_file():
            return None
        return set_of(path.read_bytes(), open_store(directory)).everything()
    except (CrlCheckError, OSError):
        return None


STORE, TARGET, SCOPE, ISSUER = StoreType(), TargetType(), ScopeType(), IssuerType()
KEY = KeyType()
