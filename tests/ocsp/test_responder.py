"""Answers to OCSP requests, read by cryptography and pyasn1."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp
from hypothesis import given, settings
from hypothesis import strategies as st

from crlcheck import (
    Policy,
    RevocationStatus,
    Rule,
    StaleRule,
    deny_certificate,
    grant_grace,
    lift_denial,
    load_certificate,
    override_scope,
    remove_issuer,
    set_issuer,
)
from crlcheck.demo.pki import encode_entry, encode_extension, sign_crl
from crlcheck.demo.signing import KeyType
from crlcheck.ocsp import OcspResponder
from crlcheck.ocsp.statement import BRIEF
from support.checking import Clock, CountingStore, make_checker, make_index
from support.memory_store import MemoryStore
from support.ocsp import Asker, hashes_of, load_pairs, make_asker, make_request, make_responder
from support.pki import (
    DAY,
    NOW,
    ONLY_CA_CERTIFICATES,
    ONLY_USER_CERTIFICATES,
    delta_of,
    make_authority,
    make_crl,
)
from support.publishing import publish
from support.values import der

CA = make_authority("CA")
RESPONDER = make_responder(CA)
ISSUER = CA.certificate.subject.public_bytes()

GOOD = ocsp.OCSPCertStatus.GOOD
REVOKED = ocsp.OCSPCertStatus.REVOKED
UNKNOWN = ocsp.OCSPCertStatus.UNKNOWN
HOLD = x509.ReasonFlags.certificate_hold
SECOND = timedelta(seconds=1)


def partition(text: str) -> bytes:
    """An issuingDistributionPoint with a URI."""
    names = der(0xA0, der(0xA0, der(0x86, text.encode())))
    return encode_extension("2.5.29.28", der(0x30, names), critical=True)


def some_reasons(*bits: int) -> bytes:
    """An issuingDistributionPoint with onlySomeReasons, by the bits of ReasonFlags."""
    size = max(bits) // 8 + 1
    octets = sum(1 << (8 * size - 1 - bit) for bit in bits).to_bytes(size, "big")
    flags = der(0x83, bytes([8 * size - 1 - max(bits)]), octets)
    return encode_extension("2.5.29.28", der(0x30, flags), critical=True)


def entry(serial_number: int, reason: int | None = None, **options: Any) -> bytes:
    """An entry that is three days old."""
    return encode_entry(serial_number, NOW - 3 * DAY, reason=reason, **options)


def store_with(*entries: bytes, **options: Any) -> MemoryStore:
    """A store with a CRL of CA."""
    store = MemoryStore()
    times = {"this_update": NOW - DAY, "next_update": NOW + DAY, "crl_number": 1}
    publish(store, sign_crl(CA, entries, **{**times, **options}), CA.der)
    return store


@pytest.fixture
def clock() -> Clock:
    """The checker's clock."""
    return Clock()


def asker_for(source: Any, directory: Path, clock: Clock | None = None, **options: Any) -> Asker:
    """Ask about certificates of CA."""
    checker = make_checker(source, clock=clock or Clock(), **options)
    return make_asker(checker, directory, RESPONDER)


