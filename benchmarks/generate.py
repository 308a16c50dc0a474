"""
Make large CRLs for benchmarks: 10 million entries in seconds, from a seed.

``python -m benchmarks.generate --kind random16 --entries 1000000 --out FILE --ca FILE``
"""

from __future__ import annotations

import argparse
import io
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.serials import KINDS, Octets, SerialSet, make_serials
from crlcheck.demo.encoding import encode_entry
from crlcheck.demo.pki import CertificateAuthority, write_crl

THIS_UPDATE = datetime(2026, 11, 1, tzinfo=UTC)
NEXT_UPDATE = datetime(2036, 11, 1, tzinfo=UTC)
NO_REASON = 0
# unspecified (0) is left out of a CRL, so it can stand for no reason; half have none.
_REASONS = np.array([NO_REASON] * 5 + [1, 3, 4, 5, 9], np.uint8)
_NUM_DATES = 4096
_ENTRIES_A_CHUNK = 1 << 17


@dataclass(frozen=True, slots=True)
class Attributes:
    """
    What entries say beside their serials, a number for each entry.

    ``dates`` are the revocation dates, ``invalidity_dates`` None where no entry
    has one; both are places in ``calendar``. ``reasons`` are reason codes,
    NO_REASON for none.
    """

    calendar: tuple[datetime, ...]
    dates: npt.NDArray[np.uint16]
    reasons: Octets
    invalidity_dates: npt.NDArray[np.uint16] | None


@dataclass(frozen=True, slots=True)
class GeneratedCrl:
    """
    A CRL and what is in it.

    ``der`` is None where the CRL was written to ``path``. ``size`` is in bytes.
    """

    authority: CertificateAuthority
    serials: SerialSet
    attributes: Attributes
    size: int
    der: bytes | None
    path: Path | None


def generate_crl(
    num_entries: int,
    kind: str = "random16",
    *,
    seed: int = 1,
    authority: CertificateAuthority | None = None,
    output: Path | None = None,
    reasons: bool = False,
    invalidity_dates: bool = False,
    this_update: datetime = THIS_UPDATE,
    next_update: datetime = NEXT_UPDATE,
    crl_number: int = 1,
    more_entries: Sequence[bytes] = (),
) -> GeneratedCrl:
    """
    Make a CRL of *num_entries* distinct serials of *kind*, one of ``KINDS``.

    It is signed by *authority*, a new one with a P-256 key unless given, and
    written to *output* where that is given. With *reasons* about half the
    entries have a reason code, with *invalidity_dates* every entry has such a
    date. *more_entries* come after them, encoded. The signed bytes depend on the arguments only.

    Raises:
        ValueError: if there is no such kind.
    """
    if authority is None:
        authority = CertificateAuthority.create("Benchmark CA", now=this_update)
    serials = make_serials(kind, num_entries, seed)
    attributes = _make_attributes(
        num_entries, seed, this_update, reasons=reasons, invalidity_dates=invalidity_dates
    )
    encoder = _EntryEncoder(serials, attributes)
    buffer = io.BytesIO()
    with buffer if output is None else output.open("wb") as target:
        size = write_crl(
            target,
            authority,
            itertools.chain(encoder.chunks(), more_entries),
            encoder.size + sum(map(len, more_entries)),
            this_update=this_update,
            next_update=next_update,
            crl_number=crl_number,
        )
        der = buffer.getvalue() if output is None else None
    return GeneratedCrl(authority, serials, attributes, size, der, output)


def _make_attributes(
    count: int, seed: int, this_update: datetime, *, reasons: bool, invalidity_dates: bool
) -> Attributes:
    rng = np.random.default_rng([seed, 2])
    seconds = rng.integers(1, 2 * 365 * 86400, size=_NUM_DATES)
    calendar = tuple(this_update - timedelta(seconds=int(each)) for each in seconds)
    return Attributes(
        calendar,
        rng.integers(_NUM_DATES, size=count, dtype=np.uint16),
        _REASONS[rng.integers(len(_REASONS), size=count)] if reasons else np.zeros(count, np.uint8),
        rng.integers(_NUM_DATES, size=count, dtype=np.uint16) if invalidity_dates else None,
    )


