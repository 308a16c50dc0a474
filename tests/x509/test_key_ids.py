"""What certificates and CRLs may call a trusted key."""

from __future__ import annotations

import dataclasses
import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import SubjectKeyIdentifier

from crlcheck.checker.scope import Coverage, ScopeTable
from crlcheck.demo.encoding import der, encode_extension
from crlcheck.demo.pki import CertificateAuthority, sign_crl
from crlcheck.encoding.der import contents_at
from crlcheck.publisher.publish import publish_crl
from crlcheck.types import CertificateFacts, Policy, RevocationStatus, Rule, UndeterminedCause
from crlcheck.x509.key_ids import derived_key_ids
from support.checking import make_checker, make_index, verdict
from support.memory_store import MemoryStore
from support.pki import DAY, NOW, make_authority, make_client, make_crl
from support.values import der as element
from support.values import make_certificate, make_issuer, make_key, make_metadata, make_name

REVOKED = RevocationStatus.REVOKED
NOT_REVOKED = RevocationStatus.NOT_REVOKED
UNDETERMINED = RevocationStatus.UNDETERMINED
UNKNOWN_ISSUER = Coverage(cause=UndeterminedCause.UNKNOWN_ISSUER)
AMBIGUOUS_ISSUER = Coverage(cause=UndeterminedCause.AMBIGUOUS_ISSUER)
OUT_OF_SCOPE = Coverage(cause=UndeterminedCause.OUT_OF_SCOPE)

CRL_OF_CA = make_metadata()
KEY_BITS = make_key("CA key")[-32:]
SHA1_OF_KEY = hashlib.sha1(KEY_BITS).digest()


# ---- ids made from the key -----------------------------------------------------------


@pytest.mark.parametrize(
    "public_key",
    [
        rsa.generate_private_key(65537, 2048).public_key(),
        ec.generate_private_key(ec.SECP384R1()).public_key(),
        ed25519.Ed25519PrivateKey.generate().public_key(),
    ],
    ids=["rsa", "ec", "ed25519"],
)
def test_the_usual_id_is_as_other_software_computes_it(
    public_key: CertificatePublicKeyTypes,
) -> None:
    """
    RFC 5280 4.2.1.2 (1), whatever kind of key it is.
    """
    info = public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert derived_key_ids(info)[0] == SubjectKeyIdentifier.from_public_key(public_key).digest


def test_the_examples_of_rfc_7093() -> None:
    """
    Section 3 of RFC 7093 gives a key, and its ids by methods 1 and 4.
    """
    info = bytes.fromhex(
        "3059301306072a8648ce3d020106082a8648ce3d030107034200047f7f35a79794c950060b8029fc8f363a"
        "28f11159692d9d34e6ac948190434735f833b1a66652dc514337aff7f5c9c75d670c019d95a5d639b72744"
        "c64a9128bb"
    )
    derived = derived_key_ids(info)
    assert bytes.fromhex("bf37b3e5808fd46d54b28e846311bcce1cad2e1a") in derived
    assert (
        bytes.fromhex("6d20896ab8bd833b6b66554bd59b20225d8a75a296088148399d7bf763d57405") in derived
    )


METHODS = {
    "RFC 5280 (1)": SHA1_OF_KEY,
    "RFC 5280 (2)": bytes((0x40 | SHA1_OF_KEY[12] & 0x0F,)) + SHA1_OF_KEY[13:],
    "RFC 7093 (1)": hashlib.sha256(KEY_BITS).digest()[:20],
    "RFC 7093 (2)": hashlib.sha384(KEY_BITS).digest()[:20],
    "RFC 7093 (3)": hashlib.sha512(KEY_BITS).digest()[:20],
    "RFC 7093 (4), SHA-1": hashlib.sha1(make_key("CA key")).digest(),
    "RFC 7093 (4), SHA-256": hashlib.sha256(make_key("CA key")).digest(),
    "RFC 7093 (4), SHA-384": hashlib.sha384(make_key("CA key")).digest(),
    "RFC 7093 (4), SHA-512": hashlib.sha512(make_key("CA key")).digest(),
}


