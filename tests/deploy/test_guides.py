"""
The commands of the guides to what is deployed by hand and by SAM.

The AWS CLI reads them. The function and the task are made in moto; what concerns API Gateway,
which moto does not have here, is not sent. SAM CLI reads its own commands, and deploys nothing.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import ssl
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from crlcheck.demo.tls import server_certificate, write_client
from crlcheck.settings import read_settings
from lambda_authorizer.settings import Settings as AuthorizerSettings
from support.authorizer import PKI, is_allowed, load, publish
from support.blocks import as_page, blocks
from support.cloudformation import ACCOUNT, REGION
from support.console import Command, commands_of
from support.events import authorizer_event
from support.moto_server import environment_variables, make_client, moto_server
from support.sam import ROOT, SAM, TOOLS, sam_template

BY_HAND = commands_of(as_page(blocks("authorizer.md", "## Attach it by hand")))
DOMAIN = "api.example.com"


@dataclass
class Account:
    """An account in moto, and what the examples of a guide are called there."""

    directory: Path
    environ: dict[str, str]
    here: dict[str, str] = field(default_factory=dict)

    def client(self, service: str) -> Any:
        """A client of a service."""
        return make_client(self.environ["AWS_ENDPOINT_URL"], service)

    def aws(self, command: Command) -> Any:
        """Run a command of the AWS CLI; return what it answers."""
        return self._run(command.text)

    def would_answer(self, command: Command) -> Any:
        """What the AWS CLI expects in an answer, if it takes the parameters; nothing is sent."""
        return self._run(f"{command.text} --generate-cli-skeleton output")

    def _run(self, text: str) -> Any:
        for there, name in self.here.items():
            text = text.replace(there, name)
        run = subprocess.run(
            ["bash", "-c", text],
            cwd=self.directory,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.returncode == 0, f"{text}\n{run.stderr}"
        return json.loads(run.stdout)


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    """The guide's account, with a bundle of the authorizer that is empty but for a file."""
    directory = tmp_path_factory.mktemp("account")
    bundles = directory / "build" / "bundles"
    bundles.mkdir(parents=True)
    # A zip file without any member.
    (bundles / "authorizer-arm64.zip").write_bytes(b"PK\x05\x06" + bytes(18))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOTO_ACCOUNT_ID", ACCOUNT)
        with moto_server() as endpoint:
            environ = {
                **os.environ,
                **environment_variables(endpoint),
                "AWS_DEFAULT_OUTPUT": "json",
                "AWS_PAGER": "",
                "PATH": f"{TOOLS / 'awscli/bin'}:{os.environ['PATH']}",
            }
            made = Account(directory, environ, {"111122223333": ACCOUNT})
            made.client("iam").create_role(
                RoleName="crlcheck-authorizer", AssumeRolePolicyDocument="{}"
            )
            yield made


def named(*names: str) -> list[Command]:
    """The commands of the guide whose names are these, in its order."""
    found = [one for one in BY_HAND if " ".join(one.text.split()[1:3]) in names]
    assert len(found) == len(names)
    return found


def test_each_command_is_tried() -> None:
    """
    In one of the tests below.
    """
    services = {tuple(one.text.split()[:2]) for one in BY_HAND if one.text.startswith("aws")}
    assert services == {("aws", "lambda"), ("aws", "apigateway"), ("aws", "apigatewayv2")}
    assert {one.text.split()[0] for one in BY_HAND} == {"aws", "curl"}
    assert len(BY_HAND) == 13


def test_the_function_by_hand(account: Account) -> None:
    """
    It has settings that the authorizer takes, and the API may call it.
    """
    create, permit = named("lambda create-function", "lambda add-permission")
    made = account.aws(create)
    assert made["Handler"] == "lambda_authorizer.handler.handler"
    variables = made["Environment"]["Variables"]
    settings = read_settings(AuthorizerSettings, variables)
    assert settings.store == "s3://my-crls/published"
    account.aws(permit)
    policy = account.client("lambda").get_policy(FunctionName="crlcheck-authorizer")["Policy"]
    (statement,) = json.loads(policy)["Statement"]
    assert statement["Principal"] == {"Service": "apigateway.amazonaws.com"}
    assert statement["Action"] == "lambda:InvokeFunction"


