"""Publishing: what gets into the store, and what is refused."""

from __future__ import annotations

import dataclasses
import io
import re
import tempfile
from datetime import timedelta
from pathlib import Path

import pytest

from crlcheck._binding import parse_certificate
from crlcheck.catalog.catalog import IssuerRecord
from crlcheck.catalog.compare_and_swap import change_catalog
from crlcheck.catalog.history import Action
from crlcheck.catalog.published_set import read_set
from crlcheck.catalog.root import CATALOG_NAME
from crlcheck.demo.pki import pem_block
from crlcheck.errors import (
    CertificateError,
    CrlBaseMissingError,
    CrlError,
    CrlNotYetValidError,
    CrlRollbackError,
    CrlSignatureError,
    MalformedCrlError,
    StoreError,
    UnsupportedCrlError,
)
from crlcheck.image.index import open_index
from crlcheck.publisher.publish_many import publish_each
from crlcheck.publisher.rejections import read_rejections
from crlcheck.stores import LocalStore
from crlcheck.types import CertificateFacts, PublishReport
from crlcheck.x509 import certificates as certificate_module
from support.memory_store import MemoryStore
from support.pki import (
    DAY,
    NOW,
    ONLY_USER_CERTIFICATES,
    delta_of,
    make_authority,
    make_crl,
)
from support.publishing import CA, OTHER_CA, catalog_of, images_of, publish


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of temporary files."""
    directory = tmp_path / "temporary"
    directory.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(directory))
    return directory


# ---- what is published -----------------------------------------------------------


def test_issuers_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    For each publication, with what its warnings look at; for all CRLs of a file; and
    not at all where the caller has read them.
    """
    read: list[bytes] = []

    def counted(der: bytes) -> CertificateFacts:
        read.append(der)
        return parse_certificate(der)

    # Those of a catalog are remembered by the process that has read them once.
    for der in (CA.der, OTHER_CA.der):
        assert certificate_module.published_certificate(der) is not None
    monkeypatch.setattr(certificate_module, "parse_certificate", counted)
    store = MemoryStore()
    publish(store, make_crl(CA, 1), issuer=[CA.der, OTHER_CA.der])
    assert read == [CA.der, OTHER_CA.der]
    read.clear()
    part = make_crl(CA, 1, extensions=[ONLY_USER_CERTIFICATES])
    file = io.BytesIO(pem_block("X509 CRL", make_crl(CA, 2)) + pem_block("X509 CRL", part))
    results = publish_each(file, store, issuer=[CA.der, OTHER_CA.der], now=NOW)
    assert [isinstance(one, PublishReport) for _, one in results] == [True, True]
    assert read == [CA.der, OTHER_CA.der]
    facts = certificate_module.load_certificates([CA.der, OTHER_CA.der])
    read.clear()
    publish(store, make_crl(CA, 3), issuer=facts)
    assert read == []


def test_each_crl_of_a_file_is_published_or_refused_on_its_own() -> None:
    """
    One that is refused keeps no other out; each has the file's name and its number.
    """
    store = MemoryStore()
    crls = make_crl(CA, 1), make_crl(OTHER_CA, 1), make_crl(CA, 2)
    file = io.BytesIO(b"".join(pem_block("X509 CRL", crl) for crl in crls))
    results = dict(publish_each(file, store, issuer=[CA.pem], source_name="ca.pem", now=NOW))
    assert list(results) == ["ca.pem", "ca.pem#2", "ca.pem#3"]
    refused = results.pop("ca.pem#2")
    assert isinstance(refused, CrlSignatureError)
    generations = [one.generation for one in results.values() if isinstance(one, PublishReport)]
    assert generations == [1, 1], "they are swapped together"
    (rejection,) = read_rejections(store)
    assert rejection.source == "ca.pem#2"
    (record,) = catalog_of(store).scopes.values()
    assert record.source == "ca.pem#3"


