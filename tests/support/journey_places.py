"""
What the reader of a page of ``tests/journeys`` has before the first command.

Where the page's tool can be installed, the page runs it. Where it cannot (a server, a
service, Windows), a function here makes files of the shape that it writes.
"""

from __future__ import annotations

import functools
import http.server
import os
import socket
import subprocess
import sys
import threading
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509

from crlcheck.catalog.earlier import store_at
from crlcheck.catalog.root import CATALOG_NAME
from crlcheck.demo.encoding import (
    der_generalized_time,
    der_integer,
    encode_entry,
    encode_extension,
)
from crlcheck.demo.pki import CertificateAuthority, IssuedCertificate, pem_block, sign_crl
from crlcheck.demo.tls import server_certificate
from crlcheck.publisher.clean_up import clean_up
from crlcheck.publisher.mirror import mirror_store
from crlcheck.publisher.operator import deny_certificate
from crlcheck.publisher.publish import publish_crl
from crlcheck.stores import LocalStore
from crlcheck.x509.certificates import load_certificate
from support.moto_server import environment_variables, make_client, moto_server

NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Place:
    """The directory and variables of a journey, and what ends with it."""

    directory: Path
    environment: dict[str, str]
    stack: ExitStack

    def write(self, **contents: bytes) -> None:
        """Write files; ``__`` in a name stands for its dot."""
        for name, content in contents.items():
            (self.directory / name.replace("__", ".")).write_bytes(content)

    def serve_directory(self) -> str:
        """Serve the directory over HTTP, as a web server of static files, and return the URL."""
        handler = functools.partial(_QuietHandler, directory=self.directory)
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.stack.callback(server.server_close)
        self.stack.callback(server.shutdown)
        return f"http://127.0.0.1:{server.server_port}"

    def start_s3(self, bucket: str) -> Any:
        """
        Start an S3 server with an empty *bucket*, for the commands too, and give the page a
        command ``uploaded KEY``, which does what AWS does after an upload: it invokes the
        preprocessor with the event, and prints what it logs and answers.
        """
        endpoint = self.stack.enter_context(moto_server())
        self.environment.update(environment_variables(endpoint))
        client = make_client(endpoint)
        client.create_bucket(Bucket=bucket)
        self.write_command("uploaded", _UPLOADED.format(bucket=bucket))
        return client

    def write_command(self, name: str, program: str) -> None:
        """Write a Python program that the page can run by its *name*."""
        directory = self.directory / "bin"
        directory.mkdir(exist_ok=True)
        command = directory / name
        command.write_text(f"#!{sys.executable} -P\n{program}")
        command.chmod(0o755)
        self.environment["PATH"] = f"{directory}:{os.environ['PATH']}"


_UPLOADED = """
import contextlib, io, json, logging, sys
from crlcheck.demo.events import object_created
from preprocessor.handler import handler

class Message(logging.Handler):
    def emit(self, record):
        print(json.loads(record.getMessage())["message"], file=sys.__stdout__)

logging.getLogger("preprocessor").addHandler(Message())
with contextlib.redirect_stdout(io.StringIO()):  # the metrics
    handler(object_created("{bucket}", sys.argv[1], size=1, etag="0"), None)
"""


class _QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Write nothing: standard error is the test's."""


def entry_of(client: IssuedCertificate) -> bytes:
    """An entry of yesterday with the reason keyCompromise."""
    return encode_entry(client.certificate.serial_number, NOW - DAY, reason=1)


def distribution_point(url: str) -> bytes:
    """The critical issuingDistributionPoint that names *url* and restricts nothing else."""
    extension = x509.IssuingDistributionPoint(
        full_name=[x509.UniformResourceIdentifier(url)],
        relative_name=None,
        only_contains_user_certs=False,
        only_contains_ca_certs=False,
        only_some_reasons=None,
        indirect_crl=False,
        only_contains_attribute_certs=False,
    )
    return encode_extension("2.5.29.28", extension.public_bytes(), critical=True)


def step_ca(place: Place) -> None:
    """
    What step-ca leaves behind: a root, an intermediate that issues, certificates
    without distribution points, and a CRL that names one in a critical extension.
    """
    root = CertificateAuthority.create("Smallstep Root CA")
    intermediate = CertificateAuthority.create("Smallstep Intermediate CA", parent=root)
    laptop, phone = (intermediate.issue(name) for name in ("laptop", "phone"))
    crl = sign_crl(
        intermediate,
        entry_of(phone),
        this_update=NOW - timedelta(hours=1),
        next_update=NOW + DAY,
        crl_number=4,
        authority_key_id=False,
        extensions=[distribution_point("https://ca.example.com:9000/1.0/crl")],
    )
    place.write(
        root_ca__crt=root.pem,
        intermediate_ca__crt=intermediate.pem,
        laptop__crt=laptop.pem + intermediate.pem,
        phone__crt=phone.pem + intermediate.pem,
        crl=crl,
    )


