"""The signature of a CRL: which issuer may have made it, and whether it holds."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cryptography_vectors
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import mldsa
from cryptography.x509.oid import NameOID

from crlcheck.demo.pki import CertificateAuthority
from crlcheck.errors import UnsupportedCrlError
from crlcheck.x509 import signatures as signature_module
from crlcheck.x509.signatures import TbsVerifier, candidate_issuers, signature_scheme
from support.signed_crl import KEY_TYPES, SignedCrl, facts_of, make_crl, refusal

VECTORS = Path(next(iter(cryptography_vectors.__path__))) / "x509"


# ---- verification -----------------------------------------------------------


@pytest.mark.parametrize("hash_name", ["sha256", "sha384", "sha512"])
@pytest.mark.parametrize("key_type", KEY_TYPES)
def test_every_scheme_verifies(
    authorities: dict[str, CertificateAuthority], key_type: str, hash_name: str
) -> None:
    """
    A CRL signed with any scheme and any accepted hash verifies under its
    issuer's key, as it does for ``cryptography``.
    """
    signer = authorities[key_type]
    encoded = make_crl(signer, hash_name=hash_name)
    public_key: Any = signer.private_key.public_key()
    assert x509.load_der_x509_crl(encoded).is_signature_valid(public_key)
    assert SignedCrl.parse(encoded).verify([facts_of(signer.certificate)]).der == signer.der


@pytest.mark.parametrize("key_type", KEY_TYPES)
def test_any_flipped_bit_is_refused(
    authorities: dict[str, CertificateAuthority], key_type: str
) -> None:
    """
    One flipped bit, anywhere in the signed bytes or the signature_module, voids it; so
    do signatures that are cut short, too long or empty.
    """
    signer = authorities[key_type]
    crl = SignedCrl.parse(make_crl(signer))
    issuer = facts_of(signer.certificate)
    for position in range(0, len(crl.tbs), 29):
        tbs = bytearray(crl.tbs)
        tbs[position] ^= 1 << (position % 8)
        broken = dataclasses.replace(crl, tbs=bytes(tbs))
        assert refusal(broken, issuer).reason == "bad_signature"
    step = max(1, len(crl.signature) // 16)
    for position in range(0, len(crl.signature), step):
        octets = bytearray(crl.signature)
        octets[position] ^= 1 << (position % 8)
        broken = dataclasses.replace(crl, signature=bytes(octets))
        assert refusal(broken, issuer).reason == "bad_signature"
    for wrong_size in (b"", crl.signature[:-1], crl.signature + b"\0", b"\0" + crl.signature):
        broken = dataclasses.replace(crl, signature=wrong_size)
        assert refusal(broken, issuer).reason == "bad_signature"


@pytest.mark.parametrize("chunk_size", [1, 2, 63, 64, 65, 1 << 20])
@pytest.mark.parametrize("key_type", ["rsa", "ed25519", "ml-dsa-65"])
def test_chunking_does_not_matter(
    authorities: dict[str, CertificateAuthority], key_type: str, chunk_size: int
) -> None:
    """
    The signed bytes may come in pieces of any size.
    """
    crl = SignedCrl.parse(make_crl(authorities[key_type]))
    crl.verify([facts_of(authorities[key_type].certificate)], chunk_size)


@pytest.mark.parametrize("key_type", ["ml-dsa-44", "ml-dsa-65", "ml-dsa-87"])
def test_external_mu_equals_verification_of_the_whole_message(
    authorities: dict[str, CertificateAuthority], key_type: str
) -> None:
    """
    ML-DSA through its external mu accepts exactly what plain ML-DSA made, and
    refuses a signature made with a context, which is over another mu.
    """
    signer = authorities[key_type]
    key = signer.private_key
    assert isinstance(
        key, mldsa.MLDSA44PrivateKey | mldsa.MLDSA65PrivateKey | mldsa.MLDSA87PrivateKey
    )
    crl = SignedCrl.parse(make_crl(signer))
    issuer = facts_of(signer.certificate)
    plain = dataclasses.replace(crl, signature=key.sign(crl.tbs))
    assert plain.verify([issuer]).der == signer.der
    with_context = dataclasses.replace(crl, signature=key.sign(crl.tbs, b"context"))
    assert refusal(with_context, issuer).reason == "bad_signature"


@pytest.mark.parametrize("key_type", ["ed25519", "ed448"])
def test_a_large_message_is_kept_on_disk(
    authorities: dict[str, CertificateAuthority],
    monkeypatch: pytest.MonkeyPatch,
    key_type: str,
) -> None:
    """
    A CRL signed as a whole verifies from disk as it does from memory, on both
    sides of the limit, and is refused there too.
    """
    signer = authorities[key_type]
    crl = SignedCrl.parse(make_crl(signer))
    issuer = facts_of(signer.certificate)
    for limit in (1, len(crl.tbs) - 1, len(crl.tbs), len(crl.tbs) + 1):
        monkeypatch.setattr(signature_module, "MAX_SPOOLED_IN_MEMORY", limit)
        assert crl.verify([issuer]).der == signer.der
        broken = dataclasses.replace(crl, tbs=crl.tbs + b"\0")
        assert refusal(broken, issuer).reason == "bad_signature"


def test_an_abandoned_verifier_keeps_nothing(
    authorities: dict[str, CertificateAuthority], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Leaving the verifier's context closes what was kept on disk, and a second
    verification is misuse rather than a verdict on nothing.
    """
    signer = authorities["ed25519"]
    monkeypatch.setattr(signature_module, "MAX_SPOOLED_IN_MEMORY", 1)
    crl = SignedCrl.parse(make_crl(signer))
    scheme = signature_scheme(crl.algorithm_identifier, allow_sha1=False)
    with TbsVerifier(scheme, [facts_of(signer.certificate)]) as verifier:
        verifier.update(crl.tbs)
        verifier.verify(crl.signature)
        with pytest.raises(ValueError, match="closed"):
            verifier.verify(crl.signature)
    abandoned = TbsVerifier(scheme, [facts_of(signer.certificate)])
    abandoned.update(crl.tbs)
    abandoned.close()
    with pytest.raises(ValueError, match="closed"):
        abandoned.update(crl.tbs)