# ---- good and revoked --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "algorithm", [hashes.SHA1(), hashes.SHA256(), hashes.SHA384(), hashes.SHA512()]
)
def test_answers_are_about_the_certificate_that_was_asked_for(
    tmp_path: Path, algorithm: hashes.HashAlgorithm
) -> None:
    """The CertID is the request's, whatever hash it has; the times are the CRL's."""
    ask = asker_for(store_with(entry(6, 1)), tmp_path)
    for serial_number, status in ((5, GOOD), (6, REVOKED), (0, GOOD), ((1 << 159) - 1, GOOD)):
        response = ask(CA, serial_number, algorithm=algorithm)
        request = ocsp.load_der_ocsp_request(make_request(CA, serial_number, algorithm=algorithm))
        assert response.certificate_status is status
        assert response.serial_number == serial_number
        assert response.hash_algorithm.name == algorithm.name
        assert response.issuer_name_hash == request.issuer_name_hash
        assert response.issuer_key_hash == request.issuer_key_hash
        assert response.this_update_utc == NOW - DAY
        assert response.next_update_utc == NOW + DAY
        assert response.certificates == [RESPONDER.certificate]
        assert not list(response.extensions)


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        (None, None),
        (0, x509.ReasonFlags.unspecified),
        (1, x509.ReasonFlags.key_compromise),
        (2, x509.ReasonFlags.ca_compromise),
        (3, x509.ReasonFlags.affiliation_changed),
        (4, x509.ReasonFlags.superseded),
        (5, x509.ReasonFlags.cessation_of_operation),
        (6, HOLD),
        (8, None),
        (9, x509.ReasonFlags.privilege_withdrawn),
        (10, x509.ReasonFlags.aa_compromise),
    ],
)
def test_revoked_has_time_and_reason(
    tmp_path: Path, reason: int | None, expected: x509.ReasonFlags | None
) -> None:
    """Those of the entry."""
    response = asker_for(store_with(entry(6, reason)), tmp_path)(CA, 6)
    assert response.certificate_status is REVOKED
    assert response.revocation_time_utc == NOW - 3 * DAY
    assert response.revocation_reason is expected


@pytest.mark.parametrize("key_type", ["rsa", "ec-p256", "ec-p384", "ec-p521", "ed25519", "ed448"])
def test_every_kind_of_key_signs(tmp_path: Path, key_type: KeyType) -> None:
    """A delegated responder's."""
    pair = make_responder(CA, key_type=key_type)
    ask = make_asker(make_checker(store_with()), tmp_path, pair)
    assert ask(CA, 5).certificate_status is GOOD


def test_an_issuer_may_sign_with_its_own_key(tmp_path: Path) -> None:
    """Then no certificate is sent: clients have the issuer's."""
    ask = make_asker(make_checker(store_with()), tmp_path, CA)
    response = ask(CA, 5)
    assert response.certificate_status is GOOD
    assert response.certificates == []


# ---- who is answered for -----------------------------------------------------------------------


def test_other_issuers_are_unauthorized(tmp_path: Path) -> None:
    """Unknown ones, others of the same name, and those for which no key signs."""
    other, namesake = make_authority("Other CA"), make_authority("CA")
    store = store_with()
    publish(store, make_crl(other, 1), other.der)
    ask = asker_for(store, tmp_path)
    unauthorized = ocsp.OCSPResponseStatus.UNAUTHORIZED
    for authority in (other, namesake, make_authority("Nobody")):
        assert ask(authority, 5).response_status is unauthorized
    assert ask(CA, 5).certificate_status is GOOD


def test_name_and_key_must_both_fit(tmp_path: Path) -> None:
    """And so must the hash: nothing is found by a part of another CertID."""
    ask = asker_for(store_with(), tmp_path)
    name, key = hashes_of(CA, hashes.SHA1())
    other_name, other_key = hashes_of(make_authority("Other CA"), hashes.SHA1())
    for hashed in ((other_name, key), (name, other_key), (key, name)):
        request = ocsp.OCSPRequestBuilder().add_certificate_by_hash(*hashed, 5, hashes.SHA1())
        body = request.build().public_bytes(serialization.Encoding.DER)
        assert ask.responder.respond(body).outcome == "unauthorized"
    sha224 = make_request(CA, 5, algorithm=hashes.SHA224())
    assert ask.responder.respond(sha224).outcome == "unauthorized"
    # SHA-1 by another number: a hash that nobody knows.
    unknown = make_request(CA, 5).replace(bytes.fromhex("2b0e03021a"), bytes.fromhex("2b0e03027f"))
    assert ask.responder.respond(unknown).outcome == "unauthorized"


