"""docs/guides/serve.md shows of the recipes for proxies what the tests run, and not all of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from support.documents import document

DOCS = Path(__file__).parents[2] / "docs"
FILES = {
    "nginx": "nginx_serve.conf",
    "haproxy": "haproxy_serve.cfg",
    "apache": "apache_serve.conf",
    "caddy": "Caddyfile",
    "yaml": "traefik_serve.yaml",
}
# Lines of the proxy's own server for TLS, among which the others stand.
TLS = re.compile(r"^(server \{|    \.\.\.|    ssl_.*|\}|global|frontend.*|    bind.*|    SSL.*)$")


@pytest.mark.parametrize("language", FILES)
def test_what_is_shown_is_what_is_run(language: str) -> None:
    """
    Each line of a recipe comes in its file, in the same order, and they are ten at most.
    """
    text = document("serve.md").read_text("utf-8")
    recipe = (DOCS / "examples" / FILES[language]).read_text("utf-8").splitlines()
    (block,) = (
        found
        for found in re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        if "crlcheck" in found and "envoy" not in found.lower()
    )
    shown = [line for line in block.splitlines() if line.strip() not in ("", "...")]
    rest = iter(recipe)
    assert [line for line in shown if line not in rest] == []
    counted = [line for line in shown if not TLS.match(line)]
    assert 0 < len(counted) <= 10, counted


def test_filters_of_envoy() -> None:
    """
    The filters that are shown are those between two comments of the recipes, as they are.
    """
    text = document("serve.md").read_text("utf-8")
    for name in ("envoy_serve_http.yaml", "envoy_serve.yaml"):
        recipe = (DOCS / "examples" / name).read_text("utf-8")
        filters, cluster = re.findall(
            r"^ *# crlcheck:\n(.*?)^ *# end$", recipe, re.MULTILINE | re.DOTALL
        )
        assert f"```yaml\n{filters}```" in text
        assert filters.count("\n") <= 10
        assert "failure_mode_allow: false\n" in filters
        assert cluster.startswith("  - name: crlcheck\n")
