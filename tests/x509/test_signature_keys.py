"""Which keys of issuer certificates may verify which signatures."""

from __future__ import annotations

import dataclasses

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key

from crlcheck.demo.encoding import der, der_oid, encode_pss_algorithm
from crlcheck.demo.pki import CertificateAuthority
from crlcheck.errors import CrlSignatureError
from crlcheck.types import CertificateFacts
from crlcheck.x509 import signatures
from crlcheck.x509.signatures import (
    MIN_SMALL_RSA_BITS,
    TbsVerifier,
    is_self_signed,
    signature_scheme,
)
from support.signed_crl import (
    KEY_TYPES,
    NULL,
    PSS_OID,
    SignedCrl,
    facts_of,
    make_crl,
    public_key_info,
    refusal,
)


def with_key(issuer: CertificateFacts, public_key_info: bytes) -> CertificateFacts:
    """*issuer* with another public key."""
    return dataclasses.replace(issuer, subject_public_key_info=public_key_info)


def rsa_key_info(key: rsa.RSAPrivateKey, algorithm_identifier: bytes) -> bytes:
    """The SubjectPublicKeyInfo of an RSA key, under another algorithm."""
    plain = public_key_info(key)
    _, _, bits = plain.partition(der(0x30, der_oid("1.2.840.113549.1.1.1"), NULL))
    return der(0x30, algorithm_identifier, bits)


def test_unusable_keys_are_skipped_and_named(authority: CertificateAuthority) -> None:
    """
    A candidate whose key cannot be read, is on another curve or of
    another kind does not stand in the way of a good one; alone, it is refused
    before a single byte is hashed, and the message says why.
    """
    issuer = facts_of(authority.certificate)
    crl = SignedCrl.parse(make_crl(authority))
    unusable = {
        "cannot be read": b"\x30\x03abc",
        "no EC key": public_key_info(rsa.generate_private_key(65537, 2048)),
        "secp256k1": public_key_info(ec.generate_private_key(ec.SECP256K1())),
    }
    for message, info in unusable.items():
        bad = with_key(issuer, info)
        error = refusal(crl, bad)
        assert error.reason == "bad_signature"
        assert message in str(error)
        assert crl.verify([bad, issuer]) is issuer


def small_authority(bits: int) -> CertificateAuthority:
    """An authority of the others' name whose RSA key has *bits* bits."""
    key = rsa.generate_private_key(65537, bits)
    return CertificateAuthority.create("Test CA", private_key=key, key_type="rsa")


@pytest.mark.parametrize("bits", [1024, 2047])
def test_small_rsa_keys_have_a_reason_of_their_own(bits: int) -> None:
    """An RSA key of fewer than 2048 bits verifies nothing, and the refusal says why."""
    small = small_authority(bits)
    error = refusal(SignedCrl.parse(make_crl(small)), facts_of(small.certificate))
    assert error.reason == "small_rsa_key"
    assert f"{bits} bits" in str(error)
    assert "2048" in str(error)
    assert "allow_small_rsa" in str(error)


def test_a_small_key_among_others_is_to_blame_only_where_it_signed(
    authorities: dict[str, CertificateAuthority],
) -> None:
    """
    Beside a key that is long enough, what the small one signed is refused for its
    size, what the other signed is accepted, and what neither did is a bad signature.
    """
    small = small_authority(1024)
    large = authorities["rsa"]
    issuers = [facts_of(small.certificate), facts_of(large.certificate)]
    for order in (issuers, issuers[::-1]):
        by_small = SignedCrl.parse(make_crl(small))
        assert refusal(by_small, *order).reason == "small_rsa_key"
        by_large = SignedCrl.parse(make_crl(large))
        assert by_large.verify(order) is issuers[1]
        no_key_id = SignedCrl.parse(make_crl(large, authority_key_id=False))
        forged = dataclasses.replace(no_key_id, signature=bytes(len(no_key_id.signature)))
        assert refusal(forged, *order).reason == "bad_signature"


def test_no_option_accepts_an_rsa_key_below_1024_bits(authority: CertificateAuthority) -> None:
    """Keys of that size have been factored, so even the lower bound refuses them."""
    public_key = rsa.RSAPublicNumbers(65537, (1 << 1022) + 1).public_key()
    info = public_key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    scheme = signature_scheme(der(0x30, der_oid("1.2.840.113549.1.1.11"), NULL), allow_sha1=False)
    with pytest.raises(CrlSignatureError, match="1023 bits.*no option") as caught:
        TbsVerifier(
            scheme,
            [with_key(facts_of(authority.certificate), info)],
            min_rsa_bits=MIN_SMALL_RSA_BITS,
        )
    assert caught.value.reason == "small_rsa_key"


@pytest.mark.parametrize("key_type", KEY_TYPES)
def test_a_scheme_takes_its_own_kind_of_key_only(
    authorities: dict[str, CertificateAuthority], key_type: str
) -> None:
    """
    No scheme is tried with a key of another kind.
    """
    signer = authorities[key_type]
    crl = SignedCrl.parse(make_crl(signer, authority_key_id=False))
    kinds = {
        str(name): "ec" if name.startswith("ec-") else name.removesuffix("-pss")
        for name in KEY_TYPES
    }
    for name, other in authorities.items():
        if kinds[name] != kinds[key_type]:
            error = refusal(crl, facts_of(other.certificate))
            assert error.reason == "bad_signature"
            assert "no issuer certificate has a key for it" in str(error)


