"""
The settings of the service: where they come from, and that the unclear ones are refused.
"""

from __future__ import annotations

import dataclasses
import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from crlcheck.access import VerifiedBy, WithoutCertificate
from crlcheck.cli import main
from crlcheck.encoding.header_forms import HeaderForm
from crlcheck.serve.settings import (
    Bind,
    ServeSettings,
    read_file,
    read_serve_settings,
)
from crlcheck.types import Policy, Rule, StaleRule

NEEDED = {
    "CRLCHECK_STORE": "s3://crls/published",
    "CRLCHECK_VERIFIED_BY": "proxy",
    "CRLCHECK_HEADER": "X-Client-Certificate",
    "CRLCHECK_FORM": "nginx",
}


def read(**settings: str | None) -> ServeSettings:
    """The settings by those that are needed, and others in their place."""
    given = {f"CRLCHECK_{name.upper()}": value for name, value in settings.items()}
    merged = {name: value for name, value in {**NEEDED, **given}.items() if value is not None}
    return read_serve_settings(merged, {})


def test_every_setting_has_its_variable() -> None:
    """
    Those of the policy are the policy's, each under its own name.
    """
    settings = read(
        verified_by="crlcheck",
        form="haproxy",
        bind="unix:/run/crlcheck/s.sock",
        socket_group="www-data",
        without_certificate="pass",
        observe="true",
        workers="4",
        refresh_after="1s",
        stale="grace",
        stale_grace="24h",
        hold="allow",
        path_depth="0",
    )
    assert settings.verified_by is VerifiedBy.CRLCHECK
    assert settings.header == "x-client-certificate"
    assert settings.form is HeaderForm.HAPROXY
    assert settings.bind == Bind(path="/run/crlcheck/s.sock")
    assert settings.without_certificate is WithoutCertificate.PASS
    assert settings.policy == Policy(
        stale=StaleRule.GRACE, stale_grace=timedelta(days=1), hold=Rule.ALLOW, path_depth=0
    )
    fields = {one.name for one in dataclasses.fields(ServeSettings)}
    assert {one.name for one in dataclasses.fields(Policy)} <= fields


def test_what_is_not_set_is_strict() -> None:
    """
    Nothing is waived, nothing passes unchecked, and only this machine is listened to.
    """
    settings = read()
    assert settings.policy == Policy()
    assert settings.without_certificate is WithoutCertificate.DENY
    assert settings.observe is False
    assert str(settings.bind) == "127.0.0.1:8765"
    assert settings.trusted == ("127.0.0.0/8", "::1")
    assert read(bind="unix:/run/crlcheck/s").trusted == ("unix",)
    assert read(proxies="10.0.0.7, fd00::/8").trusted == ("10.0.0.7", "fd00::/8")


