"""
Extensions with an odd value: which ones count as absent, and which ones refuse the CRL.
"""

from __future__ import annotations

from datetime import timedelta

import pytest

from crlcheck import (
    CrlError,
    CrlWarning,
    MalformedCrlError,
    Policy,
    ReasonCode,
    RevocationChecker,
    RevocationStatus,
    Rule,
    UndeterminedCause,
    UnsupportedCrlError,
    compile_crl,
    open_index,
)
from crlcheck.demo.encoding import der, der_integer, encode_entry, encode_extension
from support.crls import NEXT_UPDATE, REVOKED_ON, THIS_UPDATE, ChunkedFile, authority, make_crl
from support.memory_store import MemoryStore
from support.publishing import publish
from support.reference.values import read_crl

EXPIRED_CERTS, REASON, INVALIDITY = "2.5.29.60", "2.5.29.21", "2.5.29.24"
GOOD_TIME = der(0x18, b"20260101000000Z")
ODD_TIMES = {
    "UTCTime": der(0x17, b"260101000000Z"),
    "fractions": der(0x18, b"20260101000000.5Z"),
    "zero fractions": der(0x18, b"20260101000000.000Z"),
    "no Z": der(0x18, b"20260101000000"),
    "an offset": der(0x18, b"20260101000000+0100"),
    "no seconds": der(0x18, b"202601010000Z"),
    "no such day": der(0x18, b"20260230000000Z"),
    "no such hour": der(0x18, b"20260201240000Z"),
    "letters": der(0x18, b"2026010100000xZ"),
    "text": der(0x0C, b"20260101000000Z"),
    "two times": GOOD_TIME * 2,
    "a sequence": der(0x30, GOOD_TIME),
    "nothing": b"",
    "an empty time": der(0x18),
    "cut off": GOOD_TIME[:-1],
    "no DER": b"\xff\xff\xff",
    "an indefinite length": b"\x18\x80" + b"20260101000000Z" + b"\0\0",
}
ODD_REASONS = {
    **{f"0 and {code}": der(0x0A, bytes((0, code))) for code in (0, 1, 6, 8, 10)},
    "1 and 6": der(0x0A, b"\x01\x06"),
    "four octets": der(0x0A, b"\0\0\0\x06"),
    "negative": der(0x0A, b"\xff\xf8"),
    "an INTEGER": der(0x02, b"\x06"),
    "a BOOLEAN": der(0x01, b"\xff"),
    "no octet": der(0x0A),
    "nothing": b"",
    "two reasons": der(0x0A, b"\x08") * 2,
    "a sequence": der(0x30, der(0x0A, b"\x08")),
    "cut off": b"\x0a\x02\x08",
    "a long length": b"\x0a\x81\x01\x08",
    "no DER": b"\xff",
}


def with_extension(oid: str, value: bytes, *, critical: bool = False) -> bytes:
    """A CRL that lists 5 plainly and 7 with that extension of the entry, or has it itself."""
    extension = encode_extension(oid, value, critical=critical)
    if oid == EXPIRED_CERTS:
        return make_crl([5, 7], extensions=[extension])
    return make_crl([5, encode_entry(7, REVOKED_ON, extra_extensions=[extension])])


CASES = [
    *((EXPIRED_CERTS, name, value) for name, value in ODD_TIMES.items()),
    *((INVALIDITY, name, value) for name, value in ODD_TIMES.items()),
    *((REASON, name, value) for name, value in ODD_REASONS.items()),
]
NAMES = {
    EXPIRED_CERTS: "expiredCertsOnCRL",
    INVALIDITY: "invalidityDate",
    REASON: "reasonCode",
}


