"""Commands of the documents that build, install or deploy name what is there."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import hcl2
import pytest
import yaml

from crlcheck.catalog.records import IMAGE_PREFIX
from crlcheck.catalog.root import CATALOG_NAME
from crlcheck.catalog.tree import NODE_PREFIX
from crlcheck.cli import main
from support.blocks import as_page, blocks
from support.console import commands_of
from support.documents import ROOT
from support.terraform import EXAMPLES, MODULE

MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
    "optional-dependencies"
]
IN_A_CHECKOUT = [
    *commands_of(as_page(blocks("CONTRIBUTING.md", language="console"))),
    *commands_of(as_page(blocks("README.md", "## Install", language="console"))),
    *commands_of(as_page(blocks("operations.md", "## Package the functions"))),
]


def check_make(arguments: list[str]) -> None:
    """Each target is one of the Makefile, and each variable is one that it reads."""
    (phony,) = re.findall(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if not equals:
            assert name in phony.split(), argument
        else:
            assert re.search(rf"^{name} \??:?=", MAKEFILE, re.MULTILINE), argument
            assert value


def check_extras(text: str) -> None:
    """The extras of an installation from a checkout are there."""
    (named,) = re.findall(r"pip install '\.\[([\w,]+)\]'", text)
    assert set(named.split(",")) <= set(EXTRAS)


@pytest.mark.parametrize("command", IN_A_CHECKOUT, ids=lambda one: one.text[:40])
def test_a_command_in_a_checkout(command: Any) -> None:
    """
    It makes a target that there is, with variables that the Makefile reads.
    """
    program, *arguments = shlex.split(command.text, comments=True)
    if program == "make":
        check_make(arguments)
    elif program == "pip":
        check_extras(command.text)
    else:
        assert (ROOT / program).stat().st_mode & 0o111, program


def test_what_make_bundles_prints() -> None:
    """
    The line that is shown is one that the script prints.
    """
    (command,) = commands_of(as_page(blocks("operations.md", "## Package the functions")))
    text = (ROOT / "deploy" / "bundles" / "make.py").read_text(encoding="utf-8")
    (printed,) = re.findall(r'print\(f"(\{path.*unzipped)"\)', text)
    parts = [re.escape(part) for part in re.split(r"\{[^}]*\}", printed)]
    assert re.fullmatch(".+".join(parts), command.output)


def test_the_extras_of_prometheus_and_the_service_are_there() -> None:
    """
    So are those of every other installation that a document names.
    """
    for path in sorted((ROOT / "docs").rglob("*.md")):
        for named in re.findall(r"pip install '[^']*\[([\w,]+)\]'", path.read_text("utf-8")):
            assert set(named.split(",")) <= set(EXTRAS), path


# ---- crlcheck serve -------------------------------------------------------------------------


def test_the_installation_under_systemd() -> None:
    """
    It installs the units of deploy/systemd where they name each other.
    """
    (example, _) = blocks("serve.md", "## systemd and containers")
    commands = [shlex.split(line) for line in example.text.splitlines()]
    folder = ROOT / "deploy" / "systemd"
    service = (folder / "crlcheck.service").read_text(encoding="utf-8")
    started = re.findall(r"^ExecStart=(\S+) serve --settings (\S+)$", service, re.MULTILINE)
    check_extras(example.text.splitlines()[0])
    assert commands[0][:4] == ["python3", "-m", "venv", "/opt/crlcheck"]
    assert commands[0][5] == "/opt/crlcheck/bin/pip"
    copied = {Path(one).name for line in commands[1:3] for one in line if one.startswith("deploy")}
    assert copied == {path.name for path in folder.iterdir()}
    assert commands[1][-1] == "/etc/systemd/system/"
    assert started == [("/opt/crlcheck/bin/crlcheck", commands[2][-1])]
    assert set(commands[3][3:]) == {"crlcheck.socket", "crlcheck.service"}
    assert commands[3][:2] == ["systemctl", "enable"]
    assert commands[4] == ["systemctl", "reload", "crlcheck"]
    assert "ExecReload=" in service


def test_the_container(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """
    Its settings are all that the service needs beside those of the image, whose user may write
    nowhere else than the volumes.
    """
    (_, example) = blocks("serve.md", "## systemd and containers")
    words = shlex.split(example.text)
    containerfile = (ROOT / "deploy" / "Containerfile").read_text(encoding="utf-8")
    assert words[:3] == ["podman", "run", "--read-only"]
    assert f"-t {words[-1]} ." in containerfile.splitlines()[0]
    (volumes,) = re.findall(r"^VOLUME (.*)$", containerfile, re.MULTILINE)
    assert words[words.index("--volume") + 1].split(":")[1] in json.loads(volumes)
    given = dict(
        words[place + 1].split("=", 1) for place, word in enumerate(words) if word == "--env"
    )
    of_image = dict(re.findall(r"(CRLCHECK_\w+)=(\S+)", containerfile.partition("\nENV ")[2]))
    assert len(of_image) == 2
    of_image["CRLCHECK_IMAGE_DIRECTORY"] = str(tmp_path)
    of_image["CRLCHECK_BIND"] = f"unix:{tmp_path}/socket/crlcheck.sock"
    for name, value in {**of_image, **given}.items():
        monkeypatch.setenv(name, value)
    assert main(["serve", "--show-settings"]) == 0


def test_the_provider_of_istio() -> None:
    """
    It asks as the filter of Envoy does whose recipe is tried.
    """
    (example,) = blocks("serve.md", "### Istio, and the Gateway API")
    (provider,) = yaml.safe_load(example.text)["extensionProviders"]
    asked = provider["envoyExtAuthzHttp"]
    envoy, _ = blocks("serve.md", "## Envoy")
    (tried,) = yaml.safe_load(envoy.text)
    service = tried["typed_config"]["http_service"]
    assert asked["pathPrefix"] == service["path_prefix"]
    assert asked["timeout"] == service["server_uri"]["timeout"]
    assert asked["failOpen"] == tried["typed_config"]["failure_mode_allow"]
    header = {
        one["key"]: one["value"] for one in service["authorization_request"]["headers_to_add"]
    }
    assert asked["includeAdditionalHeadersInCheck"] == header
    assert asked["port"] == 8765


# ---- Terraform ------------------------------------------------------------------------------


def test_the_commands_for_terraform() -> None:
    """
    They make the bundles that an example takes, in the folder of the example.
    """
    make, enter, *others = commands_of(
        as_page(blocks("terraform.md", "## In one command", language="console"))
    )
    program, *arguments = shlex.split(make.text)
    assert program == "make"
    check_make(arguments)
    folder = ROOT / enter.text.removeprefix("cd ")
    assert folder in EXAMPLES.iterdir()
    bundles = re.findall(r"/([\w-]+)\.zip", (folder / "main.tf").read_text("utf-8"))
    made = dict(one.split("=", 1) for one in arguments[1:])
    assert sorted(bundles) == [f"{one}-{made['ARCHITECTURES']}" for one in made["BUNDLES"].split()]
    assert [one.text for one in others] == ["terraform init", "terraform apply"]


def test_the_least_configuration() -> None:
    """
    It gives each variable that has no default, and who may say whom to trust.
    """
    (example,) = blocks("terraform.md", "## In one command", language="hcl")
    (module,) = hcl2.loads(example.text)["module"]
    ((_, given),) = module.items()
    needed = set()
    for path in MODULE.glob("*.tf"):
        for variable in hcl2.loads(path.read_text("utf-8")).get("variable", ()):
            needed |= {name.strip('"') for name, body in variable.items() if "default" not in body}
    names = {name for name in given if not name.startswith("__")}
    assert names == needed | {"source", "issuers_writer_arns"}
    assert given["source"].strip('"').endswith("deploy/terraform")


def test_what_terraform_forgets_before_the_rest_is_removed() -> None:
    """
    The resources are those of the module that refuse to be destroyed.
    """
    forget, destroy = commands_of(as_page(blocks("terraform.md", "## Upgrade and removal")))
    before, _, rest = forget.text.partition(" | ")
    filters, _, after = rest.rpartition(" | ")
    assert (before, after) == ("terraform state list", "xargs terraform state rm")
    assert destroy.text == "terraform destroy"
    text = "\n".join(path.read_text("utf-8") for path in sorted(MODULE.glob("*.tf")))
    resources = re.findall(r'^resource "(\w+)" "(\w+)" \{\n((?:(?!^\}).*\n)*)', text, re.MULTILINE)
    state = {
        f"module.crlcheck.{kind}.{name}": "prevent_destroy = true" in body
        for kind, name, body in resources
    }
    forgotten = subprocess.run(
        ["sh", "-c", filters],
        input="\n".join([*state, "aws_s3_object.truststore", "aws_s3_bucket.logs"]),
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert forgotten == [address for address, is_kept in state.items() if is_kept]


# ---- figures ------------------------------------------------------------------------------


def test_the_figure_of_the_design() -> None:
    """
    It names the objects of a store as the code does, and each status of a verdict.
    """
    (figure,) = blocks("design.md", language="text")
    for word in (IMAGE_PREFIX, NODE_PREFIX, CATALOG_NAME, "REVOKED, NOT_REVOKED, or UNDETERMINED"):
        assert word in figure.text


def test_the_figure_of_the_task() -> None:
    """
    Its ports are those of the task definition and of nginx.
    """
    (figure,) = blocks("ecs.md", language="text")
    folder = ROOT / "deploy" / "ecs"
    nginx = (folder / "nginx.conf").read_text("utf-8")
    task = json.loads((folder / "task-definition.json").read_text("utf-8"))
    (listens,) = re.findall(r"listen (\d+);", nginx)
    (passed_on,) = re.findall(r"proxy_pass http://(127\.0\.0\.1:\d+);", nginx)
    (asked,) = re.findall(r"upstream crlcheck \{ server (127\.0\.0\.1:\d+);", nginx)
    assert f"nginx :{listens} " in figure.text
    assert f" {passed_on}\n" in figure.text
    assert f"crlcheck {asked}\n" in figure.text
    names = {one["name"] for one in task["containerDefinitions"]}
    assert {"nginx", "crlcheck", "orders"} >= names >= {"nginx", "crlcheck"}