def test_a_forged_responder_answers_for_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One that names the issuer, but was not signed by its key."""
    forged = make_responder(CA, signed_by=make_authority("CA"))
    ask = make_asker(make_checker(store_with()), tmp_path, forged)
    with caplog.at_level(logging.WARNING, "crlcheck.ocsp"):
        assert ask.ask(CA, 5).outcome == "unauthorized"
        stranger = make_responder(make_authority("Nobody"))
        others = tmp_path / "others"
        others.mkdir()
        make_asker(make_checker(store_with()), others, stranger).ask(CA, 5)
    first, second = caplog.messages
    assert "answers for nobody" in first
    assert "signature does not hold" in first
    assert "no trusted issuer of the published set has that name" in second


def test_a_ca_that_the_issuer_certified_does_not_answer_for_it(tmp_path: Path) -> None:
    """A CA's certificate stands for its own key alone."""
    below = make_authority("CA below", CA)
    store = store_with()
    publish(store, make_crl(below, 1), [below.der, CA.der])
    ask = make_asker(make_checker(store), tmp_path, below)
    assert ask(below, 5).certificate_status is GOOD
    assert ask.ask(CA, 5).outcome == "unauthorized"


def test_each_key_of_one_name_has_its_own_responder(tmp_path: Path) -> None:
    """In a rollover: a certificate by the old key is not answered for by the new one."""
    other = make_authority("CA")
    store = store_with(entry(6))
    publish(store, make_crl(other, 1, [7]), other.der)
    signer = make_responder(other)
    keys = load_pairs(tmp_path, RESPONDER, signer)
    responder = OcspResponder(make_checker(store), keys)
    by_old, by_new = Asker(responder, RESPONDER), Asker(responder, signer)
    assert [by_old(CA, one).certificate_status for one in (6, 7)] == [REVOKED, GOOD]
    assert [by_new(other, one).certificate_status for one in (6, 7)] == [GOOD, REVOKED]


def test_the_issuers_are_those_of_the_published_set(tmp_path: Path) -> None:
    """One that comes later is answered for, and one that is removed no more."""
    other = make_authority("Other CA")
    signer = make_responder(other)
    store = store_with()
    ask = make_asker(make_checker(store), tmp_path, signer, RESPONDER)
    assert ask.ask(other, 5).outcome == "unauthorized"
    publish(store, make_crl(other, 1), other.der)
    assert ask(other, 5).certificate_status is GOOD
    fingerprint = other.certificate.fingerprint(hashes.SHA256()).hex()
    remove_issuer(store, fingerprint, now=NOW)
    assert ask.ask(other, 5).outcome == "unauthorized"


def test_open_indexes_have_issuers_too(tmp_path: Path) -> None:
    """Those that the checker is given."""
    ask = asker_for(make_index(CA, 1, [6]), tmp_path, issuers=[CA.der])
    assert ask(CA, 5).certificate_status is GOOD
    assert ask(CA, 6).certificate_status is REVOKED


# ---- the responder's certificate ---------------------------------------------------------------


def test_a_revoked_responder_signs_nothing(tmp_path: Path) -> None:
    """Another one for the same issuer does."""
    store = store_with(entry(7777))
    revoked = tmp_path / "revoked"
    revoked.mkdir()
    assert asker_for(store, revoked).ask(CA, 5).outcome == "unauthorized"
    signer = make_responder(CA, serial_number=8888)
    both = tmp_path / "both"
    both.mkdir()
    ask = make_asker(make_checker(store), both, signer, RESPONDER)
    assert ask(CA, 5).certificate_status is GOOD
    deny_certificate(store, ISSUER, 8888, now=NOW)
    assert ask.ask(CA, 5).outcome == "unauthorized"


def test_a_responder_that_is_revoked_signs_nothing_whenever_that_is_known(tmp_path: Path) -> None:
    """The image that lists it could not be had when the set was new."""
    store = MemoryStore()
    report = publish(store, make_crl(CA, 1, [7777]), CA.der)
    image = store.read(report.image_name).body
    store.delete(report.image_name)
    ask = asker_for(store, tmp_path)
    assert ask.ask(CA, 5)[1:3] == ("try_later", "store_unavailable")
    store.write(report.image_name, image)
    assert ask.ask(CA, 5)[1:3] == ("try_later", "responder_certificate")