@pytest.mark.parametrize("name", NEEDED)
def test_what_has_no_default_must_be_set(name: str) -> None:
    """
    Above all who verified the certificate.
    """
    given = {key: value for key, value in NEEDED.items() if key != name}
    with pytest.raises(ValueError, match=f"{name} is not set and has no default"):
        read_serve_settings(given, {})


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"verified_by": "server"}, "expected one of proxy, crlcheck"),
        ({"verified_by": "Proxy"}, "expected one of proxy, crlcheck"),
        ({"verified_by": "nobody"}, "expected one of proxy, crlcheck"),
        ({"header": "SSL_CLIENT_CERT"}, "letters, digits and hyphens"),
        ({"header": "X: Y"}, "letters, digits and hyphens"),
        ({"form": "pem"}, "expected one of nginx"),
        ({"form": "alb-passthrough"}, "has not verified"),
        ({"bind": "crlcheck.sock"}, "expected unix:/path, host:port"),
        ({"bind": "unix:crlcheck.sock"}, "expected an absolute path"),
        ({"bind": f"unix:/{'x' * 107}"}, "at most 107 bytes"),
        ({"bind": "127.0.0.1"}, "expected unix:/path, host:port"),
        ({"bind": "127.0.0.1:65536"}, "expected unix:/path, host:port"),
        ({"bind": "::1:8765"}, "expected unix:/path, host:port"),
        ({"bind": "http://127.0.0.1:8765"}, "expected unix:/path, host:port"),
        ({"bind": "0.0.0.0:8765"}, "expected CRLCHECK_PROXIES"),
        ({"bind": "[::]:8765"}, "expected CRLCHECK_PROXIES"),
        ({"bind": "crlcheck.example:8765"}, "expected CRLCHECK_PROXIES"),
        ({"proxies": "proxy.example"}, "expected addresses or networks"),
        ({"proxies": "10.0.0.1/8"}, "has host bits set"),
        ({"proxies": "10.0.0.1,"}, "expected addresses or networks"),
        ({"socket_group": "www-data"}, "with a Unix socket only"),
        ({"without_certificate": "allow"}, "expected one of deny, pass"),
        ({"observe": "yes"}, "expected one of true, 1, false, 0"),
        ({"workers": "0"}, "CRLCHECK_WORKERS is 0"),
        ({"workers": "257"}, "at most 256"),
        ({"workers": "-1"}, "whole number"),
        ({"refresh_after": "0s"}, "CRLCHECK_REFRESH_AFTER is 0"),
        ({"refresh_after": "5"}, "a number and its unit"),
        ({"request_time": "0s"}, "CRLCHECK_REQUEST_TIME is 0"),
        ({"header_time": "0s"}, "CRLCHECK_HEADER_TIME is 0"),
        ({"header_size": "4096"}, "expected 8192 bytes or more"),
        ({"connections": "0"}, "CRLCHECK_CONNECTIONS is 0"),
        ({"stale": "grace"}, "expected both, 'grace' and a duration"),
        ({"stale_grace": "1h"}, "expected both, 'grace' and a duration"),
        ({"root_keys": "x"}, "CRLCHECK_ROOT_KEYS"),
        ({"unpublished_issuers": "/nowhere"}, "expected the path of a file"),
        ({"observed": "true"}, "did you mean CRLCHECK_OBSERVE?"),
        ({"store": ""}, "CRLCHECK_STORE is empty"),
    ],
)
def test_a_setting_that_is_unclear_stops_the_start(settings: dict[str, str], said: str) -> None:
    """
    The message says which one, and what was expected.
    """
    with pytest.raises(ValueError, match=re.escape(said)):
        read(**settings)


def test_all_that_is_wrong_is_said_at_once() -> None:
    """
    Nobody starts a service three times for three mistakes.
    """
    with pytest.raises(ValueError, match="CRLCHECK") as caught:
        read(workers="many", form="iis", typo="x", verified_by=None)
    for name in ("WORKERS", "FORM", "TYPO", "VERIFIED_BY"):
        assert f"CRLCHECK_{name} " in str(caught.value)


# ---- where they come from ----------------------------------------------------------------


def test_the_command_line_goes_before_the_environment_and_that_before_the_file(
    tmp_path: Path,
) -> None:
    """
    What other commands read in the environment is none of these settings.
    """
    file = tmp_path / "serve.conf"
    lines = [f"{name}={value}" for name, value in NEEDED.items()]
    file.write_text("\n".join(["# a comment", "", *lines, "CRLCHECK_WORKERS=3"]))
    environ = {"PATH": "/bin", "CRLCHECK_ACTOR": "me", "CRLCHECK_SIGN_WITH": "key.pem"}
    assert read_serve_settings(environ, {}, file).workers == 3
    environ["CRLCHECK_WORKERS"] = "4"
    assert read_serve_settings(environ, {}, file).workers == 4
    assert read_serve_settings(environ, {"CRLCHECK_WORKERS": "5"}, file).workers == 5


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("CRLCHECK_WORKERS", "line 1: expected CRLCHECK_NAME=value"),
        ("\nexport CRLCHECK_WORKERS=1", "line 2: expected CRLCHECK_NAME=value"),
        ("WORKERS=1", "line 1: expected CRLCHECK_NAME=value"),
        ("CRLCHECK_WORKERS =1", "line 1: expected CRLCHECK_NAME=value"),
        ("CRLCHECK_WORKERS=1\nCRLCHECK_WORKERS=1", "line 2: CRLCHECK_WORKERS is set twice"),
        ('CRLCHECK_HEADER="x"', "begins with a quote"),
    ],
)
def test_a_line_that_is_unclear_stops_the_start(tmp_path: Path, text: str, said: str) -> None:
    """
    So that nobody takes a shell script, or another program's file, for settings.
    """
    file = tmp_path / "serve.conf"
    file.write_text(text)
    with pytest.raises(ValueError, match=re.escape(said)):
        read_file(file)


# ---- what the command shows ----------------------------------------------------------------


