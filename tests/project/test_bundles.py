"""The Lambda functions apart from crlcheck: what importing them needs, and their bundles."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

import crlcheck
from support.events import authorizer_event, s3_event
from support.example_pki import example_pki
from support.moto_server import S3Environment
from support.wheels import ROOT, make_local_wheel, pack_requirements

pytestmark = pytest.mark.uninstrumented

PKI = example_pki()
BUILD_WHEEL = "pip wheel --no-deps --wheel-dir dist ."
ANSWER = """
import importlib, json, sys
sys.path.append(sys.argv[1])
print(json.dumps(importlib.import_module(sys.argv[2]).handler(json.load(sys.stdin), None)))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this project."""
    return make_local_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the wheels that bundles need besides, instead of a package index."""
    directory = tmp_path_factory.mktemp("packages")
    pack_requirements("crlcheck[preprocessor]", directory)
    return directory


def packaging_commands(document: str) -> list[str]:
    """The commands of the one block of a document that makes a bundle."""
    text = (ROOT / "docs" / document).read_text(encoding="utf-8")
    blocks = re.findall(r"^ *```console\n(.*?)^ *```$", text, re.DOTALL | re.MULTILINE)
    (block,) = (block for block in blocks if "--target package" in block)
    return re.findall(r"^ *\$ (.*)$", block, re.MULTILINE)


def make_bundle(document: str, wheel: Path, packages: Path, checkout: Path) -> Path:
    """
    Run the commands of a document in a *checkout* with the local wheel and no network;
    return the directory that Lambda would unpack the bundle to.
    """
    first, *commands = packaging_commands(document)
    assert first == BUILD_WHEEL, "the fixture stands for it"
    (checkout / "dist").mkdir(parents=True)
    shutil.copy(wheel, checkout / "dist")
    for function in ("lambda_authorizer", "preprocessor"):
        shutil.copytree(ROOT / function, checkout / function)
    tools = checkout / "tools"
    tools.mkdir()
    for name, module in (("pip", "-m pip"), ("python", "")):
        (tools / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {module} "$@"\n')
        (tools / name).chmod(0o755)
    environ = {
        "PATH": f"{tools}:/usr/bin:/bin",
        "PIP_CONFIG_FILE": "/dev/null",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_FIND_LINKS": str(packages),
        "PIP_NO_CACHE_DIR": "1",
        "PIP_NO_COMPILE": "0",  # pip reads it the other way round: this spares the time
        "PIP_NO_INDEX": "1",
    }
    for command in commands:
        subprocess.run(["sh", "-ec", command], cwd=checkout, env=environ, check=True)
    (bundle,) = checkout.glob("*.zip")
    shutil.unpack_archive(bundle, checkout / "unpacked")
    return checkout / "unpacked"


def answer(bundle: Path, handler: str, event: object, environ: dict[str, str]) -> Any:
    """What a handler answers in a process that sees its bundle and the standard library only."""
    run = subprocess.run(
        [sys.executable, "-I", "-S", "-c", ANSWER, bundle, handler],
        env=environ,
        input=json.dumps(event),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(run.stdout.splitlines()[-1])  # metrics come before


def test_the_wheel_has_one_package(wheel: Path) -> None:
    """
    Nothing but crlcheck, which another distribution's package of the same name could
    overwrite, goes into site-packages.
    """
    with zipfile.ZipFile(wheel) as archive:
        names = {name.partition("/")[0] for name in archive.namelist()}
    assert names == {"crlcheck", f"crlcheck-{crlcheck.__version__}.dist-info"}


def test_the_authorizer_s_bundle_decides(
    wheel: Path, packages: Path, s3: S3Environment, tmp_path: Path
) -> None:
    """
    Made as docs/authorizer.md says, it needs nothing else, and has no heavy package.
    """
    bundle = make_bundle("authorizer.md", wheel, packages, tmp_path)
    names = {path.name for path in bundle.iterdir()}
    assert {"crlcheck", "lambda_authorizer"} <= names
    assert names & {"preprocessor", "boto3", "botocore", "cryptography", "pyroaring"} == set()
    store = f"s3://{s3.bucket}/published"
    crlcheck.publish_crl(PKI.crl(), crlcheck.open_store(store), issuer=PKI.authority.pem)
    environ = {**s3.variables, "CRLCHECK_STORE": store}
    verdicts = {
        client: answer(
            bundle,
            "lambda_authorizer.handler",
            authorizer_event("rest", PKI.client(client)),
            environ,
        )["context"]["verdict"]
        for client in ("good", "revoked")
    }
    assert verdicts == {"good": "not_revoked", "revoked": "revoked"}


def test_the_preprocessor_s_bundle_publishes(
    wheel: Path, packages: Path, s3: S3Environment, tmp_path: Path
) -> None:
    """
    Made as docs/operations.md says, it needs nothing else.
    """
    bundle = make_bundle("operations.md", wheel, packages, tmp_path)
    assert not (bundle / "lambda_authorizer").exists()
    s3.client.put_object(Bucket=s3.bucket, Key="issuers/ca.pem", Body=PKI.authority.pem)
    s3.client.put_object(Bucket=s3.bucket, Key="crl/ca.crl", Body=PKI.crl())
    store = f"s3://{s3.bucket}/published"
    environ = {
        **s3.variables,
        "CRLCHECK_STORE": store,
        "CRLCHECK_ISSUERS": f"s3://{s3.bucket}/issuers",
    }
    event = s3_event((s3.bucket, "crl/ca.crl"))
    (outcome,) = answer(bundle, "preprocessor.handler", event, environ)["objects"]
    assert outcome["outcome"] == "published"
    checker = crlcheck.RevocationChecker(store)
    verdict = checker.check(PKI.client("revoked").encode()).status
    assert verdict is crlcheck.RevocationStatus.REVOKED


def test_only_the_handlers_need_settings() -> None:
    """
    Every module of the Lambda functions but the handlers can be imported in a process
    without any environment variable, as in a unit test.
    """
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for function in ("lambda_authorizer", "preprocessor")
        for path in sorted((ROOT / function).glob("*.py"))
        if path.name != "handler.py"
    ]
    assert {"lambda_authorizer.protection", "preprocessor.events"} <= set(modules)
    program = "".join(f"import {module}\n" for module in modules)
    run = subprocess.run(
        [sys.executable, "-P", "-c", program], env={}, capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stderr) == (0, "")
