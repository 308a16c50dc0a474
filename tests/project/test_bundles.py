"""The Lambda functions apart from crlcheck: what importing them needs, and their bundles."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

import crlcheck
from support.bundles import ROOT, link_packages, maker, own_modules
from support.events import authorizer_event, s3_event
from support.example_pki import example_pki
from support.moto_server import S3Environment
from support.wheels import make_local_wheel

pytestmark = pytest.mark.uninstrumented

PKI = example_pki()
ANSWER = """
import importlib, json, sys
sys.path.append(sys.argv[1])
print(json.dumps(importlib.import_module(sys.argv[2]).handler(json.load(sys.stdin), None)))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this project."""
    return make_local_wheel(tmp_path_factory.mktemp("wheel"))


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


def test_the_authorizer_s_bundle_decides(s3: S3Environment, tmp_path: Path) -> None:
    """
    It has each module that the function imports, and no package but cffi beside them.
    """
    bundle = link_packages(own_modules("authorizer", tmp_path), "cffi")
    assert not (bundle / "crlcheck" / "publisher").exists()
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


def test_the_preprocessor_s_bundle_publishes(s3: S3Environment, tmp_path: Path) -> None:
    """
    It has each module that the function imports, and the packages of its bundle.
    """
    packages = maker().BUNDLES["preprocessor"].packages
    bundle = link_packages(own_modules("preprocessor", tmp_path), *packages, "boto3")
    assert not (bundle / "crlcheck" / "serve").exists()
    s3.client.put_object(Bucket=s3.bucket, Key="issuers/ca.pem", Body=PKI.authority.pem)
    s3.client.put_object(Bucket=s3.bucket, Key="crl/ca.crl", Body=PKI.crl())
    environ = {
        **s3.variables,
        "CRLCHECK_STORE": f"s3://{s3.bucket}/published",
        "CRLCHECK_ISSUERS": f"s3://{s3.bucket}/issuers",
    }
    event = s3_event((s3.bucket, "crl/ca.crl"))
    (outcome,) = answer(bundle, "preprocessor.handler", event, environ)["objects"]
    assert outcome["outcome"] == "published"
    with crlcheck.RevocationChecker(environ["CRLCHECK_STORE"]) as checker:
        verdict = checker.check(PKI.client("revoked").encode()).status
    assert verdict is crlcheck.RevocationStatus.REVOKED


def test_a_bundle_has_what_its_modules_import() -> None:
    """
    Also what they import only once a function runs. What no function uses is not there.
    """
    module = maker()
    for name, bundle in module.BUNDLES.items():
        found = module.modules_of(bundle)
        assert {
            "crlcheck.catalog.catalog",
            "crlcheck.stores.s3",
            "crlcheck._binding.image",
        } <= found
        assert not {"crlcheck.cli", "crlcheck.demo", "crlcheck.serve", "crlcheck.grpc"} & found
        assert ("crlcheck.publisher.clean_up" in found) == (name in ("preprocessor", "layer"))
        assert ("crlcheck.checker.verdict" in found) == (name != "preprocessor")
        lacking = {
            (one, imported)
            for one in found
            for imported in module._imported_by(one) - found
            if name != "layer"
        }
        assert lacking == set()


def test_the_native_module_is_written_by_the_cffi_that_it_runs_with(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    ``make bundles`` installs the version that the bundles have, and no other is taken: it could
    make other bytes.
    """
    wanted = maker().pinned()["cffi"]
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert f"cffi=={wanted}" in extras["optional-dependencies"]["bundles"]
    monkeypatch.setattr(sys, "argv", ["make.py", "authorizer"])
    monkeypatch.setattr(importlib.metadata, "version", lambda name: f"99 of {name}")
    with pytest.raises(SystemExit):
        maker().main()
    assert f"cffi is 99 of cffi here: expected {wanted}" in capsys.readouterr().err


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
