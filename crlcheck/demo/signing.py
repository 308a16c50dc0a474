"""
Make keys of every kind that signs CRLs, and sign bytes that come in pieces.

Do not use it for real keys.
"""

from __future__ import annotations

import hashlib
from typing import Literal, get_args

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, mldsa, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from crlcheck.demo.encoding import der, der_oid, encode_pss_algorithm

BytesLike = bytes | bytearray | memoryview
KeyType = Literal[
    "ec-p256", "ec-p384", "ec-p521",
    "ec-brainpool-p256", "ec-brainpool-p384", "ec-brainpool-p512",
    "rsa", "rsa-pss", "ed25519", "ed448", "ml-dsa-44", "ml-dsa-65", "ml-dsa-87",
]  # fmt: skip
PrivateKey = (
    ec.EllipticCurvePrivateKey
    | rsa.RSAPrivateKey
    | ed25519.Ed25519PrivateKey
    | ed448.Ed448PrivateKey
    | mldsa.MLDSA44PrivateKey
    | mldsa.MLDSA65PrivateKey
    | mldsa.MLDSA87PrivateKey
)

HASHES: dict[str, hashes.HashAlgorithm] = {
    "md5": hashes.MD5(),
    "sha1": hashes.SHA1(),
    "sha224": hashes.SHA224(),
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}
_CURVES: dict[str, ec.EllipticCurve] = {
    "ec-p256": ec.SECP256R1(),
    "ec-p384": ec.SECP384R1(),
    "ec-p521": ec.SECP521R1(),
    "ec-brainpool-p256": ec.BrainpoolP256R1(),
    "ec-brainpool-p384": ec.BrainpoolP384R1(),
    "ec-brainpool-p512": ec.BrainpoolP512R1(),
}
_RSA_OIDS = {
    "md5": "1.2.840.113549.1.1.4",
    "sha1": "1.2.840.113549.1.1.5",
    "sha224": "1.2.840.113549.1.1.14",
    "sha256": "1.2.840.113549.1.1.11",
    "sha384": "1.2.840.113549.1.1.12",
    "sha512": "1.2.840.113549.1.1.13",
}
_ECDSA_OIDS = {
    "sha1": "1.2.840.10045.4.1",
    "sha224": "1.2.840.10045.4.3.1",
    "sha256": "1.2.840.10045.4.3.2",
    "sha384": "1.2.840.10045.4.3.3",
    "sha512": "1.2.840.10045.4.3.4",
}


def generate_key(key_type: KeyType) -> PrivateKey:
    """Return a new private key; RSA keys have 2048 bits."""
    if key_type in _CURVES:
        return ec.generate_private_key(_CURVES[key_type])
    match key_type:
        case "rsa" | "rsa-pss":
            return rsa.generate_private_key(public_exponent=65537, key_size=2048)
        case "ed25519":
            return ed25519.Ed25519PrivateKey.generate()
        case "ed448":
            return ed448.Ed448PrivateKey.generate()
        case "ml-dsa-44":
            return mldsa.MLDSA44PrivateKey.generate()
        case "ml-dsa-65":
            return mldsa.MLDSA65PrivateKey.generate()
        case "ml-dsa-87":
            return mldsa.MLDSA87PrivateKey.generate()
    raise ValueError(f"unknown key type {key_type!r}: expected one of {get_args(KeyType)}")


def default_hash_name(key: PrivateKey) -> str:
    """Return the hash that suits *key*; keys that sign the message itself ignore it."""
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return {256: "sha256", 384: "sha384"}.get(key.key_size, "sha512")
    return "sha256"


class Signer:
    """
    Signs, with *key*, bytes that come in pieces.

    *salt_length* makes an RSA key sign with RSASSA-PSS instead of PKCS #1 v1.5.
    RSA and ECDSA keys sign a digest; the others need the whole message, which is
    kept. ``algorithm_identifier`` is DER; ``signature_size`` is in bytes, and
    the largest where signatures differ in size (ECDSA).
    """

    def __init__(self, key: PrivateKey, hash_name: str, *, salt_length: int | None = None) -> None:
        self._key = key
        self._algorithm = HASHES[hash_name]
        self._padding: padding.AsymmetricPadding = padding.PKCS1v15()
        self._digest = hashlib.new(hash_name)
        self._message = bytearray()
        if isinstance(key, rsa.RSAPrivateKey):
            self.signature_size = key.key_size // 8
            self.algorithm_identifier = der(0x30, der_oid(_RSA_OIDS[hash_name]), der(0x05))
            if salt_length is not None:
                self._padding = padding.PSS(padding.MGF1(self._algorithm), salt_length)
                self.algorithm_identifier = encode_pss_algorithm(hash_name, salt_length)
        elif isinstance(key, ec.EllipticCurvePrivateKey):
            integer = der(0x02, bytes(key.key_size // 8 + 1))
            self.signature_size = len(der(0x30, integer, integer))
            self.algorithm_identifier = der(0x30, der_oid(_ECDSA_OIDS[hash_name]))
        else:
            self.signature_size, oid = _pure_signature(key)
            self.algorithm_identifier = der(0x30, der_oid(oid))

    def update(self, chunk: BytesLike) -> None:
        """Take the next piece of the message."""
        if isinstance(self._key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
            self._digest.update(chunk)
        else:
            self._message += chunk

    def sign(self) -> bytes:
        """Return the signature; an ECDSA or ML-DSA key makes another at every call."""
        key, prehashed = self._key, Prehashed(self._algorithm)
        if isinstance(key, ec.EllipticCurvePrivateKey):
            return key.sign(self._digest.digest(), ec.ECDSA(prehashed))
        if isinstance(key, rsa.RSAPrivateKey):
            return key.sign(self._digest.digest(), self._padding, prehashed)
        return key.sign(self._message)


def _pure_signature(key: PrivateKey) -> tuple[int, str]:
    """Return signature size and OID of a key whose scheme takes no hash."""
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return 64, "1.3.101.112"
    if isinstance(key, ed448.Ed448PrivateKey):
        return 114, "1.3.101.113"
    if isinstance(key, mldsa.MLDSA44PrivateKey):
        return 2420, "2.16.840.1.101.3.4.3.17"
    if isinstance(key, mldsa.MLDSA65PrivateKey):
        return 3309, "2.16.840.1.101.3.4.3.18"
    return 4627, "2.16.840.1.101.3.4.3.19"
