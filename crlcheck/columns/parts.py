"""
Read a part of a table: of which group each row is, and what is asked about one by itself.

A group has rows that differ in their serial numbers alone: those of one issuer, or the
certificates of one kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, NamedTuple, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from crlcheck._binding.columns import NO_VALUE as NO_GROUP_VALUE
from crlcheck._binding.columns import UNKNOWN, RowBatch, SerialSet
from crlcheck.checker.judge import OfAny
from crlcheck.checker.one_set import OneSet
from crlcheck.columns.issuers import Issuer
from crlcheck.columns.serials import Serials, SerialText, buffers_of
from crlcheck.columns.verdicts import NO_DATES, NOT_A_CERTIFICATE, NOT_A_SERIAL, NOT_AN_ISSUER
from crlcheck.errors import CertificateError
from crlcheck.times import EPOCH
from crlcheck.types import CertificateFacts, CheckResult


class Group:
    """
    What is said of the rows of a group. It is found when the first row comes.

    ``number`` is its number among the groups of all parts, negative where it has none.
    ``is_plain`` tells that its rows are looked up together with those of others.

    ``subject`` is the issuer, or a certificate of the kind. ``of_any`` is None where each row is
    asked about by itself.
    """

    def __init__(self, subject: Issuer | CertificateFacts, number: int = -1) -> None:
        self.subject = subject
        self.number = number
        self.is_known = False
        self.is_plain = False
        self.of_any: OfAny | None = None
        self.verdict = -1
        self.dates: tuple[int | None, int | None] = NO_DATES
        self.apart: SerialSet | None = None
        self.by_reason: Any = None

    def find(self, by: OneSet) -> OfAny | None:
        """Return what is said of each row that no CRL lists."""
        subject = self.subject
        if isinstance(subject, CertificateFacts):
            return by.of_kind(subject)
        if subject.unanswered is not None:
            return OfAny(subject.unanswered, (), is_sole=False, apart=frozenset())
        return by.of_any_serial(subject.name, subject.certificate)


class GroupsOfPart(NamedTuple):
    """
    The groups of a part by their numbers in it. ``are_of_all`` tells that these are the numbers
    that they have among those of all parts.
    """

    groups: Sequence[Group]
    are_of_all: bool = False


class Groups(Protocol):
    """What knows the groups of all parts."""

    def of_issuer(self, value: bytes | str) -> Group | None:
        """Return the group of an issuer as a column has it, None where it is none."""

    def numbered(self, groups: Sequence[Group]) -> GroupsOfPart | None:
        """Return the groups of all parts by their numbers, None where one of these has none."""

    def of_kind(self, kind: bytes, certificate: bytes) -> Group:
        """Return the group of a kind, to which a certificate belongs."""


class Part(Protocol):
    """
    A part of a table.

    ``cause_no_serial`` and ``cause_no_group`` are what is said of a row whose value is none.
    """

    cause_no_serial: str
    cause_no_group: str
    num_rows: int

    def read(self, rows: RowBatch, groups: Groups, by: OneSet) -> GroupsOfPart:
        """Say of which group each row is."""

    def ask(
        self, by: OneSet, group: Group | None, row: int, serial: int | None
    ) -> CheckResult | None:
        """Return the result for one row by itself, None where its value is none."""


class SerialPart:
    """Serial numbers, and their issuers, or the one that all have."""

    cause_no_serial = NOT_A_SERIAL
    cause_no_group = NOT_AN_ISSUER

    def __init__(
        self, issuers: pa.Array | None, constant: Group | None, serials: pa.Array, text: SerialText
    ) -> None:
        self.num_rows = len(serials)
        self._issuers = issuers
        self._constant = constant
        self._serials = Serials(serials, text)

    def read(self, rows: RowBatch, groups: Groups, by: OneSet) -> GroupsOfPart:  # noqa: ARG002
        """As ``Part.read``."""
        rows.read_serials(self._serials.buffers, self._serials.form, self.num_rows)
        if self._issuers is None:
            assert self._constant is not None, "one of the two"
            rows.number_all()
            return GroupsOfPart([self._constant])
        issuers = _encoded(self._issuers)
        found: list[Group] = []
        numbers: list[int] = []
        for value in issuers.dictionary.to_pylist():
            group = None if value is None else groups.of_issuer(value)
            if group is None:
                numbers.append(NO_GROUP_VALUE if value is None else UNKNOWN)
            else:
                numbers.append(len(found))
                found.append(group)
        numbered = groups.numbered(found)
        if numbered is not None:
            numbers = [one if one < 0 else found[one].number for one in numbers]
        indices = issuers.indices.cast(pa.int32())
        validity, data = indices.buffers()
        is_whole = indices.null_count == 0
        rows.number(data, None if is_whole else validity, indices.offset, numbers)
        return GroupsOfPart(found) if numbered is None else numbered

    def ask(
        self, by: OneSet, group: Group | None, row: int, serial: int | None
    ) -> CheckResult | None:
        """As ``Part.ask``."""
        assert group is not None, "a row without an issuer has its verdict"
        issuer = group.subject
        assert isinstance(issuer, Issuer), "it is none of a certificate"
        number = self._serials.number(row) if serial is None else serial
        if number is None or issuer.unanswered is not None:
            return issuer.unanswered if number is not None else None
        return by.check_serial(issuer.name, issuer.certificate, number)


class CertificatePart:
    """Certificates as DER or PEM."""

    cause_no_serial = NOT_A_CERTIFICATE
    cause_no_group = NOT_A_CERTIFICATE

    def __init__(self, certificates: pa.Array) -> None:
        self.num_rows = len(certificates)
        self._certificates = _octets(certificates)

    def read(self, rows: RowBatch, groups: Groups, by: OneSet) -> GroupsOfPart:
        """As ``Part.read``."""
        # A certificate has expired when its notAfter, in whole seconds, has passed.
        now = -((EPOCH - by.now) // timedelta(seconds=1))
        buffers = buffers_of(self._certificates)
        kinds = rows.read_certificates(buffers, self.num_rows, now)
        return GroupsOfPart([groups.of_kind(one.octets, self._value(one.row)) for one in kinds])

    def ask(
        self,
        by: OneSet,
        group: Group | None,  # noqa: ARG002
        row: int,
        serial: int | None,  # noqa: ARG002
    ) -> CheckResult | None:
        """As ``Part.ask``."""
        try:
            return by.check(self._value(row))
        except CertificateError:
            return None

    def _value(self, row: int) -> bytes:
        value: bytes = self._certificates[row].as_py()
        return value


def _encoded(issuers: pa.Array) -> pa.DictionaryArray:
    """Return a column of issuers with a dictionary, which is not larger than the column."""
    kind = issuers.type
    if pa.types.is_run_end_encoded(kind):
        return _encoded(pc.run_end_decode(issuers))
    if pa.types.is_dictionary(kind):
        is_small = len(issuers.dictionary) <= len(issuers)
        if is_small and _is_octets(kind.value_type):
            return issuers
        return _encoded(issuers.dictionary_decode())
    if pa.types.is_string_view(kind):
        return _encoded(issuers.cast(pa.large_string()))
    if pa.types.is_binary_view(kind) or pa.types.is_null(kind):
        return _encoded(issuers.cast(pa.large_binary()))
    if not _is_octets(kind):
        raise TypeError(f"issuers: found a column of {kind}, expected binary or text")
    return issuers.dictionary_encode()


def _octets(certificates: pa.Array) -> pa.Array:
    """Return a column of certificates as one of the few types that the core reads."""
    kind = certificates.type
    if pa.types.is_dictionary(kind):
        return _octets(certificates.dictionary_decode())
    if pa.types.is_run_end_encoded(kind):
        return _octets(pc.run_end_decode(certificates))
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return certificates
    is_view = pa.types.is_string_view(kind) or pa.types.is_binary_view(kind)
    if is_view or pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return certificates.cast(pa.large_binary())
    if pa.types.is_null(kind):
        return certificates.cast(pa.large_binary())
    raise TypeError(f"certificates: found a column of {kind}, expected binary or text")


def _is_octets(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_fixed_size_binary(kind)
        or pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
    )