@pytest.mark.parametrize("key_id", METHODS.values(), ids=METHODS)
@pytest.mark.parametrize("stated", [None, b"CA key"], ids=["states none", "states another"])
def test_a_key_goes_by_what_is_made_from_it(stated: bytes | None, key_id: bytes) -> None:
    """
    Each is a hash of the trusted key, so it stands for that key whatever its
    certificate states.
    """
    table = ScopeTable([CRL_OF_CA], [make_issuer(subject_key_id=stated)])
    assert table.coverage(make_certificate(authority_key_id=key_id)).crls == (0,)


@pytest.mark.parametrize(
    "key_id", [b"made up", b"", hashlib.md5(KEY_BITS).digest(), SHA1_OF_KEY[:-1]]
)
def test_an_id_made_in_another_way_is_not_guessed_at(key_id: bytes) -> None:
    """
    The list of methods is closed.
    """
    table = ScopeTable([CRL_OF_CA], [make_issuer(subject_key_id=None)])
    assert table.coverage(make_certificate(authority_key_id=key_id)) == UNKNOWN_ISSUER


def test_a_stated_id_comes_before_one_that_is_made() -> None:
    """
    Where a key's certificate states what is a hash of another one, it is meant.
    """
    stating = make_issuer(key="other", subject_key_id=SHA1_OF_KEY)
    crls = [CRL_OF_CA, make_metadata(key="other")]
    table = ScopeTable(crls, [make_issuer(), stating])
    assert table.coverage(make_certificate(authority_key_id=SHA1_OF_KEY)).crls == (1,)


def test_the_ids_of_one_name_say_nothing_of_another() -> None:
    """
    A key is known under its certificate's subject only.
    """
    table = ScopeTable([CRL_OF_CA], [make_issuer()])
    other = make_certificate(issuer="other", authority_key_id=SHA1_OF_KEY)
    assert table.coverage(other) == UNKNOWN_ISSUER


