"""A node of the catalog that cannot be read stops the CRLs that need it, and no others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from crlcheck import CatalogDamagedError, PublishReport, PublishSource, fetch_each, publish_many
from crlcheck.catalog import tree
from crlcheck.catalog.catalog import IssuerRecord
from crlcheck.catalog.entries import name_hash, subject_of
from crlcheck.catalog.published_set import read_set
from crlcheck.catalog.root import CATALOG_NAME, Certificates
from crlcheck.catalog.tree import NodeCache, NodeReader
from crlcheck.cli import main
from crlcheck.demo.pki import CertificateAuthority, encode_extension
from crlcheck.publisher.fetch import FetchLimits
from crlcheck.publisher.issuers import remove_issuer
from crlcheck.publisher.operator import reset_scope
from crlcheck.publisher.publish_many import PublishResult, SourceCrl
from crlcheck.publisher.verify import verify_store
from crlcheck.stores import LocalStore
from crlcheck.x509.certificates import load_certificates
from support.memory_store import MemoryStore
from support.pki import NOW, make_authority, make_crl
from support.publishing import catalog_of, images_of
from support.site import web_site
from support.tampering import node_names, rewrite

AUTHORITIES = [make_authority(f"Authority {number}") for number in range(9)]
BY_HOME = {name_hash(one.certificate.subject.public_bytes()): one for one in AUTHORITIES}
BY_NAME = {f"Authority {number}": one for number, one in enumerate(AUTHORITIES)}
INDIRECT = encode_extension("2.5.29.28", b"\x30\x03\x84\x01\xff", critical=True)


@pytest.fixture(autouse=True)
def small_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes of two or three authorities, and inner nodes of two or three leaves."""
    monkeypatch.setattr(tree, "MAX_LEAF", 5500)
    monkeypatch.setattr(tree, "MAX_INNER", 700)


