"""``crlcheck inspect``: show the contents of a CRL, an image or a store."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from crlcheck.catalog.catalog import PublishedImage, ScopeRecord
from crlcheck.catalog.descriptions import (
    count,
    general_name_text,
    restriction_texts,
)
from crlcheck.catalog.root import CATALOG_NAME
from crlcheck.cli.command import command
from crlcheck.cli.damage import Damage, read_readable
from crlcheck.cli.inputs import (
    STANDARD_INPUT,
    files_of,
    input_name,
    is_store,
    open_target,
    read_input,
    time_of,
)
from crlcheck.cli.issuer import issuer_lines
from crlcheck.cli.options import given_demands, root_key_option
from crlcheck.cli.parameters import TARGET
from crlcheck.cli.status import EXIT_FAILED, about, each_of
from crlcheck.cli.text import (
    answer,
    console,
    say,
    say_fields,
)
from crlcheck.compiler.compile import compile_unverified_crl
from crlcheck.encoding.names import name_text
from crlcheck.errors import CrlError, IndexFileError
from crlcheck.image.index import RevocationIndex, open_index
from crlcheck.image.metadata import metadata_to_json
from crlcheck.publisher.issuers import describe_issuers
from crlcheck.stores import ObjectStore
from crlcheck.times import time_text
from crlcheck.types import ImageMetadata
from crlcheck.x509.distribution_points import read_issuing_distribution_point

_IMAGE_MAGIC = b"\x89CRLX\r\n\x1a"
_UNVERIFIED = "not verified: nobody has checked the signature here"


@command(
    "inspect", examples=["crlcheck inspect ca.crl", "crlcheck inspect s3://crls/published --json"]
)
@click.argument("targets", metavar="CRL_OR_INDEX_OR_STORE...", type=TARGET, nargs=-1, required=True)
@root_key_option
def inspect_command(targets: tuple[str, ...]) -> int:
    """
    Show the contents of CRLs, images and stores.

    "-" is a CRL or an image on standard input. Of a directory that is no store, each
    file is shown. The signature of a CRL is not verified here.
    """
    named = [one for target in targets for one in _files_or_store(target)]
    done, status = each_of(named, _inspect)
    answer(done[0] if len(done) == 1 else {"targets": done})
    return EXIT_FAILED if any(one.get("unreadable") for one in done) else status


def _files_or_store(target: str) -> list[str]:
    path = Path(target)
    is_one = not path.is_dir() or (path / CATALOG_NAME).exists()
    if is_one or not any(map(Path.is_file, path.iterdir())):
        return [target]
    return [str(file) for file in files_of([path])]


def _inspect(target: str) -> dict[str, Any]:
    """
    Show the kind and the contents of *target*; return its JSON members.

    Raises:
        CrlError: it is neither a store nor an image, and no CRL either.
        CorruptIndexError: it is an image that is damaged.
        StoreError: the store cannot be read.
    """
    if is_store(target):
        store = open_target(target)
        return _show_store(store)
    given_demands(of_store=False)
    path = Path(target)
    source: Path | bytes = path
    if path == STANDARD_INPUT:
        source = read_input(path)
        start = source[: len(_IMAGE_MAGIC)]
    else:
        with path.open("rb") as file:
            start = file.read(len(_IMAGE_MAGIC))
    inspect = _inspect_image if start == _IMAGE_MAGIC else _inspect_crl
    with about(input_name(path), IndexFileError, CrlError):
        return inspect(source, input_name(path))


def _inspect_crl(source: Path | bytes, name: str) -> dict[str, Any]:
    report = compile_unverified_crl(source, allow_v1=True, require_next_update=False)
    assert report.image is not None, "no output was named"
    with open_index(report.image, verify=False) as index:
        sizes = {"source_size": report.source_size, "image_size": report.image_size}
        say(f"{name}: a CRL; {_UNVERIFIED}", color="yellow")
        say_fields(
            {
                **_fields(index.metadata),
                "size": f"{report.source_size:,} bytes",
            }
        )
        return {"kind": "crl", "path": name, **sizes, **_members(index.metadata)}


def _inspect_image(source: Path | bytes, name: str) -> dict[str, Any]:
    with open_index(source) as index:
        members = {"digest": index.digest, "stats": index.stats, **_members(index.metadata)}
        verified = "a verified CRL" if index.metadata.verified else f"a CRL {_UNVERIFIED}"
        say(f"{name}: the image of {verified}")
        say_fields({**_fields(index.metadata), **_storage(index)})
        return {"kind": "image", "path": name, **members}


def _storage(index: RevocationIndex) -> dict[str, object]:
    stats = index.stats
    tables: Any = stats["tables"]
    return {
        "size": f"{stats['image_size']:,} bytes",
        "digest": index.digest,
        "tables": [
            f"{count(table['num_entries'], 'serial')} of {count(table['serial_len'], 'byte')}: "
            f"{table['size']:,} bytes"
            for table in tables
        ]
        or "none",
    }


def _members(metadata: ImageMetadata) -> dict[str, Any]:
    """Return the metadata as JSON has it, with the issuer in words."""
    return {
        "issuer_name": name_text(metadata.issuer),
        "verified": metadata.verified,
        "scope": metadata.scope,
        "metadata": metadata_to_json(metadata),
    }


def _fields(metadata: ImageMetadata) -> dict[str, object]:
    now = datetime.now(UTC)
    stale = metadata.is_past(now)
    duplicates = count(metadata.num_duplicates, "duplicate")
    fields: dict[str, object] = {
        "issuer": name_text(metadata.issuer),
        "version": metadata.version,
        "CRL number": _or_none(metadata.crl_number),
        "delta to": metadata.base_crl_number,
        "thisUpdate": time_text(metadata.this_update),
        "nextUpdate": f"{_or_none(time_text(metadata.next_update))}{' (stale)' if stale else ''}",
        "entries": f"{metadata.num_entries:,} ({duplicates} merged)",
        "attributes": None if metadata.attributes else "left out: serial numbers only",
        "signature": metadata.signature_algorithm,
        "authority key id": None
        if metadata.authority_key_id is None
        else metadata.authority_key_id.hex(),
        "distribution": _distribution(metadata.issuing_distribution_point),
        "expiredCertsOnCRL": time_text(metadata.expired_certs_on_crl),
        "TBS digest": metadata.tbs_digest,
        "scope": metadata.scope if metadata.verified else None,
        "warnings": [name.replace("_", " ") for name in metadata.warnings.names] or "none",
    }
    return {name: value for name, value in fields.items() if value is not None}


def _or_none(value: object) -> object:
    return "none" if value is None else value


def _distribution(der: bytes | None) -> list[str] | None:
    """Return a line for each limit of the CRL's scope (RFC 5280 5.2.5)."""
    if der is None:
        return None
    idp = read_issuing_distribution_point(der)
    if idp is None:
        return [f"unreadable: {der.hex()}"]
    lines = [general_name_text(name) for name in idp.point.full_names]
    if idp.point.relative_name is not None:
        lines.append(f"name relative to the issuer: {idp.point.relative_name.hex()}")
    return lines + restriction_texts(idp)