def test_an_expired_responder_signs_nothing(tmp_path: Path, clock: Clock) -> None:
    """The other one does, and after both have expired it is tryLater."""
    early = make_responder(CA, not_after=NOW + 2 * DAY)
    late = make_responder(CA, not_before=NOW - DAY, not_after=NOW + 4 * DAY)
    store = store_with(next_update=NOW + 9 * DAY)
    ask = make_asker(make_checker(store, clock=clock), tmp_path, late, early)
    for days in (0, 2.1, 4):
        clock.now = NOW + days * DAY
        assert ask(CA, 5).certificate_status is GOOD
    clock.now += SECOND
    assert ask.ask(CA, 5)[1:3] == ("try_later", "responder_certificate")


# ---- what is not known is never good -----------------------------------------------------------


def test_a_stale_crl_says_try_later(tmp_path: Path, clock: Clock) -> None:
    """And still revokes what it lists, in an answer that clients accept."""
    ask = asker_for(store_with(entry(6)), tmp_path, clock)
    clock.now = NOW + DAY
    assert ask(CA, 5).certificate_status is GOOD
    clock.now += SECOND
    assert ask.ask(CA, 5)[1:3] == ("try_later", "stale")
    response = ask(CA, 6)
    assert response.certificate_status is REVOKED
    assert response.revocation_time_utc == NOW - 3 * DAY
    assert (response.this_update_utc, response.next_update_utc) == (NOW + DAY, NOW + DAY + BRIEF)


def test_a_crl_of_the_future_says_try_later(tmp_path: Path) -> None:
    """Beyond the clock skew that is allowed."""
    times = {"this_update": NOW + DAY, "next_update": NOW + 2 * DAY}
    index = make_index(CA, 1, [6], **times)
    ask = asker_for(index, tmp_path, issuers=[CA.der])
    assert ask.ask(CA, 5)[1:3] == ("try_later", "not_yet_valid")
    assert ask(CA, 6).certificate_status is REVOKED


def test_a_store_that_is_down_says_try_later(tmp_path: Path) -> None:
    """Before there is a set. Then the last one is used."""
    store = CountingStore()
    publish(store, make_crl(CA, 1, [6]), CA.der)
    ask = asker_for(store, tmp_path)
    store.is_down = True
    assert ask.ask(CA, 5)[1:3] == ("try_later", "store_unavailable")
    store.is_down = False
    assert ask(CA, 5).certificate_status is GOOD
    store.is_down = True
    assert ask(CA, 6).certificate_status is REVOKED


def test_a_set_that_is_too_old_says_try_later(tmp_path: Path, clock: Clock) -> None:
    """Also for what it lists: whoever holds the store back must not decide what is said."""
    store = CountingStore()
    publish(store, make_crl(CA, 1, [6]), CA.der)
    ask = asker_for(store, tmp_path, clock, max_catalog_age=DAY)
    assert ask(CA, 5).certificate_status is GOOD
    store.is_down = True
    clock.now = NOW + DAY + SECOND
    for serial_number in (5, 6):
        assert ask.ask(CA, serial_number)[1:3] == ("try_later", "store_unavailable")


def test_an_empty_store_says_try_later(tmp_path: Path) -> None:
    """Nothing has been published yet."""
    assert asker_for(MemoryStore(), tmp_path).ask(CA, 5).outcome == "try_later"


def test_an_image_that_is_missing_says_try_later(tmp_path: Path) -> None:
    """It may list the certificate."""
    store = MemoryStore()
    report = publish(store, make_crl(CA, 1), CA.der)
    store.delete(report.image_name)
    assert asker_for(store, tmp_path).ask(CA, 5)[1:3] == ("try_later", "store_unavailable")


SCOPED = {
    "a partition": [partition("http://ca/1")],
    "user certificates": [ONLY_USER_CERTIFICATES],
    "CA certificates": [ONLY_CA_CERTIFICATES],
    "some reasons": [some_reasons(1)],
}