@pytest.mark.parametrize(("oid", "name", "value"), CASES, ids=lambda value: str(value)[:20])
def test_an_odd_value_counts_as_absent(oid: str, name: str, value: bytes) -> None:
    """
    With a warning that names the extension and the first entry. The image is that of the
    CRL without the extension, but for the warning; the second implementation agrees.
    """
    crl = with_extension(oid, value)
    report = compile_crl(crl, issuer=authority().der)
    assert CrlWarning.ODD_EXTENSION in report.warnings, name
    (odd,) = report.odd_extensions
    assert (odd.oid, odd.name, odd.count) == (oid, NAMES[oid], 1)
    of_crl = oid == EXPIRED_CERTS
    assert (odd.first_entry, odd.first_serial) == ((None, None) if of_crl else (2, 7))
    assert report.as_dict()["odd_extensions"] == [odd.as_dict()]
    assert oid in str(odd)
    assert report.metadata.expired_certs_on_crl is None
    assert report.image is not None
    with open_index(report.image) as index:
        entry = index.find(7)
        assert entry is not None
        assert (entry.reason_code, entry.invalidity_date) == (None, None)
        assert index.metadata.warnings == report.warnings
    seen = read_crl(crl)
    assert seen.expired_since is None
    assert [reason for _, serial, reason in seen.entries if serial == 7] == [None]


@pytest.mark.parametrize(("oid", "name", "value"), CASES, ids=lambda value: str(value)[:20])
def test_strict_and_a_critical_flag_refuse_it(oid: str, name: str, value: bytes) -> None:
    """RFC 5280 5.2 and 5.3: what is critical and cannot be read must not be ignored."""
    with pytest.raises(MalformedCrlError):
        compile_crl(with_extension(oid, value, critical=True), issuer=authority().der)
    with pytest.raises(UnsupportedCrlError) as caught:
        compile_crl(with_extension(oid, value), issuer=authority().der, strict=True)
    assert "odd_extension" in caught.value.feature
    assert NAMES[oid] in str(caught.value), name


@pytest.mark.parametrize(
    ("oid", "value"),
    [
        ("2.5.29.28", der(0x31)),
        ("2.5.29.28", der(0x30, der(0x81, b"\x01"))),
        ("2.5.29.27", der(0x0A, b"\x01")),
        ("2.5.29.20", der(0x02, b"\0\x01")),
        ("2.5.29.20", der(0x02, b"\x01") * 2),
        ("2.5.29.35", der(0x31)),
    ],
    ids=["scope", "a flag of the scope", "delta", "number", "two numbers", "key id"],
)
def test_what_a_verdict_depends_on_is_never_ignored(oid: str, value: bytes) -> None:
    """Although it is not critical here: the CRL without it would say more than it does."""
    crl = make_crl(
        [5],
        crl_number=None,
        authority_key_id=oid != "2.5.29.35",
        extensions=[encode_extension(oid, value)],
    )
    with pytest.raises(MalformedCrlError):
        compile_crl(crl, issuer=authority().der)


@pytest.mark.parametrize("value", [der(0x31), der(0x30), der(0x30, der(0x82, b"x")), b""])
def test_an_odd_certificate_issuer_is_never_ignored(value: bytes) -> None:
    """Without it this entry and those behind it would be another issuer's."""
    indirect = encode_extension("2.5.29.28", der(0x30, der(0x84, b"\xff")), critical=True)
    extension = encode_extension("2.5.29.29", value)
    entry = encode_entry(7, REVOKED_ON, extra_extensions=[extension])
    with pytest.raises(MalformedCrlError):
        compile_crl(make_crl([5, entry], extensions=[indirect]), issuer=authority().der)


@pytest.mark.parametrize("oid", ["2.5.29.18", "2.5.29.46", "1.3.6.1.5.5.7.1.1", "2.5.29.99"])
@pytest.mark.parametrize("value", [b"", b"\xff", der(0x31)])
def test_what_is_not_read_may_have_any_value(oid: str, value: bytes) -> None:
    """issuerAltName, freshestCRL, authorityInfoAccess and one that nobody knows."""
    crl = make_crl([5], extensions=[encode_extension(oid, value)])
    assert compile_crl(crl, issuer=authority().der).warnings == CrlWarning(0)


def test_an_extension_twice_is_refused_although_both_are_odd() -> None:
    """Nobody can tell which one is meant (RFC 5280 4.2)."""
    twice = [encode_extension(REASON, der(0x0A, b"\0\x01"))] * 2
    entry = encode_entry(7, REVOKED_ON, extra_extensions=twice)
    with pytest.raises(MalformedCrlError) as caught:
        compile_crl(make_crl([entry]), issuer=authority().der)
    assert caught.value.rule == "duplicate_extension"