class _EntryEncoder:
    """
    Encodes entries by the hundred thousand.

    Entries with equally long serials and the same extensions differ in a few
    columns only, so each such shape is one template, copied and overwritten.
    """

    def __init__(self, serials: SerialSet, attributes: Attributes) -> None:
        self._serials = serials
        self._attributes = attributes
        calendar = attributes.calendar
        self._utc_times = _text_rows(f"{each:%y%m%d%H%M%SZ}" for each in calendar)
        self._generalized_times = _text_rows(f"{each:%Y%m%d%H%M%SZ}" for each in calendar)
        # A shape is the length of the serial, doubled, and one with a reason.
        self._shapes = serials.lengths * 2 + (attributes.reasons != NO_REASON)
        shapes, counts = np.unique(self._shapes, return_counts=True)
        self._templates = {int(shape): self._template(int(shape)) for shape in shapes}
        self.size = sum(
            int(count) * len(self._templates[int(shape)])
            for shape, count in zip(shapes, counts, strict=True)
        )

    def chunks(self) -> Iterator[memoryview]:
        """Yield the entries in order, some megabytes at a time."""
        for start in range(0, len(self._serials), _ENTRIES_A_CHUNK):
            yield self._encode(start, start + _ENTRIES_A_CHUNK).data

    def _template(self, shape: int) -> Octets:
        length, has_reason = divmod(shape, 2)
        moment = self._attributes.calendar[0]
        entry = encode_entry(
            1 << (8 * (length - 1)),
            moment,
            reason=1 if has_reason else None,
            invalidity_date=None if self._attributes.invalidity_dates is None else moment,
        )
        return np.frombuffer(entry, np.uint8)

    def _encode(self, start: int, stop: int) -> Octets:
        shapes = self._shapes[start:stop]
        present = np.unique(shapes)
        if len(present) == 1:
            return self._fill(int(present[0]), np.arange(start, start + len(shapes))).reshape(-1)
        sizes = np.zeros(256, np.int64)
        for shape, template in self._templates.items():
            sizes[shape] = len(template)
        ends = np.cumsum(sizes[shapes])
        octets = np.empty(ends[-1], np.uint8)
        for shape in present:
            of_shape = np.flatnonzero(shapes == shape)
            filled = self._fill(int(shape), start + of_shape)
            first = ends[of_shape] - filled.shape[1]
            octets[first[:, None] + np.arange(filled.shape[1])] = filled
        return octets

    def _fill(self, shape: int, which: npt.NDArray[np.intp]) -> Octets:
        template, attributes = self._templates[shape], self._attributes
        length, has_reason = divmod(shape, 2)
        entries = np.empty((len(which), len(template)), np.uint8)
        entries[:] = template
        rows = self._serials.rows
        # Headers of two bytes each stand before the entry, the serial and the date.
        entries[:, 4 : 4 + length] = rows[which, rows.shape[1] - length :]
        date_end = 4 + length + 2 + 13
        entries[:, date_end - 13 : date_end] = self._utc_times[attributes.dates[which]]
        if has_reason:
            # Its byte ends an Extension of 12, the first after the header of the list.
            entries[:, date_end + 2 + 11] = attributes.reasons[which]
        if attributes.invalidity_dates is not None:
            times = self._generalized_times[attributes.invalidity_dates[which]]
            entries[:, -times.shape[1] :] = times
        return entries


def _text_rows(texts: Iterable[str]) -> Octets:
    return np.array([list(text.encode()) for text in texts], np.uint8)


def main() -> None:
    """Write a CRL and its issuer's certificate."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.generate", description=main.__doc__)
    parser.add_argument("--kind", choices=KINDS, default="random16")
    parser.add_argument("--entries", type=int, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--reasons", action="store_true", help="give half a reason code")
    parser.add_argument("--invalidity-dates", action="store_true")
    parser.add_argument("--out", type=Path, required=True, help="the CRL, DER")
    parser.add_argument("--ca", type=Path, required=True, help="the issuer's certificate, PEM")
    arguments = parser.parse_args()
    crl = generate_crl(
        arguments.entries,
        arguments.kind,
        seed=arguments.seed,
        output=arguments.out,
        reasons=arguments.reasons,
        invalidity_dates=arguments.invalidity_dates,
    )
    arguments.ca.write_bytes(crl.authority.pem)
    print(f"{arguments.out}: {arguments.entries} entries, {crl.size} bytes")


if __name__ == "__main__":
    main()
