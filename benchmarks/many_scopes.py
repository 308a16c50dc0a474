"""
Make stores with many scopes, fast: their CRLs and images are real, and made once.

There are two shapes: as many issuers with a CRL each, and as many partitions of one
issuer's CRL by distribution points. A CRL has 50 entries. What is made is kept under
build/bench, in parts of a thousand scopes, so that stores of all sizes share it.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import pickle
import secrets
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Literal, get_args

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from benchmarks.workloads import BUILD
from crlcheck.catalog.catalog import Catalog, IssuerRecord, PublishedImage, ScopeRecord
from crlcheck.catalog.compare_and_swap import Change, swap
from crlcheck.catalog.history import Action
from crlcheck.catalog.published_set import read_set
from crlcheck.catalog.records import IMAGE_PREFIX
from crlcheck.compiler.compile import compile_to_temporary
from crlcheck.demo.pki import CertificateAuthority, encode_entry, encode_extension, sign_crl
from crlcheck.stores import LocalStore, ObjectStore
from crlcheck.types import ImageMetadata

Shape = Literal["issuers", "partitions"]
SHAPES: tuple[Shape, ...] = get_args(Shape)

NUM_SCOPES = (10, 100, 1_000, 10_000, 100_000)
NUM_ENTRIES = 50

MOST_PUBLISHED = 10_000
"""More CRLs than this are not published to measure that: it would take too long."""

_PART = 1_000
_AT_ONCE = 10_000  # scopes that one generation of a store adds while it is made
_BEGUN = datetime(2026, 1, 1, tzinfo=UTC)
_UNTIL = datetime(2036, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Scope:
    """A scope: its issuer's certificate and key, its distribution point, CRL 1 and the image."""

    issuer: bytes
    key: bytes
    point: str | None
    crl: bytes
    image: bytes
    digest: str
    metadata: ImageMetadata

    @property
    def authority(self) -> CertificateAuthority:
        """The issuer."""
        key = serialization.load_der_private_key(self.key, None)
        return CertificateAuthority(x509.load_der_x509_certificate(self.issuer), key)  # type: ignore[arg-type]

    def next_crl(self, number: int) -> bytes:
        """Return a later CRL of the scope."""
        return _crl(self.authority, self.point, number)

    def client(self) -> bytes:
        """Return a certificate that the CRL covers, and does not list."""
        points = () if self.point is None else (self.point,)
        issued = self.authority.issue(
            "client",
            serial_number=1 << 80,
            distribution_points=points,
            not_before=_BEGUN,
            not_after=_UNTIL,
        )
        return issued.der


def _crl(authority: CertificateAuthority, point: str | None, number: int) -> bytes:
    extensions: tuple[bytes, ...] = ()
    if point is not None:
        names = [x509.UniformResourceIdentifier(point)]
        idp = x509.IssuingDistributionPoint(
            full_name=names,
            relative_name=None,
            only_contains_user_certs=False,
            only_contains_ca_certs=False,
            only_some_reasons=None,
            indirect_crl=False,
            only_contains_attribute_certs=False,
        )
        extensions = (encode_extension("2.5.29.28", idp.public_bytes(), critical=True),)
    digest = hashlib.shake_128(f"{point} {authority.certificate.subject}".encode())
    serials = digest.digest(16 * NUM_ENTRIES)
    entries = [
        encode_entry(int.from_bytes(serials[at : at + 16], "big") | 1 << 127, _BEGUN, reason=1)
        for at in range(0, len(serials), 16)
    ]
    return sign_crl(
        authority,
        entries,
        this_update=_BEGUN + timedelta(minutes=number),
        next_update=_UNTIL,
        crl_number=number,
        extensions=extensions,
    )


# ---- scopes --------------------------------------------------------------------------------