@pytest.mark.parametrize("extensions", SCOPED.values(), ids=SCOPED)
def test_a_crl_that_may_not_cover_it_is_never_good(tmp_path: Path, extensions: list[bytes]) -> None:
    """It can revoke, as another certificate may be meant that it does not cover."""
    ask = asker_for(store_with(entry(6, 1), extensions=extensions), tmp_path)
    response = ask(CA, 5)
    assert response.certificate_status is UNKNOWN
    assert response.next_update_utc is None
    assert response.this_update_utc == NOW
    assert ask(CA, 6).certificate_status is REVOKED


def test_crls_that_cover_all_reasons_together_are_good(tmp_path: Path, clock: Clock) -> None:
    """Until the first of them is past its nextUpdate, although another one decided."""
    store = store_with(entry(6, 1), extensions=[some_reasons(1)])
    rest = sign_crl(
        CA, [entry(7, 3)], crl_number=1, this_update=NOW - DAY / 2, next_update=NOW + 2 * DAY,
        extensions=[some_reasons(2, 3, 4, 5, 6, 7, 8)],
    )  # fmt: skip
    publish(store, rest, CA.der)
    ask = asker_for(store, tmp_path, clock)
    response = ask(CA, 5)
    assert response.certificate_status is GOOD
    assert response.next_update_utc == NOW + DAY
    assert [ask(CA, one).certificate_status for one in (6, 7)] == [REVOKED, REVOKED]
    clock.now = NOW + DAY + SECOND
    assert ask.ask(CA, 5).outcome == "try_later"


def test_both_kinds_of_certificates_must_be_clear(tmp_path: Path) -> None:
    """With a CRL for each of them."""
    store = store_with(entry(6), extensions=[ONLY_USER_CERTIFICATES])
    authorities = sign_crl(
        CA, [entry(7)], crl_number=1, this_update=NOW - DAY, next_update=NOW + DAY / 2,
        extensions=[ONLY_CA_CERTIFICATES],
    )  # fmt: skip
    publish(store, authorities, CA.der)
    ask = asker_for(store, tmp_path)
    assert [ask(CA, one).certificate_status for one in (5, 6, 7)] == [GOOD, REVOKED, REVOKED]
    assert ask(CA, 5).next_update_utc == NOW + DAY / 2


def test_an_indirect_crl_may_revoke(tmp_path: Path) -> None:
    """Of another CRL issuer, by the entry's certificateIssuer."""
    signer = make_authority("CRL issuer")
    indirect = encode_extension("2.5.29.28", b"\x30\x03\x84\x01\xff", critical=True)
    listed = entry(6, 1, certificate_issuer=ISSUER)
    crl = sign_crl(signer, [listed], crl_number=1, this_update=NOW - DAY,
                   next_update=NOW + DAY / 4, extensions=[indirect])  # fmt: skip
    store = store_with()
    publish(store, crl, signer.der)
    ask = asker_for(store, tmp_path)
    assert [ask(CA, one).certificate_status for one in (5, 6)] == [GOOD, REVOKED]
    # It may cover the certificate, so it makes the answer stale, too.
    assert ask(CA, 5).next_update_utc == NOW + DAY / 4


def test_a_delta_lifts_a_hold(tmp_path: Path, clock: Clock) -> None:
    """While it is current; its nextUpdate counts."""
    store = store_with(entry(6, 6), entry(7, 1))
    delta = sign_crl(
        CA, [entry(6, 8), entry(9, 4)], crl_number=2, this_update=NOW - DAY / 2,
        next_update=NOW + DAY / 2, extensions=[delta_of(1)],
    )  # fmt: skip
    publish(store, delta, CA.der)
    ask = asker_for(store, tmp_path, clock)
    assert [ask(CA, one).certificate_status for one in (6, 7, 9)] == [GOOD, REVOKED, REVOKED]
    response = ask(CA, 6)
    assert response.this_update_utc == NOW - DAY / 2
    assert response.next_update_utc == NOW + DAY / 2
    clock.now = NOW + DAY / 2 + SECOND
    assert ask(CA, 6).revocation_reason is HOLD
    assert ask.ask(CA, 5).outcome == "try_later"


# ---- what a policy waives ----------------------------------------------------------------------