def vault(place: Place) -> None:
    """
    What HashiCorp Vault's PKI engine hands out over HTTP: PEM without a last newline.
    """
    issuer = CertificateAuthority.create("example.com Intermediate Authority", key_type="rsa")
    service, former = (issuer.issue(name) for name in ("service", "former"))
    entry = encode_entry(former.certificate.serial_number, NOW - DAY)
    crl = sign_crl(
        issuer, entry, this_update=NOW, next_update=NOW + 3 * DAY, crl_number=12
    )  # fmt: skip
    pki = place.directory / "v1" / "pki"
    (pki / "crl").mkdir(parents=True)
    (pki / "ca").mkdir()
    (pki / "crl" / "pem").write_bytes(pem_block("X509 CRL", crl).rstrip())
    (pki / "ca" / "pem").write_bytes(issuer.pem.rstrip())
    place.write(service__pem=service.pem, former__pem=former.pem)
    place.environment["VAULT_ADDR"] = place.serve_directory()


def ad_cs(place: Place) -> None:
    """
    What Active Directory Certificate Services publish: a base CRL a week, a delta CRL a
    day, Microsoft's own extensions in both, and distribution points with LDAP URLs.
    """
    ca = CertificateAuthority.create("corp-DC1-CA", key_type="rsa")
    url = f"{place.serve_directory()}/CertEnroll/corp-DC1-CA"
    points = [
        "ldap:///CN=corp-DC1-CA,CN=dc1,CN=CDP,DC=corp?certificateRevocationList?base",
        f"{url}.crl",
    ]
    names = [x509.UniformResourceIdentifier(point) for point in points]
    point = x509.DistributionPoint(names, relative_name=None, reasons=None, crl_issuer=None)
    alice, carol, dave = (
        ca.issue(name, distribution_points=[point]) for name in ("alice", "carol", "dave")
    )
    delta_point = x509.DistributionPoint(
        [x509.UniformResourceIdentifier(f"{url}+.crl")], None, None, None
    )
    microsoft = [
        encode_extension("1.3.6.1.4.1.311.21.1", der_integer(0)),
        encode_extension("1.3.6.1.4.1.311.21.4", der_generalized_time(NOW + DAY)),
    ]
    base = sign_crl(
        ca,
        entry_of(carol),
        this_update=NOW - DAY,
        next_update=NOW + 7 * DAY,
        crl_number=20,
        extensions=[
            *microsoft,
            encode_extension("2.5.29.46", x509.FreshestCRL([delta_point]).public_bytes()),
        ],
    )
    delta = sign_crl(
        ca,
        entry_of(dave),
        this_update=NOW - timedelta(hours=1),
        next_update=NOW + DAY,
        crl_number=22,
        extensions=[*microsoft, encode_extension("2.5.29.27", der_integer(20), critical=True)],
    )
    enroll = place.directory / "CertEnroll"
    enroll.mkdir()
    (enroll / "corp-DC1-CA.crl").write_bytes(base)
    (enroll / "corp-DC1-CA+.crl").write_bytes(delta)
    place.write(ca__cer=ca.der, alice__cer=alice.der, carol__cer=carol.der, dave__cer=dave.der)
    place.environment["PKI"] = url.removesuffix("/corp-DC1-CA")


def national_ca(place: Place) -> None:
    """
    What several national PKIs publish: one PKCS #7 bundle with all the certificates of
    their CAs, and a CRL for each of them.
    """
    root = CertificateAuthority.create("National Root CA")
    issuers = [CertificateAuthority.create(f"Citizen CA {n}", parent=root) for n in (1, 2)]
    citizens = [issuer.issue("citizen") for issuer in issuers]
    place.write(cas__pem=root.pem + b"".join(issuer.pem for issuer in issuers))
    place.write(root__crl=sign_crl(root, this_update=NOW, next_update=NOW + 90 * DAY, crl_number=9))
    for number, (issuer, citizen) in enumerate(zip(issuers, citizens, strict=True), 1):
        entries = entry_of(citizen) if number == 2 else b""
        crl = sign_crl(
            issuer, entries, this_update=NOW, next_update=NOW + DAY, crl_number=number
        )  # fmt: skip
        (place.directory / f"citizen-ca-{number}.crl").write_bytes(crl)
        (place.directory / f"citizen-{number}.pem").write_bytes(citizen.pem)
        place.write(**{f"crl{number}__pem": pem_block("X509 CRL", crl)})
    openssl = ["openssl", "crl2pkcs7", "-outform", "DER"]
    for arguments in (
        ["-nocrl", "-certfile", "cas.pem", "-out", "national-cas.p7b"],
        ["-in", "crl1.pem", "-out", "citizen-ca-1.p7c"],
    ):
        subprocess.run([*openssl, *arguments], cwd=place.directory, check=True)
    for leftover in ("cas.pem", "crl1.pem", "crl2.pem"):
        (place.directory / leftover).unlink()


