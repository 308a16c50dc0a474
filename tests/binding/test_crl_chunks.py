"""The CRL parser: sources in chunks, cut short, and claiming sizes that cannot be."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from crlcheck.demo.encoding import der, der_header, der_integer, encode_entry, encode_extension
from support.certificate_der import encode_attribute, encode_name
from support.crls import REVOKED_ON, make_crl
from support.native import parse

NOON = b"260101120000Z"
INDIRECT_CRL = encode_extension("2.5.29.28", der(0x30, der(0x84, b"\xff")), critical=True)

# ---- chunks ----------------------------------------------------------------------


CRL_OF_MANY_KINDS = make_crl(
    [
        *(encode_entry(serial, REVOKED_ON) for serial in (0, 127, 128, -1, 1 << 152)),
        encode_entry(7, REVOKED_ON, reason=1, invalidity_date=REVOKED_ON),
        encode_entry((1 << 511) - 1, REVOKED_ON, reason=6),
        encode_entry(
            8,
            REVOKED_ON,
            extra_extensions=[encode_extension("1.2.3.4", bytes(300))],
            certificate_issuer=encode_name(encode_attribute("Other")),
        ),
        encode_entry(9, REVOKED_ON),
    ],
    extensions=[INDIRECT_CRL],
)


@pytest.mark.parametrize("size", range(1, 41))
def test_entries_over_chunk_borders(size: int) -> None:
    """
    Whatever the size of chunks, and however few entries are taken at a time, the
    entries are those of the whole.
    """
    whole = parse(CRL_OF_MANY_KINDS, [len(CRL_OF_MANY_KINDS)], max_entries=100)
    assert whole.rule is None
    assert len(whole.entries) == 9
    for max_entries in (1, 2, 100):
        assert parse(CRL_OF_MANY_KINDS, [size], max_entries=max_entries) == whole


def test_truncation_is_noticed_wherever_it_is() -> None:
    """
    A CRL cut short anywhere is refused as truncated, where the cut is, and the
    entries before the cut are the same for any size of chunks.
    """
    whole = parse(CRL_OF_MANY_KINDS, [1000])
    for length in range(1, len(CRL_OF_MANY_KINDS)):
        cut = parse(CRL_OF_MANY_KINDS[:length], [1000])
        assert (cut.rule, cut.offset) == ("truncated", length)
        assert cut.entries == whole.entries[: len(cut.entries)]
        assert parse(CRL_OF_MANY_KINDS[:length], [7, 1, 2]) == cut
    assert parse(b"", [1]).rule == "empty"


# ---- claims ----------------------------------------------------------------------


def test_the_number_of_entries_is_limited_where_asked() -> None:
    """
    A limit on entries lets exactly that many pass.
    """
    crl = make_crl(range(10))
    assert parse(crl, [100], limit=10).rule is None
    assert parse(crl, [100], limit=9).rule == "too_many_entries"


# Each header that claims a size, as its tag and what comes before it. The elements
# around it claim to be huge themselves, so that theirs does not stop it.
_FIELDS = der_integer(1) + der(0x30) + encode_name(encode_attribute("CA")) + der(0x17, NOON) * 2
_LIST = der_header(0x30, 1 << 62)
_TBS = _LIST + der_header(0x30, (1 << 62) - 1000)
_REVOKED = der_header(0x30, (1 << 62) - 2000)
HEADERS = {
    "certificate_list": (0x30, b""),
    "tbs_cert_list": (0x30, _LIST),
    "version": (0x02, _TBS),
    "issuer": (0x30, _TBS + der_integer(1) + der(0x30)),
    "revoked_certificates": (0x30, _TBS + _FIELDS),
    "entry": (0x30, _TBS + _FIELDS + _REVOKED),
    "extensions": (0xA0, _TBS + _FIELDS),
}
WRAPPERS = {"certificate_list", "tbs_cert_list", "revoked_certificates"}
CLAIMS = {
    "50_gb": (50 << 30).to_bytes(5, "big"),
    "2_to_the_63_less_1": b"\x7f" + b"\xff" * 7,
    "2_to_the_63": b"\x80" + bytes(7),
    "2_to_the_64_less_1": b"\xff" * 8,
    "2_to_the_64": b"\x01" + bytes(8),
}


def expected_rule(header: str, claim: str) -> str:
    """The rule by which a claim is refused, before anything is allocated for it."""
    if claim == "50_gb":
        return "truncated" if header in WRAPPERS else "element_too_large"
    if claim == "2_to_the_63_less_1":
        return "truncated" if header == "certificate_list" else "length_overrun"
    return "length_too_large"


def claim_size(header: str, claim: str) -> str | None:
    """Parse up to a header with that claim; return the rule it breaks."""
    tag, before = HEADERS[header]
    octets = CLAIMS[claim]
    return parse(before + bytes((tag, 0x80 | len(octets))) + octets, [3, 100]).rule


@pytest.mark.parametrize("claim", CLAIMS)
@pytest.mark.parametrize("header", HEADERS)
def test_a_size_that_cannot_be_is_refused(header: str, claim: str) -> None:
    """
    A header that claims a huge size is refused as such, or found to be truncated.
    """
    assert claim_size(header, claim) == expected_rule(header, claim)


@pytest.mark.uninstrumented
def test_a_claimed_size_costs_no_memory() -> None:
    """
    No claim makes the parser allocate: 64 MiB on top of the interpreter are plenty.
    """
    program = """
        import resource
        import sys

        sys.path[:0] = sys.argv[1:]
        from test_crl_chunks import CLAIMS, HEADERS, claim_size, expected_rule

        with open("/proc/self/statm") as file:
            now = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (now + (64 << 20),) * 2)
        for header in HEADERS:
            for claim in CLAIMS:
                assert claim_size(header, claim) == expected_rule(header, claim), (header, claim)
        print("done")
    """
    folders = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
    arguments = [sys.executable, "-P", "-c", textwrap.dedent(program), *folders]
    finished = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert (finished.stdout, finished.stderr) == ("done\n", "")