@pytest.mark.parametrize("by", ["policy", "operator"])
def test_grace_never_becomes_good(tmp_path: Path, clock: Clock, by: str) -> None:
    """Whoever grants it."""
    store = store_with()
    policy = None
    if by == "operator":
        grant_grace(store, until=NOW + 9 * DAY, now=NOW)
    else:
        policy = Policy(stale=StaleRule.GRACE, stale_grace=9 * DAY)
    ask = asker_for(store, tmp_path, clock, policy=policy)
    clock.now = NOW + 2 * DAY
    checker = make_checker(store, clock=clock, policy=policy)
    assert checker.check_serial(CA.der, 5).status is RevocationStatus.NOT_REVOKED
    assert ask.ask(CA, 5)[1:3] == ("try_later", "stale")


def test_a_waived_hold_is_revoked(tmp_path: Path, clock: Clock) -> None:
    """As the CRL says, in its grace as well."""
    policy = Policy(hold=Rule.ALLOW, stale=StaleRule.GRACE, stale_grace=9 * DAY)
    ask = asker_for(store_with(entry(6, 6)), tmp_path, clock, policy=policy)
    for _ in range(2):
        response = ask(CA, 6)
        assert response.certificate_status is REVOKED
        assert response.revocation_time_utc == NOW - 3 * DAY
        assert response.revocation_reason is HOLD
        clock.now = NOW + 2 * DAY


def test_waived_scopes_are_unknown(tmp_path: Path) -> None:
    """By the policy, by the operator, and an issuer that publishes no CRL."""
    scoped = store_with(extensions=[partition("http://ca/1")])
    by_policy = tmp_path / "policy"
    by_policy.mkdir()
    ask = asker_for(scoped, by_policy, policy=Policy(no_distribution_point=Rule.ALLOW))
    assert ask(CA, 5).certificate_status is UNKNOWN
    checker = make_checker(scoped)
    checker.preload()
    (scope,) = (one.scope for one in checker.scopes())
    override_scope(scoped, scope, covers_no_distribution_point=True)
    assert ask(CA, 5).certificate_status is UNKNOWN
    other = make_authority("Other CA")
    store = MemoryStore()
    publish(store, make_crl(other, 1), [other.der, CA.der])
    without = tmp_path / "without"
    without.mkdir()
    ask = asker_for(store, without, policy=Policy(unpublished_issuers=(CA.der,)))
    assert ask(CA, 5).certificate_status is UNKNOWN
    marked = tmp_path / "marked"
    marked.mkdir()
    fingerprint = CA.certificate.fingerprint(hashes.SHA256()).hex()
    set_issuer(store, fingerprint, publishes_no_crl=True)
    assert asker_for(store, marked)(CA, 5).certificate_status is UNKNOWN


# ---- denials and issuers above -----------------------------------------------------------------


def test_a_denial_is_a_hold(tmp_path: Path, clock: Clock) -> None:
    """Since it was made, for a few minutes, until it is lifted."""
    store = store_with()
    ask = asker_for(store, tmp_path, clock)
    assert ask(CA, 5).certificate_status is GOOD
    deny_certificate(store, ISSUER, 5, note="stolen", until=NOW + 2 * DAY, now=NOW)
    clock.now = NOW + timedelta(minutes=90, seconds=7)
    response = ask(CA, 5)
    assert response.certificate_status is REVOKED
    assert response.revocation_reason is HOLD
    assert response.revocation_time_utc == NOW
    assert response.this_update_utc == NOW + timedelta(minutes=90)
    assert response.next_update_utc == NOW + timedelta(minutes=90) + BRIEF
    lift_denial(store, ISSUER, 5, now=clock.now)
    assert ask(CA, 5).certificate_status is GOOD


