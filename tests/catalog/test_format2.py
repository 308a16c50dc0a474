"""
Stores of format 2, as version 0.1 wrote them. A checker reads them, a publisher continues
them, and both refuse a root of a later format without changing anything.
"""

from __future__ import annotations

import json
import re
import struct

import pytest

import crlcheck
from crlcheck.catalog.published_set import read_set
from crlcheck.catalog.root import CATALOG_NAME, ROOT_FORMAT
from crlcheck.errors import CrlRollbackError, StoreError
from crlcheck.publisher.clean_up import clean_up
from crlcheck.publisher.publish import publish_crl
from crlcheck.signing.statement import STATEMENT_FORMAT
from support import golden_stores
from support.documents import document
from support.golden_stores import DATA, PASSED, REVOKED, GoldenStores, checker_of
from support.pki import NOW

STORES = GoldenStores("format2")
VERDICTS = {**golden_stores.VERDICTS, "many": golden_stores.VERDICTS["plain"]}
DOCUMENT = document("upgrade.md")


def test_each_store_is_of_format_2() -> None:
    """
    The files are what they are taken for, and one has nodes below the first.
    """
    assert set(STORES.names) == VERDICTS.keys()
    for name in STORES.names:
        objects = STORES.read(name)["objects"]
        assert json.loads(objects[CATALOG_NAME])["format"] == 2
    many = STORES.read("many")["objects"]
    assert sum(name.startswith("nodes/") for name in many) > 2


@pytest.mark.parametrize("name", VERDICTS)
def test_a_later_reader_gives_the_same_verdicts(name: str) -> None:
    """
    Delta CRLs, denials, removed issuers and scopes included.
    """
    assert STORES.verdicts(name, checker_of(STORES.store(name))) == VERDICTS[name]


@pytest.mark.parametrize("name", VERDICTS)
def test_a_later_publisher_goes_on(name: str) -> None:
    """
    The next CRL counts and an older one is refused; clean-up takes nothing that is in use.
    """
    files, store = STORES.read(name)["files"], STORES.store(name)
    before = read_set(store)[0].generation
    publish_crl(files["next"], store, issuer=files["ca"], now=NOW)
    assert read_set(store)[0].generation == before + 1
    clean_up(store, now=NOW)
    with checker_of(store) as checker:
        assert checker.check(files["revoked"]).status is REVOKED
    if name != "tombstones":  # there an operator has let the scope begin anew
        with pytest.raises(CrlRollbackError):
            publish_crl(files["older"], store, issuer=files["ca"], now=NOW)


@pytest.mark.parametrize("name", VERDICTS)
def test_an_earlier_reader_keeps_its_set(name: str) -> None:
    """
    A root of a later format is refused, named as such, and what was read before goes on
    answering. A reader that starts then answers nobody, and no publisher writes over it.
    """
    store = STORES.store(name)
    with checker_of(store) as checker:
        assert STORES.verdicts(name, checker) == VERDICTS[name]
        root = json.loads(store.read(CATALOG_NAME).body)
        root |= {"format": ROOT_FORMAT + 1, "generation": root["generation"] + 1}
        later = json.dumps(root).encode()
        store.write(CATALOG_NAME, later)
        with pytest.raises(StoreError, match="written by a later crlcheck"):
            checker.refresh()
        assert STORES.verdicts(name, checker) == VERDICTS[name]
    with checker_of(store) as anew:
        assert PASSED not in STORES.verdicts(name, anew)
    files = STORES.read(name)["files"]
    with pytest.raises(StoreError, match="written by a later crlcheck"):
        publish_crl(files["next"], store, issuer=files["ca"], now=NOW)
    assert store.read(CATALOG_NAME).body == later


# ---- the table of docs/guides/upgrade.md --------------------------------------------------------


def test_the_table_of_formats_is_what_is_kept_and_read() -> None:
    """
    Each format that a version reads has golden files, and the last row is this version's.
    """
    rows = re.findall(
        r"^\| (\d+\.\d+) \| (\d+)\.(\d+) \| (\d+) \| ([\d, ]+) \| (\d+) \|$",
        DOCUMENT.read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    version, image_major, image_minor, root, reads, statement = rows[-1]
    assert crlcheck.__version__.split(".")[:2] == version.split(".")
    assert int(statement) == STATEMENT_FORMAT
    assert int(root) == ROOT_FORMAT
    for one in reads.split(", "):
        assert GoldenStores(f"format{one}").names, one
    assert f"format{ROOT_FORMAT}" in {path.name for path in DATA.iterdir()}
    image = (DATA / "golden" / "example.crlx").read_bytes()
    assert struct.unpack_from("<HH", image, 8) == (int(image_major), int(image_minor))
