"""
Tables in random worlds, compared field by field with ``check_serial``.

A table is answered by issuer: what is found once holds for each serial number that no CRL
lists. Here each row must be what is found for it alone.
"""

from __future__ import annotations

import hashlib
import os
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, assume, given, settings

from crlcheck import CheckResult, RevocationChecker, RevocationStatus, load_certificate
from crlcheck.checker.one_set import OneSet
from crlcheck.columns import check_batches, check_table
from crlcheck.columns.verdicts import NOT_A_CERTIFICATE, NOT_AN_ISSUER
from crlcheck.demo.pki import pem_block
from crlcheck.encoding.names import name_text
from crlcheck.errors import CertificateError
from support.checking import Clock
from support.columns import row_of
from support.library_world import LibraryWorld, certificates_of
from support.publishing import catalog_of
from support.world_strategy import even_worlds, worlds
from support.worlds import AUTHORITIES, DAY, NOW, World, WorldBytes, authority

pytestmark = pytest.mark.whole

IS_QUICK = "WORLDS" not in os.environ
WORLDS = int(os.environ.get("WORLDS", "20"))

quietly = settings(
    max_examples=WORLDS,
    derandomize=IS_QUICK,
    deadline=None,
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
        HealthCheck.filter_too_much,
    ],
)
any_world = even_worlds() if IS_QUICK else even_worlds() | worlds()


class Asked:
    """
    An issuer as a column may have it, and what ``check_serial`` is asked for it.

    ``issuer`` is None where nobody knows who it is; ``cause`` is then what is said.
    """

    def __init__(self, value: bytes | str | None, issuer: bytes | None, cause: str = "") -> None:
        self.value = value
        self.issuer = issuer
        self.cause = cause


def issuers_of(world: World, library: LibraryWorld) -> list[Asked]:
    """Each issuer of the world, trusted or not, in each form; and what is none."""
    trusted = {one.certificate for one in catalog_of(library.store).issuers}
    found = [
        Asked(None, None, "no_value"),
        Asked(b"no name", None, NOT_AN_ISSUER),
        Asked("no name", None, NOT_AN_ISSUER),
        Asked(b"\x01" * 32, None, "unknown_issuer"),
        Asked("ab" * 32, None, "unknown_issuer"),
    ]
    for name in dict.fromkeys((*world.authorities, "stranger", "ca")):
        der = authority(name).der
        facts = load_certificate(der)
        found += [Asked(facts.subject, facts.subject), Asked(der, der)]
        found += [Asked(name_text(facts.subject), facts.subject)]
        found += [Asked(authority(name).pem.decode(), der)]
        for octets in (der, facts.subject_public_key_info):
            digest = hashlib.sha256(octets).digest()
            of_key = octets is not der
            known = [one for one in trusted if _key_of(one) == octets or one == octets]
            if len({_name_of(one) for one in known}) > 1 and of_key:
                found.append(Asked(digest, None, "ambiguous_issuer"))
            elif known:
                found += [Asked(digest, known[0]), Asked(digest.hex(), known[0])]
            else:
                found.append(Asked(digest, None, "unknown_issuer"))
    return found


def _key_of(der: bytes) -> bytes:
    return load_certificate(der).subject_public_key_info


def _name_of(der: bytes) -> str:
    return name_text(load_certificate(der).subject)


def serials_of(world: World) -> list[int | None]:
    """Those of entries, of authorities and of leaves, and numbers that nobody has."""
    entries = [one.serial_number for crl in world.crls for one in crl.entries]
    others = [AUTHORITIES[one].serial_number for one in world.authorities]
    leaves = [one.serial_number for one in world.leaves]
    odd = [0, 77, 255, 1 << 64, (1 << 64) + 1, 1 << 159, -1, -128, 1 << 503, 1 << 600]
    return list(dict.fromkeys([None, *entries, *others, *leaves, *odd]))


FORMS = ("binary", "fixed", "hex", "colons", "decimal", "integer")