def test_the_size_allowed_is_that_of_the_whole_file() -> None:
    """
    However small its CRLs are: what goes beyond it is refused.
    """
    file = b"".join(pem_block("X509 CRL", make_crl(CA, number)) for number in range(1, 40))
    for too_small in (0, 1):
        results = publish_each(
            io.BytesIO(file),
            MemoryStore(),
            issuer=CA.pem,
            now=NOW,
            max_source_size=len(file) - too_small,
        )
        *_, (_, last) = results
        assert isinstance(last, CrlError) == bool(too_small)


def test_an_issuer_that_is_no_certificate_is_no_fault_of_a_crl() -> None:
    """
    It is said at once, whatever is published, and nothing is read or refused for it.
    """
    store, file = MemoryStore(), io.BytesIO(make_crl(CA, 1))
    with pytest.raises(CertificateError):
        next(publish_each(file, store, issuer=[CA.pem, b"no certificate"], source_name="ca.crl"))
    assert file.tell() == 0
    assert not list(read_rejections(store))


def test_a_crl_becomes_the_image_of_its_scope(tmp_path: Path) -> None:
    """
    The catalog names an image whose digest and header are right, and the report
    says what was done.
    """
    store = LocalStore(tmp_path / "store")
    report = publish(store, make_crl(CA, 7, [5]), source_name="crl/ca.crl")
    assert re.fullmatch(r"images/[0-9a-f]{64}-[0-9a-f]{32}\.crlx", report.image_name)
    assert (report.published, report.generation) == (True, 1)
    assert (report.compiled.crl_number, report.compiled.num_entries) == (7, 1)
    assert report.issuer_name == "CN=Example CA"
    catalog = catalog_of(store)
    record = catalog.scopes[report.scope]
    assert (record.base.name, record.source) == (report.image_name, "crl/ca.crl")
    assert catalog.issuer_certificates() == (CA.der,)
    with open_index(tmp_path / "store" / record.base.name) as index:
        assert 5 in index
        assert (index.digest, index.metadata) == (record.base.digest, record.base.metadata)
        assert index.metadata.verified
    assert record.base.size == (tmp_path / "store" / record.base.name).stat().st_size


def test_a_newer_crl_replaces_the_older_one() -> None:
    """
    One scope has one image at a time; the superseded one stays in the store for
    readers that still need it.
    """
    store = MemoryStore()
    first = publish(store, make_crl(CA, 1))
    second = publish(store, make_crl(CA, 2))
    assert (second.scope, second.generation) == (first.scope, 2)
    assert catalog_of(store).scopes[first.scope].base.name == second.image_name
    assert images_of(store) == sorted([first.image_name, second.image_name])


def test_issuers_and_scopes_add_up() -> None:
    """
    Every issuer certificate given becomes known, whether it signed or not, and
    another issuer's CRL is another scope.
    """
    store = MemoryStore()
    unrelated = make_authority("Unrelated CA")
    first = publish(store, make_crl(CA), issuer=[CA.pem, unrelated.der])
    second = publish(store, make_crl(OTHER_CA), issuer=OTHER_CA.certificate)
    catalog = catalog_of(store)
    assert set(catalog.scopes) == {first.scope, second.scope}
    assert set(catalog.issuer_certificates()) == {CA.der, unrelated.der, OTHER_CA.der}


def test_a_key_of_the_same_name_is_another_scope() -> None:
    """
    A namesake's CRL neither replaces this issuer's nor is held to its numbers.
    """
    store = MemoryStore()
    namesake = make_authority()
    first = publish(store, make_crl(CA, 9))
    second = publish(store, make_crl(namesake, 1), issuer=[CA.pem, namesake.pem])
    assert first.scope != second.scope
    assert second.published


def test_a_partition_is_another_scope() -> None:
    """
    A CRL with an issuingDistributionPoint does not replace the complete one.
    """
    store = MemoryStore()
    complete = publish(store, make_crl(CA, 9))
    partition = publish(store, make_crl(CA, 1, extensions=[ONLY_USER_CERTIFICATES]))
    assert set(catalog_of(store).scopes) == {complete.scope, partition.scope}