def run(*arguments: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """Run the command; return the status and what it wrote."""
    status = main(["serve", *arguments])
    shown = capsys.readouterr()
    return status, shown.out, shown.err


OPTIONS = (
    *("s3://crls/published", "--verified-by", "proxy", "--header", "X-Client-Certificate"),
    *("--form", "nginx", "--proxies", "10.0.0.7,10.1.0.0/24", "--stale-grace", "24h"),
    *("--stale", "grace", "--bind", "[::1]:80"),
)


def test_what_is_shown_can_be_read_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    As a file of settings, and as JSON. Nothing is served.
    """
    status, text, _ = run(*OPTIONS, "--show-settings", capsys=capsys)
    assert status == 0
    file = tmp_path / "serve.conf"
    file.write_text(text)
    _, again, _ = run("--settings", str(file), "--show-settings", capsys=capsys)
    assert again == text
    _, document, _ = run(*OPTIONS, "--show-settings", "--json", capsys=capsys)
    members = json.loads(document)
    shown = {name: value for name, value in members.items() if value is not None}
    given = {
        name: str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in shown.items()
    }
    assert read_serve_settings(given, {}) == read_serve_settings({}, {}, file)
    assert members["CRLCHECK_BIND"] == "[::1]:80"


def test_a_mistake_is_wrong_usage(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """
    With status 2, and not with one that means a verdict.
    """
    status, _, said = run("store", "--form", "iis", "--workers", "x", capsys=capsys)
    assert status == 2
    assert "--verified-by (CRLCHECK_VERIFIED_BY) is not set" in said
    assert "--form is 'iis'" in said
    missing = str(tmp_path / "missing.conf")
    status, _, said = run("--settings", missing, capsys=capsys)
    assert (status, missing in said) == (4, True)


def test_a_mistake_in_a_file_names_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Each setting is named as it was given, and a suggestion as what it is suggested for.
    """
    file = tmp_path / "serve.conf"
    options = ("--settings", str(file), "--verified-by", "proxy", "--header", "X")
    for in_file, given, expected in (
        ("WORKERS=0", ("--form", "nginx"), f"CRLCHECK_WORKERS in {file} is 0"),
        ("FROM=nginx", ("--form", "nginx"), f"CRLCHECK_FROM in {file} is not a setting"),
        ("FROM=nginx", ("--form", "nginx"), "did you mean CRLCHECK_FORM?"),
        ("WORKERS=1", ("--form", "iis"), "--form is 'iis'"),
        ("FORM=alb-passthrough", (), "or --verified-by=crlcheck"),
        ("WORKERS=1", ("--form", "nginx"), "CRLCHECK_CONNECTIONS is 0"),
        ("CONNECTIONS=1", ("--form", "nginx"), "CRLCHECK_CONNECTIONS is 0"),
    ):
        file.write_text(f"CRLCHECK_{in_file}\n")
        with monkeypatch.context() as patch:
            if "CONNECTIONS" in expected:
                patch.setenv("CRLCHECK_CONNECTIONS", "0")
            status, _, said = run("store", *options, *given, capsys=capsys)
        assert (status, expected in said) == (2, True), said


def test_a_service_that_cannot_start_says_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Before a worker is there: with status 4, or 2 where a setting is to be changed.
    """
    options: tuple[Any, ...] = ("--verified-by", "proxy", "--header", "X", "--form", "nginx")
    for expected_status, bind, expected in (
        (4, f"unix:{tmp_path}/missing/below/s.sock", "missing: no such directory: make it"),
        (4, f"unix:{tmp_path}/file", "something else than a socket"),
        (2, "unix:/tmp/crlcheck.sock", "others may write to"),
    ):
        (tmp_path / "file").touch()
        status, _, said = run(str(tmp_path), *options, "--bind", bind, capsys=capsys)
        assert (status, expected in said) == (expected_status, True)


@pytest.mark.parametrize(
    ("bind", "proxies", "expected"),
    [
        ("unix", "10.0.0.7", "expected unix among them"),
        ("127.0.0.1:0", "unix", "expected the addresses of the proxies"),
    ],
)
def test_a_service_to_which_no_proxy_could_connect_does_not_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], bind: str, proxies: str, expected: str
) -> None:
    """
    It would deny everybody.
    """
    place = f"unix:{tmp_path}/own/s.sock" if bind == "unix" else bind
    options = ("--verified-by", "proxy", "--header", "X", "--form", "nginx")
    status, _, said = run(
        str(tmp_path), *options, "--bind", place, "--proxies", proxies, capsys=capsys
    )
    assert status == 2
    assert expected in said