@pytest.mark.parametrize(
    ("key_type", "hash_name", "digest"),
    [
        ("rsa", "sha384", "sha384"),
        ("ec-p256", "sha512", "sha512"),
        ("rsa-pss", "sha256", "sha256"),
        ("ed448", "sha256", "sha256"),
        ("ml-dsa-44", "sha256", "sha256"),
    ],
)
def test_tbs_digest_is_the_signatures_own(
    authorities: dict[str, CertificateAuthority], key_type: str, hash_name: str, digest: str
) -> None:
    """
    The digest that identifies a CRL is the one its signature is over, and
    SHA-256 where the scheme has none.
    """
    signer = authorities[key_type]
    crl = SignedCrl.parse(make_crl(signer, hash_name=hash_name))
    scheme = signature_scheme(crl.algorithm_identifier, allow_sha1=False)
    with TbsVerifier(scheme, [facts_of(signer.certificate)]) as verifier:
        verifier.update(crl.tbs)
        expected = hashlib.new(digest, crl.tbs).hexdigest()
        assert verifier.tbs_digest == f"{digest}:{expected}"


def pkits() -> Iterator[tuple[str, bytes]]:
    """Every CRL of NIST's PKITS that ``cryptography`` can read."""
    for path in sorted((VECTORS / "PKITS_data" / "crls").glob("*.crl")):
        yield path.stem, path.read_bytes()


def test_pkits_agrees_with_cryptography() -> None:
    """
    For every CRL of PKITS and every certificate of its issuer, the verdict on
    the signature is that of ``cryptography``; DSA alone is not supported.
    """
    certificates = [
        x509.load_der_x509_certificate(path.read_bytes())
        for path in sorted((VECTORS / "PKITS_data" / "certs").glob("*.crt"))
        if not re.search("DSAParameter|NegativeSerial", path.stem)
    ]
    verdicts = {True: 0, False: 0}
    for name, encoded in pkits():
        loaded = x509.load_der_x509_crl(encoded)
        named = [c for c in certificates if c.subject == loaded.issuer]
        crl = SignedCrl.parse(encoded)
        if name.startswith("DSA"):
            with pytest.raises(UnsupportedCrlError, match="dsa-with-SHA1"):
                crl.verify([facts_of(certificate) for certificate in named])
            continue
        for certificate in named:
            key: Any = certificate.public_key()
            issuer = dataclasses.replace(facts_of(certificate), key_usage=None, subject_key_id=None)
            expected = loaded.is_signature_valid(key)
            verdicts[expected] += 1
            if expected:
                assert crl.verify([issuer]) is issuer, name
            else:
                assert refusal(crl, issuer).reason == "bad_signature", name
    assert verdicts[True] > 150
    assert verdicts[False] > 5


# ---- the choice of the issuer -----------------------------------------------


@pytest.mark.parametrize("key_type", KEY_TYPES)
def test_siblings_of_one_name_are_told_apart_by_key(
    authorities: dict[str, CertificateAuthority], key_type: str
) -> None:
    """
    Among issuers of one name with different keys (teleport#57822), the one that
    signed is found, with the CRL's authority key id and without.
    """
    issuers = [facts_of(each.certificate) for each in authorities.values()]
    signer = authorities[key_type]
    for with_key_id in (True, False):
        crl = SignedCrl.parse(make_crl(signer, authority_key_id=with_key_id))
        assert crl.verify(issuers).der == signer.der
        assert crl.verify(issuers[::-1]).der == signer.der


