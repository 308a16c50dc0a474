"""
Make the stores of format 1 in tests/data/format1.

They were written by the last version that wrote format 1 (commit b152ec1), in a checkout
of it: ``PYTHONPATH=tests python tests/data/make_format1.py``. Nothing later can write
them, so they are not made anew. Each store is one JSON file: its objects by name, in
base64, and the certificates and CRLs of its authorities, for tests that go on publishing.
"""

from __future__ import annotations

import base64
import hashlib
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

from crlcheck.publisher.clean_up import clean_up
from crlcheck.publisher.issuers import remove_issuer, set_issuer
from crlcheck.publisher.operator import (
    deny_certificate,
    override_scope,
    remove_scope,
    reset_scope,
)
from crlcheck.publisher.publish import publish_crl
from support.memory_store import MemoryStore
from support.pki import NOW, delta_of, make_authority, make_client, make_crl

HERE = Path(__file__).parent
HOUR = timedelta(hours=1)


class Place:
    """A store and its authorities."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.ca = make_authority()
        self.other = make_authority("Other CA")
        self.extra: dict[str, bytes] = {
            "ca": self.ca.der,
            "other": self.other.der,
            "revoked": make_client(self.ca, 7),
            "held": make_client(self.ca, 9),
            "good": make_client(self.ca, 8),
            "other revoked": make_client(self.other, 7),
            "next": make_crl(self.ca, 20, [7, 20]),
            "older": make_crl(self.ca, 1, [7]),
            "next of other": make_crl(self.other, 20, [7]),
        }

    def publish(self, authority: Any, crl: bytes) -> Any:
        return publish_crl(crl, self.store, issuer=authority.pem, now=NOW, source_name="ca.crl")

    def save(self, name: str, folder: str = "format1") -> None:
        value = {
            "objects": {
                one: base64.b64encode(self.store.read(one).body).decode()
                for one in self.store.names("")
            },
            "files": {
                one: base64.b64encode(body).decode() for one, body in sorted(self.extra.items())
            },
        }
        path = HERE / folder / f"{name}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def main() -> None:
    """Write all of them."""
    place = Place()
    place.publish(place.ca, make_crl(place.ca, 5, [7]))
    place.save("plain")

    place = Place()
    scope = place.publish(place.ca, make_crl(place.ca, 5, [7])).scope
    place.publish(place.ca, make_crl(place.ca, 6, [9], extensions=[delta_of(5)]))
    place.publish(place.other, make_crl(place.other, 5, [7]))
    override_scope(place.store, scope, covers_no_distribution_point=True)
    set_issuer(place.store, _fingerprint(place.ca), is_anchor=True, publishes_no_crl=True)
    place.save("delta")

    place = Place()
    place.publish(place.ca, make_crl(place.ca, 5, [7]))
    name = place.ca.certificate.subject.public_bytes()
    deny_certificate(place.store, name, 8, note="stolen laptop", now=NOW)
    deny_certificate(place.store, name, 9, until=NOW + HOUR, now=NOW)
    place.save("denied")

    place = Place()
    place.publish(place.ca, make_crl(place.ca, 5, [7]))
    place.publish(place.other, make_crl(place.other, 5, [7]))
    remove_issuer(place.store, _fingerprint(place.other), note="key lost", now=NOW)
    place.save("removed_issuer")

    place = Place()
    gone = place.publish(place.ca, make_crl(place.ca, 5, [7])).scope
    reset = place.publish(place.other, make_crl(place.other, 30, [7])).scope
    remove_scope(place.store, gone, note="retired", now=NOW)
    reset_scope(place.store, reset, note="renumbered", now=NOW)
    place.save("tombstones")

    place = Place()
    for number in (3, 4, 5):
        place.publish(place.ca, make_crl(place.ca, number, [7]))
    place.store.write("images/orphan.crlx", b"nobody published it")
    clean_up(place.store, now=NOW)
    place.save("superseded")

    place = Place()
    place.publish(place.ca, make_crl(place.ca, 5, [7]))
    name = place.ca.certificate.subject.public_bytes()
    deny_certificate(place.store, name, 8, now=NOW)
    value = json.loads(place.store.read("catalog.json").body)
    (record,) = value["scopes"].values()
    for holder in (value, record, record["base"], record["base"]["metadata"], value["denied"][0]):
        holder["later"] = {"x": [1]}
    value["issuer_records"][_fingerprint(place.ca)]["later"] = {"x": [1]}
    place.store.write("catalog.json", json.dumps(value).encode())
    place.save("unknown_members")


def _fingerprint(authority: Any) -> str:
    return hashlib.sha256(authority.der).hexdigest()


if __name__ == "__main__":
    main()