def test_an_expired_but_newer_crl_is_published() -> None:
    """
    It only adds knowledge: what it lists is revoked whatever the time.
    """
    store = MemoryStore()
    publish(store, make_crl(CA, 1))
    assert publish(store, make_crl(CA, 2), now=NOW + 365 * DAY).published


def test_options_reach_the_compiler() -> None:
    """
    Compile options are those of compile_crl.
    """
    without_next_update = make_crl(CA, next_update=None)
    with pytest.raises(UnsupportedCrlError):
        publish(MemoryStore(), without_next_update)
    report = publish(MemoryStore(), without_next_update, require_next_update=False)
    assert report.published
    with pytest.raises(UnsupportedCrlError, match="larger than"):
        publish(MemoryStore(), make_crl(CA), max_source_size=10)


# ---- the same CRL again ------------------------------------------------------------


def test_the_same_crl_again_changes_nothing() -> None:
    """
    Its identity is the signed bytes: in PEM or DER it is a no-op that names the
    image already there.
    """
    store = MemoryStore()
    crl = make_crl(CA)
    first = publish(store, crl)
    before = store.read(CATALOG_NAME)
    for again in (crl, pem_block("X509 CRL", crl)):
        report = publish(store, again)
        assert (report.published, report.image_name) == (False, first.image_name)
        assert report.generation == 1
    assert store.read(CATALOG_NAME) == before
    assert images_of(store) == [first.image_name]


def test_the_same_crl_with_a_new_issuer_makes_the_issuer_known() -> None:
    """
    Only the list of issuers changes then, in a new generation.
    """
    store = MemoryStore()
    crl = make_crl(CA)
    first = publish(store, crl)
    report = publish(store, crl, issuer=[CA.der, OTHER_CA.der])
    assert (report.published, report.generation) == (False, 2)
    catalog = catalog_of(store)
    assert set(catalog.issuer_certificates()) == {CA.der, OTHER_CA.der}
    assert catalog.scopes[first.scope].base.name == first.image_name


# ---- refusals ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("crl", "issuer", "error"),
    [
        (make_crl(CA), OTHER_CA.pem, CrlSignatureError),
        (make_crl(CA), make_authority().pem, CrlSignatureError),
        (make_crl(CA)[:-1], CA.pem, MalformedCrlError),
        (b"", CA.pem, MalformedCrlError),
        (CA.der, CA.pem, MalformedCrlError),
        (make_crl(CA), b"not a certificate", CertificateError),
        (make_crl(CA, 5, extensions=[delta_of(4)]), CA.pem, CrlBaseMissingError),
        (make_crl(CA, this_update=NOW + DAY), CA.pem, CrlNotYetValidError),
        (make_crl(CA, 1), CA.pem, CrlRollbackError),
    ],
    ids=[
        "another issuer",
        "another key",
        "truncated",
        "empty",
        "a certificate",
        "no issuer",
        "delta before its base",
        "future",
        "rollback",
    ],
)
def test_a_refused_crl_leaves_everything_as_it_was(
    crl: bytes, issuer: bytes, error: type[Exception], temporary: Path
) -> None:
    """
    Neither the store nor the directory of temporary files keeps a trace.
    """
    store = MemoryStore()
    publish(store, make_crl(CA, 3))
    before = store.read(CATALOG_NAME), images_of(store)
    with pytest.raises(error):
        publish(store, crl, issuer)
    assert (store.read(CATALOG_NAME), images_of(store)) == before
    assert list(temporary.iterdir()) == []


def test_an_image_is_no_crl(tmp_path: Path) -> None:
    """
    Nothing that is compiled already, let alone unverified, can be published.
    """
    store = LocalStore(tmp_path)
    report = publish(store, make_crl(CA))
    with pytest.raises(MalformedCrlError):
        publish(store, (tmp_path / report.image_name).read_bytes())