def renewed(authority: CertificateAuthority, key_id: bytes) -> bytes:
    """A second certificate of an authority's key and name, with another subject key id."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes

    name = authority.certificate.subject
    key = authority.private_key
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    builder = x509.CertificateBuilder(
        name, name, key.public_key(), 77, NOW - DAY, NOW + 3650 * DAY
    ).add_extension(SubjectKeyIdentifier(key_id), critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def test_a_renewed_authority_answers_for_what_it_issued_before() -> None:
    """
    Its certificate changed from SHA-1 to RFC 7093; clients and CRLs still name the
    other id, and the waiver for unknown issuers has nothing to do with them.
    """
    authority = make_authority()
    info = authority.private_key.public_key().public_bytes(
        Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    )
    store = MemoryStore()
    issuer = renewed(authority, derived_key_ids(info)[2])
    publish_crl(make_crl(authority, 1, [5]), store, issuer=issuer, now=NOW)
    for policy in (Policy(), Policy(unknown_issuer=Rule.ALLOW)):
        checker = make_checker(store, policy=policy)
        assert checker.check(make_client(authority, 5)).status is REVOKED
        assert checker.check(make_client(authority, 6)).status is NOT_REVOKED


# ---- the waiver for unknown issuers --------------------------------------------------


def test_a_trusted_name_is_no_unknown_issuer_to_be_waived() -> None:
    """
    Clients of elsewhere may pass; those whose issuer's name is trusted may not,
    and the message has the ids that were found and expected.
    """
    authority, stranger = make_authority(), make_authority()
    store = MemoryStore()
    publish_crl(make_crl(authority), store, issuer=authority.der, now=NOW)
    checker = make_checker(store, policy=Policy(unknown_issuer=Rule.ALLOW))
    assert checker.check(make_client(make_authority("Else"), 1)).status is NOT_REVOKED
    for result in (
        checker.check(make_client(stranger, 1)),
        checker.check_chain([make_client(stranger, 1), stranger.der]),
        checker.check_chain([make_client(stranger, 1, authority_key_id=False), stranger.der]),
    ):
        assert verdict(result) == (UNDETERMINED, UndeterminedCause.UNKNOWN_ISSUER)
        assert result.waived == ()
        assert authority.authority_key_identifier.key_identifier is not None
        assert authority.authority_key_identifier.key_identifier.hex() in str(result)
    found = stranger.authority_key_identifier.key_identifier
    assert found is not None
    assert found.hex() in str(checker.check(make_client(stranger, 1)))


# ---- issuer and serial number --------------------------------------------------------


def named_issuer(*, serial_number: int, key: str, issuer: str = "root") -> CertificateFacts:
    """A certificate of CA."""
    return dataclasses.replace(
        make_certificate(
            issuer=issuer, subject="CA", key=key, authority_key_id=None, subject_key_id=b"same"
        ),
        serial_number=serial_number,
    )


def client_naming(
    serial_number: int, issuer: str = "root", key_id: bytes | None = None
) -> CertificateFacts:
    """A client whose authority key identifier has issuer and serial number."""
    return dataclasses.replace(
        make_certificate(authority_key_id=key_id),
        authority_cert_issuer=(element(0x86, b"uri:"), element(0xA4, make_name(issuer))),
        authority_cert_serial_number=serial_number,
    )


OLD = named_issuer(serial_number=1, key="old")
NEW = named_issuer(serial_number=2, key="new")
CRLS = [make_metadata(key="old"), make_metadata(key="new")]


@pytest.mark.parametrize("key_id", [None, b"same"])
def test_issuer_and_serial_number_tell_keys_of_one_name_apart(key_id: bytes | None) -> None:
    """
    RFC 5280 4.2.1.1; the issuer's name is compared as any name is. The answer is
    that certificate's and no other's with the same key id.
    """
    table = ScopeTable(CRLS, [OLD, NEW])
    for _ in range(2):
        assert table.coverage(client_naming(1, key_id=key_id)).crls == (0,)
        assert table.coverage(client_naming(2, " ROOT ", key_id=key_id)).crls == (1,)
        assert table.coverage(make_certificate(authority_key_id=key_id)) == AMBIGUOUS_ISSUER


@pytest.mark.parametrize(
    "client", [client_naming(3), client_naming(1, "other"), client_naming(2, "other")]
)
def test_what_fits_no_certificate_excludes_nothing(client: CertificateFacts) -> None:
    """
    A CA that was renewed has another serial number than its clients name.
    """
    assert ScopeTable(CRLS, [OLD, NEW]).coverage(client) == AMBIGUOUS_ISSUER
    assert ScopeTable(CRLS, [OLD]).coverage(client).crls == (0,)


def test_issuer_and_serial_number_choose_among_what_the_key_id_leaves() -> None:
    """
    They never bring in a key that the key id does not fit.
    """
    other = dataclasses.replace(NEW, subject_key_id=b"other")
    table = ScopeTable(CRLS, [OLD, other])
    assert table.coverage(client_naming(2, key_id=b"same")).crls == (0,)
    assert table.coverage(client_naming(1, key_id=b"unknown")) == UNKNOWN_ISSUER


# ---- the key id of a CRL -------------------------------------------------------------


def crl_naming(authority: CertificateAuthority, key_of: CertificateAuthority) -> bytes:
    """A CRL of *authority* whose authority key id is another key's."""
    key_id = key_of.authority_key_identifier.key_identifier
    assert key_id is not None
    return sign_crl(
        authority,
        this_update=NOW,
        next_update=NOW + DAY,
        crl_number=2,
        authority_key_id=False,
        extensions=[encode_extension("2.5.29.35", der(0x30, der(0x80, key_id)))],
    )


