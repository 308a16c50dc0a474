"""
Fuzz what users call, from Python, with libFuzzer through atheris: ``make fuzz-python``.

Each target takes bytes and calls one public entry point. Whatever it raises that its
documentation does not name ends the run, and leaves the input in
build/fuzz/failures. The seeds are those that ``make fuzz`` starts from, and texts.

Usage: fuzz_python.py TARGET [libFuzzer's options] [CORPUS ...]
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["crlcheck"]):
    import crlcheck
    from crlcheck.catalog.entries import catalog_of
    from crlcheck.catalog.history import HISTORY_PREFIX, HistoryRecord
    from crlcheck.catalog.published_set import set_of
    from crlcheck.catalog.root import CATALOG_NAME
    from crlcheck.catalog.tree import NODE_PREFIX, Node
    from crlcheck.checker.scope import ScopeTable
    from crlcheck.demo.encoding import der, der_integer, der_oid
    from crlcheck.demo.pki import pem_block
    from crlcheck.encoding import names as name_module
    from crlcheck.encoding import pem as pem_module
    from crlcheck.encoding import strict_json
    from crlcheck.encoding.kinds import recognise
    from crlcheck.encoding.signed_data import read_bundle
    from crlcheck.signing.statement import signers_of, stated_expiry, verify_root
    from crlcheck.x509.certificates import load_certificate, load_certificates
    from crlcheck.x509.distribution_points import read_issuing_distribution_point

from support.catalogs import catalog as a_catalog
from support.catalogs import stored
from support.certificate_der import ISSUER, encode_certificate
from support.crls import make_crl
from support.memory_store import MemoryStore
from support.root_keys import MemoryKey
from support.values import make_issuer, make_metadata

ROOT = Path(__file__).parents[1]
_KEY = crlcheck.RootKey.parse("ed25519:11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")
_LONG_AGO = datetime.min.replace(tzinfo=UTC)
_HELD = ScopeTable([make_metadata(issuer=ISSUER)], [make_issuer(subject=ISSUER)])


def compile_unverified_crl(data: bytes) -> None:
    """A CRL: refused, or an image that opens and can be walked through."""
    with contextlib.suppress(crlcheck.CrlError):
        image = crlcheck.compile_unverified_crl(data).image
        assert image is not None
        with crlcheck.open_index(image) as index:
            for entry in index.iter_entries():
                assert index.find(entry.serial_number, entry.certificate_issuer) is not None


def certificate(data: bytes) -> None:
    """A certificate in DER or PEM: refused, or one that the rules can be asked about."""
    with contextlib.suppress(crlcheck.CertificateError):
        for facts in load_certificates(data):
            _HELD.coverage(facts)
            name_module.format_name(facts.subject)
        assert load_certificate(data).der in data or pem_module.looks_like_pem(data)


def open_index(data: bytes) -> None:
    """An image: refused, or one whose lookups end, whether or not its digest is right."""
    for verify in (True, False):
        with (
            contextlib.suppress(crlcheck.IndexFileError),
            crlcheck.open_index(data, verify=verify) as index,
        ):
            index.find(5)
            for _entry in index.iter_entries():
                pass


def catalog(data: bytes) -> None:
    """A root, of either format: refused, or one that is written as it was read."""
    store = MemoryStore()
    with contextlib.suppress(crlcheck.StoreError):
        found = set_of(data, store)
        if found.format1 is None:
            again = set_of(found.root.to_bytes(), store)
            assert again.root == found.root


def node(data: bytes) -> None:
    """A node of the tree: refused, or one whose entries are a catalog, or refused."""
    with contextlib.suppress(crlcheck.StoreError, ValueError):
        catalog_of(Node.from_bytes(data, "the node").entries, 1)


def signatures(data: bytes) -> None:
    """A root and a key: refused, or one whose signature holds until it expires."""
    text, _, root = data.partition(b"\n")
    keys = [_KEY]
    with contextlib.suppress(ValueError):
        keys += crlcheck.read_root_keys(text.decode("latin-1"))
    with contextlib.suppress(ValueError, crlcheck.RootSignatureError):
        members = strict_json.parse_json(root)
        if isinstance(members, dict):
            assert stated_expiry(members) is not None or not signers_of(members)
            (first, *_) = verify_root(members, keys, now=_LONG_AGO)
            assert first.statement.generation == members["generation"]


def record(data: bytes) -> None:
    """A record of the history: refused, or one that is written as it was read."""
    with contextlib.suppress(crlcheck.StoreError):
        found = HistoryRecord.from_bytes(data, "the record")
        assert HistoryRecord.from_bytes(found.to_bytes(), "the record") == found


def pem(data: bytes) -> None:
    """PEM: the same blocks, or the same refusal, however it is cut into chunks."""
    for label in (pem_module.CERTIFICATE, pem_module.CRL):
        found: list[bytes] | None = None
        with contextlib.suppress(ValueError):
            found = pem_module.pem_blocks(data, label)
        for size in (3, 50):
            assert found == _in_chunks(data, label, size)


def _in_chunks(data: bytes, label: str, size: int) -> list[bytes] | None:
    splitter = pem_module.PemSplitter(label)
    blocks: list[bytearray] = []
    try:
        for start in range(0, len(data), size):
            for number, octets in splitter.feed(data[start : start + size]):
                if number > len(blocks):
                    blocks.append(bytearray())
                blocks[number - 1] += octets
        blocks += [bytearray(octets) for _, octets in splitter.finish()]
    except pem_module.NoBlockError:
        return []
    except ValueError:
        return None
    return list(map(bytes, blocks))


def kind(data: bytes) -> None:
    """The kind of a file: a name, or none; of a bundle also what is in it."""
    found = recognise(data)
    assert found is None or (found.name and found.text.isprintable())
    with contextlib.suppress(ValueError):
        bundle = read_bundle(data)
        assert all(member in data for member in (*bundle.certificates, *bundle.crls))
        assert found is not None
        assert found.name == "pkcs7"


def name(data: bytes) -> None:
    """A Name: no Name, or one whose canonical form is its own and whose text prints."""
    with contextlib.suppress(ValueError):
        form = name_module.canonical_name(data)
        assert name_module.canonical_name(form) == form
        assert name_module.format_name(data).isprintable()
    name_module.name_key(data)
    read_issuing_distribution_point(data)


def json(data: bytes) -> None:
    """JSON: refused, or a value that is written and read again the same."""
    with contextlib.suppress(ValueError):
        value = strict_json.parse_json(data)
        assert strict_json.parse_json(strict_json.canonical_json(value)) == value


TARGETS: dict[str, Callable[[bytes], None]] = {
    one.__name__: one
    for one in (
        compile_unverified_crl,
        certificate,
        open_index,
        catalog,
        node,
        signatures,
        record,
        pem,
        kind,
        name,
        json,
    )
}


def _bundle(certificate: bytes, crl: bytes) -> bytes:
    """A PKCS #7 bundle of the two."""
    members = der(0xA0, certificate), der(0xA1, crl)
    contents = der(0x30, der_oid("1.2.840.113549.1.7.1"))
    signed_data = der(0x30, der_integer(1), der(0x31), contents, *members, der(0x31))
    return der(0x30, der_oid("1.2.840.113549.1.7.2"), der(0xA0, signed_data))


