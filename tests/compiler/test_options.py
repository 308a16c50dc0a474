"""What compiling lets pass, with a warning or where it is asked to."""

from __future__ import annotations

import dataclasses
import inspect

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from crlcheck import (
    CrlSignatureError,
    CrlWarning,
    FetchLimits,
    UnsupportedCrlError,
    compile_crl,
    publish_crl,
    publish_each,
)
from crlcheck.cli.root import root
from crlcheck.compiler.compile import CompileOptions
from crlcheck.compiler.pipeline import Options
from crlcheck.demo.pki import CertificateAuthority, encode_entry, encode_extension, sign_crl
from preprocessor.settings import Settings
from support.crls import NEXT_UPDATE, REVOKED_ON, THIS_UPDATE, authority, make_crl

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
    CrlWarning.ODD_EXTENSION: lambda: make_crl([1], extensions=[_expired_certs_as_utc_time()]),
    CrlWarning.TIME_ENCODING: lambda: make_crl([_entry_with_generalized_time()]),
    CrlWarning.EMPTY_ENTRY_EXTENSIONS: lambda: make_crl([_entry_with_empty_extensions()]),
}


def _expired_certs_as_utc_time() -> bytes:
    return encode_extension("2.5.29.60", b"\x17\x0d261001000000Z")


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
    assert f"no CRL with a warning, found: {caught.value.feature}" in str(caught.value)


def test_several_leniencies_are_named_one_by_one() -> None:
    """
    In the order of their bits, in the report and by the error that strict makes of them.
    """
    crl = make_crl([0], crl_number=None)
    names = compile_crl(crl, issuer=authority().der).warnings.names
    assert names == ("zero_serial", "no_crl_number")
    with pytest.raises(UnsupportedCrlError, match="zero_serial, no_crl_number") as caught:
        compile_crl(crl, issuer=authority().der, strict=True)
    assert caught.value.feature == "zero_serial no_crl_number"
    assert CrlWarning(0).names == ()


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


def test_small_rsa_keys_pass_only_where_asked_for() -> None:
    """
    A CRL that an RSA key of 1024 bits signed is refused with a reason of its own,
    unless allow_small_rsa accepts it; then the report warns.
    """
    key = rsa.generate_private_key(65537, 1024)
    small = CertificateAuthority.create("Old CA", private_key=key, key_type="rsa")
    crl = sign_crl(
        small,
        [encode_entry(1, REVOKED_ON)],
        this_update=THIS_UPDATE,
        next_update=NEXT_UPDATE,
        crl_number=7,
    )
    with pytest.raises(CrlSignatureError) as caught:
        compile_crl(crl, issuer=small.der)
    assert caught.value.reason == "small_rsa_key"
    report = compile_crl(crl, issuer=small.der, allow_small_rsa=True)
    assert report.warnings == CrlWarning.SMALL_RSA_KEY
    with pytest.raises(UnsupportedCrlError) as refused:
        compile_crl(crl, issuer=small.der, allow_small_rsa=True, strict=True)
    assert refused.value.feature == "small_rsa_key"


def test_every_option_is_offered_everywhere() -> None:
    """The library, the command line and the preprocessor take the same options."""
    options = set(CompileOptions.__annotations__)
    assert {field.name for field in dataclasses.fields(Options)} == options
    for command in ("compile", "publish", "fetch"):
        assert options <= {parameter.name for parameter in root.commands[command].params}
    settings = {field.name for field in dataclasses.fields(Settings)}
    assert options - settings == {"max_source_size"}  # there max_crl_size


def test_defaults_are_the_same_everywhere() -> None:
    """What an option is where it is not given is what the library makes of it."""
    settings = {
        "max_source_size" if field.name == "max_crl_size" else field.name: field.default
        for field in dataclasses.fields(Settings)
    }
    defaults = {field.name: field.default for field in dataclasses.fields(Options)}
    defaults["max_crls"] = inspect.signature(publish_each).parameters["max_crls"].default
    for name in ("clock_skew", "grace", "compare_up_to"):
        defaults[name] = inspect.signature(publish_crl).parameters[name].default
    assert {name: settings[name] for name in defaults} == defaults
    assert FetchLimits().max_size == defaults["max_source_size"]
