"""
Name the algorithms of signatures and keys, so that a refusal says what it refused.

It knows more of them than crlcheck verifies, and decides nothing.
"""

from __future__ import annotations

from crlcheck.encoding.der import contents_at, oid_text

_SIGNATURES = {
    # RFC 3279, 4055, 5758, 8702 and 9688
    "1.2.840.113549.1.1.1": "rsaEncryption (a key's algorithm)",
    "1.2.840.113549.1.1.2": "md2WithRSAEncryption",
    "1.2.840.113549.1.1.3": "md4WithRSAEncryption",
    "1.2.840.113549.1.1.4": "md5WithRSAEncryption",
    "1.2.840.113549.1.1.5": "sha1WithRSAEncryption",
    "1.2.840.113549.1.1.10": "RSASSA-PSS",
    "1.2.840.113549.1.1.11": "sha256WithRSAEncryption",
    "1.2.840.113549.1.1.12": "sha384WithRSAEncryption",
    "1.2.840.113549.1.1.13": "sha512WithRSAEncryption",
    "1.2.840.113549.1.1.14": "sha224WithRSAEncryption",
    "1.2.840.113549.1.1.15": "sha512-224WithRSAEncryption",
    "1.2.840.113549.1.1.16": "sha512-256WithRSAEncryption",
    "1.2.840.10040.4.3": "dsa-with-SHA1",
    "1.2.840.10045.4.1": "ecdsa-with-SHA1",
    "1.2.840.10045.4.2": "ecdsa-with-Recommended",
    "1.2.840.10045.4.3.1": "ecdsa-with-SHA224",
    "1.2.840.10045.4.3.2": "ecdsa-with-SHA256",
    "1.2.840.10045.4.3.3": "ecdsa-with-SHA384",
    "1.2.840.10045.4.3.4": "ecdsa-with-SHA512",
    "1.3.6.1.5.5.7.6.30": "RSASSA-PSS with SHAKE128",
    "1.3.6.1.5.5.7.6.31": "RSASSA-PSS with SHAKE256",
    "1.3.6.1.5.5.7.6.32": "ecdsa-with-shake128",
    "1.3.6.1.5.5.7.6.33": "ecdsa-with-shake256",
    **{
        f"2.16.840.1.101.3.4.3.{number}": name
        for number, name in enumerate(
            [
                *(f"dsa-with-SHA{bits}" for bits in (224, 256, 384, 512)),
                *(f"dsa-with-SHA3-{bits}" for bits in (224, 256, 384, 512)),
                *(f"ecdsa-with-SHA3-{bits}" for bits in (224, 256, 384, 512)),
                *(f"rsassa-pkcs1-v1.5-with-SHA3-{bits}" for bits in (224, 256, 384, 512)),
                *(f"ML-DSA-{size}" for size in (44, 65, 87)),
                *(
                    f"SLH-DSA-{family}-{size}"
                    for family in ("SHA2", "SHAKE")
                    for size in ("128s", "128f", "192s", "192f", "256s", "256f")
                ),
                *(f"HashML-DSA-{size}-with-SHA512" for size in (44, 65, 87)),
            ],
            start=1,
        )
    },
    # RFC 8410, 9802
    "1.3.101.112": "Ed25519",
    "1.3.101.113": "Ed448",
    "1.2.840.113549.1.9.16.3.17": "HSS/LMS",
    "1.3.6.1.5.5.7.6.34": "XMSS",
    "1.3.6.1.5.5.7.6.35": "XMSS^MT",
    # OIW and TeleTrusT, as old software writes them
    "1.3.14.3.2.3": "md5WithRSA",
    "1.3.14.3.2.13": "dsaWithSHA",
    "1.3.14.3.2.15": "shaWithRSASignature",
    "1.3.14.3.2.27": "dsaWithSHA1",
    "1.3.14.3.2.29": "sha1WithRSASignature",
    "1.3.36.3.3.1.2": "rsaSignatureWithripemd160",
    # BSI TR-03111: the signature is not the one of RFC 3279
    **{
        f"0.4.0.127.0.7.1.1.4.1.{number}": f"ecdsa-plain-{hash_name}"
        for number, hash_name in enumerate(
            ("SHA1", "SHA224", "SHA256", "SHA384", "SHA512", "RIPEMD160"), start=1
        )
    },
    # GM/T 0006, RFC 4491 and 9215, STB 34.101.45, DSTU 4145, KCDSA
    "1.2.156.10197.1.501": "SM2-with-SM3",
    "1.2.156.10197.1.502": "SM2-with-SHA1",
    "1.2.156.10197.1.503": "SM2-with-SHA256",
    "1.2.156.10197.1.504": "RSA-with-SM3",
    "1.2.643.2.2.3": "GOST R 34.10-2001 with GOST R 34.11-94",
    "1.2.643.2.2.4": "GOST R 34.10-94 with GOST R 34.11-94",
    "1.2.643.7.1.1.3.2": "GOST R 34.10-2012 (256 bits) with GOST R 34.11-2012",
    "1.2.643.7.1.1.3.3": "GOST R 34.10-2012 (512 bits) with GOST R 34.11-2012",
    "1.2.112.0.2.0.34.101.45.12": "bign-with-hbelt (STB 34.101.45)",
    "1.2.804.2.1.1.1.1.3.1.1": "DSTU 4145 with GOST 34.311",
    "1.2.410.200004.1.1": "KCDSA",
}
_KEYS = {
    "1.2.840.113549.1.1.1": "RSA",
    "1.2.840.113549.1.1.10": "RSASSA-PSS",
    "1.2.840.10040.4.1": "DSA",
    "1.2.840.10046.2.1": "Diffie-Hellman",
    "1.2.840.10045.2.1": "EC",
    "1.3.132.1.12": "ECDH",
    "1.3.132.1.13": "ECMQV",
    "1.3.101.110": "X25519",
    "1.3.101.111": "X448",
    "1.3.101.112": "Ed25519",
    "1.3.101.113": "Ed448",
    "1.2.156.10197.1.301": "SM2",
    "1.2.643.2.2.19": "GOST R 34.10-2001",
    "1.2.643.2.2.20": "GOST R 34.10-94",
    "1.2.643.7.1.1.1.1": "GOST R 34.10-2012 (256 bits)",
    "1.2.643.7.1.1.1.2": "GOST R 34.10-2012 (512 bits)",
    "1.2.112.0.2.0.34.101.45.2.1": "bign (STB 34.101.45)",
    "1.2.804.2.1.1.1.1.3.1.1": "DSTU 4145",
    "1.2.410.200004.1.1": "KCDSA",
    "1.2.840.113549.1.9.16.3.17": "HSS/LMS",
    "1.3.6.1.5.5.7.6.34": "XMSS",
    "1.3.6.1.5.5.7.6.35": "XMSS^MT",
    **{
        oid: name
        for oid, name in _SIGNATURES.items()
        if oid.startswith("2.16.840.1.101.3.4.3.") and name.startswith(("ML-DSA", "SLH-DSA"))
    },
}
_CURVES = {
    # RFC 5480
    "1.2.840.10045.3.1.1": "secp192r1",
    "1.3.132.0.33": "secp224r1",
    "1.2.840.10045.3.1.7": "secp256r1",
    "1.3.132.0.34": "secp384r1",
    "1.3.132.0.35": "secp521r1",
    **{f"1.3.132.0.{number}": f"sect{name}" for number, name in (
        (1, "163k1"), (15, "163r2"), (26, "233k1"), (27, "233r1"), (16, "283k1"), (17, "283r1"),
        (36, "409k1"), (37, "409r1"), (38, "571k1"), (39, "571r1"),
    )},
    "1.3.132.0.10": "secp256k1",
    "1.3.132.0.31": "secp192k1",
    "1.3.132.0.32": "secp224k1",
    # RFC 5639 4.1
    **{
        f"1.3.36.3.3.2.8.1.1.{number}": f"brainpoolP{bits}{kind}"
        for number, (bits, kind) in enumerate(
            ((bits, kind) for bits in (160, 192, 224, 256, 320, 384, 512) for kind in ("r1", "t1")),
            start=1,
        )
    },
    "1.2.156.10197.1.301": "SM2",
    "1.2.250.1.223.101.256.1": "FRP256v1",
}  # fmt: skip