def test_a_revoked_issuer_revokes_all(tmp_path: Path) -> None:
    """By its entry, and by its denial; the responder of that issuer says so."""
    root = make_authority("Root")
    issuer = make_authority("Issuing CA", root)
    store, issuers = MemoryStore(), [root.der, issuer.der]
    publish(store, make_crl(root, 1, [issuer.certificate.serial_number]), issuers)
    publish(store, make_crl(issuer, 1), issuers)
    responder = make_responder(issuer)
    ask = make_asker(make_checker(store), tmp_path, responder)
    response = ask(issuer, 5)
    assert response.certificate_status is REVOKED
    assert response.revocation_reason is x509.ReasonFlags.ca_compromise
    assert response.revocation_time_utc == NOW - DAY
    deny_certificate(
        store, root.certificate.subject.public_bytes(), issuer.certificate.serial_number, now=NOW
    )
    assert ask(issuer, 5).revocation_reason is HOLD


# ---- nonces and signed answers that are kept ---------------------------------------------------


@pytest.mark.parametrize("size", [1, 32, 128])
def test_a_nonce_is_echoed(tmp_path: Path, size: int) -> None:
    """In an answer that nobody keeps."""
    ask = asker_for(store_with(), tmp_path)
    nonce = bytes(range(size))
    answers = [ask.ask(CA, 5, nonce=nonce) for _ in range(2)]
    assert answers[0].body != answers[1].body  # ECDSA signs anew
    for answer in answers:
        assert (answer.this_update, answer.next_update) == (None, None)
        response = ask.read(answer.body)
        assert response.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce == nonce
        assert response.certificate_status is GOOD
    assert not list(ask(CA, 5).extensions)


def test_answers_with_a_nonce_are_limited(tmp_path: Path) -> None:
    """Further ones are tryLater, and all others go on."""
    seconds = [0.0]
    keys = load_pairs(tmp_path, RESPONDER)
    responder = OcspResponder(
        make_checker(store_with()), keys, nonces_per_second=2, clock=lambda: seconds[0]
    )
    ask = Asker(responder, RESPONDER)

    def outcomes() -> list[str]:
        return [ask.ask(CA, 5, nonce=b"n").outcome for _ in range(3)]

    assert outcomes() == ["good", "good", "try_later"]
    assert ask.ask(CA, 5).outcome == "good"
    seconds[0] += 0.5
    assert outcomes() == ["good", "try_later", "try_later"]
    seconds[0] += 100
    assert outcomes() == ["good", "good", "try_later"]


def test_equal_answers_are_signed_once(tmp_path: Path, clock: Clock) -> None:
    """As long as a new check leads to the same statement, by the same set."""
    store = store_with(entry(6))
    ask = asker_for(store, tmp_path, clock)
    first = ask.ask(CA, 5)
    assert (first.this_update, first.next_update) == (NOW - DAY, NOW + DAY)
    assert ask.ask(CA, 5) == first
    others = [ask.ask(CA, 5, algorithm=hashes.SHA256()), ask.ask(CA, 6), ask.ask(CA, 7)]
    assert len({first.body, *(one.body for one in others)}) == 4
    assert ask.ask(CA, 5) == first
    deny_certificate(store, ISSUER, 99, now=NOW)  # the next generation
    again = ask.ask(CA, 5)
    assert again.body != first.body
    assert again[1:] == first[1:]


def test_so_many_answers_are_kept(tmp_path: Path) -> None:
    """The least recently used ones are dropped."""
    keys = load_pairs(tmp_path, RESPONDER)
    responder = OcspResponder(make_checker(store_with()), keys, capacity=2)
    ask = Asker(responder, RESPONDER)
    one, two = ask.ask(CA, 1), ask.ask(CA, 2)
    assert ask.ask(CA, 1) == one
    ask.ask(CA, 3)
    assert ask.ask(CA, 1) == one
    assert ask.ask(CA, 2).body != two.body


def test_what_may_change_at_any_time_is_not_kept_by_others(tmp_path: Path) -> None:
    """Without a nextUpdate, an answer has no time until which it may be kept."""
    ask = asker_for(store_with(extensions=[partition("http://ca/1")]), tmp_path)
    answer = ask.ask(CA, 5)
    assert answer[1:] == ("unknown", "out_of_scope", None, None)


# ---- faults ------------------------------------------------------------------------------------


