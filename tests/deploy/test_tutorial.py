"""
docs/tutorials/aws.md from its first command to its last.

OpenSSL, curl and the AWS CLI run as they are, the latter against moto. SAM CLI reads its
commands itself, and what it would deploy is deployed here. The API is a server that asks for
client certificates by the uploaded trust store, and passes on what the authorizer decides.
"""

from __future__ import annotations

import json
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import pytest

from crlcheck.demo.tls import server_certificate
from support.authorizer import is_allowed
from support.blocks import as_page, blocks
from support.cloudformation import ACCOUNT, REGION, Stack, resolve
from support.console import Shell, commands_of, search_path
from support.deployed import Deployed, answer_of_back_end, unpack_bundles
from support.documents import document
from support.moto_server import environment_variables, moto_server
from support.sam import ROOT, SAM, TOOLS

TUTORIAL = document("aws.md")
DOMAIN = "api.example.com"
NOTED = """#!/bin/sh
# What a test reads of a command that it runs itself.
exec "{python}" -c 'import json, sys; json.dump(sys.argv[2:], open(sys.argv[1], "w"))' "{file}" "$@"
"""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(("127.0.0.1", 0), handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that are refused in the handshake."""


@contextmanager
def served(
    handler: type[BaseHTTPRequestHandler], tls: ssl.SSLContext | None = None
) -> Iterator[int]:
    """Serve on a free port of this machine, and give its number."""
    with _Server(handler) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


class Account:
    """An AWS account on this machine in which the tutorial's stack is deployed."""

    def __init__(
        self, translated: dict[str, Any], endpoint: str, directory: Path, until: ExitStack
    ) -> None:
        self._translated, self._endpoint = translated, endpoint
        self._directory, self._until = directory, until
        self._paths = unpack_bundles(lambda name: _made(directory / "bundles" / name))
        self.deployed: Deployed | None = None
        self.stack: Stack | None = None
        self.parameters: list[dict[str, str]] = []

    def sam(self, arguments: list[str], directory: Path) -> None:
        """Do what a command of SAM CLI would do, as SAM CLI reads it."""
        run = subprocess.run(
            [TOOLS / "sam/bin/python", ROOT / "tests/deploy/parse_sam.py", *arguments],
            cwd=directory,
            env={"AWS_DEFAULT_REGION": REGION, "PATH": "/usr/bin:/bin", "SAM_CLI_TELEMETRY": "0"},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        read = json.loads(run.stdout)
        if read["command"] in ("deploy", "delete"):
            assert read["stack_name"] == "crlcheck"
        if read["command"] == "deploy":
            assert "CAPABILITY_IAM" in read["capabilities"]
            self._deploy(dict(read["parameter_overrides"]))

    def _deploy(self, parameters: dict[str, str]) -> None:
        self.parameters.append(parameters)
        stack = resolve(self._translated, **parameters)
        if self.deployed is None:
            self.deployed = Deployed(stack, self._endpoint, self._paths, self._until)
        else:
            self.deployed.update(stack)
        had_api = self.stack is not None and self.stack.of_type("AWS::ApiGatewayV2::Api")
        self.stack = stack
        if stack.of_type("AWS::ApiGatewayV2::Api") and not had_api:
            self._serve_api(stack["HttpDomain"]["MutualTlsAuthentication"])

    def _serve_api(self, mutual_tls: dict[str, str]) -> None:
        """Serve the API's domain, and let curl of the home directory find it."""
        assert self.deployed is not None
        place = mutual_tls["TruststoreUri"].removeprefix(f"s3://{self.deployed.bucket}/")
        trusted = self.deployed.get(place, mutual_tls["TruststoreVersion"])
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate, key = self._directory / "server.pem", self._directory / "server.key"
        for path, pem in zip((certificate, key), server_certificate(DOMAIN), strict=True):
            path.write_bytes(pem)
        tls.load_cert_chain(certificate, key)
        tls.verify_mode = ssl.CERT_REQUIRED
        # As strict as RFC 5280: nobody should need a lenient server for the tutorial's CA.
        tls.verify_flags |= ssl.VERIFY_X509_STRICT
        tls.load_verify_locations(cadata=trusted.decode())
        account = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                assert isinstance(self.connection, ssl.SSLSocket)
                der = self.connection.getpeercert(binary_form=True)
                assert der is not None
                status, body = account.answer(ssl.DER_cert_to_PEM_cert(der))
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
                """Keep the test's output to itself."""

        port = self._until.enter_context(served(Handler, tls))
        # The first that matches counts, and this file is read before the command's options.
        (self._directory / ".curlrc").write_text(
            f'connect-to = "{DOMAIN}:443:127.0.0.1:{port}"\ncacert = "{certificate}"\n'
        )

    def answer(self, certificate_pem: str) -> tuple[int, bytes]:
        """What API Gateway answers to a client with that certificate."""
        assert self.deployed is not None
        assert self.stack is not None
        decision = self.deployed.decide(certificate_pem)
        if not is_allowed(decision):
            return 403, b'{"message":"Forbidden"}'
        told = answer_of_back_end(self.stack, decision["context"], "http")
        return 200, json.dumps(told).encode() + b"\n"


def _made(directory: Path) -> Path:
    directory.mkdir(parents=True)
    return directory


def cloudformation(account: Account) -> type[BaseHTTPRequestHandler]:
    """The one operation of CloudFormation that the tutorial asks for: a stack's outputs."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = self.rfile.read(int(self.headers["Content-Length"])).decode()
            assert "Action=DescribeStacks" in asked
            assert "StackName=crlcheck" in asked
            assert account.stack is not None
            members = "".join(
                f"<member><OutputKey>{name}</OutputKey>"
                f"<OutputValue>{escape(str(value))}</OutputValue></member>"
                for name, value in account.stack.outputs.items()
            )
            body = (
                "<DescribeStacksResponse><DescribeStacksResult><Stacks><member>"
                "<StackName>crlcheck</StackName><CreationTime>2026-12-01T00:00:00Z</CreationTime>"
                f"<StackStatus>CREATE_COMPLETE</StackStatus><Outputs>{members}</Outputs>"
                "</member></Stacks></DescribeStacksResult></DescribeStacksResponse>"
            ).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/xml")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
            """Keep the test's output to itself."""

    return Handler


def lambda_service(account: Account) -> type[BaseHTTPRequestHandler]:
    """The one operation of Lambda that the tutorial asks for: to invoke a function."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            event = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            assert account.stack is not None
            assert account.deployed is not None
            (function,) = (
                name
                for name, one in account.stack.of_type("AWS::Lambda::Function").items()
                if self.path == f"/2015-03-31/functions/{one['FunctionName']}/invocations"
            )
            answer = account.deployed.function(function).invoke(event)
            body = json.dumps(answer.payload).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            if answer.failed:
                self.send_header("X-Amz-Function-Error", "Unhandled")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
            """Keep the test's output to itself."""

    return Handler


def test_the_tutorial_leads_to_403(
    translated: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Each command works, and shows what the tutorial shows. S3 sends no event meanwhile, as in
    the first minutes of a bucket.
    """
    monkeypatch.setenv("MOTO_ACCOUNT_ID", ACCOUNT)
    monkeypatch.setenv("MOTO_ACM_VALIDATION_WAIT", "0")
    checkout = tmp_path / "checkout"
    (checkout / "deploy" / "sam").mkdir(parents=True)
    for name in ("template.yaml", "samconfig.toml", "Makefile"):
        (checkout / "deploy" / "sam" / name).write_bytes((SAM / name).read_bytes())
    (checkout / ".venv").symlink_to(ROOT / ".venv")
    home, tools, noted = tmp_path / "home", tmp_path / "tools", tmp_path / "noted.json"
    home.mkdir()
    tools.mkdir()
    # As on macOS, OpenSSL's own configuration says nothing of the certificate of a CA.
    (home / "openssl.cnf").write_text("")
    for name in ("sam", "make"):
        (tools / name).write_text(NOTED.format(python=TOOLS / "sam/bin/python", file=noted))
        (tools / name).chmod(0o755)
    with ExitStack() as until:
        endpoint = until.enter_context(moto_server())
        account = Account(translated, endpoint, home, until)
        outputs = until.enter_context(served(cloudformation(account)))
        functions = until.enter_context(served(lambda_service(account)))
        environ = {
            **environment_variables(endpoint),
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ENDPOINT_URL_CLOUDFORMATION": f"http://127.0.0.1:{outputs}",
            "AWS_ENDPOINT_URL_LAMBDA": f"http://127.0.0.1:{functions}",
            "AWS_PAGER": "",
            "HOME": str(home),
            "OPENSSL_CONF": str(home / "openssl.cnf"),
            "PATH": search_path(tools, TOOLS / "awscli/bin"),
        }
        shell = Shell(checkout, tmp_path / "state", environ)
        shell.run(
            "aws iam create-role --role-name admin --assume-role-policy-document '{}' >/dev/null"
        )
        for command in commands_of(as_page(blocks("aws.md"))):
            done = shell.run(command.text)
            program = command.text.split()[0]
            if "check " in command.text and "stolen" in command.text:
                assert done.returncode == 1, done.stdout  # as the tutorial says
                assert "revoked" in done.stdout
            else:
                assert done.returncode == 0, f"{command.text}\n{done.stdout}"
            if program == "sam":
                account.sam(json.loads(noted.read_text()), shell.directory)
            if command.output and "get-caller-identity" not in command.text:
                assert done.stdout.strip() == command.output.strip(), command.text
        modes = [one.get("Mode", "observe") for one in account.parameters]
        assert modes == ["observe", "observe", "enforce"]
        assert '"Forbidden"}403' in TUTORIAL.read_text("utf-8")
