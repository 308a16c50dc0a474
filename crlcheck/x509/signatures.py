"""
Verify the signature of a CRL with the keys of its issuer.

The signed bytes are hashed as they arrive, and the signature is verified over the digest.
The ``cryptography`` package does the cryptography.
"""

from __future__ import annotations

import functools
import hashlib
import mmap
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn, Self

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, mldsa, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import load_der_public_key

from crlcheck.encoding.der import contents_at
from crlcheck.encoding.names import name_text, names_match
from crlcheck.errors import CrlSignatureError, UnsupportedCrlError
from crlcheck.types import CertificateFacts
from crlcheck.x509.algorithm_names import has_explicit_curve, key_name, signature_name
from crlcheck.x509.signature_schemes import (
    BytesLike,
    SignatureScheme,
    check_rsa_key,
    signature_scheme,
)
from crlcheck.x509.signers import Signers

__all__ = [
    "SignatureScheme",
    "TbsVerifier",
    "candidate_issuers",
    "certificate_fault",
    "is_self_signed",
    "key_fault",
    "signature_scheme",
]

MlDsaPublicKey = mldsa.MLDSA44PublicKey | mldsa.MLDSA65PublicKey | mldsa.MLDSA87PublicKey
PureKey = ed25519.Ed25519PublicKey | ed448.Ed448PublicKey | MlDsaPublicKey
PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | PureKey

# NIST SP 800-131A disallows shorter RSA keys.
MIN_RSA_BITS = 2048
# The shortest RSA key that allow_small_rsa accepts: moduli of 829 bits have been factored.
MIN_SMALL_RSA_BITS = 1024
# A larger Ed25519 or Ed448 CRL is kept on disk and not in memory. In bytes.
MAX_SPOOLED_IN_MEMORY = 16 << 20
# Bytes of the largest SubjectPublicKeyInfo whose key is remembered: ML-DSA-87 has 2,614.
_MAX_REMEMBERED = 4096

_HASHES: dict[str, hashes.HashAlgorithm] = {
    "sha1": hashes.SHA1(),
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}
# hashlib.new looks for the same functions by way of OpenSSL's names.
_NEW_HASHES: dict[str, Callable[[], hashlib._Hash]] = {
    name: getattr(hashlib, name) for name in _HASHES
}
# The NIST curves, and those of RFC 5639 that cryptography has.
_CURVES = (
    "secp256r1", "secp384r1", "secp521r1",
    "brainpoolP256r1", "brainpoolP384r1", "brainpoolP512r1",
)  # fmt: skip
_PURE_KEYS: dict[str, type[PureKey]] = {
    "Ed25519": ed25519.Ed25519PublicKey,
    "Ed448": ed448.Ed448PublicKey,
    "ML-DSA-44": mldsa.MLDSA44PublicKey,
    "ML-DSA-65": mldsa.MLDSA65PublicKey,
    "ML-DSA-87": mldsa.MLDSA87PublicKey,
}


# ---- issuers ----------------------------------------------------------------


def candidate_issuers(
    issuers: Sequence[CertificateFacts] | Signers, *, crl_issuer: bytes
) -> tuple[CertificateFacts, ...]:
    """
    Return those of *issuers* that may have signed a CRL, in the order given.

    Their subject is *crl_issuer* (a whole Name) by RFC 5280 7.1, and their
    keyUsage, where they have one, has cRLSign (6.3.3 f).

    Raises:
        CrlSignatureError: if there is none, with reason ``"no_issuer"`` or
            ``"key_usage"``.
    """
    signers = issuers if isinstance(issuers, Signers) else Signers(issuers)
    named = signers.named(crl_issuer)
    if not named:
        names = list(dict.fromkeys(name_text(one.subject) for one in signers.certificates))
        given = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        raise CrlSignatureError(
            f"CRL of {name_text(crl_issuer)}: no issuer certificate has that name "
            f"(given: {given or 'none'})",
            reason="no_issuer",
        )
    candidates = tuple(issuer for issuer in named if issuer.may_sign_crls)
    if not candidates:
        raise CrlSignatureError(
            f"CRL of {name_text(crl_issuer)}: the keyUsage of no issuer certificate of that name "
            f"has cRLSign ({_show_serials(named)})",
            reason="key_usage",
        )
    return candidates