def aws_private_ca(place: Place) -> None:
    """
    Two buckets of AWS Private CA, as it writes them: a complete CRL, and the two
    partitions of a CA that has a partitioned one.
    """
    client = place.start_s3("acme-crls")
    bucket = "acme-crls"
    host = f"http://{bucket}.s3.eu-central-1.amazonaws.com"
    complete = CertificateAuthority.create("Orders CA")
    key = "crl/0b1c4a52-7a39-4d0c-9c1f-5a6ad1c0a8ad.crl"
    order, old_order = (
        complete.issue(name, distribution_points=[f"{host}/{key}"])
        for name in ("order", "old order")
    )
    _put(client, bucket, key, complete, [old_order])
    partitioned = CertificateAuthority.create("Devices CA")
    clients = [order, old_order]
    for partition in ("1f0d7c39", "8e2b6d41"):
        key = f"crl/c7ad1f7e/{partition}.crl"
        good, revoked = (
            partitioned.issue(name, distribution_points=[f"{host}/{key}"])
            for name in ("device", "lost device")
        )
        _put(client, bucket, key, partitioned, [revoked], point=f"{host}/{key}")
        clients += [good, revoked]
    names = ("order", "old-order", "device-1", "lost-device-1", "device-2", "lost-device-2")
    for name, one in zip(names, clients, strict=True):
        (place.directory / f"{name}.pem").write_bytes(one.pem)
    for name, ca in (("orders", complete), ("devices", partitioned)):
        client.put_object(Bucket=bucket, Key=f"issuers/{name}.pem", Body=ca.pem)


def private_ca_published(place: Place) -> None:
    """The buckets of AWS Private CA after the preprocessor has published what is in them."""
    aws_private_ca(place)
    client = make_client(place.environment["AWS_ENDPOINT_URL"])
    settings = {
        "CRLCHECK_STORE": "s3://acme-crls/published",
        "CRLCHECK_ISSUERS": "s3://acme-crls/issuers",
    }
    for found in client.list_objects_v2(Bucket="acme-crls", Prefix="crl/")["Contents"]:
        subprocess.run(
            [place.directory / "bin" / "uploaded", found["Key"]],
            env={**os.environ, **place.environment, **settings},
            stdout=subprocess.DEVNULL,
            check=True,
        )


def _put(
    client: Any,
    bucket: str,
    key: str,
    ca: CertificateAuthority,
    revoked: list[IssuedCertificate],
    *,
    point: str | None = None,
) -> None:
    """Write a CRL as AWS Private CA does: its number is a time in milliseconds."""
    crl = sign_crl(
        ca,
        b"".join(map(entry_of, revoked)),
        this_update=NOW,
        next_update=NOW + 7 * DAY,
        crl_number=int(NOW.timestamp() * 1000),
        extensions=[] if point is None else [distribution_point(point)],
    )
    client.put_object(Bucket=bucket, Key=key, Body=crl)


def nginx_with_crl(place: Place) -> None:
    """
    nginx with ``ssl_crl``: the CRLs of a root and of the CA below it in one file, made
    with ``cat``, and the chain in another.
    """
    root = CertificateAuthority.create("Fleet Root CA")
    ca = CertificateAuthority.create("Fleet Vehicle CA", parent=root)
    van, stolen = ca.issue("van"), ca.issue("stolen van")
    crls = [
        sign_crl(one, entries, this_update=NOW, next_update=NOW + DAY, crl_number=3)
        for one, entries in ((root, b""), (ca, entry_of(stolen)))
    ]
    certificate, key = server_certificate()
    place.write(
        clients__pem=ca.pem + root.pem,
        crl__pem=b"".join(pem_block("X509 CRL", crl) for crl in crls),
        server__pem=certificate,
        server__key=key,
        van__pem=van.pem,
        van__key=van.key_pem,
        stolen__pem=stolen.pem,
        stolen__key=stolen.key_pem,
    )
    with socket.create_server(("127.0.0.1", 0)) as probe:
        place.environment["PORT"] = str(probe.getsockname()[1])


