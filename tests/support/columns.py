"""What a row of a table of verdicts should be."""

from __future__ import annotations

from typing import Any

from crlcheck.columns.verdicts import SCHEMA
from crlcheck.types import CheckResult


def row_of(result: CheckResult | str | None, cause: str | None = None) -> dict[str, Any]:
    """The row of a result, or one of a status and a cause alone."""
    if not isinstance(result, CheckResult):
        return dict.fromkeys(SCHEMA.names, None) | {"status": result, "cause": cause}
    fields = result.as_dict()
    return {
        "status": fields["status"],
        "cause": fields["cause"],
        "reason_code": fields["reason_code"],
        "revocation_date": result.revocation_date,
        # A result does not have it; another test looks at it.
        "invalidity_date": None,
        "crl_number": None if result.crl_number is None else str(result.crl_number),
        "scope": result.scope,
        "this_update": result.this_update,
        "next_update": result.next_update,
    }