def test_a_key_for_pss_verifies_nothing_else(authorities: dict[str, CertificateAuthority]) -> None:
    """
    A key of id-RSASSA-PSS verifies PSS signatures only, and its parameters fix
    the hash and the least salt length (RFC 4055 1.2, 3.3).
    """
    pss = authorities["rsa-pss"]
    assert isinstance(pss.private_key, rsa.RSAPrivateKey)
    plain = CertificateAuthority.create("Test CA", private_key=pss.private_key, key_type="rsa")
    issuer = dataclasses.replace(facts_of(pss.certificate), subject_key_id=None)
    pss_crl = SignedCrl.parse(make_crl(pss))
    pkcs1_crl = SignedCrl.parse(make_crl(plain))

    free = with_key(issuer, rsa_key_info(pss.private_key, der(0x30, PSS_OID)))
    assert pss_crl.verify([free]) is free
    assert "RSASSA-PSS only" in str(refusal(pkcs1_crl, free))

    allowed = [encode_pss_algorithm("sha256", 32), encode_pss_algorithm("sha256", 0)]
    for restriction in allowed:
        bound = with_key(issuer, rsa_key_info(pss.private_key, restriction))
        assert pss_crl.verify([bound]) is bound
        assert "RSASSA-PSS only" in str(refusal(pkcs1_crl, bound))

    for restriction, message in (
        (encode_pss_algorithm("sha384", 32), "rsassaPss-SHA384"),
        (encode_pss_algorithm("sha256", 33), "33 bytes"),
        (encode_pss_algorithm("sha224", 28), "not accepted"),
    ):
        bound = with_key(issuer, rsa_key_info(pss.private_key, restriction))
        assert message in str(refusal(pss_crl, bound))


# ---- self-signed certificates -----------------------------------------------


@pytest.mark.parametrize("kind", KEY_TYPES)
def test_a_self_signed_certificate_of_each_kind(
    authorities: dict[str, CertificateAuthority], kind: str
) -> None:
    """Its signature holds under its own key; one bit further it does not."""
    issuer = facts_of(authorities[kind].certificate)
    assert is_self_signed(issuer) is True
    # Of a DER integer or a raw signature alike, the last byte is a part of the value.
    forged = dataclasses.replace(issuer, der=issuer.der[:-1] + bytes([issuer.der[-1] ^ 1]))
    assert is_self_signed(forged) is False


def test_a_self_issued_certificate_of_another_key_is_not_self_signed(
    authorities: dict[str, CertificateAuthority],
) -> None:
    """
    A key rollover signs the new key with the old one, of its own kind or another,
    under the one name. Whatever key ids it has, it is no root.
    """
    for new, old in (("ec-p256", "ec-p384"), ("ec-p256", "rsa"), ("rsa", "ed25519")):
        parent = authorities[old]
        link = CertificateAuthority.create("Test CA", private_key=authorities[new].private_key,
                                           parent=parent)  # fmt: skip
        facts = dataclasses.replace(
            facts_of(link.certificate), authority_key_id=None, subject_key_id=None
        )
        assert is_self_signed(facts) is False, (new, old)


def test_short_keys_and_weak_hashes_still_tell_who_signed() -> None:
    """
    Old roots have RSA keys and hashes that no CRL may use. A certificate is
    trusted for where it came from; its signature only tells which key made it.
    """
    key = rsa.generate_private_key(65537, 1024)
    short = CertificateAuthority.create("Old CA", private_key=key)
    assert is_self_signed(facts_of(short.certificate)) is True
    curve = ec.generate_private_key(ec.SECP256K1())
    assert (
        is_self_signed(facts_of(CertificateAuthority.create("K1", private_key=curve).certificate))
        is None
    )


def test_an_algorithm_that_is_not_supported_leaves_it_open(
    authority: CertificateAuthority,
) -> None:
    """MD5 is never verified: neither self-signed nor not."""
    issuer = facts_of(authority.certificate)
    sha256 = der_oid("1.2.840.10045.4.3.2")
    assert issuer.der.count(sha256) == 2
    md5 = der_oid("1.2.840.10045.4.3.9")
    assert is_self_signed(dataclasses.replace(issuer, der=issuer.der.replace(sha256, md5))) is None


def test_a_key_is_loaded_once_for_all_crls(
    authority: CertificateAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    CRL after CRL of one issuer is verified with the key that was loaded for the first. A key
    that cannot be used, and one of unusual size, are loaded again each time.
    """
    loaded: list[bytes] = []

    def load(subject_public_key_info: bytes) -> object:
        loaded.append(subject_public_key_info)
        return load_der_public_key(subject_public_key_info)

    monkeypatch.setattr(signatures, "load_der_public_key", load)
    signatures._remembered_key.cache_clear()
    issuer = facts_of(authority.certificate)
    crl = SignedCrl.parse(make_crl(authority))
    unusable = with_key(issuer, b"\x30\x03abc")
    for _ in range(3):
        assert crl.verify([issuer, unusable]) is issuer
    assert loaded.count(issuer.subject_public_key_info) == 1
    assert loaded.count(unusable.subject_public_key_info) == 3
    monkeypatch.setattr(signatures, "_MAX_REMEMBERED", len(issuer.subject_public_key_info) - 1)
    for _ in range(3):
        assert crl.verify([issuer]) is issuer
    assert loaded.count(issuer.subject_public_key_info) == 4
