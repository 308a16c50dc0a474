"""The denials of one store are read apart from those of any other."""

from __future__ import annotations

import threading

from crlcheck.catalog.published_set import read_set
from crlcheck.publisher.operator import deny_certificate
from support.memory_store import MemoryStore
from support.pki import NOW, make_crl
from support.publishing import CA, publish

NAME = CA.certificate.subject.public_bytes()


def denying() -> MemoryStore:
    """A store with one denial."""
    store = MemoryStore()
    publish(store, make_crl(CA, 1))
    deny_certificate(store, NAME, 7, now=NOW)
    return store


def test_a_store_that_hangs_holds_up_no_other() -> None:
    """
    While one reads its denials and gets no answer, another one reads its own.
    """
    slow, other = denying(), denying()
    hangs, goes_on = threading.Event(), threading.Event()
    held, _ = read_set(slow)

    def hang(_operation: str, _name: str) -> None:
        hangs.set()
        assert goes_on.wait(60)

    slow.before = hang
    found: list[int] = []
    reader = threading.Thread(target=lambda: found.append(len(held.denied)))
    second = threading.Thread(target=lambda: found.append(len(read_set(other)[0].denied)))
    reader.start()
    assert hangs.wait(60)
    second.start()
    second.join(10)
    is_held_up = second.is_alive()
    goes_on.set()
    reader.join(60)
    second.join(60)
    assert (is_held_up, found) == (False, [1, 1])