def aws_sample(place: Place) -> None:
    """
    A bucket as users of the AWS sample have it: the CRL under a key of theirs, in PEM, beside it
    the CA's certificate and the list that the sample made, of the CRL before.
    """
    client = place.start_s3("partner-crls")
    ca = CertificateAuthority.create("Partner CA", key_type="rsa")
    partner, former = ca.issue("partner"), ca.issue("former partner", serial_number=0xABCDEF12)
    crl = sign_crl(
        ca, entry_of(former), this_update=NOW, next_update=NOW + 30 * DAY, crl_number=8
    )  # fmt: skip
    body = pem_block("X509 CRL", crl)
    client.put_object(Bucket="partner-crls", Key="crl/partner.crl", Body=body)
    client.put_object(Bucket="partner-crls", Key="crl/partner.crl.crt", Body=ca.pem)
    client.put_object(
        Bucket="partner-crls", Key="crl/partner.crl.json", Body=b'{"0xabcdef12": "", "0x4711": ""}'
    )
    client.put_object(Bucket="partner-crls", Key="issuers/ca.pem", Body=ca.pem)
    place.write(partner__pem=partner.pem, former__pem=former.pem)


# ---- incidents -----------------------------------------------------------------------------


class Acme:
    """
    A root CA and a CA of clients, who publish a CRL every few days, and their certificates.

    ``crl(N, ...)`` is CRL N of the clients' CA. It lists the serial numbers 1001 to 1012, and
    those of the certificates given.
    """

    def __init__(self) -> None:
        long_ago = NOW - 100 * DAY
        self.root = CertificateAuthority.create("Acme Root CA", now=long_ago)
        self.clients = CertificateAuthority.create(
            "Acme Clients CA", parent=self.root, now=long_ago
        )
        self.certificates = {
            name: self.clients.issue(name, not_before=long_ago)
            for name in ("alice", "bob", "carol", "dave", "erin")
        }

    def root_crl(self) -> bytes:
        """The CRL of the root."""
        return sign_crl(
            self.root,
            this_update=NOW - 11 * DAY,
            next_update=NOW + 90 * DAY,
            crl_number=3,
        )

    def crl(
        self,
        number: int,
        *names: str,
        age: timedelta,
        lasting: timedelta = 14 * DAY,
        signer: CertificateAuthority | None = None,
        is_empty: bool = False,
    ) -> bytes:
        """A CRL that revokes the certificates of *names*."""
        serials = [] if is_empty else [*range(1001, 1013)]
        serials += [self.certificates[name].certificate.serial_number for name in names]
        entries = b"".join(encode_entry(one, NOW - 12 * DAY, reason=1) for one in serials)
        return sign_crl(
            signer or self.clients,
            entries,
            this_update=NOW - age,
            next_update=NOW - age + lasting,
            crl_number=number,
        )


def incident(place: Place) -> Acme:
    """
    The store ``published`` of Acme, its copy ``mirror``, the CRLs and the issuers as files, and
    a service that has run since yesterday: ``ask FILE...`` has it check certificates.

    Ten days ago the root's CRL was published, and from then on each object is kept for 30
    days. The clients' CA published CRL 15 nine days ago, CRL 16 with bob three days ago, and
    CRL 17 with dave yesterday. Five days ago erin was denied by hand for a day. CRL 18 with
    carol is new and not published yet.
    """
    acme = Acme()
    store = place.directory / "published"
    issuers = [acme.root.pem, acme.clients.pem]
    _publish(store, acme.root_crl(), issuers, "root.crl", 10 * DAY)
    clean_up(store, keep=30 * DAY, now=NOW - 10 * DAY)
    crls = {
        15: acme.crl(15, age=9 * DAY),
        16: acme.crl(16, "bob", age=3 * DAY),
        17: acme.crl(17, "bob", "dave", age=DAY),
    }
    _publish(store, crls[15], issuers, "crls/clients.crl", 9 * DAY)
    erin = load_certificate(acme.certificates["erin"].der)
    deny_certificate(
        store,
        erin.issuer,
        erin.serial_number,
        until=NOW - 4 * DAY,
        note="lost badge, ticket 42",
        now=NOW - 5 * DAY,
    )
    _publish(store, crls[16], issuers, "crls/clients.crl", 3 * DAY)
    _publish(store, crls[17], issuers, "crls/clients.crl", DAY)
    mirror_store(store, place.directory / "mirror")
    for folder in ("crls", "issuers"):
        (place.directory / folder).mkdir()
    place.write(
        **{f"{name}__pem": one.pem for name, one in acme.certificates.items()},
        clients_18__crl=acme.crl(18, "bob", "dave", "carol", age=timedelta(minutes=5)),
        **{
            "crls/root__crl": acme.root_crl(),
            "crls/clients__crl": crls[17],
            "issuers/root__pem": acme.root.pem,
            "issuers/clients__pem": acme.clients.pem,
        },
    )
    _start_service(place)
    return acme