@pytest.mark.parametrize("size", [1, 7, 64, 100_000])
def test_odd_entries_are_counted_among_plain_ones(size: int) -> None:
    """In chunks of any size; the numbers are those of the list, duplicates included."""
    odd_reason = encode_extension(REASON, der(0x0A, b"\0\x01"))
    odd_date = encode_extension(INVALIDITY, der(0x17, b"260101000000Z"))
    entries = [encode_entry(serial, REVOKED_ON, reason=1) for serial in range(1, 300)]
    for serial in (150, 200, 250):
        entries[serial - 1] = encode_entry(serial, REVOKED_ON, extra_extensions=[odd_reason])
    entries[199] = encode_entry(200, REVOKED_ON, extra_extensions=[odd_date, odd_reason])
    report = compile_crl(ChunkedFile(make_crl(entries), [size]), issuer=authority().der)
    reason, date = report.odd_extensions
    assert (reason.count, reason.first_entry, reason.first_serial) == (3, 150, 150)
    assert (date.count, date.first_entry, date.first_serial) == (1, 200, 200)
    assert "3 entries have" in str(reason)
    assert "the first is entry 150 with serial number 96" in str(reason)
    assert report.image is not None
    with open_index(report.image) as index:
        found = [index.find(serial) for serial in (149, 150, 151, 200)]
    codes = [entry.reason_code for entry in found if entry is not None]
    assert codes == [ReasonCode.KEY_COMPROMISE, None, ReasonCode.KEY_COMPROMISE, None]


# ---- what it means for a verdict -------------------------------------------------------


@pytest.mark.parametrize("value", ODD_REASONS.values(), ids=ODD_REASONS.keys())
@pytest.mark.parametrize("base_reason", [None, 1, 6])
def test_an_odd_reason_revokes_for_good(value: bytes, base_reason: int | None) -> None:
    """
    In a complete CRL and in a delta: no hold that a policy waives, and nothing that lifts
    the hold of the complete CRL.
    """
    ca = authority()
    odd = encode_entry(7, REVOKED_ON, extra_extensions=[encode_extension(REASON, value)])
    now = THIS_UPDATE + timedelta(days=1)
    client = ca.issue("client", serial_number=7, not_before=THIS_UPDATE, not_after=NEXT_UPDATE).der

    def status(*crls: bytes) -> RevocationStatus:
        store = MemoryStore()
        for crl in crls:
            publish(store, crl, ca.der, now=now)
        policy = Policy(hold=Rule.ALLOW)
        return RevocationChecker(store, policy=policy, clock=lambda: now).check(client).status

    assert status(make_crl([odd])) is RevocationStatus.REVOKED
    delta = encode_extension("2.5.29.27", der_integer(7), critical=True)
    base = make_crl({7: base_reason} if base_reason is not None else [8])
    later = make_crl([odd], crl_number=8, extensions=[delta])
    assert status(base, later) is RevocationStatus.REVOKED


def test_without_expired_certs_an_expired_certificate_is_not_cleared() -> None:
    """The extension can only permit more, so that leaving it out is safe."""
    ca, now = authority(), THIS_UPDATE + timedelta(days=1)
    expired = ca.issue(
        "client",
        serial_number=9,
        not_before=THIS_UPDATE - timedelta(days=9),
        not_after=THIS_UPDATE,
    ).der
    found = []
    for value in (GOOD_TIME, ODD_TIMES["UTCTime"]):
        store = MemoryStore()
        publish(store, with_extension(EXPIRED_CERTS, value), ca.der, now=now)
        found.append(RevocationChecker(store, clock=lambda: now).check(expired))
    assert [one.status for one in found] == [
        RevocationStatus.NOT_REVOKED,
        RevocationStatus.UNDETERMINED,
    ]
    assert found[1].cause is UndeterminedCause.CERTIFICATE_EXPIRED


def test_a_well_formed_value_is_no_warning() -> None:
    """And its meaning counts."""
    crl = with_extension(INVALIDITY, GOOD_TIME)
    report = compile_crl(crl, issuer=authority().der)
    assert (report.warnings, report.odd_extensions) == (CrlWarning(0), ())
    with pytest.raises(CrlError):
        compile_crl(with_extension(REASON, der(0x0A, b"\x07")), issuer=authority().der, strict=True)