# ---- stores --------------------------------------------------------------------


def _show_store(store: ObjectStore) -> dict[str, Any]:
    url, damage = store.url, Damage()
    catalog = read_readable(store, damage)
    issuers = [one.subject for one in describe_issuers(catalog)]
    say(f"{url}: generation {catalog.generation}, {count(len(catalog.scopes), 'CRL')}")
    console().print(_catalog_table(catalog.scopes, time_of(store)))
    for line in issuer_lines(catalog):
        say(f"trusted issuer: {line}")
    damage.tell()
    return {
        "kind": "store",
        "store": url,
        "generation": catalog.generation,
        "issuers": issuers,
        "scopes": {key: _record(record) for key, record in catalog.scopes.items()},
        "unreadable": damage.members(),
    }


def _record(record: ScopeRecord) -> dict[str, Any]:
    return {
        **_image(record.base),
        "source": record.source,
        "covers_no_distribution_point": record.covers_no_distribution_point,
        "delta": None if record.delta is None else _image(record.delta),
    }


def _image(image: PublishedImage) -> dict[str, Any]:
    return {
        "image_name": image.name,
        "digest": image.digest,
        "size": image.size,
        **_members(image.metadata),
    }


def _catalog_table(scopes: Mapping[str, ScopeRecord], now: datetime) -> Table:
    table = Table("issuer", "CRL", "entries", "thisUpdate", "nextUpdate", "bytes", "source")
    table.columns[6].overflow = "fold"
    for column in (1, 2, 5):
        table.columns[column].justify = "right"
    by_issuer = sorted(scopes.values(), key=lambda one: name_text(one.base.metadata.issuer))
    for record in by_issuer:
        for image in record.images():
            metadata = image.metadata
            stale = metadata.is_past(now)
            kind = " (delta)" if metadata.is_delta else ""
            table.add_row(
                name_text(metadata.issuer),
                f"{_or_none(metadata.crl_number)}{kind}",
                f"{metadata.num_entries:,}",
                time_text(metadata.this_update),
                f"{_or_none(time_text(metadata.next_update))}{' (stale)' if stale else ''}",
                f"{image.size:,}",
                "" if metadata.is_delta else record.source or "",
            )
    return table
