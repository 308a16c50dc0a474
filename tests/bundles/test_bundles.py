"""
The bundles of the Lambda functions: from their unpacked folders, with nothing else of this
environment, for this machine under AWS's runtime client and for arm64 under qemu.
"""

from __future__ import annotations

import io
import json
import os
import platform
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

import crlcheck
from crlcheck.demo.events import object_created
from crlcheck.demo.runtime_api import LambdaFunction
from support.authorizer import PKI, SOURCES, publish
from support.bundles import MAKE, OWN_PYTHON, ROOT, RUNTIME, contents, link_packages, maker, unpack
from support.moto_server import S3Environment
from support.root_keys import MemoryKey

OWN = {"x86_64": "x86_64", "aarch64": "arm64"}[platform.machine()]
CLIENTS = {"good": "Allow", "revoked": "Deny", "foreign": "Deny"}
ARM64 = ROOT / "build" / "arm64" / "root"
BARE = (str(getattr(sys, "_base_executable", sys.executable)), "-P", "-S")
"""An interpreter that finds what PYTHONPATH names, and no other packages."""

LARGEST_ZIP = 50 << 20
LARGEST_FOLDER = 250 << 20
"""Lambda's limits, in bytes."""


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the runtime brings."""
    return link_packages(tmp_path_factory.mktemp("runtime"), *RUNTIME)


def event_of(client: str) -> dict[str, Any]:
    """A request of a client to a REST API."""
    return SOURCES["api-gateway rest"].event(PKI.client(client))


def environment(folder: Path, runtime: Path, **settings: str) -> dict[str, str]:
    """The whole environment of a function, but what leads to AWS."""
    return {
        "PYTHONPATH": f"{folder}{os.pathsep}{runtime}",
        "LAMBDA_TASK_ROOT": str(folder),
        "AWS_LAMBDA_FUNCTION_NAME": "under-test",
        **{f"CRLCHECK_{name.upper()}": value for name, value in settings.items()},
    }


def effects(function: LambdaFunction) -> dict[str, str]:
    """What the authorizer answers to each client."""
    found = {}
    for client in CLIENTS:
        answer = function.invoke(event_of(client))
        assert not answer.failed, answer
        (statement,) = answer.payload["policyDocument"]["Statement"]
        found[client] = statement["Effect"]
    return found


# ---- contents ----------------------------------------------------------------------------


@pytest.mark.parametrize("architecture", ["x86_64", "arm64"])
@pytest.mark.parametrize("name", ["authorizer", "authorizer-cryptography", "preprocessor", "layer"])
def test_contents(name: str, architecture: str, tmp_path: Path) -> None:
    """
    For that architecture alone, within Lambda's limits, without what the runtime brings, what
    no function uses or what names this machine.
    """
    files = contents(name, architecture, maker().PYTHON)
    prefix = "python/" if name == "layer" else ""
    assert all(path.startswith(prefix) for path in files)
    tops = {path.removeprefix(prefix).split("/")[0] for path in files}
    assert not tops & {"boto3", "botocore", "cffi", "pycparser", "click", "tests"}
    assert not any(path.endswith((".pyc", ".pyi")) for path in files)
    assert f"{prefix}crlcheck/LICENSE" in files
    machine = {"x86_64": 62, "arm64": 183}[architecture]
    natives = [path for path in files if path.endswith(".so")]
    assert {int.from_bytes(files[path][18:20], "little") for path in natives} == {machine}
    own = files[f"{prefix}crlcheck/_native.abi3.so"]
    assert str(ROOT).encode() not in own
    path = tmp_path / "bundle.zip"
    maker().write_zip(path, files)
    assert path.stat().st_size < LARGEST_ZIP
    assert sum(map(len, files.values())) < LARGEST_FOLDER
    with zipfile.ZipFile(path) as opened:
        assert opened.testzip() is None
        assert {one.external_attr >> 16 for one in opened.infolist()} == {0o100644}


def test_the_same_commit_gives_the_same_bytes(tmp_path: Path) -> None:
    """
    Each bundle, in another directory, by another umask, language and time zone, but by the same
    tools.
    """
    # Compiled once are zig's own parts of the C library, which take most of the time.
    zig = {"ZIG_GLOBAL_CACHE_DIR": str(maker().BUILD / "zig" / "zig_global_cache_dir")}
    made = []
    for name, umask, variables in (
        ("here", 0o022, {"LC_ALL": "C.UTF-8", "TZ": "UTC"}),
        ("somewhere else", 0o077, {"LC_ALL": "C", "TZ": "Asia/Tokyo"}),
    ):
        copy = tmp_path / name
        shutil.copytree(
            ROOT,
            copy,
            ignore=lambda directory, names: (
                {"build", "dist", "tests", "benchmarks", *(one for one in names if one[0] == ".")}
                if Path(directory) == ROOT
                else {"__pycache__"} & set(names)
            ),
        )
        make = [sys.executable, "-P", str(copy / MAKE.relative_to(ROOT))]
        subprocess.run(
            [*make, "--architecture", "arm64"],
            check=True,
            umask=umask,
            env={**os.environ, **zig, **variables},
        )
        made.append((copy / "build" / "bundles" / "SHA256SUMS").read_text())
    assert made[0] == made[1]
    assert made[0].count("arm64.zip") == len(maker().BUNDLES)


def test_a_zip_file_depends_on_the_contents_alone(tmp_path: Path) -> None:
    """
    Not on their order, and not on the time.
    """
    files = {"b/two.py": b"2" * 1000, "a.py": b"1"}
    written = []
    for order in (files, dict(reversed(files.items()))):
        maker().write_zip(tmp_path / "one.zip", order)
        written.append((tmp_path / "one.zip").read_bytes())
    assert written[0] == written[1]
    assert zipfile.ZipFile(io.BytesIO(written[0])).namelist() == ["a.py", "b/two.py"]
    assert [one.name for one in tmp_path.iterdir()] == ["one.zip"]


# ---- this machine ------------------------------------------------------------------------


def test_the_authorizer_answers(s3: S3Environment, runtime: Path, tmp_path: Path) -> None:
    """
    From S3, without any package but its own.
    """
    folder = unpack("authorizer", OWN, OWN_PYTHON, tmp_path / "function")
    store = f"s3://{s3.bucket}/published"
    publish(store, PKI.crl())
    environ = {**environment(folder, runtime, store=store), **s3.variables}
    with LambdaFunction("lambda_authorizer.handler.handler", environ, interpreter=BARE) as function:
        assert effects(function) == CLIENTS, function.log


def test_the_authorizer_demands_a_signed_root(runtime: Path, tmp_path: Path) -> None:
    """
    The bundle with cryptography verifies it. The smaller one says what it lacks, and allows
    nobody.
    """
    store = tmp_path / "published"
    key = MemoryKey()
    crlcheck.publish_crl(PKI.crl(), store, issuer=PKI.authority.pem, sign_with=key)
    for name, has_cryptography in (("authorizer-cryptography", True), ("authorizer", False)):
        folder = unpack(name, OWN, OWN_PYTHON, tmp_path / name)
        environ = environment(folder, runtime, store=str(store), root_keys=key.token)
        handler = "lambda_authorizer.handler.handler"
        with LambdaFunction(handler, environ, interpreter=BARE) as function:
            if has_cryptography:
                assert effects(function) == CLIENTS, function.log
                continue
            answer = function.invoke(event_of("good"))
            assert answer.failed or "Allow" not in json.dumps(answer.payload)
            assert "cryptography" in json.dumps(answer.payload) + function.log


def test_the_preprocessor_publishes(s3: S3Environment, runtime: Path, tmp_path: Path) -> None:
    """
    From the event of an upload to a set that decides, with the runtime's boto3.
    """
    folder = unpack("preprocessor", OWN, OWN_PYTHON, tmp_path / "function")
    environ = {**environment(folder, runtime, **preprocessor_settings(s3)), **s3.variables}
    with LambdaFunction("preprocessor.handler.handler", environ, interpreter=BARE) as function:
        answer = function.invoke(upload(s3))
        assert not answer.failed, function.log
        assert "published" in json.dumps(answer.payload), answer.payload
    check_published(s3)


def preprocessor_settings(s3: S3Environment) -> dict[str, str]:
    """The settings of the preprocessor for a bucket."""
    return {"store": f"s3://{s3.bucket}/published", "issuers": f"s3://{s3.bucket}/issuers"}


def upload(s3: S3Environment) -> dict[str, Any]:
    """Put the issuer's certificate and its CRL into a bucket; return S3's event."""
    crl = PKI.crl()
    s3.client.put_object(Bucket=s3.bucket, Key="issuers/ca.pem", Body=PKI.authority.pem)
    put = s3.client.put_object(Bucket=s3.bucket, Key="crl/ca.crl", Body=crl)
    return object_created(s3.bucket, "crl/ca.crl", size=len(crl), etag=put["ETag"].strip('"'))


def check_published(s3: S3Environment) -> None:
    """What a bundle has published decides as it should."""
    with crlcheck.RevocationChecker(f"s3://{s3.bucket}/published") as checker:
        found = {client: checker.check(getattr(PKI, client).pem).status.name for client in CLIENTS}
    assert found == {"good": "NOT_REVOKED", "revoked": "REVOKED", "foreign": "UNDETERMINED"}


# ---- arm64 -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def arm64() -> Sequence[str]:
    """The command that runs Debian's Python for arm64."""
    emulator = shutil.which("qemu-aarch64-static") or shutil.which("qemu-aarch64")
    (python,) = (ARM64 / "usr" / "bin").glob("python3.*[0-9]")
    assert emulator is not None, "qemu-user is missing: run `make deploy-check`"
    return (emulator, "-L", str(ARM64), str(python), "-P", "-S")


