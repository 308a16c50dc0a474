"""
Put the documentation's site together and build it: ``make docs``.

The pages are the files of this folder, those of ``tests/journeys`` and the project's own
(CHANGELOG.md, ...), and pages that are made here: the front, the commands (from their help) and
the Python API (from the docstrings). Links to a file that is a page lead to that page, others
to the repository. zensical builds it strictly: any warning, such as a dead link, fails.
"""

from __future__ import annotations

import argparse
import html
import inspect
import json
import posixpath
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from inspect import cleandoc
from pathlib import Path
from typing import Any

import click

import crlcheck
from crlcheck.cli.command import Command
from crlcheck.cli.root import root

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
SOURCE = ROOT / "build" / "site-source"
REPOSITORY = "https://github.com/crlcheck/crlcheck/blob/main/"

_FIGURES = DOCS / "explanation" / "benchmarks" / "intel-xeon-6-207.md"

FIRST_HOURS = {
    "openssl_ca": "openssl ca",
    "easy_rsa": "easy-rsa",
    "step_ca": "step-ca",
    "vault": "Vault",
    "ad_cs": "AD CS",
    "aws_private_ca": "AWS Private CA",
    "national_ca": "A national PKI",
    "nginx_ssl_crl": "nginx's ssl_crl",
    "aws_sample": "The AWS sample",
    "two_million": "Two million entries",
}

INCIDENTS = {
    "bucket_lost": "The whole bucket is gone",
    "denied_on_tuesday": "Why it was denied on Tuesday",
    "emptied_crl": "A CA published an empty CRL",
    "expired_crl": "A CRL has expired",
    "image_damaged": "An image is damaged",
    "rekeyed_ca": "A CA has a new key",
    "root_deleted": "catalog.json was deleted",
    "root_set_back": "An old catalog.json was put back",
    "shard_deleted": "A shard is missing",
    "since_last_week": "What was revoked since last week",
    "stolen_key": "A client's key was stolen",
    "wrong_issuer": "A wrong issuer is trusted",
    "yesterday": "Back to yesterday's set",
}

NAV: dict[str, dict[str, str | dict[str, str]]] = {
    "Tutorials": {
        "crlcheck": "index.md",
        "Overview": "readme.md",
        "The library in ten minutes": "tutorials/library.md",
        "AWS in twenty minutes": "tutorials/aws.md",
        **{f"First hour: {title}": f"journeys/{name}.md" for name, title in FIRST_HOURS.items()},
    },
    "Guides": {
        "Deploy with SAM": "guides/sam.md",
        "Deploy with Terraform": "guides/terraform.md",
        "API Gateway and other AWS front ends": "guides/authorizer.md",
        "Behind a load balancer, on ECS": "guides/ecs.md",
        "nginx, HAProxy, Apache, Caddy, Traefik, Envoy": "guides/serve.md",
        "Python servers": "guides/python-servers.md",
        "Check a table": "guides/columns.md",
        "Tables in SQL, data frames and clusters": "guides/engines.md",
        "Operate": "guides/operations.md",
        "Incidents": {
            "What to do, by symptom": "guides/runbook.md",
            **{title: f"journeys/incident_{name}.md" for name, title in INCIDENTS.items()},
        },
        "Stores": "guides/stores.md",
        "AWS Private CA": "guides/private-ca.md",
        "Active Directory Certificate Services": "guides/ad-cs.md",
        "A CA gets a new key": "guides/new-ca-key.md",
        "Monitor": "guides/monitoring.md",
        "From the AWS sample": "guides/migration.md",
        "Upgrade": "guides/upgrade.md",
    },
    "Reference": {
        "Commands": "commands.md",
        "The command line": "reference/command-line.md",
        "Python API": "api.md",
        "Settings": "reference/settings.md",
        "Events": "reference/events.md",
        "Metrics": "reference/metrics.md",
        "Log lines": "reference/log-lines.md",
        "Exit statuses": "reference/exit-statuses.md",
        "Header forms": "reference/proxies.md",
        "Supported CRLs": "reference/supported-crls.md",
        "Image format": "reference/index-format.md",
        "Store format": "reference/catalog-format.md",
        "Versions": "reference/versions.md",
        "Changelog": "changelog.md",
    },
    "Explanation": {
        "Design": "explanation/design.md",
        "What CRLs can and cannot promise": "explanation/what-crls-promise.md",
        "Who may write where": "explanation/security.md",
        "What verdicts are compared with": "explanation/conformance.md",
        "What it costs on AWS": "explanation/cost.md",
        "Benchmarks": "explanation/benchmarks.md",
        "Benchmarks on AMD EPYC": "explanation/benchmarks/amd-epyc.md",
        "Benchmarks on Intel Xeon": "explanation/benchmarks/intel-xeon-6-207.md",
    },
    "Contribute": {
        "Contributing": "contributing.md",
        "Where to change what": "changing.md",
        "Security policy": "security-policy.md",
    },
}