_EC_KEYS = ("1.2.840.10045.2.1", "1.3.132.1.12", "1.3.132.1.13")

_OID, _SEQUENCE = 0x06, 0x30


def signature_name(algorithm_identifier: bytes) -> str:
    """Return what an AlgorithmIdentifier of a signature names, with its OID in brackets."""
    return _named(_SIGNATURES, signature_oid(algorithm_identifier))


def signature_oid(algorithm_identifier: bytes) -> str | None:
    """Return the OID of an AlgorithmIdentifier; None if it has none."""
    return _split(algorithm_identifier)[0]


def key_name(subject_public_key_info: bytes) -> str:
    """Return the kind of a key, and of an EC key the curve, with the OID in brackets."""
    oid, parameters = key_algorithm(subject_public_key_info)
    if oid in _EC_KEYS:
        curve = curve_oid(parameters)
        return (
            f"EC without a named curve ({oid})"
            if curve is None
            else f"EC on the curve {_named(_CURVES, curve)}"
        )
    return _named(_KEYS, oid)


def key_algorithm(subject_public_key_info: bytes) -> tuple[str | None, bytes]:
    """Return the OID of a key's algorithm, None if there is none, and the parameters in DER."""
    try:
        start, _ = contents_at(subject_public_key_info, 0)
        _, end = contents_at(subject_public_key_info, start)
    except IndexError:
        return None, b""
    return _split(subject_public_key_info[start:end])


def has_explicit_curve(subject_public_key_info: bytes) -> bool:
    """Whether a key is of an elliptic curve that is written out (RFC 3279 2.3.5)."""
    oid, parameters = key_algorithm(subject_public_key_info)
    return oid in _EC_KEYS and parameters[:1] == bytes((_SEQUENCE,))


def curve_oid(parameters: bytes) -> str | None:
    """Return the OID of the curve that an EC key's parameters name; None if they name none."""
    if parameters[:1] != bytes((_OID,)):
        return None
    start, end = contents_at(parameters, 0)
    return oid_text(parameters[start:end]) if start < end == len(parameters) else None


def _split(algorithm_identifier: bytes) -> tuple[str | None, bytes]:
    """Return the OID of an AlgorithmIdentifier, if it has one, and what follows it."""
    try:
        start, whole_end = contents_at(algorithm_identifier, 0)
        oid_start, oid_end = contents_at(algorithm_identifier, start)
    except IndexError:
        return None, b""
    if algorithm_identifier[start] != _OID or not oid_start < oid_end <= whole_end:
        return None, b""
    return (
        oid_text(algorithm_identifier[oid_start:oid_end]),
        algorithm_identifier[oid_end:whole_end],
    )


def _named(names: dict[str, str], oid: str | None) -> str:
    if oid is None:
        return "no AlgorithmIdentifier"
    name = names.get(oid)
    return f"of an unknown kind ({oid})" if name is None else f"{name} ({oid})"