def write_seeds(directory: Path) -> None:
    """Write a few seeds for each target that has none of ``make fuzz``'s."""
    crl, issued = make_crl([5, 7]), encode_certificate()
    image = crlcheck.compile_unverified_crl(crl).image
    assert image is not None
    store = stored(a_catalog())
    published = store.read(CATALOG_NAME).body
    nodes, records = (
        [store.read(one).body for one in store.names(prefix)]
        for prefix in (NODE_PREFIX, HISTORY_PREFIX)
    )
    key = MemoryKey()
    signed = crlcheck.RootSigner(key).signed(
        strict_json.members_of(strict_json.parse_json(published), ""),
        now=_LONG_AGO.replace(year=2026),
    )
    root = key.token.encode("ascii") + b"\n" + strict_json.canonical_json(signed)
    texts = [
        pem_block("X509 CRL", b"abc"),
        pem_block("CERTIFICATE", b"abc") + pem_block("PRIVATE KEY", b"abc"),
    ]
    seeds: dict[str, list[bytes]] = {
        "compile_unverified_crl": [crl, pem_block("X509 CRL", crl)],
        "certificate": [issued, pem_block("CERTIFICATE", issued)],
        "open_index": [image],
        "catalog": [published],
        "node": nodes,
        "signatures": [root],
        "record": records,
        "pem": [*texts, b"".join(texts)],
        "kind": [*texts, crl, issued, image, published, _bundle(issued, crl)],
        "name": [ISSUER, der(0x30, der(0xA0, der(0xA0, der(0x86, b"http://ca/"))))],
        "json": [published, b'{"a":[1,-2.5e3,"\\ud800",null,true]}'],
    }
    for target, contents in seeds.items():
        folder = directory / target
        folder.mkdir(parents=True, exist_ok=True)
        for number, seed in enumerate(contents):
            (folder / f"seed-{number}").write_bytes(seed)


def main() -> None:
    """Fuzz the target that the command line names."""
    if sys.argv[1:2] == ["--seeds"]:
        write_seeds(Path(sys.argv[2]))
        return
    target = TARGETS[sys.argv.pop(1)]
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
