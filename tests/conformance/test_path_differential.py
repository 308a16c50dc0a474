"""
Random chains, validated by crlcheck and by ``openssl verify``.

What crlcheck accepts, OpenSSL accepts. What crlcheck refuses, OpenSSL refuses, but for
the one rule in which it asks for less.
"""

from __future__ import annotations

import itertools
import random
import subprocess
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from crlcheck import PathValidationError, load_certificate, validate_path
from crlcheck.demo.pki import pem_block
from support.paths import Issued, issue, key_usage, self_signed

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
KEYS = [
    ec.generate_private_key(ec.SECP256R1()),
    ec.generate_private_key(ec.SECP384R1()),
    ed25519.Ed25519PrivateKey.generate(),
    rsa.generate_private_key(65537, 2048),
]
NAMES = [
    x509.DNSName(text) for text in ("example.com", "a.example.com", "example.org", "*.example.com")
] + [x509.RFC822Name(text) for text in ("a@example.com", "b@a.example.com", "a@example.org")]
SUBTREES = [x509.DNSName("example.com"), x509.DNSName("a.example.com"), x509.DNSName("org")] + [
    x509.RFC822Name(text) for text in ("example.com", ".example.com", "a@example.com")
]
# OpenSSL excludes nothing by a wildcard, which may stand for an excluded name.
LENIENT = {"6.1.3 (c)"}


def random_authority(
    choose: random.Random, issuer: Issued, common_name: str, key: Any, *, key_ids: bool
) -> Issued:
    """A CA that may be faulty, or limit what is below it."""
    options: dict[str, Any] = {"now": NOW, "is_ca": True, "key": key}
    extensions: list[tuple[x509.ExtensionType, bool]] = []
    if choose.random() < 0.15:
        options["path_length"] = choose.randrange(3)
    if choose.random() < 0.3:
        lists = [choose.sample(SUBTREES, choose.randint(0, 2)) or None for _ in range(2)]
        if any(lists):
            extensions.append((x509.NameConstraints(*lists), choose.random() < 0.5))
    fault = choose.random()
    if fault < 0.03:
        options["is_ca"] = choose.choice([False, None])
        options.pop("path_length", None)
        options["usage"] = key_usage(key_cert_sign=True)
    elif fault < 0.06:
        options["usage"] = key_usage(crl_sign=True)
    elif fault < 0.09:
        options["now"] = NOW + timedelta(days=choose.choice([-90, 90]))
    elif fault < 0.12:
        options["purposes"] = [ExtendedKeyUsageOID.SERVER_AUTH]
    elif fault < 0.15:
        unknown = x509.UnrecognizedExtension(ObjectIdentifier("1.2.3"), b"\5\0")
        extensions.append((unknown, choose.random() < 0.7))
    elif fault < 0.3:
        options["purposes"] = [ExtendedKeyUsageOID.CLIENT_AUTH]
    options["authority_key_id"] = key_ids or choose.random() < 0.7
    options["subject_key_id"] = key_ids or choose.random() < 0.8
    return issue(issuer, common_name, extensions=extensions, **options)


def random_leaf(choose: random.Random, issuer: Issued, *, key_ids: bool) -> Issued:
    """An end entity's certificate that may be faulty."""
    options: dict[str, Any] = {"now": NOW}
    fault = choose.random()
    if fault < 0.05:
        options["now"] = NOW + timedelta(days=choose.choice([-90, 90]))
    elif fault < 0.1:
        options["purposes"] = [ExtendedKeyUsageOID.SERVER_AUTH]
    elif fault < 0.12:
        options["is_ca"] = True
    elif fault < 0.3:
        options["is_ca"] = None
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, "leaf")]
    if choose.random() < 0.2:
        mail = choose.choice(["a@example.com", "a@example.org"])
        attributes.append(x509.NameAttribute(NameOID.EMAIL_ADDRESS, mail))
    names = choose.sample(NAMES, choose.choice([0, 0, 1, 2]))
    authority_key_id = key_ids or choose.random() < 0.7
    return issue(
        issuer, x509.Name(attributes), names=names, authority_key_id=authority_key_id, **options
    )