@pytest.fixture(scope="module")
def arm64_python(arm64: Sequence[str]) -> str:
    """Its version, as in 3.11."""
    return Path(arm64[3]).name.removeprefix("python")


ANSWER_EVENTS = """
import importlib, json, os, platform, sys
assert platform.machine() == "aarch64", platform.machine()
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
handler = importlib.import_module(sys.argv[1]).handler
answers.write(json.dumps([handler(event, None) for event in json.load(sys.stdin)]))
"""


def answers_on_arm64(
    arm64: Sequence[str], module: str, environ: Mapping[str, str], events: Sequence[Any]
) -> list[Any]:
    """What a function answers to events, run by qemu."""
    run = subprocess.run(
        [*arm64, "-c", ANSWER_EVENTS, module],
        env=dict(environ),
        input=json.dumps(events),
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    found: list[Any] = json.loads(run.stdout)
    return found


@pytest.fixture
def nothing(tmp_path: Path) -> Path:
    """An empty directory."""
    directory = tmp_path / "nothing"
    directory.mkdir()
    return directory


def test_arm64_makes_the_same_image(
    arm64: Sequence[str], arm64_python: str, tmp_path: Path, nothing: Path
) -> None:
    """
    Byte for byte, of a CRL with dense, sparse and long serial numbers.
    """
    serials = [*range(70_000), *(0xA0 << 120 | one * 0x9E3779B97F4A7C15 for one in range(20_000))]
    crl, issuer = tmp_path / "ca.crl", tmp_path / "ca.pem"
    crl.write_bytes(PKI.crl(revoked=[*serials, 1 << 158]))
    issuer.write_bytes(PKI.authority.pem)
    folder = unpack("layer", "arm64", arm64_python, tmp_path / "layer") / "python"
    program = "import crlcheck, sys; crlcheck.compile_crl(*sys.argv[1:3], issuer=sys.argv[3])"
    subprocess.run(
        [*arm64, "-c", program, str(crl), str(tmp_path / "arm64.crlx"), str(issuer)],
        env=environment(folder, nothing),
        check=True,
    )
    crlcheck.compile_crl(crl, tmp_path / "own.crlx", issuer=issuer)
    assert (tmp_path / "arm64.crlx").read_bytes() == (tmp_path / "own.crlx").read_bytes()


def test_arm64_gives_the_same_verdicts(
    arm64: Sequence[str], arm64_python: str, tmp_path: Path, nothing: Path
) -> None:
    """
    By the authorizer's bundle.
    """
    folder = unpack("authorizer", "arm64", arm64_python, tmp_path / "function")
    publish(tmp_path / "published", PKI.crl())
    environ = environment(folder, nothing, store=str(tmp_path / "published"))
    events = [event_of(client) for client in CLIENTS]
    answers = answers_on_arm64(arm64, "lambda_authorizer.handler", environ, events)
    found = [one["policyDocument"]["Statement"][0]["Effect"] for one in answers]
    assert dict(zip(CLIENTS, found, strict=True)) == CLIENTS


def test_arm64_publishes(
    arm64: Sequence[str],
    arm64_python: str,
    s3: S3Environment,
    runtime: Path,
    tmp_path: Path,
) -> None:
    """
    By the preprocessor's bundle, from the event of an upload.
    """
    folder = unpack("preprocessor", "arm64", arm64_python, tmp_path / "function")
    environ = {**environment(folder, runtime, **preprocessor_settings(s3)), **s3.variables}
    (answer,) = answers_on_arm64(arm64, "preprocessor.handler", environ, [upload(s3)])
    assert "published" in json.dumps(answer)
    check_published(s3)