def scopes(shape: Shape, num_scopes: int) -> Iterator[Scope]:
    """Yield the first scopes of a shape; a smaller set is the beginning of a larger one."""
    num_parts = -(-num_scopes // _PART)
    wanted = [(shape, part) for part in range(num_parts) if not _part_path(shape, part).exists()]
    if wanted:
        _directory().mkdir(parents=True, exist_ok=True)
        _partitioned_authority()  # once, before there are several processes
        with multiprocessing.get_context("fork").Pool(len(os.sched_getaffinity(0))) as pool:
            pool.starmap(_make_part, wanted, chunksize=1)
    left = num_scopes
    for part in range(num_parts):
        yield from _read_part(shape, part)[:left]
        left -= _PART


def scope(shape: Shape, number: int) -> Scope:
    """Return the scope of that number, which was made with its store."""
    return _read_part(shape, number // _PART)[number % _PART]


def spread(num_scopes: int, count: int) -> list[int]:
    """Return the numbers of *count* scopes that lie far from each other, or of all."""
    count = min(count, num_scopes)
    return [place * num_scopes // count for place in range(count)]


@lru_cache(maxsize=128)
def _read_part(shape: Shape, part: int) -> Sequence[Scope]:
    made: Sequence[Scope] = pickle.loads(_part_path(shape, part).read_bytes())
    return made


def _make_part(shape: Shape, part: int) -> None:
    made: list[Scope] = []
    for number in range(part * _PART, (part + 1) * _PART):
        if shape == "issuers":
            authority, point = _authority(f"CA {number:06d}"), None
        else:
            authority, point = _partitioned_authority(), f"http://ca.example/crl/{number:06d}"
        crl = _crl(authority, point, 1)
        with compile_to_temporary(crl, issuer=authority.pem) as compiled:
            image = compiled.read()
        made.append(
            Scope(
                authority.der,
                _key_of(authority),
                point,
                crl,
                image,
                compiled.digest,
                compiled.metadata,
            )
        )
    _write(_part_path(shape, part), pickle.dumps(made))


def _authority(name: str) -> CertificateAuthority:
    return CertificateAuthority.create(name, not_before=_BEGUN, not_after=_UNTIL)


def _partitioned_authority() -> CertificateAuthority:
    """Return the issuer of all partitions."""
    path = _directory() / "partitioned.pickle"
    if not path.exists():
        made = _authority("Partitioned CA")
        _write(path, pickle.dumps((made.der, _key_of(made))))
    certificate, key = pickle.loads(path.read_bytes())
    private_key = serialization.load_der_private_key(key, None)
    return CertificateAuthority(x509.load_der_x509_certificate(certificate), private_key)  # type: ignore[arg-type]


def _key_of(authority: CertificateAuthority) -> bytes:
    return authority.private_key.private_bytes(
        serialization.Encoding.DER,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _write(path: Path, body: bytes) -> None:
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_bytes(body)
    unfinished.rename(path)


def _part_path(shape: Shape, part: int) -> Path:
    return _directory() / f"{shape}-{part:03d}.pickle"


@lru_cache(maxsize=1)
def _directory() -> Path:
    """Return the directory of what this code makes, and older code did not."""
    return BUILD / f"scopes-{hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:8]}"


# ---- stores --------------------------------------------------------------------------------


def make_store(shape: Shape, num_scopes: int, directory: Path) -> LocalStore:
    """Make a store in *directory* that has published the first scopes of a shape."""
    kept = _directory() / "stores" / f"{shape}-{num_scopes}"
    if not kept.exists():
        unfinished = kept.with_suffix(".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        _fill(LocalStore(unfinished, fsync=False), shape, num_scopes)
        unfinished.rename(kept)
    # Stores replace files and never write into one, so all but the root may be links.
    shutil.copytree(kept, directory, copy_function=_link)
    return LocalStore(directory, fsync=False)


def _link(source: str, target: str) -> None:
    if Path(source).name == "catalog.json":
        shutil.copyfile(source, target)
    else:
        os.link(source, target)


def _fill(store: ObjectStore, shape: Shape, num_scopes: int) -> None:
    """Publish by the catalog's own code, many scopes in a generation."""
    waiting: list[Scope] = []
    for number, one in enumerate(scopes(shape, num_scopes), 1):
        waiting.append(one)
        if len(waiting) == _AT_ONCE or number == num_scopes:
            _add(store, waiting)
            waiting.clear()


def _add(store: ObjectStore, added: Sequence[Scope]) -> None:
    held, etag = read_set(store)
    records: dict[str, ScopeRecord] = {}
    issuers: dict[bytes, IssuerRecord] = {}
    for one in added:
        name = f"{IMAGE_PREFIX}{one.digest}-{secrets.token_hex(16)}.crlx"
        store.write(name, one.image)
        image = PublishedImage(name, one.digest, len(one.image), one.metadata)
        records[image.metadata.scope] = ScopeRecord(image.metadata.scope, image, None, None)
        issuers[one.issuer] = IssuerRecord(one.issuer, _BEGUN, "benchmark", self_signed=True)
    known = {one.certificate for one in held.part([added[0].metadata.issuer]).issuers}
    before = replace(Catalog.empty(), generation=held.generation)
    new = tuple(issuer for der, issuer in issuers.items() if der not in known)
    after = replace(before, generation=held.generation + 1, scopes=records, issuers=new)
    change = Change(
        before=before,
        after=after,
        action=Action(action="publish"),
        at=_BEGUN,
        clock=lambda: _BEGUN,
    )
    assert swap(store, held, etag, change) is not None