_RECORDING = DOCS / "site" / "demo.cast"

# How a terminal is told to show what follows, and the classes for it.
_LOOK = re.compile(r"\x1b\[([\d;]*)m")
_LOOKS = {"0": "", "1": "bold", "2": "dim", "31": "red", "32": "green", "33": "yellow"}

_ELSEWHERE = {
    "README.md": "readme.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security-policy.md",
}


# ---- pages that are files --------------------------------------------------------------


def page_files() -> dict[str, Path]:
    """Return the files of the pages, by their places in the site."""
    found = {
        path.relative_to(DOCS).as_posix(): path
        for path in sorted(DOCS.rglob("*.md"))
        if "site" not in path.relative_to(DOCS).parts
    }
    found |= {place: ROOT / name for name, place in _ELSEWHERE.items()}
    for path in sorted((ROOT / "tests" / "journeys").glob("*.md")):
        found[f"journeys/{path.name}"] = path
    return found


def with_links(text: str, path: Path, place: str, places: dict[Path, str]) -> str:
    """
    Return the text of the page *place*, whose file is *path*, with its links leading to pages.

    Raises:
        FileNotFoundError: a link leads to no file.
    """

    def changed(found: re.Match[str]) -> str:
        target, hash_sign, anchor = found[2].partition("#")
        if not target or ":" in target:
            return found[0]
        file = (path.parent / target).resolve()
        if not file.exists():
            raise FileNotFoundError(
                f"{path.relative_to(ROOT)} links to {target}, which is not there"
            )
        if file in places:
            new = posixpath.relpath(places[file], posixpath.dirname(place) or ".")
        elif file.suffix in (".svg", ".webp", ".png"):
            new = target
        else:
            new = f"{REPOSITORY}{file.relative_to(ROOT).as_posix()}"
        return f"{found[1]}({new}{hash_sign}{anchor})"

    # Code is left alone.
    parts = re.split(r"(^ *```.*?^ *```|`[^`\n]*`)", text, flags=re.MULTILINE | re.DOTALL)
    return "".join(
        part if number % 2 else re.sub(r"(\])\(([^)\s]+)\)", changed, part)
        for number, part in enumerate(parts)
    )


# ---- pages that are made ---------------------------------------------------------------


def measured(target: str) -> tuple[float, str]:
    """Return a figure that was measured, and what it was made of, by the name of its target."""
    for line in _FIGURES.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if cells[0] == target:
            return float(cells[3]), cells[5]
    raise ValueError(f"{_FIGURES.name} has no row {target!r}")