def column_of(form: str, serials: Sequence[int | None]) -> tuple[pa.Array, str]:
    """A column of serial numbers in a form, null where that cannot have one; and of what text."""
    values: list[Any] = []
    for serial in serials:
        if serial is None:
            values.append(None)
        elif form == "integer":
            values.append(serial if -(1 << 63) <= serial < 1 << 63 else None)
        elif form == "decimal":
            values.append(str(serial))
        elif form == "hex":
            values.append(f"{serial:x}")
        elif serial < 0 or (form == "fixed" and serial >= 1 << 160):
            values.append(None)
        elif form == "fixed":
            values.append(serial.to_bytes(20, "big"))
        else:
            octets = serial.to_bytes(serial.bit_length() // 8 + 1, "big")
            values.append(octets if form == "binary" else octets.hex(":"))
    types = {"binary": pa.binary(), "fixed": pa.binary(20), "integer": pa.int64()}
    text = "decimal" if form == "decimal" else "hex"
    return pa.array(values, types.get(form, pa.string())), text


def expected_of(
    checker: RevocationChecker, asked: Asked, serial: int | None, known: dict[Any, Any]
) -> dict[str, Any]:
    """What a row should say."""
    if asked.value is None or serial is None:
        return row_of(None, "no_value")
    if asked.issuer is None:
        return row_of("undetermined", asked.cause)
    question = asked.issuer, serial
    if question not in known:
        known[question] = row_of(checker.check_serial(asked.issuer, serial))
    found: dict[str, Any] = known[question]
    return found


def check_all(
    checker: RevocationChecker, asked: Sequence[Asked], serials: Sequence[int | None], seed: int
) -> Iterator[dict[str, Any]]:
    """Compare every row of a table of every issuer and serial number. Yield the rows."""
    chance = random.Random(seed)
    known: dict[Any, Any] = {}
    for form, is_text in zip(FORMS, (False, True) * 3, strict=True):
        kinds = (str, type(None)) if is_text else (bytes, type(None))
        issuers = [one for one in asked if isinstance(one.value, kinds)]
        rows = [(one, serial) for one in issuers for serial in serials] * 2
        chance.shuffle(rows)
        column, text = column_of(form, [serial for _, serial in rows])
        names = pa.array([one.value for one, _ in rows], pa.string() if is_text else pa.binary())
        if chance.random() < 0.5:
            names = names.dictionary_encode()
        table = pa.table({"who": names, "what": column})
        options: dict[str, Any] = {"issuer": "who", "serial": "what", "serial_text": text}
        found = check_table(checker, table, **options).to_pylist()
        given_serials = [
            None if value is None else serial
            for value, (_, serial) in zip(column.to_pylist(), rows, strict=True)
        ]
        expected = [
            expected_of(checker, one, serial, known)
            for (one, _), serial in zip(rows, given_serials, strict=True)
        ]
        assert found == expected, next(
            (rows[place], was, wanted)
            for place, (was, wanted) in enumerate(zip(found, expected, strict=True))
            if was != wanted
        )
        parts = table.to_batches(max_chunksize=37)
        assert check_batches(checker, parts, **options).read_all().to_pylist() == expected
        yield from found


def test_each_row_is_what_check_serial_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """In every field, for every form of issuer and serial number, at several times."""
    statuses: Counter[str] = Counter()
    alone: Counter[RevocationStatus] = Counter()
    method = OneSet.check_serial

    def noted(self: OneSet, *question: Any) -> CheckResult:
        result = method(self, *question)
        alone[result.status] += 1
        return result

    monkeypatch.setattr(OneSet, "check_serial", noted)
    compared: set[World] = set()

    @settings(quietly)
    @given(world=any_world)
    def compare(world: World) -> None:
        assume(world not in compared)
        octets = WorldBytes(world)
        library = LibraryWorld(world, octets)
        assume(library.has_catalog)
        clock = Clock()
        clock.now = octets.now
        checker = library.checker(clock)
        asked, serials = issuers_of(world, library), serials_of(world)
        for moment in (octets.now, NOW + 40 * DAY + timedelta(microseconds=1)):
            clock.now = moment
            for row in check_all(checker, asked, serials, len(compared)):
                statuses[row["status"]] += 1
        compared.add(world)

    compare()
    assert len(compared) >= WORLDS
    # A good part of the rows of every status was answered with others. Each is asked about twice.
    for status in RevocationStatus:
        assert statuses[status.value] > 20 * WORLDS
        assert alone[status] < 2 * 0.8 * statuses[status.value], (alone, statuses)


def test_each_certificate_is_what_check_says() -> None:
    """In every field: leaves, authorities, strangers, expired ones, and what is none."""
    statuses: Counter[str] = Counter()
    compared: set[World] = set()

    @settings(quietly)
    @given(world=any_world)
    def compare(world: World) -> None:
        assume(world not in compared)
        octets = WorldBytes(world)
        library = LibraryWorld(world, octets)
        assume(library.has_catalog)
        clock = Clock()
        clock.now = octets.now
        checker = library.checker(clock)
        ders = certificates_of(world)
        pems = [pem_block("CERTIFICATE", one) for one in ders[:3]]
        values: list[bytes | None] = [
            *ders,
            *ders,
            *pems,
            None,
            b"",
            b"no certificate",
            ders[0][1:],
        ]
        random.Random(len(compared)).shuffle(values)
        for moment in (octets.now, NOW + 40 * DAY, NOW + 3650 * DAY + timedelta(microseconds=1)):
            clock.now = moment
            expected = [_row_of_certificate(library.checker(clock), one) for one in values]
            table = pa.table({"certificate": pa.array(values, pa.binary())})
            found = check_table(checker, table, certificate="certificate").to_pylist()
            assert found == expected
            parts = table.to_batches(max_chunksize=37)
            again = check_batches(checker, parts, certificate="certificate").read_all()
            assert again.to_pylist() == expected
            statuses.update(row["status"] for row in found)
        compared.add(world)

    compare()
    assert len(compared) >= WORLDS
    assert all(statuses[one.value] > 3 * WORLDS for one in RevocationStatus), statuses


def _row_of_certificate(checker: RevocationChecker, value: bytes | None) -> dict[str, Any]:
    if value is None:
        return row_of(None, "no_value")
    try:
        return row_of(checker.check(value))
    except CertificateError:
        return row_of("undetermined", NOT_A_CERTIFICATE)
