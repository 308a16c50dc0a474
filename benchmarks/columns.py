"""
Measure tables of verdicts beside what they cannot do without, in one run.

``make bench-columns``. Each round does all of these in turn, with the same threads, and the
figures are medians of the rounds. Time is that of the processors, over all threads, so that
it holds on a machine that does other things too; the time that passed stands beside it.

T23. A Parquet file has rows of many issuers in random order: the issuer as a dictionary, the
serial number as 16 bytes. Of a thousand rows one is listed. ``read`` reads both columns by pyarrow,
``table`` reads them and makes the table of verdicts, ``check`` is that without reading, and
``look-ups`` asks the same images by ``contains_packed`` about rows that were grouped before.

T25. A column has certificates of one CA as DER, of which one in forty is listed. ``parse``
reads each certificate by the native parser, as far as a verdict needs it, and makes nothing
else. ``cryptography`` loads each certificate and looks its serial number up in a set.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from cryptography import x509

import crlcheck
from benchmarks.generate import THIS_UPDATE, generate_crl
from benchmarks.units import seconds
from crlcheck._binding import certificate_kind
from crlcheck.columns import check_table
from crlcheck.demo.pki import CertificateAuthority

_SEED = 23
_LISTED_ROW = 1000
_LISTED_CERTIFICATE = 40
_NUM_DISTINCT = 2000
AT = THIS_UPDATE + timedelta(days=1)


class Times(NamedTuple):
    """What one thing took, in seconds: of all processors, and from its start to its end."""

    cpu: float
    passed: float


class Ratio(NamedTuple):
    """A target: how many times as long some things may take as others, taken together."""

    name: str
    what: tuple[str, ...]
    beside: tuple[str, ...]
    limit: float

    def of(self, times: dict[str, Times]) -> dict[str, Any]:
        """Return it for JSON."""
        what, beside = ([times[name] for name in names] for names in (self.what, self.beside))
        ratios = (
            sum(getattr(one, field) for one in what) / sum(getattr(one, field) for one in beside)
            for field in Times._fields
        )
        return {
            "name": self.name,
            "ratio": f"{' + '.join(self.what)} / {' + '.join(self.beside)}",
            **dict(zip(Times._fields, ratios, strict=True)),
            "limit": self.limit,
        }


RATIOS = (
    Ratio("T23", ("table",), ("read",), 3.5),
    Ratio("T23", ("check",), ("look-ups",), 1.5),
    Ratio("T25", ("certificates",), ("parse",), 1.5),
)


def measured(act: Callable[[], Any]) -> Times:
    """Do something once, and return what it took."""
    cpu, passed = time.process_time(), time.perf_counter()
    act()
    return Times(time.process_time() - cpu, time.perf_counter() - passed)


def medians(rounds: Sequence[dict[str, Times]]) -> dict[str, Times]:
    """Return the median of each thing over all rounds."""
    return {
        name: Times(*(statistics.median(times) for times in zip(*all_times, strict=True)))
        for name in rounds[0]
        for all_times in [[one[name] for one in rounds]]
    }


# ---- T23 ----------------------------------------------------------------------------


class Inventory:
    """A store with a CRL of each issuer, and a file with rows of these issuers."""

    def __init__(self, place: Path, num_rows: int, num_issuers: int, num_entries: int) -> None:
        rng = np.random.default_rng(_SEED)
        self.path = place / "inventory.parquet"
        names, self._images, self._listed = [], [], []
        store = place / "store"
        for number in range(num_issuers):
            authority = CertificateAuthority.create(f"CA {number}", now=THIS_UPDATE)
            made = generate_crl(num_entries, seed=number + 1, authority=authority)
            assert made.der is not None, "it is not written to a file"
            report = crlcheck.compile_crl(made.der, issuer=authority.der)
            assert report.image is not None, "it is not written to a file"
            self._images.append(crlcheck.open_index(report.image))
            crlcheck.publish_crl(made.der, store, issuer=authority.der, now=AT)
            names.append(crlcheck.load_certificate(authority.der).subject)
            self._listed.append(made.serials.rows[:, -16:])
        issuers = rng.integers(num_issuers, size=num_rows, dtype=np.int32)
        serials = rng.integers(256, size=(num_rows, 16), dtype=np.uint8)
        serials[:, 0] &= 0x7F
        listed = rng.choice(num_rows, max(1, num_rows // _LISTED_ROW), replace=False)
        for row in listed:
            among = self._listed[issuers[row]]
            serials[row] = among[row % len(among)]
        self.num_listed = len(listed)
        table = pa.table(
            {
                "issuer": pa.DictionaryArray.from_arrays(pa.array(issuers), pa.array(names)),
                "serial": pa.FixedSizeBinaryArray.from_buffers(
                    pa.binary(16), num_rows, [None, pa.py_buffer(serials.tobytes())]
                ),
            }
        )
        pq.write_table(table, self.path, compression="zstd")
        order = np.argsort(issuers, kind="stable")
        starts = np.searchsorted(issuers[order], np.arange(num_issuers + 1))
        grouped = serials[order]
        self._groups = [grouped[start:end].tobytes() for start, end in itertools.pairwise(starts)]
        self.checker = crlcheck.RevocationChecker(
            store, refresh_after=timedelta(days=1), clock=lambda: AT
        )

    def read(self, threads: int) -> pa.Table:
        """Read both columns."""
        pa.set_cpu_count(threads)
        return pq.read_table(self.path, columns=["issuer", "serial"])

    def check(self, table: pa.Table, threads: int) -> pa.Table:
        """Return the verdicts on all rows."""
        return check_table(self.checker, table, issuer="issuer", serial="serial", threads=threads)

    def look_up(self, threads: int) -> int:
        """Look all rows up in their images, and return how many are listed."""
        with ThreadPoolExecutor(threads) as pool:
            return sum(pool.map(_num_listed, self._images, self._groups))

    def round(self, threads: int) -> dict[str, Times]:
        """Do each thing once."""
        table = self.read(threads)
        return {
            "read": measured(lambda: self.read(threads)),
            "table": measured(lambda: self.check(self.read(threads), threads)),
            "check": measured(lambda: self.check(table, threads)),
            "look-ups": measured(lambda: self.look_up(threads)),
        }

    def require_right(self, threads: int) -> None:
        """
        Compare what the contenders say.

        Raises:
            RuntimeError: a row is missing among the listed ones, or there is one too many.
        """
        statuses = self.check(self.read(threads), threads)["status"].value_counts().to_pylist()
        counts = {one["values"]: one["counts"] for one in statuses}
        if counts.get("revoked") != self.num_listed or self.look_up(threads) != self.num_listed:
            raise RuntimeError(f"found {counts}, expected {self.num_listed} revoked")


def _num_listed(image: crlcheck.RevocationIndex, rows: bytes) -> int:
    return image.contains_packed(rows, 16).count(1)


# ---- T25 ----------------------------------------------------------------------------


class Certificates:
    """Certificates of a CA, and its CRL."""

    def __init__(self, num_rows: int) -> None:
        authority = CertificateAuthority.create("CA", now=THIS_UPDATE)
        made = generate_crl(100_000, authority=authority)
        assert made.der is not None, "it is not written to a file"
        rng = np.random.default_rng(_SEED)
        count = min(num_rows, _NUM_DISTINCT)
        serials = made.serials.non_members(rng, count)
        members = made.serials.members(rng, count)
        serials[::_LISTED_CERTIFICATE] = members[::_LISTED_CERTIFICATE]
        ders = [
            authority.issue("client", serial_number=one, not_before=THIS_UPDATE).der
            for one in serials
        ]
        self._ders = [ders[row % count] for row in range(num_rows)]
        self.num_listed = len(range(0, count, _LISTED_CERTIFICATE)) * (num_rows // count)
        self._table = pa.table({"certificate": pa.array(self._ders, pa.binary())})
        self._listed = set(made.serials.integers())
        report = crlcheck.compile_crl(made.der, issuer=authority.der)
        assert report.image is not None, "it is not written to a file"
        index = crlcheck.open_index(report.image)
        self.checker = crlcheck.RevocationChecker(index, clock=lambda: AT)

    def check(self) -> pa.Table:
        """Return the verdicts on all certificates, by one thread."""
        return check_table(self.checker, self._table, certificate="certificate", threads=1)

    def parse(self) -> None:
        """Read each certificate."""
        for der in self._ders:
            certificate_kind(der)

    def by_cryptography(self) -> int:
        """Return how many certificates are in a set."""
        return sum(
            x509.load_der_x509_certificate(der).serial_number in self._listed for der in self._ders
        )

    def round(self) -> dict[str, Times]:
        """Do each thing once."""
        return {
            "certificates": measured(self.check),
            "parse": measured(self.parse),
            "cryptography": measured(self.by_cryptography),
        }

    def require_right(self) -> None:
        """
        Compare what the contenders say.

        Raises:
            RuntimeError: they do not say the same.
        """
        revoked = sum(one == "revoked" for one in self.check()["status"].to_pylist())
        if not revoked == self.by_cryptography() == self.num_listed:
            raise RuntimeError(f"found {revoked} revoked, expected {self.num_listed}")


# ---- the run --------------------------------------------------------------------------


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure everything, and return it for JSON."""
    with tempfile.TemporaryDirectory() as place:
        inventory = Inventory(Path(place), options.rows, options.issuers, options.entries)
        inventory.require_right(options.threads)
        rounds = [inventory.round(options.threads) for _ in range(options.rounds)]
        inventory.checker.close()
    certificates = Certificates(options.certificates)
    certificates.require_right()
    others = [certificates.round() for _ in range(options.rounds)]
    times = {**medians(rounds), **medians(others)}
    rows = dict.fromkeys(medians(rounds), options.rows)
    rows |= dict.fromkeys(medians(others), options.certificates)
    return {
        "options": vars(options) | {"output": None},
        "times": {name: {**found._asdict(), "rows": rows[name]} for name, found in times.items()},
        "ratios": [one.of(times) for one in RATIOS],
    }


def show(found: dict[str, Any]) -> None:
    """Print what was measured."""
    for name, one in found["times"].items():
        each = seconds(one["cpu"] / one["rows"])
        print(f"{name:14}{each:>10} of a processor for each row, {seconds(one['passed'])} in all")
    for one in found["ratios"]:
        met = "met" if one["cpu"] <= one["limit"] else "not met"
        print(
            f"{one['name']}: {one['ratio']}: {one['cpu']:.2f} by processor time, "
            f"{one['passed']:.2f} by time passed; at most {one['limit']}: {met}"
        )


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and write the figures where that is asked for."""
    parser = argparse.ArgumentParser(description="Measure tables of verdicts.")
    parser.add_argument("--rows", type=int, default=20_000_000)
    parser.add_argument("--issuers", type=int, default=200)
    parser.add_argument("--entries", type=int, default=5_000, help="of each CRL")
    parser.add_argument("--certificates", type=int, default=200_000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path, help="a file for the figures")
    options = parser.parse_args(arguments)
    found = run(options)
    show(found)
    if options.output is not None:
        options.output.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