def front() -> str:
    """Return the first page."""
    lookup = measured("T5, 10 M")[1].partition(" against ")[0]
    decision = f"{measured('T11, no poll')[0]:.0f} µs"
    download = f"{measured('T20, bytes')[0]:.0f} KB"
    return f"""---
hide: [navigation, toc]
---

# Is this client certificate revoked?

crlcheck verifies a certificate revocation list once, compiles it into a small exact image, and
answers in constant time whether a client certificate is revoked, and why: as a library, beside
a proxy, in front of API Gateway, or as an OCSP responder.

<div class="figures">
  <p><strong>{lookup}</strong> to find a serial number among ten million</p>
  <p><strong>{decision}</strong> of processor time for a decision in a warm authorizer</p>
  <p><strong>{download}</strong> received, beyond what a short list takes, before the first answer
  about ten million serial numbers</p>
</div>

Each was measured; [the benchmarks](explanation/benchmarks.md) say how, and what was missed.

```console
$ crlcheck publish ca.crl --issuer ca.pem --to published
$ crlcheck check published client.pem
$ crlcheck serve published --verified-by proxy --header X-Client-Certificate --form nginx
```

**Learn**: [the library in ten minutes](tutorials/library.md),
[an API behind mutual TLS on AWS in twenty](tutorials/aws.md).

**Do**: [nginx, HAProxy, Apache, Caddy, Traefik and Envoy](guides/serve.md),
[Python servers](guides/python-servers.md), [check a table](guides/columns.md), deploy by
[SAM](guides/sam.md) or [Terraform](guides/terraform.md),
[operate and monitor](guides/operations.md), [what to do in an incident](guides/runbook.md).

**Look up**: [commands](commands.md), [Python API](api.md), [settings](reference/settings.md),
[metrics](reference/metrics.md), [log lines](reference/log-lines.md),
[supported CRLs](reference/supported-crls.md).

**Understand**: [the design](explanation/design.md),
[what CRLs can and cannot promise](explanation/what-crls-promise.md),
[who may write where](explanation/security.md), [what it costs](explanation/cost.md).

## The demo

`make demo` starts a local S3, a CA with a CRL of 200,000 entries and nginx with mutual TLS,
and sends the events that AWS would send through both functions. This is a run of it, in its own
time ([the recording](demo.cast) is for `asciinema play`, too):

{recording(_RECORDING.read_text(encoding="utf-8"))}
"""


def recording(cast: str) -> str:
    """
    Return what a terminal showed, by an asciicast, as HTML: all of the text, each piece with its
    time, for the script that plays it.

    Raises:
        ValueError: it does more than print text and change its look.
    """
    _, *events = map(json.loads, cast.splitlines())
    look, pieces = "", []
    for at, _, text in events:
        spans = []
        for number, part in enumerate(_LOOK.split(text.replace("\r\n", "\n"))):
            if number % 2 and set(part.split(";")) <= _LOOKS.keys():  # all of it, as Rich writes it
                look = " ".join(filter(None, map(_LOOKS.__getitem__, part.split(";"))))
            elif number % 2 or not part.replace("\n", "").isprintable():
                raise ValueError(f"at {at} s: found {part!r}, expected text and its known looks")
            elif part:
                shown = html.escape(part, quote=False)
                spans.append(f'<span class="{look}">{shown}</span>' if look else shown)
        pieces.append(f'<span data-at="{at}">{"".join(spans)}</span>')
    screen = "".join(pieces).rstrip("\n")
    return f'<div class="recording"><pre tabindex="0">{screen}</pre></div>'


def _contexts(command: click.Command, name: str, parent: click.Context | None) -> Iterator[Any]:
    context = click.Context(command, info_name=name, parent=parent, **command.context_settings)
    yield context
    if isinstance(command, click.Group):
        for below in command.list_commands(context):
            yield from _contexts(command.commands[below], below, context)


def commands() -> str:
    """Return the page of all commands, from what their help shows."""
    lines = ["# Commands", "", "What `crlcheck COMMAND --help` shows, of every command."]
    for context in _contexts(root, "crlcheck", None):
        command = context.command
        assert isinstance(command, Command), "every command has exit statuses and examples"
        depth = 2 if context.parent is None else min(3, 1 + len(context.command_path.split()))
        lines += ["", f"{'#' * depth} `{context.command_path}`", "", "```text"]
        lines += [command.get_help(context).rstrip(), "```"]
    return "\n".join(lines) + "\n"


def api() -> str:
    """Return the page of the Python API: each public name with its docstring."""
    lines = [
        "# Python API",
        "",
        "The public names of `crlcheck`. Lists of `Raises` and `Args` are those of the docstrings.",
    ]
    kinds: tuple[tuple[str, Callable[[Any], bool]], ...] = (
        ("Functions", inspect.isfunction),
        ("Errors", lambda one: inspect.isclass(one) and issubclass(one, Exception)),
        ("Classes", inspect.isclass),
    )
    left = {name: getattr(crlcheck, name) for name in sorted(crlcheck.__all__)}
    for title, is_kind in kinds:
        lines += ["", f"## {title}"]
        for name in [name for name, value in left.items() if is_kind(value)]:
            lines += _documented(name, left.pop(name), 3)
    return "\n".join(lines) + "\n"