def test_a_fault_is_an_internal_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says where, and nothing of the certificate."""
    checker = make_checker(store_with())
    ask = make_asker(checker, tmp_path, RESPONDER)

    def fail(*_: object) -> None:
        raise RuntimeError(CA.certificate.subject.rfc4514_string())

    monkeypatch.setattr(type(checker), "status_of_serial", fail)
    assert ask(CA, 5).response_status is ocsp.OCSPResponseStatus.INTERNAL_ERROR
    assert "RuntimeError" in caplog.text
    assert "CN=CA" not in caplog.text


def test_a_closed_checker_is_an_internal_error(tmp_path: Path) -> None:
    """Nobody should ask any more."""
    checker = make_checker(store_with())
    ask = make_asker(checker, tmp_path, RESPONDER)
    checker.close()
    assert ask.ask(CA, 5).outcome == "internal_error"


@pytest.fixture(scope="module")
def responder(tmp_path_factory: pytest.TempPathFactory) -> OcspResponder:
    """A responder that is asked nonsense."""
    keys = load_pairs(tmp_path_factory.mktemp("keys"), RESPONDER)
    return OcspResponder(make_checker(store_with()), keys)


MALFORMED = ocsp.OCSPResponseStatus.MALFORMED_REQUEST


@given(body=st.binary(max_size=400))
def test_random_bytes_are_malformed(responder: OcspResponder, body: bytes) -> None:
    """Whatever they are."""
    answer = responder.respond(body)
    assert answer.outcome == "malformed_request"
    assert ocsp.load_der_ocsp_response(answer.body).response_status is MALFORMED


# ---- by the same rules as a check --------------------------------------------------------------


@settings(max_examples=30)
@given(
    listed=st.dictionaries(st.integers(1, 4), st.sampled_from([None, 1, 4, 6, 8])),
    denied=st.sets(st.integers(1, 4), max_size=2),
    scope=st.sampled_from([[], *SCOPED.values()]),
    policy=st.builds(
        Policy,
        hold=st.sampled_from(Rule),
        no_distribution_point=st.sampled_from(Rule),
        stale=st.sampled_from([StaleRule.DENY, StaleRule.GRACE]),
        stale_grace=st.just(DAY),
    ),
    after=st.sampled_from([timedelta(0), DAY, DAY + SECOND, 3 * DAY]),
)
def test_good_is_what_a_strict_check_clears(
    tmp_path_factory: pytest.TempPathFactory,
    listed: dict[int, int | None],
    denied: set[int],
    scope: list[bytes],
    policy: Policy,
    after: timedelta,
) -> None:
    """Nothing else is good; and what a strict check calls revoked is revoked."""
    store = store_with(*(entry(*one) for one in listed.items()), extensions=scope)
    for serial_number in denied:
        deny_certificate(store, ISSUER, serial_number, now=NOW)
    clock = Clock()
    directory = tmp_path_factory.mktemp("keys")
    ask = make_asker(make_checker(store, clock=clock, policy=policy), directory, RESPONDER)
    strict = make_checker(store, clock=clock)
    clock.now = NOW + after
    for serial_number in range(1, 6):
        expected = strict.check_serial(CA.der, serial_number)
        answer = ask.ask(CA, serial_number)
        is_good = expected.status is RevocationStatus.NOT_REVOKED and not expected.waived
        assert (answer.outcome == "good") == is_good, expected.detail
        assert (answer.outcome == "revoked") == (expected.status is RevocationStatus.REVOKED)
        if answer.outcome not in ("try_later", "unauthorized"):
            response = ask.read(answer.body)
            until: datetime | None = response.next_update_utc
            assert response.this_update_utc <= clock.now
            assert until is None or until >= clock.now


def test_the_status_of_a_serial_number_is_that_of_its_check() -> None:
    """With the time, and the first nextUpdate to come."""
    store = store_with(entry(6))
    checker = make_checker(store)
    issuer = load_certificate(CA.der)
    for serial_number in (5, 6):
        found = checker.status_of_serial(issuer, serial_number)
        assert found.result == checker.check_serial(CA.der, serial_number)
        assert found.at == NOW
        assert found.next_update == (NOW + DAY if serial_number == 5 else None)
        assert (found.denied_at, found.denied_until) == (None, None)