def incident_expired(place: Place) -> None:
    """Acme's store an hour after CRL 19 should have come, because CRL 18 has expired."""
    acme = incident(place)
    late = acme.crl(18, "bob", "dave", age=timedelta(hours=13), lasting=timedelta(hours=12))
    issuers = [acme.root.pem, acme.clients.pem]
    store = place.directory / "published"
    _publish(store, late, issuers, "crls/clients.crl", timedelta(hours=12))
    place.write(clients_19__crl=acme.crl(19, "bob", "dave", age=timedelta(minutes=1)))


def monitored(place: Place) -> None:
    """As :func:`incident_expired`, and a CRL that is older than the one in use."""
    incident_expired(place)
    (place.directory / "crls" / "clients.crl").rename(place.directory / "old.crl")


def incident_emptied(place: Place) -> None:
    """Acme's store, and a CRL 18 in which nearly all entries are missing."""
    acme = incident(place)
    place.write(empty__crl=acme.crl(18, age=timedelta(minutes=5), is_empty=True))


def incident_wrong_issuer(place: Place) -> None:
    """Acme's store, and a test CA that has the name of the clients' CA, with its CRL."""
    acme = incident(place)
    test = CertificateAuthority.create("Acme Clients CA", now=NOW - 100 * DAY)
    place.write(
        test_ca__pem=test.pem,
        test__crl=acme.crl(1, age=timedelta(minutes=5), signer=test, is_empty=True),
    )


def incident_rekeyed(place: Place) -> None:
    """Acme's store, and a CRL by the new key of the clients' CA."""
    acme = incident(place)
    new = CertificateAuthority.create("Acme Clients CA", parent=acme.root, now=NOW - DAY)
    frank = new.issue("frank")
    place.write(
        new_ca__pem=new.pem,
        frank__pem=frank.pem,
        clients_19__crl=acme.crl(19, "bob", "dave", age=timedelta(minutes=5), signer=new),
    )


def incident_set_back(place: Place) -> None:
    """Acme's store, and ``catalog.json`` as it was a week ago and as a backup still has it."""
    incident(place)
    store = LocalStore(place.directory / "published")
    backup = store_at(store, 4).read(CATALOG_NAME).body
    (place.directory / "backup.json").write_bytes(backup)


def _publish(store: Path, crl: bytes, issuers: list[bytes], name: str, age: timedelta) -> None:
    publish_crl(
        crl,
        store,
        issuer=issuers,
        issuers_from="issuers",
        source_name=name,
        now=NOW - age,
    )


def _start_service(place: Place) -> None:
    """Start a checker in a process of its own, and let ``ask`` reach it."""
    program = place.directory.parent / f"{place.directory.name}-service.py"
    program.write_text(_SERVICE)
    process = place.stack.enter_context(
        subprocess.Popen(
            [sys.executable, "-P", str(program), str(place.directory / "published")],
            stdout=subprocess.PIPE,
            text=True,
        )
    )
    place.stack.callback(process.kill)
    assert process.stdout is not None
    port = process.stdout.readline().strip()
    place.write_command("ask", _ASK.format(port=port))


_SERVICE = """
import http.server
from datetime import timedelta
import sys
from crlcheck import RevocationChecker

checker = RevocationChecker(sys.argv[1], refresh_after=timedelta(0))
checker.preload()

class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        result = checker.check(body)
        cause = f" ({result.cause.value})" if result.cause else ""
        problems = sorted({one.kind.value for one in checker.status().problems})
        also = f"; problems: {', '.join(problems)}" if problems else ""
        text = f"{result.status.value}{cause}{' by hand' if result.denied else ''}{also}"
        self.send_response(200)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_):
        pass

server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
"""

_ASK = """
import sys, urllib.request
for name in sys.argv[1:]:
    body = open(name, "rb").read()
    with urllib.request.urlopen("http://127.0.0.1:{port}", body) as answer:
        print(f"{{name}}: {{answer.read().decode()}}")
"""