def _documented(name: str, value: Any, depth: int) -> list[str]:
    lines = ["", f"{'#' * depth} `{name}`", ""]
    usage = _call(name.rpartition(".")[2], value)
    if usage:
        lines += ["```python", usage, "```", ""]
    # As it stands: a docstring is plain text.
    lines += ["```text", cleandoc(value.__doc__ or ""), "```"]
    if inspect.isclass(value) and not issubclass(value, Exception):
        for member, method in vars(value).items():
            called = method.fget if isinstance(method, property) else method
            called = getattr(called, "__func__", called)
            if not member.startswith("_") and inspect.isfunction(called) and called.__doc__:
                lines += _documented(f"{name}.{member}", called, depth + 1)
    return lines


def _call(name: str, value: Any) -> str:
    """Return how a reader calls *value*, the members of an enumeration; "" if there is neither."""
    if inspect.isclass(value) and issubclass(value, Enum):
        return "\n".join(f"{name}.{member.name} = {member.value!r}" for member in value)
    if inspect.isclass(value) and (
        issubclass(value, Exception) or getattr(value, "_is_protocol", False)
    ):
        return ""
    try:
        called = f"{name}{inspect.signature(value)}"
    except (TypeError, ValueError):
        return ""
    # Annotations have quotes around them, and defaults the repr of an object: a function's has
    # its address, which differs from build to build.
    called = re.sub(r"(: |-> )(['\"])(.*?)\2", r"\1\3", called)
    called = re.sub(r"<function ([\w.]+) at 0x[0-9a-f]+>", r"\1", called)
    called = called.replace(
        "<factory>", "..."
    )  # a dataclass makes each object a default of its own
    return re.sub(r"<(\w+\.\w+): [^>]*>", r"\1", called)


# ---- the site --------------------------------------------------------------------------


def assemble() -> None:
    """
    Write all pages and the settings of the build.

    Raises:
        FileNotFoundError: a link leads to no file.
    """
    shutil.rmtree(SOURCE, ignore_errors=True)
    target = SOURCE / "docs"
    target.mkdir(parents=True)
    files = page_files()
    places = {path.resolve(): place for place, path in files.items()}
    pages = {
        place: with_links(path.read_text(encoding="utf-8"), path, place, places)
        for place, path in files.items()
    }
    pages |= {"index.md": front(), "commands.md": commands(), "api.md": api()}
    for place, text in pages.items():
        (target / place).parent.mkdir(parents=True, exist_ok=True)
        (target / place).write_text(text, encoding="utf-8")
    for picture in [*DOCS.rglob("*.svg"), *DOCS.rglob("*.webp")]:
        copy = target / picture.relative_to(DOCS)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(picture, copy)
    for name in ("site.css", "recording.js", "demo.cast"):
        shutil.copyfile(DOCS / "site" / name, target / name)
    settings = (DOCS / "site" / "zensical.toml").read_text(encoding="utf-8")
    settings = settings.replace("{NAV}", _toml(_sections(NAV)))
    (SOURCE / "zensical.toml").write_text(settings, encoding="utf-8")


def _sections(below: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the list of pages as the settings have it, sections within sections included."""
    return [
        {title: _sections(one) if isinstance(one, dict) else one} for title, one in below.items()
    ]


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_toml(key)} = {_toml(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value)


def main() -> None:
    """Assemble the site, and build it."""
    parser = argparse.ArgumentParser(description="Build the documentation's site.")
    parser.add_argument("--only-assemble", action="store_true", help="build nothing")
    given = parser.parse_args()
    assemble()
    if not given.only_assemble:
        zensical = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
        subprocess.run(zensical, cwd=SOURCE, check=True)
        print(f"{(SOURCE / 'site').relative_to(ROOT)}/index.html")


if __name__ == "__main__":
    main()