def test_a_sibling_key_is_no_substitute(authority: CertificateAuthority) -> None:
    """
    A CRL signed by another key of the same name is refused, whether its key id
    says so, is the victim's, or is missing.
    """
    issuer = facts_of(authority.certificate)
    impostor = CertificateAuthority.create("Test CA")
    crl = SignedCrl.parse(make_crl(impostor))
    assert refusal(crl, issuer).reason == "key_id"
    lying = dataclasses.replace(crl, authority_key_id=issuer.subject_key_id)
    assert refusal(lying, issuer).reason == "bad_signature"
    silent = dataclasses.replace(crl, authority_key_id=None)
    assert refusal(silent, issuer).reason == "bad_signature"


def test_an_issuer_without_crl_sign_is_refused(authority: CertificateAuthority) -> None:
    """
    A key whose certificate has a keyUsage without cRLSign may not sign CRLs,
    unless another certificate of the same key allows it (RFC 5280 6.3.3 f).
    """
    barred = CertificateAuthority.create(
        "Test CA", private_key=authority.private_key, may_sign_crls=False
    )
    crl = SignedCrl.parse(make_crl(barred))
    assert refusal(crl, facts_of(barred.certificate)).reason == "key_usage"
    both = [facts_of(barred.certificate), facts_of(authority.certificate)]
    assert crl.verify(both).der == authority.der


def test_another_name_is_refused(authority: CertificateAuthority) -> None:
    """
    A certificate with the right key and another name is no issuer of the CRL,
    and the message names both.
    """
    other = CertificateAuthority.create("Other CA", private_key=authority.private_key)
    error = refusal(SignedCrl.parse(make_crl(authority)), facts_of(other.certificate))
    assert error.reason == "no_issuer"
    assert "Test CA" in str(error)
    assert "Other CA" in str(error)
    assert refusal(SignedCrl.parse(make_crl(authority))).reason == "no_issuer"


def test_names_match_by_what_they_say(authority: CertificateAuthority) -> None:
    """
    Names that differ in case, spacing and string type are one name (RFC 5280
    7.1); a malformed name equals itself only.
    """
    variant = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, " test  ca ")])
    issuer = facts_of(
        CertificateAuthority.create(variant, private_key=authority.private_key).certificate
    )
    assert SignedCrl.parse(make_crl(authority)).verify([issuer]) is issuer
    malformed = dataclasses.replace(issuer, subject=b"\x30\x05abc")
    crl = SignedCrl.parse(make_crl(authority))
    assert refusal(crl, malformed).reason == "no_issuer"
    assert dataclasses.replace(crl, issuer=malformed.subject).verify([malformed]) is malformed


def test_a_key_id_tells_which_certificates_are_tried_first(
    authority: CertificateAuthority,
) -> None:
    """
    Candidates come in the order given. Of those that carry the key, the one with
    the CRL's authority key id is the signer, then one without a key id.
    """
    sibling = CertificateAuthority.create("Test CA")
    anonymous = CertificateAuthority.create(
        "Test CA", private_key=authority.private_key, subject_key_id=False
    )
    renewed = dataclasses.replace(facts_of(authority.certificate), subject_key_id=b"another")
    issuers = [facts_of(each.certificate) for each in (sibling, anonymous, authority)]
    name = issuers[0].subject
    assert candidate_issuers(issuers, crl_issuer=name) == tuple(issuers)
    crl = SignedCrl.parse(make_crl(authority))
    assert crl.verify([renewed, *issuers]) is issuers[2]
    assert crl.verify([renewed, *issuers[:2]]) is issuers[1]
    assert crl.verify([renewed, issuers[0]]) is renewed


def test_a_key_id_made_in_another_way_is_no_reason_to_refuse(
    authority: CertificateAuthority,
) -> None:
    """
    A CRL verifies under the key that signed it, whatever the key is called: a CA
    that renews its certificate may change from SHA-1 to a method of RFC 7093. What
    verifies under no key is refused by its key id.
    """
    crl = SignedCrl.parse(make_crl(authority))
    renamed = dataclasses.replace(crl, authority_key_id=b"\xab\xcd\xef")
    issuer = facts_of(authority.certificate)
    sibling = facts_of(CertificateAuthority.create("Test CA").certificate)
    assert renamed.verify([sibling, issuer]) is issuer
    error = refusal(renamed, sibling)
    assert error.reason == "key_id"
    assert "abcdef" in str(error)


def test_of_several_certificates_of_the_key_the_first_is_named(
    authority: CertificateAuthority,
) -> None:
    """
    Where several certificates carry the key that signed (rollover), the first
    given is reported as the signer.
    """
    second = CertificateAuthority.create("Test CA", private_key=authority.private_key)
    pair = [facts_of(second.certificate), facts_of(authority.certificate)]
    crl = SignedCrl.parse(make_crl(authority))
    assert crl.verify(pair) is pair[0]
    assert crl.verify(pair[::-1]) is pair[1]