def random_chain(choose: random.Random) -> tuple[list[Issued], Issued]:
    """A chain, leaf first and the rest in any order, and the anchor that it may lead to."""
    anchor = self_signed("Root", now=NOW, key=choose.choice(KEYS))
    above, members = anchor, []
    # OpenSSL tells keys of one name apart by key ids, and not by what verifies.
    has_rollover = choose.random() < 0.3
    for depth in range(choose.choice([0, 1, 1, 2, 2, 3])):
        is_self_issued = depth and has_rollover and choose.random() < 0.5
        common_name = f"CA {depth - 1 if is_self_issued else depth}"
        # A self-issued certificate of the same key would be self-signed.
        key = choose.choice([one for one in KEYS if one is not above.key])
        member = random_authority(choose, above, common_name, key, key_ids=has_rollover)
        if choose.random() < 0.15:  # another certificate of the same CA
            members.append(random_authority(choose, above, common_name, key, key_ids=has_rollover))
        members.append(member)
        above = member
    leaf = random_leaf(choose, above, key_ids=has_rollover)
    if members and choose.random() < 0.05:
        members.pop(choose.randrange(len(members)))
    choose.shuffle(members)
    if choose.random() < 0.05:
        anchor = self_signed("Root", now=NOW)
    return [leaf, *members], anchor


def openssl_accepts_some(
    directory: Path, chain: Sequence[Issued], anchor: Issued, *, thoroughly: bool
) -> bool:
    """
    Whether ``openssl verify`` accepts it with some of the other certificates.

    Of several that seem fit it takes one, and looks no further. So it is given one
    certificate of each CA, and *thoroughly* every choice of them.
    """
    leaf, *others = chain
    same: dict[bytes, list[Issued]] = {}
    for one in others:
        facts = load_certificate(one.der)
        same.setdefault(facts.subject + facts.subject_public_key_info, []).append(one)
    choices = list(itertools.product(*same.values()))
    if thoroughly:
        for size in range(len(others) + 1):
            choices += itertools.combinations(others, size)
    return any(openssl_accepts(directory, [leaf, *some], anchor) for some in choices)


def openssl_accepts(directory: Path, chain: Sequence[Issued], anchor: Issued) -> bool:
    """What ``openssl verify`` says of it, as a client's."""

    def write(name: str, parts: Sequence[Issued]) -> Path:
        path = directory / name
        path.write_bytes(b"".join(pem_block("CERTIFICATE", part.der) for part in parts))
        return path

    command: list[str | Path] = [
        "openssl", "verify", "-no-CApath", "-no-CAstore", "-partial_chain",
        "-purpose", "sslclient", "-attime", str(int(NOW.timestamp())),
        "-CAfile", write("anchors.pem", [anchor]),
    ]  # fmt: skip
    if chain[1:]:
        command += ["-untrusted", write("others.pem", chain[1:])]
    done = subprocess.run(
        [*command, write("leaf.pem", chain[:1])], capture_output=True, timeout=60, check=False
    )
    return done.returncode == 0


@pytest.mark.parametrize("seed", range(4))
def test_openssl_agrees(tmp_path: Path, seed: int) -> None:
    """
    On random chains with faults, limits, rollovers and cross certificates.
    """
    choose = random.Random(seed)
    seen: Counter[str] = Counter()
    for _ in range(60):
        chain, anchor = random_chain(choose)
        certificates = [load_certificate(one.der) for one in chain]
        section = None
        try:
            validate_path(certificates, [load_certificate(anchor.der)], now=NOW)
        except PathValidationError as error:
            section = error.section
        accepts = openssl_accepts_some(tmp_path, chain, anchor, thoroughly=section is None)
        seen[f"{section} {accepts}"] += 1
        if section is None:
            assert accepts, seen
        elif accepts:
            assert section in LENIENT, (section, seen)
    assert seen["None True"] > 10
    assert sum(count for kind, count in seen.items() if kind.endswith("False")) > 10
