"""What compiling lets pass, with a warning or where it is asked to."""

from __future__ import annotations

import pytest

from crlcheck import CrlWarning, UnsupportedCrlError, compile_crl
from crlcheck.demo.pki import encode_entry
from support.crls import REVOKED_ON, THIS_UPDATE, authority, make_crl

LENIENCIES = {
    CrlWarning.NEGATIVE_SERIAL: lambda: make_crl([-5]),
    CrlWarning.ZERO_SERIAL: lambda: make_crl([0]),
    CrlWarning.LONG_SERIAL: lambda: make_crl([1 << 200]),
    CrlWarning.EMPTY_REVOKED_LIST: lambda: make_crl([], keep_empty_list=True),
    CrlWarning.REMOVE_FROM_CRL: lambda: make_crl({1: 8}),
    CrlWarning.UNKNOWN_REASON: lambda: make_crl({1: 7}),
    CrlWarning.NO_CRL_NUMBER: lambda: make_crl([1], crl_number=None),
    CrlWarning.NO_AUTHORITY_KEY_ID: lambda: make_crl([1], authority_key_id=False),
    CrlWarning.DUPLICATE_SERIALS: lambda: make_crl([encode_entry(1, REVOKED_ON)] * 2),
    CrlWarning.EQUAL_TIMES: lambda: make_crl([1], next_update=THIS_UPDATE),
    CrlWarning.TIME_ENCODING: lambda: make_crl([_entry_with_generalized_time()]),
    CrlWarning.EMPTY_ENTRY_EXTENSIONS: lambda: make_crl([_entry_with_empty_extensions()]),
}


def _entry_with_generalized_time() -> bytes:
    regular = encode_entry(1, REVOKED_ON)
    body = regular[2:5] + b"\x18\x0f20261005073001Z"
    return bytes((0x30, len(body))) + body


def _entry_with_empty_extensions() -> bytes:
    body = encode_entry(1, REVOKED_ON)[2:] + b"\x30\x00"
    return bytes((0x30, len(body))) + body


@pytest.mark.parametrize("warning", LENIENCIES, ids=lambda warning: str(warning.name).lower())
def test_each_leniency_is_a_named_warning(warning: CrlWarning) -> None:
    """
    What RFC 5280 forbids and real CAs do is accepted by name, and refused where
    the caller is strict.
    """
    crl = LENIENCIES[warning]()
    assert compile_crl(crl, issuer=authority().der).warnings == warning
    with pytest.raises(UnsupportedCrlError) as caught:
        compile_crl(crl, issuer=authority().der, strict=True)
    assert caught.value.feature == str(warning.name).lower()


def test_options_allow_what_they_name() -> None:
    """
    Version 1, a missing nextUpdate and SHA-1 pass only where asked for.
    """
    version_1 = make_crl([1], version=1, crl_number=None, authority_key_id=False)
    report = compile_crl(version_1, issuer=authority().der, allow_v1=True)
    assert CrlWarning.VERSION_1 in report.warnings
    endless = make_crl([1], next_update=None)
    report = compile_crl(endless, issuer=authority().der, require_next_update=False)
    assert CrlWarning.NO_NEXT_UPDATE in report.warnings
    assert report.next_update is None
