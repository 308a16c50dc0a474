"""
Make the stores of format 2 in tests/data/format2.

``PYTHONPATH=tests python tests/data/make_format2.py`` writes them. They stand for
what operators have, so they are never made anew: where a later version writes stores in
another way, it gets stores of its own beside these.
"""

from __future__ import annotations

import hashlib
import json

from crlcheck.demo.pki import CertificateAuthority
from crlcheck.publisher.clean_up import clean_up
from crlcheck.publisher.issuers import remove_issuer, set_issuer
from crlcheck.publisher.operator import (
    deny_certificate,
    override_scope,
    remove_scope,
    reset_scope,
)
from crlcheck.publisher.publish_many import publish_many
from data.make_format1 import HOUR, Place
from support.pki import NOW, delta_of, make_authority, make_crl

FOLDER = "format2"


def main() -> None:
    """Write all of them."""
    place = Place()
    place.publish(place.ca, make_crl(place.ca, 5, [7]))
    place.save("plain", FOLDER)

    place = Place()
    scope = place.publish(place.ca, make_crl(place.ca, 5, [7])).scope
    place.publish(place.ca, make_crl(place.ca, 6, [9], extensions=[delta_of(5)]))
    place.publish(place.other, make_crl(place.other, 5, [7]))
    override_scope(place.store, scope, covers_no_distribution_point=True)
    set_issuer(place.store, _fingerprint(place.ca), is_anchor=True, publishes_no_crl=True)
    place.save("delta", FOLDER)

    place = Place()
    place.publish(place.ca, make_crl(place.ca, 5, [7]))
    name = place.ca.certificate.subject.public_bytes()
    deny_certificate(place.store, name, 8, note="stolen laptop", now=NOW)
    deny_certificate(place.store, name, 9, until=NOW + HOUR, now=NOW)
    place.save("denied", FOLDER)

    place = Place()
    place.publish(place.ca, make_crl(place.ca, 5, [7]))
    place.publish(place.other, make_crl(place.other, 5, [7]))
    remove_issuer(place.store, _fingerprint(place.other), note="key lost", now=NOW)
    place.save("removed_issuer", FOLDER)

    place = Place()
    gone = place.publish(place.ca, make_crl(place.ca, 5, [7])).scope
    reset = place.publish(place.other, make_crl(place.other, 30, [7])).scope
    remove_scope(place.store, gone, note="retired", now=NOW)
    reset_scope(place.store, reset, note="renumbered", now=NOW)
    place.save("tombstones", FOLDER)

    place = Place()
    for number in (3, 4, 5):
        place.publish(place.ca, make_crl(place.ca, number, [7]))
    place.store.write("images/orphan.crlx", b"nobody published it")
    clean_up(place.store, now=NOW)
    place.save("superseded", FOLDER)

    place = Place()
    place.publish(place.ca, make_crl(place.ca, 5, [7]))
    name = place.ca.certificate.subject.public_bytes()
    deny_certificate(place.store, name, 8, now=NOW)
    value = json.loads(place.store.read("catalog.json").body)
    value["later"] = {"x": [1]}
    place.store.write("catalog.json", json.dumps(value).encode())
    place.save("unknown_members", FOLDER)

    # The nodes of a larger set, with images inside them.
    place = Place()
    authorities = [place.ca, *(make_authority(f"CA {number}") for number in range(47))]
    sources = [(make_crl(one, 5, [7]), one.pem) for one in authorities]
    publish_many(
        [crl for crl, _ in sources],
        place.store,
        issuers=[pem for _, pem in sources],
        now=NOW,
    )
    place.save("many", FOLDER)


def _fingerprint(authority: CertificateAuthority) -> str:
    return hashlib.sha256(authority.der).hexdigest()


if __name__ == "__main__":
    main()
