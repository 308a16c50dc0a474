"""Reports and errors as JSON-ready values, for logs."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest

from crlcheck import (
    CertificateError,
    CrlBaseMissingError,
    CrlCheckError,
    CrlExpiredError,
    CrlRollbackError,
    StoreError,
    compile_crl,
)
from crlcheck.encoding.strict_json import read_time
from crlcheck.times import time_text
from support.crls import authority, make_crl

MOMENT = datetime(2026, 11, 1, 12, 30, 0, 5, tzinfo=UTC)


def test_a_report_survives_json() -> None:
    """
    The members of the image's metadata look as they do there, and the image is left out.
    """
    report = compile_crl(make_crl([0, 5]), issuer=authority().der)
    assert report.image is not None
    assert json.loads(json.dumps(report.as_dict())) == {
        "issuer": report.issuer.hex(),
        "crl_number": 7,
        "base_crl_number": None,
        "this_update": "2026-11-01T00:00:00Z",
        "next_update": "2026-12-01T00:00:00Z",
        "num_entries": 2,
        "num_duplicates": 0,
        "source_size": report.source_size,
        "image_size": len(report.image),
        "tbs_digest": report.tbs_digest,
        "digest": report.digest,
        "warnings": ["zero_serial"],
        "odd_extensions": [],
    }


@pytest.mark.parametrize(
    ("error", "members"),
    [
        (StoreError("m"), {}),
        (CertificateError("m", rule="r", offset=3), {"rule": "r", "offset": 3}),
        (CrlRollbackError("m", offered=4, published=5), {"offered": 4, "published": 5}),
        (
            CrlRollbackError("m", offered=None, published=MOMENT),
            {"offered": None, "published": "2026-11-01T12:30:00.000005Z"},
        ),
        (
            CrlBaseMissingError("m", base_crl_number=3, published=None),
            {"base_crl_number": 3, "published": None},
        ),
        (
            CrlExpiredError("m", next_update=MOMENT, published_next_update=None, now=MOMENT),
            {
                "next_update": "2026-11-01T12:30:00.000005Z",
                "published_next_update": None,
                "now": "2026-11-01T12:30:00.000005Z",
            },
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_error_tells_what_it_carries(error: CrlCheckError, members: dict[str, object]) -> None:
    """
    Its values by their names, and nothing that JSON has not.
    """
    error.add_note("a note is for people")
    assert json.loads(json.dumps(error.as_dict())) == members


def test_times_are_in_utc_and_end_with_z() -> None:
    """
    Whatever zone a clock is in; a time that an older version wrote as +00:00 is read too.
    """
    east = MOMENT.astimezone(timezone(timedelta(hours=2)))
    assert time_text(east) == time_text(MOMENT) == "2026-11-01T12:30:00.000005Z"
    assert time_text(None) is None
    for text in (time_text(MOMENT), MOMENT.isoformat()):
        assert read_time(text, "at") == MOMENT
    with pytest.raises(ValueError, match="at: expected a time in UTC"):
        read_time(east.isoformat(), "at")