@pytest.mark.parametrize("is_namesake_trusted", [True, False])
def test_a_crl_does_not_say_what_a_known_key_is_called(is_namesake_trusted: bool) -> None:
    """
    A CRL with another key's id changes nothing for the clients of that key, be it
    trusted or not (RFC 5280 5.2.1).
    """
    issuer = CertificateAuthority.create("CA", now=NOW, subject_key_id=False)
    namesake = make_authority("CA")
    issuers = [issuer.der, namesake.der] if is_namesake_trusted else [issuer.der]
    store = MemoryStore()
    publish_crl(make_crl(issuer, 1), store, issuer=issuers, now=NOW)
    if is_namesake_trusted:
        publish_crl(make_crl(namesake, 1), store, issuer=issuers, now=NOW)
    client = make_client(namesake, 5)
    before = verdict(make_checker(store).check(client))
    publish_crl(crl_naming(issuer, namesake), store, issuer=issuers, now=NOW)
    assert verdict(make_checker(store).check(client)) == before


def test_an_index_alone_is_known_by_what_its_crl_says() -> None:
    """
    Without any certificate there is nothing else to know its key by. What the
    certificate that verified it stated comes first, and a certificate given for
    the key settles it.
    """
    said = make_metadata(verifier_subject_key_id=None, authority_key_id=b"said")
    client = make_certificate(authority_key_id=b"said")
    assert ScopeTable([said], [], trust_verifiers=True).coverage(client).crls == (0,)
    other = make_metadata(key="other", verifier_subject_key_id=b"said", authority_key_id=b"said")
    assert ScopeTable([said, other], [], trust_verifiers=True).coverage(client).crls == (1,)
    known = ScopeTable([said], [make_issuer(subject_key_id=None)], trust_verifiers=True)
    assert known.coverage(client) == UNKNOWN_ISSUER
    index = make_index()
    assert make_checker(index).check(make_client(make_authority("Else"), 1)).status is UNDETERMINED


# ---- what is said ----------------------------------------------------------------------


def test_ambiguous_keys_are_told_apart() -> None:
    """
    The operator needs the ids and serial numbers of the issuers to take one out.
    """
    one, other = make_authority("CA"), make_authority("CA")
    store = MemoryStore()
    publish_crl(make_crl(one), store, issuer=[one.der, other.der], now=NOW)
    result = make_checker(store).check(make_client(one, 1, authority_key_id=False))
    assert result.cause is UndeterminedCause.AMBIGUOUS_ISSUER
    for authority in (one, other):
        key_id = authority.authority_key_identifier.key_identifier
        assert key_id is not None
        assert key_id.hex() in str(result)
        assert f"{authority.certificate.serial_number:x}" in str(result)


# ---- the hashes ------------------------------------------------------------------------


@pytest.mark.parametrize("seed", ["a", "b", "c", "d", "e", "f", "g", "h"])
def test_the_short_id_of_rfc_5280_is_a_type_and_sixty_bits(seed: str) -> None:
    """
    4.2.1.2 (2): 0100 and the least significant 60 bits of the SHA-1 of the key.
    """
    subject_public_key_info = make_key(seed)
    sha1 = hashlib.sha1(subject_public_key_info[-32:], usedforsecurity=False).digest()
    bits = 0b0100 << 60 | int.from_bytes(sha1, "big") % (1 << 60)
    ids = derived_key_ids(subject_public_key_info)
    assert ids[:2] == (sha1, bits.to_bytes(8, "big"))
    assert len(set(map(len, ids[2:5]))) == 1
    assert list(map(len, ids)) == [20, 8, 20, 20, 20, 20, 32, 48, 64]


@pytest.mark.parametrize("length", [0, 1, 127, 128, 255, 256, 70_000])
def test_an_element_ends_where_its_length_says(length: int) -> None:
    """
    In short and in long form, wherever it stands.
    """
    octets = element(0x03, bytes(length))
    start = len(octets) - length
    assert contents_at(octets, 0) == (start, len(octets))
    assert contents_at(b"\x05\x01" + octets + b"\x05\x00", 2) == (start + 2, len(octets) + 2)