@pytest.mark.parametrize(
    "command",
    [one for one in BY_HAND if one.text.startswith("aws apigateway")],
    ids=lambda one: " ".join(one.text.split()[1:3]),
)
def test_an_api_by_hand(command: Command, account: Account) -> None:
    """
    The AWS CLI takes each command, and knows what would come back.
    """
    assert account.would_answer(command)


def test_the_two_clients(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Before a server that asks the authorizer, curl gets 200 for one and 403 for the other.
    """
    publish(tmp_path / "published", PKI.crl())
    function = load(monkeypatch, tmp_path / "published")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert isinstance(self.connection, ssl.SSLSocket)
            der = self.connection.getpeercert(binary_form=True)
            assert der is not None
            event = authorizer_event("rest", ssl.DER_cert_to_PEM_cert(der))
            self.send_response(200 if is_allowed(function.handler(event, None)) else 403)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
            """Say nothing."""

    for name, content in zip(("server.pem", "server.key"), server_certificate(DOMAIN), strict=True):
        (tmp_path / name).write_bytes(content)
    (tmp_path / "ca.pem").write_bytes(PKI.authority.pem)
    for name in ("good", "revoked"):
        write_client(tmp_path, name, getattr(PKI, name))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tmp_path / "server.pem", tmp_path / "server.key")
    tls.verify_mode = ssl.CERT_REQUIRED
    tls.load_verify_locations(tmp_path / "ca.pem")
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        (tmp_path / ".curlrc").write_text(
            f'connect-to = "{DOMAIN}:443:127.0.0.1:{server.server_address[1]}"\n'
            f'cacert = "{tmp_path / "server.pem"}"\n'
            'silent\nwrite-out = "%{http_code}"\n'
        )
        answers = [
            subprocess.run(
                ["bash", "-c", one.text],
                cwd=tmp_path,
                env={"HOME": str(tmp_path), "PATH": os.environ["PATH"]},
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            ).stdout
            for one in BY_HAND
            if one.text.startswith("curl")
        ]
        server.shutdown()
    assert answers == ["200", "403"]


def test_the_task_definition_is_registered(account: Account) -> None:
    """
    By the command of the guide, in a checkout.
    """
    (command,) = commands_of(
        as_page(
            blocks("ecs.md", "# Behind an Application Load Balancer, on ECS", language="console")
        )
    )
    (account.directory / "deploy").symlink_to(ROOT / "deploy")
    made = account.aws(command)["taskDefinition"]
    assert {one["name"] for one in made["containerDefinitions"]} >= {"nginx", "crlcheck"}


def test_the_commands_of_sam() -> None:
    """
    SAM CLI takes them in the folder of the template, with parameters that it has.
    """
    commands = commands_of(as_page(blocks("sam.md", "## In one command")))
    assert commands[0].text == "cd deploy/sam"
    names = []
    for command in commands[1:]:
        for one in command.text.split(" && "):
            words = [word for word in shlex.split(one) if not re.match(r"[A-Z]+=\w+$", word)]
            assert words[0] == "sam"
            run = subprocess.run(
                [TOOLS / "sam/bin/python", ROOT / "tests/deploy/parse_sam.py", *words[1:]],
                cwd=SAM,
                env={
                    "AWS_DEFAULT_REGION": REGION,
                    "PATH": "/usr/bin:/bin",
                    "SAM_CLI_TELEMETRY": "0",
                },
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            )
            read = json.loads(run.stdout)
            names.append(read["command"])
            if read["command"] == "deploy":
                assert "CAPABILITY_IAM" in read["capabilities"]
                assert set(read["parameter_overrides"]) <= set(sam_template()["Parameters"])
    assert names == ["build", "deploy", "build", "deploy"]
    assert "ARCHITECTURE" in (SAM / "Makefile").read_text("utf-8")
