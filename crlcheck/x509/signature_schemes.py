"""
Recognise signature schemes by their AlgorithmIdentifier (RFC 4055, 5758, 8410, 9881).

It needs no cryptography.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from crlcheck.encoding.der import contents_at
from crlcheck.errors import UnsupportedCrlError
from crlcheck.x509.algorithm_names import signature_name, signature_oid

BytesLike = bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True)
class SignatureScheme:
    """
    How a CRL is signed (RFC 5280 5.1.1.2).

    ``hash_name`` is hashlib's name of the digest that is signed, None where the
    scheme signs the message itself. ``key_kind`` is the kind of key that it
    takes. ``salt_length``, in octets, is set for RSASSA-PSS only.
    """

    name: str
    hash_name: str | None
    key_kind: str
    salt_length: int | None = None

    @property
    def has_weak_hash(self) -> bool:
        """Whether collisions of the hash can be made, so that the signature proves little."""
        return self.hash_name == "sha1"


def _identifier(oid: str, parameters: str = "") -> bytes:
    # An AlgorithmIdentifier from the hexadecimal contents of its OID.
    contents = bytes.fromhex(f"06{len(oid) // 2:02x}{oid}{parameters}")
    return bytes((0x30, len(contents))) + contents


def _known_schemes() -> dict[bytes, SignatureScheme]:
    # An AlgorithmIdentifier without choices has one encoding (two for RSA), so
    # it is recognised whole: nothing is parsed, nothing else can be taken for it.
    schemes: dict[bytes, SignatureScheme] = {}
    rsa_suffixes = {"sha1": "05", "sha256": "0b", "sha384": "0c", "sha512": "0d"}
    for hash_name, suffix in rsa_suffixes.items():
        scheme = SignatureScheme(f"{hash_name}WithRSAEncryption", hash_name, "RSA")
        # RFC 4055 5: the parameters are NULL, and may be accepted absent.
        schemes[_identifier("2a864886f70d0101" + suffix, "0500")] = scheme
        schemes[_identifier("2a864886f70d0101" + suffix)] = scheme
    ecdsa_suffixes = {"sha1": "01", "sha256": "0302", "sha384": "0303", "sha512": "0304"}
    for hash_name, suffix in ecdsa_suffixes.items():
        scheme = SignatureScheme(f"ecdsa-with-{hash_name.upper()}", hash_name, "EC")
        schemes[_identifier("2a8648ce3d04" + suffix)] = scheme
    for name, oid in (
        ("Ed25519", "2b6570"),
        ("Ed448", "2b6571"),
        ("ML-DSA-44", "608648016503040311"),
        ("ML-DSA-65", "608648016503040312"),
        ("ML-DSA-87", "608648016503040313"),
    ):
        schemes[_identifier(oid)] = SignatureScheme(name, None, name)
    return schemes


def _pss_patterns() -> dict[str, re.Pattern[bytes]]:
    # RSASSA-PSS-params in DER (RFC 4055 3.1): the hash and MGF1 with the same
    # hash, whose own parameters are NULL or absent; the salt length where it is
    # not 20; the trailer field 1, which a verifier must accept written out too.
    salt = rb"(?:\xa2(?:\x03\x02\x01([\x00-\x7f])|\x04\x02\x02(\x00[\x80-\xff]|[\x01-\x7f].)))?"
    trailer = rb"(?:\xa3\x03\x02\x01\x01)?"
    patterns = {"sha1": re.compile(salt + trailer, re.DOTALL)}
    oids = {
        "sha256": "608648016503040201",
        "sha384": "608648016503040202",
        "sha512": "608648016503040203",
    }
    for hash_name, oid in oids.items():
        forms = [_identifier(oid, "0500"), _identifier(oid)]
        masks = [_identifier("2a864886f70d010108", form.hex()) for form in forms]
        hash_part = b"|".join(re.escape(bytes((0xA0, len(form))) + form) for form in forms)
        mask_part = b"|".join(re.escape(bytes((0xA1, len(mask))) + mask) for mask in masks)
        whole = b"(?:%b)(?:%b)%b%b" % (hash_part, mask_part, salt, trailer)
        patterns[hash_name] = re.compile(whole, re.DOTALL)
    return patterns


_SCHEMES = _known_schemes()
_PSS_PATTERNS = _pss_patterns()
_PSS_OID = bytes.fromhex("06092a864886f70d01010a")
_ACCEPTED_OIDS = {signature_oid(identifier) for identifier in _SCHEMES}
_FEATURES = {
    "1.2.840.113549.1.1.2": "md2_signature",
    "1.2.840.113549.1.1.4": "md5_signature",
    "1.3.14.3.2.3": "md5_signature",
}


def signature_scheme(algorithm_identifier: BytesLike, *, allow_sha1: bool) -> SignatureScheme:
    """
    Return the scheme that *algorithm_identifier*, a whole DER element, names.

    MD2 and MD5 are never accepted, SHA-1 only with *allow_sha1*.

    Raises:
        UnsupportedCrlError: with feature ``"md2_signature"``, ``"md5_signature"``,
            ``"sha1_signature"``, ``"rsassa_pss_parameters"`` or
            ``"signature_algorithm"`` for any other.
    """
    encoded = bytes(algorithm_identifier)
    scheme = _SCHEMES.get(encoded)
    if scheme is None and encoded[2:].startswith(_PSS_OID):
        scheme = pss_scheme(encoded)
        if scheme is None:
            raise UnsupportedCrlError(
                "CRL signature is RSASSA-PSS with parameters that are not accepted "
                f"({encoded[13:141].hex() or 'none'}): expected, in DER, SHA-256, SHA-384 or "
                "SHA-512, MGF1 of the same hash and trailer field 1",
                feature="rsassa_pss_parameters",
            )
    if scheme is None:
        raise _unsupported(encoded)
    if scheme.has_weak_hash and not allow_sha1:
        raise UnsupportedCrlError(
            f"CRL signature is {scheme.name}: SHA-1 signatures are accepted with allow_sha1 only",
            feature="sha1_signature",
        )
    return scheme


def pss_scheme(algorithm_identifier: bytes) -> SignatureScheme | None:
    """Return the scheme of an AlgorithmIdentifier of id-RSASSA-PSS; None if it is not accepted."""
    if len(algorithm_identifier) > 0x81:
        return None  # more than one length octet: longer than any that is accepted
    prefix_size = 2 + len(_PSS_OID) + 2
    parameters = algorithm_identifier[prefix_size:]
    header = bytes((0x30, len(_PSS_OID) + 2 + len(parameters))) + _PSS_OID
    if algorithm_identifier[:prefix_size] != header + bytes((0x30, len(parameters))):
        return None
    for hash_name, pattern in _PSS_PATTERNS.items():
        match = pattern.fullmatch(parameters)
        if match is not None:
            salt = match[1] or match[2]
            # DER leaves a DEFAULT value out, so 20 may not be written.
            if salt == b"\x14":
                return None
            salt_length = 20 if salt is None else int.from_bytes(salt, "big")
            name = f"rsassaPss-{hash_name.upper()}"
            return SignatureScheme(name, hash_name, "RSA", salt_length)
    return None


def check_rsa_key(subject_public_key_info: bytes, scheme: SignatureScheme) -> None:
    """
    Check that the algorithm of an RSA key allows *scheme* (RFC 4055 1.2 and 3.3).

    A key of id-RSASSA-PSS verifies nothing else, and its parameters, where it
    has any, fix the hash and the least salt length. ``cryptography`` loads it as
    any RSA key.

    Raises:
        ValueError: saying why the key cannot be used.
    """
    contents = subject_public_key_info[contents_at(subject_public_key_info, 0)[0] :]
    algorithm_identifier = contents[: 2 + contents[1]]
    if not algorithm_identifier[2:].startswith(_PSS_OID):
        return
    if scheme.salt_length is None:
        raise ValueError(f"its key is for RSASSA-PSS only, not for {scheme.name}")
    if len(algorithm_identifier) == 2 + len(_PSS_OID):
        return
    required = pss_scheme(algorithm_identifier)
    if required is None or required.salt_length is None:
        raise ValueError("the RSASSA-PSS parameters of its key are not accepted")
    if required.hash_name != scheme.hash_name or required.salt_length > scheme.salt_length:
        raise ValueError(
            f"its key is for {required.name} with at least {required.salt_length} bytes of salt, "
            f"not for {scheme.name} with {scheme.salt_length}"
        )


def _unsupported(algorithm_identifier: bytes) -> UnsupportedCrlError:
    oid = signature_oid(algorithm_identifier)
    name = signature_name(algorithm_identifier)
    if oid in _ACCEPTED_OIDS:
        name += " with parameters that it does not take"
    return UnsupportedCrlError(
        f"CRL signature algorithm is {name}: expected RSA, RSASSA-PSS or ECDSA with SHA-256, "
        "SHA-384 or SHA-512, Ed25519, Ed448 or ML-DSA, with parameters as RFC 4055, 5758, 8410 "
        "and 9881 write them",
        feature=_FEATURES.get(oid or "", "signature_algorithm"),
    )
