"""
The CRLs that are measured: made once, kept under build/bench, and what to ask of them.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Literal

import numpy as np

import crlcheck
from benchmarks import generate, serials
from benchmarks.generate import generate_crl
from benchmarks.serials import Octets, SerialSet, integers, make_serials

BUILD = Path(__file__).parents[1] / "build" / "bench"
SEED = 1
EVERYDAY_SIZES = (0, 10, 100)
"""Measured where an application's first answer or check is; there they count."""
STANDARD_SIZES = (1_000, 10_000, 100_000, 1_000_000)
LARGE_SIZES = (10_000_000,)

Answers = Literal["hits", "misses", "half"]


@dataclass(frozen=True)
class Workload:
    """
    One CRL on disk with its issuer's certificate, and its serials in memory.

    Half of the entries have a reason code, all have a revocation date. ``image``
    is where ``compile_image`` puts the compiled CRL.
    """

    kind: str
    num_entries: int
    crl: Path
    issuer: Path

    @property
    def crl_size(self) -> int:
        """Bytes of the CRL."""
        return self.crl.stat().st_size

    @property
    def image(self) -> Path:
        """Where the image is, once compiled."""
        return self.crl.with_suffix(".crlx")

    @cached_property
    def serials(self) -> SerialSet:
        """The serials, drawn again from the seed that the CRL was made from."""
        return make_serials(self.kind, self.num_entries, SEED)

    def compile_image(self) -> Path:
        """Compile the CRL with the crlcheck that is installed now, and return the image."""
        self.image.unlink(missing_ok=True)
        crlcheck.compile_crl(
            self.crl, self.image, issuer=self.issuer, fsync=False, max_source_size=0
        )
        return self.image

    def queries(self, rng: np.random.Generator, count: int, answers: Answers) -> list[int]:
        """
        Return *count* serials in random order, as ints that were made for this call.

        They are listed, not listed, or exactly half of them are.
        """
        return integers(self.query_rows(rng, count, answers))

    def query_rows(self, rng: np.random.Generator, count: int, answers: Answers) -> Octets:
        """Return what :meth:`queries` does as rows of bytes."""
        num_hits = num_listed(count, answers)
        hits = self.serials.member_rows(rng, num_hits)
        if num_hits == count:
            return hits
        rows = np.concatenate((hits, self.serials.non_member_rows(rng, count - num_hits)))
        rng.shuffle(rows)
        return rows


def num_listed(count: int, answers: Answers) -> int:
    """Return how many of *count* queries are listed."""
    return {"hits": count, "misses": 0, "half": count // 2}[answers]


def fresh_integers(rounds: Sequence[Octets]) -> Iterator[list[int]]:
    """
    Give each round its serials as ints, made when they are asked for; then from the first again.

    Who is timed beside another gets ints of its own, made just before.
    """
    return map(integers, itertools.cycle(rounds))


# A 10 M workload holds 240 MB; only what is being measured stays.
@lru_cache(maxsize=3)
def make_workload(kind: str, num_entries: int) -> Workload:
    """Return a workload whose CRL is on disk, generating it where it is not."""
    directory = BUILD / f"crls-{_generator_version()}"
    directory.mkdir(parents=True, exist_ok=True)
    crl = directory / f"{kind}-{num_entries}.crl"
    issuer = crl.with_suffix(".pem")
    if not crl.exists():
        unfinished = crl.with_suffix(".unfinished")
        made = generate_crl(num_entries, kind, seed=SEED, reasons=True, output=unfinished)
        issuer.write_bytes(made.authority.pem)
        unfinished.rename(crl)
    return Workload(kind, num_entries, crl, issuer)


@lru_cache(maxsize=1)
def _generator_version() -> str:
    """Identify the code that made a CRL, so that a CRL of older code is not taken for it."""
    digest = hashlib.sha256()
    for module in (generate, serials):
        assert module.__file__ is not None
        digest.update(Path(module.__file__).read_bytes())
    return digest.hexdigest()[:8]


@lru_cache(maxsize=6)
def draw_queries(
    kind: str, num_entries: int, count: int, answers: Answers, num_rounds: int
) -> tuple[Octets, ...]:
    """
    Draw *count* queries for each of *num_rounds* rounds, once for all who are asked them.

    No round asks what another did, as far as the draw goes: it would find a part
    of the answers in the cache, and a CRL is seldom asked twice about a certificate.
    """
    rng = np.random.default_rng([SEED, count])
    workload = make_workload(kind, num_entries)
    return tuple(workload.query_rows(rng, count, answers) for _ in range(num_rounds))
