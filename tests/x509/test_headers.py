"""The client's certificates from the headers of proxies, as facts that a checker takes."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

import crlcheck
from crlcheck import (
    CertificateError,
    CertificateHeaderError,
    HeaderForm,
    RevocationChecker,
    RevocationStatus,
    certificate_from_header,
    load_certificate,
    load_certificates,
    remedy_of,
)
from crlcheck.demo.pki import pem_block
from support.authorizer import PKI, publish
from support.header_forms import (
    OF_PATHS,
    WRITERS,
    as_apache,
    as_nginx,
    as_rfc_9440,
    as_traefik,
    base64_of,
)

RECORDED: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "data" / "proxy_headers.json").read_text("utf-8")
)
CLIENT, ISSUER = (load_certificate(RECORDED[name].encode()) for name in ("client", "issuer"))
# The example of RFC 9440, appendix A.
RFC_9440 = (
    ":MIIBqDCCAU6gAwIBAgIBBzAKBggqhkjOPQQDAjA6MRswGQYDVQQKDBJMZXQncyBBdXRoZW50aWNhdGUxGzAZBg"
    "NVBAMMEkxBIEludGVybWVkaWF0ZSBDQTAeFw0yMDAxMTQyMjU1MzNaFw0yMTAxMjMyMjU1MzNaMA0xCzAJBgNVBA"
    "MMAkJDMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE8YnXXfaUgmnMtOXU/IncWalRhebrXmckC8vdgJ1p5Be5F/"
    "3YC8OthxM4+k1M6aEAEFcGzkJiNy6J84y7uzo9M6NyMHAwCQYDVR0TBAIwADAfBgNVHSMEGDAWgBRm3WjLa38lbE"
    "YCuiCPct0ZaSED2DAOBgNVHQ8BAf8EBAMCBsAwEwYDVR0lBAwwCgYIKwYBBQUHAwIwHQYDVR0RAQH/BBMwEYEPYm"
    "RjQGV4YW1wbGUuY29tMAoGCCqGSM49BAMCA0gAMEUCIBHda/r1vaL6G3VliL4/Di6YK0Q6bMjeSkC3dFCOOB8TAi"
    "EAx/kHSB4urmiZ0NX5r5XarmPk0wmuydBVoU4hBVZ1yhk=:"
)


def software(entry: dict[str, Any]) -> str:
    """The name of a test of a recorded value."""
    return str(entry["software"])


@pytest.mark.parametrize("entry", RECORDED["sent"], ids=software)
def test_what_real_proxies_sent_is_read(entry: dict[str, Any]) -> None:
    """
    Recorded from the programs, with a client that sent its issuer's certificate as well.
    """
    path = certificate_from_header(entry["value"], form=entry["form"])
    assert path == (CLIENT, ISSUER)[: entry["certificates"]]


@pytest.mark.parametrize("entry", RECORDED["without_certificate"], ids=software)
def test_what_real_proxies_sent_for_no_certificate_is_told_apart(entry: dict[str, Any]) -> None:
    """
    Recorded from the programs, with a client without a certificate.
    """
    with pytest.raises(CertificateHeaderError) as caught:
        certificate_from_header(entry["value"], form=entry["form"])
    assert caught.value.rule == "no_certificate"


@pytest.mark.parametrize("entry", RECORDED["refused"], ids=software)
def test_what_clients_get_into_envoy_s_header_is_refused(entry: dict[str, Any]) -> None:
    """
    Recorded from Envoy: the client's own element comes first, and a URI in its certificate
    with a comma makes the last one.
    """
    with pytest.raises(CertificateHeaderError) as caught:
        certificate_from_header(entry["value"], form=entry["form"])
    assert caught.value.rule == "several_values"
    assert "SANITIZE_SET" in str(caught.value.remedy)


def test_the_example_of_rfc_9440_is_read() -> None:
    """
    Its certificate has serial number 7.
    """
    (facts,) = certificate_from_header(RFC_9440, form="rfc9440")
    assert facts.serial_number == 7


@pytest.mark.parametrize("form", HeaderForm)
def test_a_checker_takes_what_is_returned(form: HeaderForm, tmp_path: Path) -> None:
    """
    The first for ``check``, all of it for ``check_chain``, whether or not there is a path.
    """
    publish(tmp_path, PKI.crl())
    client, authority = PKI.revoked.der, PKI.authority.der
    paths = [[client], [client, authority]] if form in OF_PATHS else [[client]]
    with RevocationChecker(str(tmp_path)) as checker:
        for path in paths:
            for spelled in (form, form.value):
                found = certificate_from_header(WRITERS[form](path), form=spelled)
                assert found == load_certificates([*path])
                assert checker.check(found[0]).status is RevocationStatus.REVOKED
                assert checker.check_chain(found).status is RevocationStatus.REVOKED
        good = certificate_from_header(WRITERS[form]([PKI.good.der]), form=form)
        assert checker.check_chain(good).status is RevocationStatus.NOT_REVOKED


def test_certificates_that_are_no_path_are_not_put_in_order(tmp_path: Path) -> None:
    """
    They come as given, the first is the client's, and ``check_chain`` refuses the rest.
    """
    publish(tmp_path, PKI.crl())
    ders = [PKI.good.der, PKI.revoked.der, PKI.authority.der]
    path = certificate_from_header(as_traefik(ders), form="traefik")
    assert [facts.der for facts in path] == ders
    with RevocationChecker(str(tmp_path)) as checker, pytest.raises(ValueError, match="not a path"):
        checker.check_chain(path)


def test_the_chain_of_rfc_9440_comes_after_the_client() -> None:
    """
    It is read from the header beside, and only with this form.
    """
    client, chain = as_rfc_9440([CLIENT.der]), as_rfc_9440([ISSUER.der])
    assert certificate_from_header(client, form="rfc9440", chain=chain) == (CLIENT, ISSUER)
    with pytest.raises(ValueError, match="chain: found a value"):
        certificate_from_header(as_nginx([CLIENT.der]), form="nginx", chain=chain)


def changed(der: bytes) -> bytes:
    """A certificate of version 4, which X.509 does not have."""
    return der.replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x03", 1)


@pytest.mark.parametrize("form", HeaderForm)
@pytest.mark.parametrize(
    ("der", "found"),
    [
        (PKI.good.der + PKI.revoked.der, None),
        (PKI.good.der + b"\0", None),
        (PKI.good.der[:-1], None),
        (changed(PKI.good.der), None),
        (b"\x30\x82\x01\x00" + bytes(256), None),
        (PKI.crl(), "found a CRL"),
        (pem_block("CERTIFICATE", PKI.good.der), None),
        (pem_block("PRIVATE KEY", b"\x30\x03\x02\x01\x00"), None),
        (base64_of(PKI.good.der).encode(), None),
    ],
    ids=["two", "more", "less", "changed", "zeros", "crl", "pem", "key", "base64"],
)
def test_der_that_is_no_certificate_is_refused(
    form: HeaderForm, der: bytes, found: str | None
) -> None:
    """
    The decoded bytes are one certificate in strict DER, and never PEM or a bundle again.
    """
    with pytest.raises(CertificateHeaderError) as caught:
        certificate_from_header(WRITERS[form]([der]), form=form)
    error = caught.value
    assert error.form == form.value
    assert found is None or found in str(error)


def test_an_error_keeps_what_the_parser_found() -> None:
    """
    Rule and offset are those of the certificate, of which there may be several.
    """
    broken = changed(PKI.good.der)
    with pytest.raises(CertificateError) as parsed:
        load_certificate(broken)
    with pytest.raises(CertificateHeaderError) as caught:
        certificate_from_header(as_traefik([PKI.good.der, broken]), form="traefik")
    assert (caught.value.rule, caught.value.offset) == (parsed.value.rule, parsed.value.offset)
    assert "number 2" in str(caught.value)
    assert caught.value.as_dict()["form"] == "traefik"


def test_a_private_key_is_named_and_not_repeated() -> None:
    """
    In every form that can hold one.
    """
    key = PKI.good.key_pem
    der = base64.b64decode(b"".join(key.splitlines()[1:-1]))
    for form, value in (
        ("nginx", as_nginx([der])),
        ("apache", key.decode().replace("\n", " ")),
        ("haproxy", base64_of(der)),
        ("rfc9440", f":{base64_of(der)}:"),
    ):
        with pytest.raises(CertificateHeaderError) as caught:
            certificate_from_header(value, form=form)
        assert caught.value.found == "private_key"
        assert base64_of(der)[8:24] not in str(caught.value)


def test_misuse_is_no_refusal() -> None:
    """
    A form that does not exist, and what is no value of one header.
    """
    with pytest.raises(ValueError, match="found 'iis', expected one of nginx, apache, "):
        certificate_from_header("", form="iis")
    wrong: list[Any] = [None, [as_nginx([CLIENT.der])], memoryview(b""), CLIENT]
    for value in wrong:
        with pytest.raises(TypeError, match="found .*, expected the value of one header"):
            certificate_from_header(value, form="nginx")
    with pytest.raises(TypeError):
        certificate_from_header(RFC_9440, form="rfc9440", chain=wrong[1])


def test_the_error_has_a_remedy() -> None:
    """
    Its own where it knows more, else the table's.
    """
    remedies = {}
    for value in ("", as_apache([CLIENT.der])):
        with pytest.raises(crlcheck.CertificateHeaderError) as caught:
            certificate_from_header(value, form="nginx")
        remedies[caught.value.rule] = remedy_of(caught.value)
    assert "sent no certificate" in str(remedies["no_certificate"])
    assert "docs/reference/proxies.md" in str(remedies["other_form"])
