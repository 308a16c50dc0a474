"""
The way of the published AWS sample: a JSON object with a hex key for each serial.

Written afresh. The sample does not verify the CRL; here it is verified, so that
the figures compare like with like.
"""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.baselines.cryptography_ import load_verified
from benchmarks.baselines.interface import Contender, InContainer, Lookups


class SampleJson(Contender):
    """Loop over ``cryptography``'s entries, write JSON, read JSON, look hex keys up."""

    name = "sample_json"
    title = "AWS sample's way (JSON)"
    how = (
        "`cryptography`'s entries into a dict with `hex()` keys, `json.dumps`, and back"
        " with `json.loads`; `hex(serial) in dict`"
    )
    distribution = "cryptography"

    def load(self, crl: Path, issuer: Path) -> Lookups:
        """Do what the sample's preprocessor does, then what its authorizer does."""
        return read(write(crl, issuer))


def write(crl: Path, issuer: Path) -> str:
    """Return the JSON for the CRL at *crl*."""
    return json.dumps({hex(entry.serial_number): "" for entry in load_verified(crl, issuer)})


def read(text: str) -> Lookups:
    """Return lookups in the object that *text* is."""
    return InContainer(_HexKeys(json.loads(text)))


class _HexKeys:
    def __init__(self, entries: dict[str, str]) -> None:
        self._entries = entries

    def __contains__(self, serial_number: int) -> bool:
        return hex(serial_number) in self._entries
