"""
Envoy's external authorization over HTTP, of the real service.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.authorizer import publish
from support.serving import PKI, Serving, of_certificate, serving

pytestmark = pytest.mark.uninstrumented

_PATHS = (
    *("/envoy", "/envoy/", "/envoy/hello?a=b", "/envoy/../livez", "/envoy/%2e%2e/livez"),
    *("/envoy//livez", "/envoy/..%2flivez", "/envoy/?/../livez", "/envoy/livez", "/envoy/./readyz"),
    *("/envoy/%00", "/envoy/%ff", "/envoy/\\..\\livez", "/envoy/envoy/check", "/envoy/%2f..%2f"),
)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A service beside a store with one CRL."""
    directory: Path = tmp_path_factory.mktemp("serve")
    publish(directory / "published", PKI.crl())
    with serving(directory / "published", directory) as made:
        yield made


@pytest.mark.parametrize(
    ("client", "status", "cause"),
    [
        ("good", 200, "not_revoked"),
        ("revoked", 403, "revoked"),
        ("foreign", 403, "unknown_issuer"),
        (None, 403, "no_certificate"),
    ],
)
def test_whatever_path_the_client_asks_for(
    service: Serving, client: str | None, status: int, cause: str
) -> None:
    """
    Envoy puts the client's path behind the prefix, and takes 200 for a yes: so no path leads
    to what answers everybody with 200.
    """
    for path in _PATHS:
        for method in ("GET", "POST", "HEAD", "OPTIONS", "DELETE"):
            answer = service.ask(path, of_certificate(client), method)
            assert (answer.status, answer.cause) == (status, cause), (path, method)


def test_paths_beside_the_prefix_deny(service: Serving) -> None:
    """
    What a path becomes that does not begin with a slash is no yes.
    """
    for path in ("/envoy*", "/envoyhello", "/envoy%20/", "/envo", "/ENVOY/"):
        assert service.ask(path, of_certificate("good")).status == 404, path


def test_a_yes_removes_what_the_client_may_have_sent(service: Serving) -> None:
    """
    Envoy takes headers out of the request that would tell the application of a decision.
    """
    answer = service.ask("/envoy/", of_certificate("good"))
    removed = answer.headers["x-envoy-auth-headers-to-remove"].split(",")
    told = [name for name in answer.headers if name.startswith("crlcheck-")]
    assert {"crlcheck-verdict", "crlcheck-cause", "crlcheck-serial-number"} <= set(told)
    for name in (*told, "crlcheck_serial-number", "crlcheck-serial_number"):
        assert name in removed
        assert name.replace("-", "_") in removed
    assert "x-envoy-auth-headers-to-remove" not in service.ask("/envoy/").headers
