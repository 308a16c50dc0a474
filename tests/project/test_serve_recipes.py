"""docs/guides/serve.md shows of the recipes for proxies what the tests run, and not all of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from support.blocks import blocks

DOCS = Path(__file__).parents[2] / "docs"
SHOWN = {
    "nginx_serve.conf": blocks("serve.md", "## nginx"),
    "haproxy_serve.cfg": blocks("serve.md", "## HAProxy"),
    "apache_serve.conf": blocks("serve.md", "## Apache"),
    "Caddyfile": blocks("serve.md", "## Caddy"),
    "traefik_serve.yaml": blocks("serve.md", "## Traefik"),
}
ENVOY = ("envoy_serve_http.yaml", "envoy_serve.yaml")
# Lines of the proxy's own server for TLS, among which the others stand.
TLS = re.compile(r"^(server \{|    \.\.\.|    ssl_.*|\}|global|frontend.*|    bind.*|    SSL.*)$")


@pytest.mark.parametrize("name", SHOWN)
def test_what_is_shown_is_what_is_run(name: str) -> None:
    """
    Each line of a recipe comes in its file, in the same order, and they are ten at most.
    """
    recipe = (DOCS / "examples" / name).read_text("utf-8")
    (block,) = SHOWN[name]
    shown = [line for line in block.text.splitlines() if line.strip() not in ("", "...")]
    rest = iter(recipe.splitlines())
    assert [line for line in shown if line not in rest] == []
    counted = [line for line in shown if not TLS.match(line)]
    assert 0 < len(counted) <= 10, counted


def test_filters_of_envoy() -> None:
    """
    The filters that are shown are those between two comments of the recipes, as they are.
    """
    for name, block in zip(ENVOY, blocks("serve.md", "## Envoy"), strict=True):
        recipe = (DOCS / "examples" / name).read_text("utf-8")
        filters, cluster = re.findall(
            r"^ *# crlcheck:\n(.*?)^ *# end$", recipe, re.MULTILINE | re.DOTALL
        )
        assert block.text == filters
        assert filters.count("\n") <= 10
        assert "failure_mode_allow: false\n" in filters
        assert cluster.startswith("  - name: crlcheck\n")