def _mismatch(candidate: CertificateFacts, authority_key_id: bytes | None) -> int:
    """Return 0 where a CRL's authority key id names *candidate*, and more the less likely it is."""
    if authority_key_id is None or candidate.subject_key_id == authority_key_id:
        return 0
    return 1 if candidate.subject_key_id is None else 2


def _show_serials(certificates: Sequence[CertificateFacts]) -> str:
    return ", ".join(f"serial {certificate.serial_number:x}" for certificate in certificates)


# ---- verification -----------------------------------------------------------


class TbsVerifier:
    """
    Verifies the signature over a tbsCertList that comes in pieces.

    *candidates* are certificates of the CRL's issuer, as :func:`candidate_issuers`
    finds them. Give every byte of the tbsCertList, its header
    included, to :meth:`update`, then call :meth:`verify` once. RSA and ECDSA need
    the digest only, ML-DSA its external mu (FIPS 204 6.2); a CRL signed with
    Ed25519 or Ed448 is kept, on disk where it is large, until :meth:`verify` or
    :meth:`close`. RSA keys of fewer than *min_rsa_bits* are refused.

    Raises:
        CrlSignatureError: if no candidate has a key that *scheme* can be verified
            with: with reason ``"small_rsa_key"`` where one is an RSA key that is
            too short, else ``"bad_signature"``.
    """

    def __init__(
        self,
        scheme: SignatureScheme,
        candidates: Sequence[CertificateFacts],
        *,
        min_rsa_bits: int = MIN_RSA_BITS,
    ) -> None:
        self._scheme = scheme
        self._candidates: list[CertificateFacts] = []
        self._keys: dict[bytes, PublicKey] = {}  # by subjectPublicKeyInfo
        self._min_rsa_bits = min_rsa_bits
        self._unusable: list[str] = []
        for candidate in candidates:
            try:
                key = _load_key(candidate.subject_public_key_info, scheme)
            except ValueError as error:
                self._unusable.append(f"serial {candidate.serial_number:x}: {error}")
            else:
                self._candidates.append(candidate)
                self._keys[candidate.subject_public_key_info] = key
        if not self._candidates:
            raise CrlSignatureError(
                f"CRL signature is {scheme.name}, but no issuer certificate has a key for it "
                f"({'; '.join(self._unusable) or 'none was given'})",
                reason="bad_signature",
            )
        # Where a longer key may have signed, only the signature tells whether a short one did.
        if all(self._is_too_small(key) for key in self._keys.values()):
            self._refuse_small_key(self._candidates[0])
        self._digest = _NEW_HASHES[scheme.hash_name or "sha256"]()
        # mu depends on the key, so each ML-DSA key has a hash of its own.
        self._mu_hashes = {
            identity: hashlib.shake_256(_mu_prefix(key))
            for identity, key in self._keys.items()
            if isinstance(key, MlDsaPublicKey)
        }
        self._spool: tempfile.SpooledTemporaryFile[bytes] | None = None
        self.has_small_key = False
        """Whether a key verified the signature that is accepted with ``allow_small_rsa`` only."""
        if scheme.key_kind in ("Ed25519", "Ed448"):
            # Closed by verify() or close().
            self._spool = tempfile.SpooledTemporaryFile(  # noqa: SIM115
                max_size=MAX_SPOOLED_IN_MEMORY
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Delete the CRL that was kept on disk; :meth:`verify` does so too."""
        if self._spool is not None:
            self._spool.close()

    def update(self, chunk: BytesLike) -> None:
        """
        Take the next bytes of the tbsCertList. Large chunks are hashed without the GIL.

        Raises:
            OSError: if a CRL that must be kept cannot be.
        """
        self._digest.update(chunk)
        for mu_hash in self._mu_hashes.values():
            mu_hash.update(chunk)
        if self._spool is not None:
            self._spool.write(chunk)

    @property
    def tbs_digest(self) -> str:
        """
        Identifies the CRL: the algorithm and the hex digest of the bytes so far.

        The algorithm is the signature's own hash, SHA-256 where it has none.
        """
        return f"{self._digest.name}:{self._digest.hexdigest()}"

    def verify(self, signature: bytes, authority_key_id: bytes | None = None) -> CertificateFacts:
        """
        Return the first candidate whose key verifies *signature*.

        *signature* is the bytes inside the BIT STRING. *authority_key_id*, where the
        CRL has one, decides only which candidates are tried first: there are several
        ways to make a key id from a key (RFC 5280 4.2.1.2, RFC 7093), so a CA
        certificate may state another one than the CRLs that its key signs.

        Raises:
            CrlSignatureError: with reason ``"bad_signature"``, ``"key_id"`` where no
                candidate has that key id either, or ``"small_rsa_key"`` where the
                signature holds, but under an RSA key that is too short.
        """
        likely = sorted(self._candidates, key=lambda one: _mismatch(one, authority_key_id))
        try:
            with self._message() as message:
                tried: set[bytes] = set()
                for candidate in likely:
                    identity = candidate.subject_public_key_info
                    if identity not in tried and self._verifies(identity, signature, message):
                        if self._is_too_small(self._keys[identity]):
                            self._refuse_small_key(candidate)
                        self.has_small_key = _has_small_rsa_key(self._keys[identity])
                        return candidate
                    tried.add(identity)
        finally:
            self.close()
        name = name_text(likely[0].subject)
        also = f"; not usable: {'; '.join(self._unusable)}" if self._unusable else ""
        if authority_key_id is not None and _mismatch(likely[0], authority_key_id) == 2:
            found = ", ".join(one.subject_key_id.hex() for one in likely if one.subject_key_id)
            raise CrlSignatureError(
                f"CRL of {name}: its authority key id is {authority_key_id.hex()}, but the issuer "
                f"certificates of that name have {found}, and its {self._scheme.name} signature "
                f"holds under the key of none of them{also}",
                reason="key_id",
            )
        raise CrlSignatureError(
            f"CRL of {name}: its {self._scheme.name} signature does not hold under the key of any "
            f"issuer certificate tried ({_show_serials(likely)}){also}",
            reason="bad_signature",
        )

    def _verifies(self, identity: bytes, signature: bytes, message: BytesLike) -> bool:
        key, scheme = self._keys[identity], self._scheme
        try:
            if isinstance(key, rsa.RSAPublicKey):
                algorithm = _HASHES[self._digest.name]
                scheme_padding: padding.AsymmetricPadding = padding.PKCS1v15()
                if scheme.salt_length is not None:
                    scheme_padding = padding.PSS(padding.MGF1(algorithm), scheme.salt_length)
                digest = self._digest.digest()
                key.verify(signature, digest, scheme_padding, Prehashed(algorithm))
            elif isinstance(key, ec.EllipticCurvePublicKey):
                prehashed = Prehashed(_HASHES[self._digest.name])
                key.verify(signature, self._digest.digest(), ec.ECDSA(prehashed))
            elif isinstance(key, MlDsaPublicKey):
                key.verify_mu(signature, self._mu_hashes[identity].digest(64))
            else:
                key.verify(signature, message)
        except InvalidSignature:
            return False
        return True

    def _is_too_small(self, key: PublicKey) -> bool:
        return isinstance(key, rsa.RSAPublicKey) and key.key_size < self._min_rsa_bits

    def _refuse_small_key(self, candidate: CertificateFacts) -> NoReturn:
        key = self._keys[candidate.subject_public_key_info]
        assert isinstance(key, rsa.RSAPublicKey)
        way_out = (
            f"keys of {MIN_SMALL_RSA_BITS} bits and more are accepted with allow_small_rsa"
            if self._min_rsa_bits > MIN_SMALL_RSA_BITS
            else "no option accepts shorter ones"
        )
        raise CrlSignatureError(
            f"CRL of {name_text(candidate.subject)}: its issuer's RSA key has {key.key_size} bits "
            f"(serial {candidate.serial_number:x}), expected at least {self._min_rsa_bits}; "
            f"{way_out}",
            reason="small_rsa_key",
        )

    @contextmanager
    def _message(self) -> Iterator[BytesLike]:
        """Give the CRL that was kept, mapped if it is in a file; it is valid within the block."""
        if self._spool is None:
            yield b""
            return
        size = self._spool.tell()
        if size <= MAX_SPOOLED_IN_MEMORY:
            self._spool.seek(0)
            yield self._spool.read()
            return
        self._spool.flush()
        with (
            mmap.mmap(self._spool.fileno(), size, access=mmap.ACCESS_READ) as mapped,
            memoryview(mapped) as view,
        ):
            yield view


# ---- self-signed certificates -----------------------------------------------


def is_self_signed(certificate: CertificateFacts) -> bool | None:
    """
    Whether a certificate's signature verifies under its own key (RFC 5280 3.2).

    One whose issuer is another name is not self-signed, nor is a self-issued
    one that another key signed, as in a key rollover. None where the algorithm,
    such as MD5, or the key is not supported. SHA-1 and short RSA keys are
    accepted: a certificate is trusted because of where it came from, and its
    signature only tells which key made it.
    """
    if not names_match(certificate.subject, certificate.issuer):
        return False
    tbs, algorithm, signature = _signed_parts(certificate.der)
    try:
        scheme = signature_scheme(algorithm, allow_sha1=True)
        key = load_der_public_key(certificate.subject_public_key_info)
    except (UnsupportedCrlError, ValueError, UnsupportedAlgorithm):
        return None
    if _key_kind(key) != scheme.key_kind:
        return False  # a signature that no such key makes
    try:
        verifier = TbsVerifier(scheme, [certificate], min_rsa_bits=0)
    except CrlSignatureError:
        return None
    verifier.update(tbs)
    try:
        verifier.verify(signature)
    except CrlSignatureError:
        return False
    return True


def certificate_fault(certificate: CertificateFacts, issuer: CertificateFacts) -> str | None:
    """
    Return why the signature of *certificate* does not hold under *issuer*'s key, or None.

    As strict as for CRLs: no SHA-1, and no RSA key of fewer than 2048 bits.
    """
    tbs, algorithm, signature = _signed_parts(certificate.der)
    try:
        scheme = signature_scheme(algorithm, allow_sha1=False)
    except UnsupportedCrlError:
        return f"its signature algorithm is {signature_name(algorithm)}, which is not accepted"
    try:
        _load_key(issuer.subject_public_key_info, scheme)
        with TbsVerifier(scheme, [issuer]) as verifier:
            verifier.update(tbs)
            verifier.verify(signature)
    except ValueError as error:
        return f"its signature is {scheme.name}, which its issuer cannot have made: {error}"
    except CrlSignatureError as error:
        if error.reason == "small_rsa_key":
            return f"its issuer's RSA key has fewer than {MIN_RSA_BITS} bits"
        return f"its {scheme.name} signature does not hold under its issuer's key"
    return None


def key_fault(certificate: CertificateFacts) -> str | None:
    """Return why a certificate's own key is not accepted, or None: as of one that signs CRLs."""
    subject_public_key_info = certificate.subject_public_key_info
    name = key_name(subject_public_key_info)
    if has_explicit_curve(subject_public_key_info):
        return "its key has explicit curve parameters, which RFC 5480 2.1.1 forbids"
    try:
        key = load_der_public_key(subject_public_key_info)
    except (ValueError, UnsupportedAlgorithm):
        return f"its key is {name}, which cannot be read"
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < MIN_RSA_BITS:
        return f"its RSA key has {key.key_size} bits, expected at least {MIN_RSA_BITS}"
    is_other_curve = isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name not in _CURVES
    if is_other_curve or _key_kind(key) is None:
        return f"its key is {name}, which is not supported"
    return None


def _signed_parts(der: bytes) -> tuple[bytes, bytes, bytes]:
    """Return the tbsCertificate, the signatureAlgorithm and the signature (RFC 5280 4.1)."""
    tbs_start, _ = contents_at(der, 0)
    _, tbs_end = contents_at(der, tbs_start)
    _, algorithm_end = contents_at(der, tbs_end)
    start, end = contents_at(der, algorithm_end)
    # The first octet of a BIT STRING counts unused bits.
    return der[tbs_start:tbs_end], der[tbs_end:algorithm_end], der[start + 1 : end]


# ---- keys -------------------------------------------------------------------


def _key_kind(key: object) -> str | None:
    """Return the kind of a key, as schemes name it; None for a kind that no scheme takes."""
    kinds: dict[str, type] = {
        "RSA": rsa.RSAPublicKey,
        "EC": ec.EllipticCurvePublicKey,
        **_PURE_KEYS,
    }
    return next((name for name, kind in kinds.items() if isinstance(key, kind)), None)


def _has_small_rsa_key(key: PublicKey) -> bool:
    return isinstance(key, rsa.RSAPublicKey) and key.key_size < MIN_RSA_BITS


def _mu_prefix(key: MlDsaPublicKey) -> bytes:
    # FIPS 204 algorithms 3 and 8: mu = H(H(pk) || 0 || context length || context || M),
    # here without context. Unlike MLDSAMuHasher, hashlib's H releases the GIL.
    return hashlib.shake_256(key.public_bytes_raw()).digest(64) + b"\0\0"


def _load_key(subject_public_key_info: bytes, scheme: SignatureScheme) -> PublicKey:
    """
    Load the key of an issuer certificate for *scheme*.

    Raises:
        ValueError: saying why the key cannot be used.
    """
    # A key of the usual size is remembered; remembering huge ones would let whoever sends
    # them fill the memory.
    if len(subject_public_key_info) <= _MAX_REMEMBERED:
        return _remembered_key(subject_public_key_info, scheme)
    return _load_new_key(subject_public_key_info, scheme)


def _load_new_key(subject_public_key_info: bytes, scheme: SignatureScheme) -> PublicKey:
    # cryptography takes some for the named curve that they look like.
    if has_explicit_curve(subject_public_key_info):
        raise ValueError(
            "its key has explicit curve parameters, which RFC 5480 2.1.1 forbids: "
            "expected a named curve"
        )
    name = key_name(subject_public_key_info)
    try:
        key = load_der_public_key(subject_public_key_info)
    except UnsupportedAlgorithm:
        raise ValueError(f"its key is {name}, which is not supported") from None
    except ValueError:
        raise ValueError(f"its public key cannot be read ({name})") from None
    if isinstance(key, rsa.RSAPublicKey) and scheme.key_kind == "RSA":
        check_rsa_key(subject_public_key_info, scheme)
        return key
    if isinstance(key, ec.EllipticCurvePublicKey) and scheme.key_kind == "EC":
        if key.curve.name not in _CURVES:
            raise ValueError(f"its key is {name}: expected one of {', '.join(_CURVES)}")
        return key
    kind = _PURE_KEYS.get(scheme.key_kind)
    if kind is not None and isinstance(key, kind):
        return key
    raise ValueError(f"its key is {name}, no {scheme.key_kind} key")


# The same few issuers sign CRL after CRL, and loading a key takes as long as parsing a small one.
_remembered_key = functools.lru_cache(maxsize=256)(_load_new_key)