@pytest.mark.parametrize(("ahead", "refused"), [(300, False), (301, True)])
def test_this_update_may_lie_ahead_by_the_skew(ahead: int, refused: bool) -> None:
    """
    Five minutes by default, to the second; the error has both times.
    """
    crl = make_crl(CA, this_update=NOW + timedelta(seconds=ahead))
    if not refused:
        assert publish(MemoryStore(), crl).published
        return
    with pytest.raises(CrlNotYetValidError) as caught:
        publish(MemoryStore(), crl)
    assert caught.value.this_update == NOW + timedelta(seconds=ahead)
    assert caught.value.now == NOW
    assert publish(MemoryStore(), crl, clock_skew=timedelta(seconds=301)).published


def test_a_naive_time_is_misuse() -> None:
    """
    Nobody can tell what a time without a zone means.
    """
    with pytest.raises(ValueError, match="aware"):
        publish(MemoryStore(), make_crl(CA), now=NOW.replace(tzinfo=None))


def test_a_catalog_that_cannot_be_read_is_not_overwritten() -> None:
    """
    A broken catalog stops publication: what it said is not known.
    """
    store = MemoryStore()
    store.write(CATALOG_NAME, b"{}")
    with pytest.raises(StoreError):
        publish(store, make_crl(CA))
    assert store.read(CATALOG_NAME).body == b"{}"
    assert images_of(store) == []


# ---- what is noted of the issuers --------------------------------------------------


def test_who_brought_an_issuer_and_when_is_noted_once() -> None:
    """The first publication that brings an issuer says so; later ones change nothing of it."""
    store = MemoryStore()
    publish(store, make_crl(CA, 1), source_name="crl/ca.crl")
    publish(store, make_crl(CA, 2), now=NOW + DAY, issuers_from="issuers/ca.pem")
    (record,) = catalog_of(store).issuers
    assert (record.added_at, record.added_by) == (NOW, "crl/ca.crl")
    publish(store, make_crl(OTHER_CA), issuer=OTHER_CA.der, issuers_from="issuers/other.pem")
    added = catalog_of(store).issuer(IssuerRecord(OTHER_CA.der).fingerprint)
    assert added.added_by == "issuers/other.pem"


def test_self_signed_is_decided_when_an_issuer_is_published() -> None:
    """A root is, a sub-CA and a key rollover certificate of the same name are not."""
    root, rolled = make_authority("Root"), make_authority("Root")
    sub = make_authority("Sub CA", parent=root)
    link = make_authority("Root", parent=rolled)
    store = MemoryStore()
    publish(store, make_crl(root), issuer=[root.der, sub.der, link.der])
    found = {one.certificate: one.self_signed for one in catalog_of(store).issuers}
    assert found == {root.der: True, sub.der: False, link.der: False}


def test_records_of_older_writers_are_completed() -> None:
    """
    An older version keeps no records. The next publication, be it of the same CRL,
    finds out what is self-signed, and is taken for who brought the issuer, at a time
    that nobody knows.
    """
    store = MemoryStore()
    crl = make_crl(CA)
    publish(store, crl, source_name="crl/ca.crl")
    change_catalog(
        store,
        "a test",
        lambda found: dataclasses.replace(found, issuers=(IssuerRecord(CA.der),)),
        Action(action="test"),
    )
    report = publish(store, crl, source_name="crl/ca.crl")
    (record,) = catalog_of(store).issuers
    assert (record.self_signed, record.added_at, record.added_by) == (True, None, "crl/ca.crl")
    assert (report.published, report.generation) == (False, 3)
    assert publish(store, crl).generation == 3


def test_issuers_that_are_known_already_are_not_added_again() -> None:
    """
    The root tells that a whole directory of issuers is known. What lies under other names is
    not read for it, and must not be written anew either.
    """
    store = MemoryStore()
    publish(store, make_crl(CA, 1), issuer=[CA.der, OTHER_CA.der])
    first, _ = read_set(store)
    publish(store, make_crl(CA, 2), issuer=[CA.der, OTHER_CA.der])
    second, _ = read_set(store)
    assert second.root.trusted == first.root.trusted
    assert [one.certificate for one in second.issuers()] == [
        one.certificate for one in first.issuers()
    ]
    assert all(one.added_at == NOW.replace(microsecond=0) for one in second.issuers())