@pytest.fixture(params=[1, 200], ids=["ahead", "at once"])
def ahead(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write images ahead of the swap, or not."""
    monkeypatch.setattr("crlcheck.publisher.publish_many._PREPARED_AT_ONCE", request.param)


def name_of(authority: CertificateAuthority) -> str:
    """The common name."""
    return authority.certificate.subject.rfc4514_string().removeprefix("CN=")


def published(
    store: MemoryStore | LocalStore,
    number: int,
    authorities: Iterable[CertificateAuthority] = AUTHORITIES,
    **options: Any,
) -> Mapping[str, PublishResult]:
    """Publish a CRL of each authority; return the results by the authority's name."""
    sources = [
        PublishSource(source=make_crl(one, number, [number]), name=name_of(one))
        for one in authorities
    ]
    return results_of(store, sources, **options)


def results_of(
    store: MemoryStore | LocalStore, sources: list[PublishSource], **options: Any
) -> Mapping[str, PublishResult]:
    """Publish; return the results by name."""
    results: dict[str, PublishResult] = {}

    def note(crl: SourceCrl, result: PublishResult) -> None:
        results[str(crl)] = result

    options.setdefault("issuers", [one.pem for one in AUTHORITIES])
    publish_many(sources, store, now=NOW, jobs=1, on_result=note, **options)
    return results


def copied(store: MemoryStore) -> MemoryStore:
    """A store with the same objects, of which nothing is in memory."""
    copy = MemoryStore()
    for name in store.names(""):
        copy.write(name, store.read(name).body)
    return copy


def lose(store: MemoryStore, name: str) -> None:
    """Delete an object."""
    store.delete(name)


def spoil(store: MemoryStore, name: str) -> None:
    """Change the last byte of an object."""
    body = store.read(name).body
    store.write(name, body[:-1] + bytes([body[-1] ^ 1]))


def below(store: MemoryStore, name: str) -> set[str]:
    """The names of the authorities that have entries in a node, or below it."""
    held, _ = read_set(store)
    nodes = NodeReader(store, NodeCache(0))
    (found,) = (one for one in tree.references(nodes, held.root.top) if one.name == name)
    homes = {key.split("/")[0] for key, _ in tree.walk(nodes, found)}
    return {name_of(BY_HOME[home]) for home in homes}


def failed(results: Mapping[str, PublishResult], node: str) -> set[str]:
    """What failed because of *node*; all others are published."""
    errors = {name: one for name, one in results.items() if not isinstance(one, PublishReport)}
    for error in errors.values():
        assert isinstance(error, CatalogDamagedError)
        assert error.name == node
    assert all(one.published for one in reports_of(results))
    return set(errors)


def reports_of(results: Mapping[str, PublishResult]) -> list[PublishReport]:
    """The reports of those CRLs that did not fail."""
    return [one for one in results.values() if isinstance(one, PublishReport)]


def numbers(store: MemoryStore) -> dict[str, int | None]:
    """The number of the published CRL of each authority."""
    return {
        name_of(BY_HOME[name_hash(one.base.metadata.issuer)]): one.base.metadata.crl_number
        for one in catalog_of(store).scopes.values()
    }


@pytest.mark.parametrize("harm", [lose, spoil])
@pytest.mark.usefixtures("ahead")
def test_a_node_stops_only_the_crls_of_issuers_that_lie_in_it(
    harm: Callable[[MemoryStore, str], None],
) -> None:
    """
    Leaf or inner node: the others are published by one swap. The tree keeps the node, so
    that all is there once it is mended.
    """
    whole = MemoryStore()
    published(whole, 1)
    nodes = node_names(whole)
    sizes = set()
    for node in nodes:
        stopped = below(whole, node)
        sizes.add(len(stopped))
        store = copied(whole)
        harm(store, node)
        results = published(store, 2)
        assert failed(results, node) == stopped
        if node == nodes[0]:
            continue  # the top node: nothing can be published
        held, _ = read_set(store)
        assert held.generation == 2
        assert held.root.trusted == Certificates.of(
            one.fingerprint for one in catalog_of(whole).issuers
        )
        mended = copied(store)
        mended.write(node, whole.read(node).body)
        assert node in node_names(mended)
        assert numbers(mended) == {
            name: 1 if name in stopped else 2 for name in map(name_of, AUTHORITIES)
        }
        assert {one.name for one in read_set(mended)[0].images()} <= set(images_of(store))
        again = published(mended, 1, [BY_NAME[name] for name in sorted(stopped)])
        assert not any(one.published for one in reports_of(again))
        assert failed(published(mended, 3), "") == set()
        assert verify_store(mended).is_whole
    assert len(sizes) > 2, "nodes of several levels are tried"


def test_no_image_is_left_of_a_crl_that_a_damaged_node_stopped() -> None:
    """
    Also where it had been written before the damage was seen.
    """
    store = MemoryStore()
    published(store, 1)
    before = set(images_of(store))
    node = node_names(store)[-1]
    stopped = below(store, node)
    store = copied(store)
    store.delete(node)
    assert failed(published(store, 2), node) == stopped
    assert len(set(images_of(store)) - before) == len(AUTHORITIES) - len(stopped)


def test_an_issuer_that_cannot_be_looked_up_is_not_added(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    Its entry stays as it is, also where the root does not tell that all are trusted. New
    issuers of other leaves are added, and those of the damaged one with the next publication.
    """
    store = MemoryStore()
    known = AUTHORITIES[:8]
    published(store, 1, known, issuers=[one.pem for one in known], issuers_from="the first")
    node = next(one for one in node_names(store)[::-1] if below(store, one))
    stopped = below(store, node)
    damaged = copied(store)
    damaged.delete(node)
    healthy = next(one for one in known if name_of(one) not in stopped)
    extra = make_authority("Stranger")
    issuers = [one.pem for one in (*AUTHORITIES, extra)]
    results = published(damaged, 2, [healthy], issuers=issuers, issuers_from="the second")
    assert isinstance(results[name_of(healthy)], PublishReport)
    assert "cannot be looked up in the damaged catalog" in caplog.text
    damaged.write(node, store.read(node).body)
    mended = copied(damaged)
    assert {one.added_by for one in catalog_of(mended).issuers} >= {"the first", "the second"}
    published(mended, 3, [healthy], issuers=issuers, issuers_from="the third")
    ders = {one.der for one in load_certificates(issuers)}
    records = {one.certificate: one for one in catalog_of(mended).issuers}
    assert records.keys() == ders
    firsts = {one.der for one in load_certificates([one.pem for one in known])}
    assert {records[der].added_by for der in firsts} == {"the first"}
    trusted = read_set(mended)[0].root.trusted
    assert trusted == Certificates.of(one.fingerprint for one in records.values())


@pytest.mark.parametrize("harm", [lose, spoil])
def test_a_damaged_issuer_above_stops_no_crl_below(
    harm: Callable[[MemoryStore, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The names above an issuer are read for warnings alone.
    """
    monkeypatch.setattr(tree, "MAX_LEAF", tree._OVERHEAD + 2)
    root = make_authority("Root")
    below_it = make_authority("Below", parent=root)
    issuers = [root.pem, below_it.pem]
    store = MemoryStore()
    published(store, 1, [root, below_it], issuers=issuers)
    home = name_hash(root.certificate.subject.public_bytes())
    (leaf,) = read_set(store)[0].leaves_with(f"{home}/i/")
    damaged = copied(store)
    harm(damaged, leaf.name)
    results = published(damaged, 2, [root, below_it], issuers=issuers)
    assert failed(results, leaf.name) == {"Root"}


def test_a_list_that_cannot_be_changed_stops_only_the_crls_in_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    A new indirect CRL has an entry in the list of all of them, which is not read before.
    """
    monkeypatch.setattr(tree, "MAX_LEAF", tree._OVERHEAD + 2)
    first, second, third = AUTHORITIES[:3]
    store = MemoryStore()
    crl = make_crl(first, 1, [1], extensions=[INDIRECT])
    results_of(store, [PublishSource(source=crl, name="first")])
    (leaf,) = read_set(store)[0].leaves_with("!x/")
    damaged = copied(store)
    damaged.delete(leaf.name)
    sources = [
        PublishSource(source=make_crl(first, 2, [1], extensions=[INDIRECT]), name="as before"),
        PublishSource(source=make_crl(second, 1, [2], extensions=[INDIRECT]), name="new"),
        PublishSource(source=make_crl(second, 2, [2], extensions=[INDIRECT]), name="newer"),
        PublishSource(source=make_crl(third, 1, [3]), name="another"),
        PublishSource(source=make_crl(third, 1, [4]), name="refused"),
    ]
    results = dict(results_of(damaged, sources))
    refused = [results.pop(name) for name in ("another", "refused")]
    assert sum(isinstance(one, PublishReport) for one in refused) == 1
    assert failed(results, leaf.name) == {"new", "newer"}
    damaged.write(leaf.name, store.read(leaf.name).body)
    assert verify_store(copied(damaged)).is_whole


def test_an_entry_that_cannot_be_read_stops_only_the_crls_of_its_issuer() -> None:
    """
    Its leaf is what the root names, so another writer wrote it so.
    """
    store = MemoryStore()
    published(store, 1)
    home = name_hash(AUTHORITIES[3].certificate.subject.public_bytes())

    def garble(entries: dict[str, Any]) -> None:
        (key,) = (key for key in entries if key.startswith(f"{home}/s/"))
        entries[key] = {"base": "nothing"}

    rewrite(store, garble)
    (leaf,) = {one.name for one in read_set(store)[0].leaves_with(f"{home}/s/")}
    results = published(store, 2)
    assert failed(results, leaf) == {name_of(AUTHORITIES[3])}


def test_a_node_that_another_publication_gave_up_stops_nothing() -> None:
    """
    Clean-up has deleted it: the set that no longer needs it is read again.
    """
    store = MemoryStore()
    published(store, 1)
    node = node_names(store)[-1]
    later = copied(store)
    published(later, 2)

    def come_first(operation: str, name: str) -> None:
        if (operation, name) == ("read", node):
            store.before = None
            for one in later.names(""):
                if one != CATALOG_NAME:
                    store.write(one, later.read(one).body)
            store.delete(node)
            store.write(CATALOG_NAME, later.read(CATALOG_NAME).body)

    store = copied(store)
    store.before = come_first
    assert failed(published(store, 3), "") == set()
    assert store.before is None


def test_a_run_of_fetch_publishes_what_does_not_need_a_damaged_node() -> None:
    """
    Whether the server has something new or not: what was fetched before is looked up in the set.
    """
    limits = FetchLimits(allow_private=True)
    issuers = [one.pem for one in AUTHORITIES]

    def put(number: int) -> list[str]:
        for one in AUTHORITIES:
            crl = make_crl(one, number, [number])
            headers = {"ETag": f'"{number}"'}
            site.pages["/" + name_of(one).replace(" ", "")] = 200, headers, crl
        return [site.url + path for path in site.pages]

    def fetched(store: MemoryStore) -> Mapping[str, Any]:
        return {
            url.rpartition("/")[2].replace("y", "y "): result
            for url, result in fetch_each(put(2), store, limits, issuer=issuers, now=NOW)
        }

    with web_site() as site:
        store = MemoryStore()
        for _, first in fetch_each(put(1), store, limits, issuer=issuers, now=NOW):
            assert isinstance(first, PublishReport)
        node = node_names(store)[-1]
        stopped = below(store, node)
        damaged = copied(store)
        damaged.delete(node)
        assert failed(fetched(damaged), node) == stopped
        again = fetched(damaged)
        assert failed({name: again[name] for name in stopped}, node) == stopped
        assert {again[name] for name in again.keys() - stopped} == {None}


def test_an_operator_reaches_what_lies_in_other_nodes() -> None:
    """
    By a whole fingerprint an issuer is removed, and by its id a scope is reset. A beginning
    of a fingerprint may be that of several, of which one cannot be read.
    """
    store = MemoryStore()
    published(store, 1)
    nodes = node_names(store)
    for node in nodes[1:]:
        stopped = below(store, node)
        damaged = copied(store)
        damaged.delete(node)
        for record in catalog_of(store).scopes.values():
            reset = partial(reset_scope, damaged, record.key, now=NOW)
            if name_of(BY_HOME[name_hash(record.base.metadata.issuer)]) in stopped:
                with pytest.raises(CatalogDamagedError):
                    reset()
            else:
                reset()
        for name, authority in BY_NAME.items():
            (certificate,) = load_certificates([authority.pem])
            fingerprint = IssuerRecord(certificate.der).fingerprint
            with pytest.raises(CatalogDamagedError):
                remove_issuer(damaged, fingerprint[:16], now=NOW)
            if name in stopped:
                with pytest.raises(CatalogDamagedError):
                    remove_issuer(damaged, fingerprint, now=NOW)
            else:
                remove_issuer(damaged, fingerprint, now=NOW)
        damaged.write(node, store.read(node).body)
        left = {
            name_of(BY_HOME[name_hash(subject_of(one.certificate))])
            for one in catalog_of(copied(damaged)).issuers
        }
        assert left == stopped


def test_the_deny_list_needs_no_node(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    A certificate is denied, listed and let go whatever is damaged in the tree.
    """
    store = LocalStore(tmp_path, fsync=False)
    published(store, 1)
    for name in list(store.names("nodes/")):
        store.delete(name)
    (tmp_path / "ca.pem").write_bytes(AUTHORITIES[0].pem)
    named = ["--issuer", str(tmp_path / "ca.pem"), "--serial", "07"]
    assert main(["deny", "add", str(tmp_path), *named]) == 0
    assert main(["deny", "list", str(tmp_path)]) == 0
    assert "7 of CN=Authority 0" in capsys.readouterr().out
    assert main(["deny", "remove", str(tmp_path), *named]) == 0
