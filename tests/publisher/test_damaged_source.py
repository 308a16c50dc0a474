"""A mirror of a source that lacks a node: it stays whole, and goes on where it has that one."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from crlcheck.catalog import tree
from crlcheck.catalog.published_set import read_set
from crlcheck.errors import CatalogDamagedError, StoreError
from crlcheck.publisher.mirror import mirror_store
from crlcheck.publisher.restore import restore_store
from crlcheck.publisher.verify import verify_store
from crlcheck.stores import LocalStore
from support.pki import NOW, make_authority, make_crl
from support.publishing import publish

AUTHORITIES = [make_authority(f"Authority {number}") for number in range(9)]


@pytest.fixture(autouse=True)
def small_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes of two or three authorities, and inner nodes of two or three leaves."""
    monkeypatch.setattr(tree, "MAX_LEAF", 5500)
    monkeypatch.setattr(tree, "MAX_INNER", 700)


@pytest.fixture(name="stores")
def fixture_stores(tmp_path: Path) -> tuple[Path, Path]:
    """A source and its mirror; one CRL has come since."""
    source, mirror = tmp_path / "source", tmp_path / "mirror"
    for one in AUTHORITIES:
        publish(LocalStore(source), make_crl(one, 1), one.pem)
    mirror_store(source, mirror)
    publish(LocalStore(source), make_crl(AUTHORITIES[0], 2), AUTHORITIES[0].pem)
    return source, mirror


def nodes_of(store: Path) -> dict[str, int]:
    """The names of the nodes with their levels."""
    held, _ = read_set(LocalStore(store))
    levels = {}
    for reference in tree.references(held.nodes, held.root.top):
        levels[reference.name] = held.nodes.node(reference).level
    return levels


def damage(path: Path, how: str) -> None:
    """Remove an object, or change its bytes."""
    if how == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-9] + b"something")


@pytest.mark.parametrize("how", ["missing", "other bytes"])
@pytest.mark.parametrize("level", [0, 1])
@pytest.mark.parametrize("rebuild", [False, True])
def test_a_node_that_the_mirror_has_is_taken_from_there(
    stores: tuple[Path, Path],
    how: str,
    level: int,
    rebuild: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The mirror is whole afterwards and has the new CRL; a warning names what is lost."""
    source, mirror = stores
    old = nodes_of(mirror)
    lost = next(name for name, one in nodes_of(source).items() if one == level and name in old)
    damage(source / lost, how)
    with caplog.at_level(logging.WARNING):
        report = mirror_store(source, mirror, rebuild=rebuild)
    assert report.generation == read_set(LocalStore(source))[0].generation
    assert lost in caplog.text
    assert caplog.text.count("--repair-from") == 1
    assert verify_store(mirror).num_faults == 0
    held, _ = read_set(LocalStore(mirror))
    assert {crl.metadata.crl_number for crl in held.images()} == {1, 2}
    # And so it is what mends the source.
    mended = verify_store(source, repair_from=[mirror])
    assert mended.num_faults == mended.num_repaired == 1


@pytest.mark.parametrize("how", ["missing", "other bytes"])
def test_a_node_that_nobody_has_leaves_the_mirror_as_it_is(
    stores: tuple[Path, Path], how: str
) -> None:
    """Its root would lead to what is not there, where the one before leads to all."""
    source, mirror = stores
    old, before = nodes_of(mirror), read_set(LocalStore(mirror))[0]
    lost = next(name for name, one in nodes_of(source).items() if not one and name not in old)
    damage(source / lost, how)
    with pytest.raises(CatalogDamagedError) as failure:
        mirror_store(source, mirror)
    assert failure.value.name == lost
    assert read_set(LocalStore(mirror))[0].is_same(before)
    assert verify_store(mirror).num_faults == 0


def test_a_node_that_both_have_damaged_is_an_error(stores: tuple[Path, Path]) -> None:
    """What the mirror has is compared too."""
    source, mirror = stores
    old = nodes_of(mirror)
    lost = next(name for name, one in nodes_of(source).items() if not one and name in old)
    damage(source / lost, "missing")
    damage(mirror / lost, "other bytes")
    for rebuild in (False, True):
        with pytest.raises(CatalogDamagedError, match="is missing"):
            mirror_store(source, mirror, rebuild=rebuild)


@pytest.mark.parametrize("how", ["missing", "other bytes"])
def test_a_node_that_a_mirror_lacks_is_restored_from_the_store_itself(
    stores: tuple[Path, Path], how: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The root is gone, the node is not; what neither of them has is an error."""
    source, mirror = stores
    present = nodes_of(source)
    shared = [name for name, level in nodes_of(mirror).items() if name in present and not level]
    (source / "catalog.json").unlink()
    damage(mirror / shared[0], how)
    with caplog.at_level(logging.WARNING):
        report = restore_store(source, mirror, now=NOW)
    assert shared[0] in caplog.text
    assert (report.generation or 0) > 1
    assert verify_store(source).num_faults == 0
    held, _ = read_set(LocalStore(source))
    assert held.root.num_scopes == len(AUTHORITIES)
    (source / "catalog.json").unlink()
    damage(mirror / shared[1], how)
    damage(source / shared[1], how)
    with pytest.raises(StoreError, match="not whole"):
        restore_store(source, mirror, now=NOW)
