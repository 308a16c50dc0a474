"""The DER of certificates in headers: every form, and nothing else from anything else."""

from __future__ import annotations

import base64
import itertools
import re
from urllib.parse import quote, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crlcheck.demo.pki import CertificateAuthority, pem_block
from crlcheck.encoding.header_forms import (
    MAX_CERTIFICATES,
    MAX_VALUE_SIZE,
    HeaderForm,
    certificates_in_header,
)
from crlcheck.errors import CertificateHeaderError
from support.header_forms import (
    OF_PATHS,
    WRITERS,
    as_apache,
    as_aws,
    as_envoy,
    as_nginx,
    as_rfc_9440,
    as_traefik,
    base64_of,
    pem_of,
)

ISSUER = CertificateAuthority.create("Issuing")


def awkward_client() -> bytes:
    """A certificate whose base64 has each character that some proxy encodes."""
    return next(
        der
        for der in (ISSUER.issue(f"client {number}").der for number in itertools.count())
        if set("+/=") <= set(base64_of(der))
    )


CLIENT, OTHER, AUTHORITY = awkward_client(), ISSUER.issue("other").der, ISSUER.der
KEY = pem_block("PRIVATE KEY", b"\x30\x14\x02\x01\x00" + b"key" * 20).decode()
FORMS = list(HeaderForm)


def refusal(
    value: str | bytes, form: HeaderForm, *, chain: str | None = None
) -> CertificateHeaderError:
    """The error about a value, which repeats no part of it."""
    with pytest.raises(CertificateHeaderError) as caught:
        certificates_in_header(value, form, chain=chain)
    error = caught.value
    assert error.form == form.value
    assert str(error).startswith(f"certificate header ({form.value}): found ")
    text = value if isinstance(value, str) else value.decode("latin-1")
    words = re.findall(r"[A-Za-z0-9+/=]{12,}", text)
    assert not [word for word in words if word in str(error) and "certificate" not in word]
    return error


@pytest.mark.parametrize("form", FORMS)
def test_a_certificate_comes_back_from_every_form(form: HeaderForm) -> None:
    """
    As text or bytes, and with the blanks around it that are no part of a header's value.
    """
    value = WRITERS[form]([CLIENT])
    for spelled in (value, value.encode(), f" {value}\t"):
        assert certificates_in_header(spelled, form) == [CLIENT]


@pytest.mark.parametrize("form", FORMS)
def test_only_forms_of_paths_have_several_certificates(form: HeaderForm) -> None:
    """
    There the client's comes first. Elsewhere a second one is an error, in whatever order.
    """
    path = [CLIENT, AUTHORITY]
    value = WRITERS[form](path)
    if form in OF_PATHS:
        assert certificates_in_header(value, form) == path
    else:
        assert refusal(value, form).rule in ("several_certificates", "several_values")
        assert refusal(WRITERS[form]([CLIENT, CLIENT]), form).rule.startswith("several_")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("separator", [",", ", ", " , ", " ", "\n", ";", "%0A"])
def test_two_values_in_one_are_an_error(form: HeaderForm, separator: str) -> None:
    """
    Servers join a header that came twice, and neither value is surely the proxy's.

    Traefik's own separator is a comma alone: what comes behind is no client's certificate.
    """
    mine, theirs = WRITERS[form]([OTHER]), WRITERS[form]([CLIENT])
    for first, second, client in ((mine, theirs, OTHER), (theirs, mine, CLIENT)):
        joined = f"{first}{separator}{second}"
        if (form, separator) == (HeaderForm.TRAEFIK, ","):
            assert certificates_in_header(joined, form)[0] == client
        else:
            assert refusal(joined, form).rule.startswith(("several_", "bad_", "other_form"))


SHAPES = {
    "nginx": as_nginx,
    "apache": as_apache,
    "haproxy": as_traefik,
    "envoy": as_envoy,
    "rfc9440": as_rfc_9440,
    "alb-verify": as_aws,
}
OWN_SHAPES = {
    HeaderForm.CADDY: {"haproxy"},
    HeaderForm.TRAEFIK: {"haproxy"},
    HeaderForm.ALB_VERIFY: {"alb-verify", "nginx"},
    HeaderForm.ALB_PASSTHROUGH: {"alb-verify", "nginx"},
    HeaderForm.CLOUDFRONT: {"alb-verify", "nginx"},
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_value_of_another_form_names_both(form: HeaderForm, shape: str) -> None:
    """
    The error says what the value looks like and what was expected.
    """
    value = SHAPES[shape]([CLIENT])
    if shape in OWN_SHAPES.get(form, {form.value}):
        assert certificates_in_header(value, form) == [CLIENT]
        return
    error = refusal(value, form)
    assert (error.rule, error.found) == ("other_form", shape)
    found, _, expected = str(error).partition(", expected ")
    of = re.compile(r"the form of ([\w ]+)")
    assert of.search(found), str(error)
    assert of.search(expected), str(error)


def test_a_path_of_traefik_is_no_value_of_haproxy() -> None:
    """
    Two values of HAProxy look like it, so the error says both.
    """
    error = refusal(as_traefik([CLIENT, AUTHORITY]), HeaderForm.HAPROXY)
    assert (error.rule, error.found) == ("several_values", "traefik")
    assert "HAProxy" in str(error)
    assert "more than once" in str(error)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("value", "rule", "found"),
    [
        ("", "no_certificate", None),
        (" \t ", "no_certificate", None),
        (b"", "no_certificate", None),
        ("-", "other_form", None),
        ("null", "other_form", None),
        ("client", "other_form", None),
        ('{"cert": "x"}', "other_form", "json"),
        ("https://example.com/client.pem", "other_form", "url"),
        (CLIENT, "not_ascii", None),
        ("\0", "not_ascii", None),
        (f"{as_nginx([CLIENT])}\0", "not_ascii", None),
        (as_nginx([CLIENT]).replace("-", "\u2013"), "not_ascii", None),
        ("\ud800", "not_ascii", None),
        (base64_of(CLIENT).encode("utf-16"), "not_ascii", None),
        ("M" * (MAX_VALUE_SIZE + 1), "too_large", None),
        ("%" * (MAX_VALUE_SIZE + 1), "too_large", None),
    ],
)
def test_hostile_values_are_refused_in_every_form(
    form: HeaderForm, value: str | bytes, rule: str, found: str | None
) -> None:
    """
    Nothing, text, bytes and too much of it.
    """
    error = refusal(value, form)
    assert (error.rule, error.found) == (rule, found)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "character", ["%", '"', ",", ":", "-", "=", "M=", "A,", "\\", ";Cert=", ". ", " .", "\t."]
)
def test_a_full_header_of_anything_is_refused(form: HeaderForm, character: str) -> None:
    """
    The largest values, of what each reader looks for: without recursion, and at once.
    """
    begin = WRITERS[form]([CLIENT])[:300]
    for start in ("", begin, 'Cert="', ":", "MI", "-----BEGIN%20", "-----BEGIN "):
        room = MAX_VALUE_SIZE - len(start)
        refusal(start + (character * room)[:room], form)


PEM_FORMS = (HeaderForm.NGINX, HeaderForm.APACHE, HeaderForm.ALB_VERIFY)


def from_pem(form: HeaderForm, pem: str) -> str:
    """Text of PEM as the proxy would write it."""
    if form is HeaderForm.APACHE:
        return pem.replace("\n", " ")
    return quote(pem, safe="" if form is HeaderForm.NGINX else "+=/")


@pytest.mark.parametrize("form", PEM_FORMS)
@pytest.mark.parametrize(
    ("pem", "found"),
    [
        (KEY, "private_key"),
        (KEY + pem_of([CLIENT]), "private_key"),
        (pem_of([CLIENT]) + KEY, None),
        (f"subject=client\n{pem_of([CLIENT])}", None),
        (f"{pem_of([CLIENT])}subject=client\n", None),
        (f"{pem_of([CLIENT])}\n\n", None),
        (pem_of([CLIENT]).replace("CERTIFICATE", "X509 CRL"), "crl"),
        (pem_of([CLIENT]).replace("CERTIFICATE", "PKCS7"), "pkcs7"),
        (pem_of([CLIENT]).replace("CERTIFICATE", "TRUSTED CERTIFICATE"), None),
        (pem_of([CLIENT]).replace("CERTIFICATE", "CERTIFICATE REQUEST"), "certificate_request"),
        (pem_of([CLIENT]).replace("END", "BEGIN"), None),
        (pem_of([CLIENT]).partition("-----END")[0], None),
        (pem_of([CLIENT])[:200], None),
        (pem_of([CLIENT]).replace("-----END", "----END"), None),
        (pem_of([CLIENT]).replace("MI", "M!", 1), None),
        ("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n", None),
    ],
)
def test_what_is_not_one_certificate_in_pem_is_refused(
    form: HeaderForm, pem: str, found: str | None
) -> None:
    """
    No key, no text, no other block stands beside the certificate or in its place.
    """
    if form is HeaderForm.APACHE and pem.endswith("\n\n"):
        assert certificates_in_header(from_pem(form, pem), form) == [CLIENT]  # blanks around it
        return
    error = refusal(from_pem(form, pem), form)
    assert error.rule in ("bad_pem", "other_form", "bad_encoding")
    assert found is None or error.found == found


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        (as_nginx([CLIENT]) + "%", "bad_encoding"),
        (as_nginx([CLIENT]) + "%0", "bad_encoding"),
        (as_nginx([CLIENT]) + "%zz", "bad_encoding"),
        (as_nginx([CLIENT]) + "%u0041", "bad_encoding"),
        (as_nginx([CLIENT]) + "%00", "not_ascii"),
        (as_nginx([CLIENT]) + "%C3%A9", "not_ascii"),
        (as_nginx([CLIENT]) + "%FF", "not_ascii"),
        (as_nginx([CLIENT]).replace("%", "%25"), "other_form"),
        (as_nginx([CLIENT]).replace("%20", "+"), "other_form"),
        (as_nginx([CLIENT]).replace("%20", " "), "other_form"),
        (as_nginx([CLIENT]).replace("%0A", "\n"), "bad_encoding"),
        (quote(as_nginx([CLIENT]), safe=""), "other_form"),
    ],
)
def test_broken_escapes_are_refused(value: str, rule: str) -> None:
    """
    What is half an escape, encodes no ASCII or was encoded twice.
    """
    assert refusal(value, HeaderForm.NGINX).rule == rule


def test_spelling_that_changes_nothing_is_accepted() -> None:
    """
    Hexadecimal digits in lower case, another length of lines, line ends as they were, and
    Traefik's header before 2.9.4.
    """
    pem = pem_of([CLIENT])
    lower = re.sub("%[0-9A-F]{2}", lambda found: found[0].lower(), as_nginx([CLIENT]))
    one_line = pem_block("CERTIFICATE", b"").decode().replace("\n", f"\n{base64_of(CLIENT)}\n", 1)
    for form, value in (
        (HeaderForm.NGINX, lower),
        (HeaderForm.NGINX, as_nginx([CLIENT]).removesuffix("%0A")),
        (HeaderForm.NGINX, quote(one_line.replace("\n\n", "\n"), safe="")),
        (HeaderForm.APACHE, pem),
        (HeaderForm.APACHE, pem.replace("\n", "\r\n")),
        (HeaderForm.APACHE, pem.replace("\n", "  ")),
        (HeaderForm.TRAEFIK, quote(base64_of(CLIENT), safe="")),
    ):
        assert certificates_in_header(value, form) == [CLIENT], (form, value)
    escaped = f"{quote(base64_of(CLIENT), safe='')},{quote(base64_of(AUTHORITY), safe='')}"
    assert certificates_in_header(escaped, HeaderForm.TRAEFIK) == [CLIENT, AUTHORITY]


@pytest.mark.parametrize(
    "text",
    [
        base64_of(CLIENT).rstrip("="),
        base64_of(CLIENT) + "=",
        base64_of(CLIENT)[:-1],
        base64_of(CLIENT) + base64_of(OTHER),
        base64_of(CLIENT).replace("+", "-").replace("/", "_"),
        "MIIB" + "=" * 8,
        "\n".join(base64_of(CLIENT).partition("A")),
    ],
)
@pytest.mark.parametrize("form", [HeaderForm.HAPROXY, HeaderForm.TRAEFIK, HeaderForm.RFC_9440])
def test_broken_base64_is_refused(form: HeaderForm, text: str) -> None:
    """
    Padding that is missing or too long, another alphabet, two texts in one.
    """
    value = f":{text}:" if form is HeaderForm.RFC_9440 else text
    assert refusal(value, form).rule in ("bad_encoding", "bad_structure", "other_form")


def test_stray_bits_of_base64_are_refused() -> None:
    """
    RFC 4648 3.5: other texts decode to the same bytes, and no program writes them.
    """
    text = base64_of(b"\x30\x82\x01\x00" + bytes(256))
    assert text.endswith("AA=")
    strayed = text.replace("AA=", "AB=")
    assert base64.b64decode(strayed) == base64.b64decode(text)
    assert refusal(strayed, HeaderForm.HAPROXY).rule == "bad_encoding"


@pytest.mark.parametrize(
    "value",
    [
        f":{base64_of(CLIENT)}",
        f"{base64_of(CLIENT)}:",
        f":{base64_of(CLIENT)}: :",
        f":{base64_of(CLIENT)}:;a=1",
        f":{base64_of(CLIENT)}:;a",
        f":{base64_of(CLIENT)}:,",
        f":{base64_of(CLIENT)}:x",
        f'"{base64_of(CLIENT)}"',
        f"(:{base64_of(CLIENT)}:)",
        f": {base64_of(CLIENT)}:",
        "::",
        ":",
    ],
)
def test_a_byte_sequence_is_strict(value: str) -> None:
    """
    RFC 9440 defines no parameters, and neither a list nor a string is an item of bytes.
    """
    assert refusal(value, HeaderForm.RFC_9440).rule in (
        "bad_structure", "bad_encoding", "other_form", "several_values",
    )  # fmt: skip


def test_the_chain_of_rfc_9440_follows_the_client() -> None:
    """
    Client-Cert-Chain is a list, so it may come in several lines that a server joins.
    """
    client = as_rfc_9440([CLIENT])
    for comma in (",", ", ", " ,\t"):
        chain = as_rfc_9440([AUTHORITY, OTHER]).replace(", ", comma)
        found = certificates_in_header(client, HeaderForm.RFC_9440, chain=chain)
        assert found == [CLIENT, AUTHORITY, OTHER]
    for broken in ("", f"{client},", f",{client}", f"{client},,{client}", f"{client}; a", "a"):
        refusal(client, HeaderForm.RFC_9440, chain=broken)
    assert refusal("", HeaderForm.RFC_9440, chain=client).rule == "no_certificate"
    with pytest.raises(ValueError, match="only RFC 9440"):
        certificates_in_header(as_nginx([CLIENT]), HeaderForm.NGINX, chain=client)


@pytest.mark.parametrize("form", [*OF_PATHS, HeaderForm.RFC_9440])
def test_a_path_has_a_largest_number_of_certificates(form: HeaderForm) -> None:
    """
    One more is an error, not a shorter path.
    """
    for number in (MAX_CERTIFICATES, MAX_CERTIFICATES + 1):
        path = [CLIENT] + [AUTHORITY] * (number - 1)
        chain = None
        if form is HeaderForm.RFC_9440:
            value, chain = as_rfc_9440(path[:1]), as_rfc_9440(path[1:])
        else:
            value = WRITERS[form](path)
        if number <= MAX_CERTIFICATES:
            assert certificates_in_header(value, form, chain=chain) == path
        else:
            assert refusal(value, form, chain=chain).rule == "several_certificates"


# ---- Envoy -------------------------------------------------------------------------


def own(value: str) -> list[bytes]:
    """What is read of a value of Envoy."""
    return certificates_in_header(value, HeaderForm.ENVOY)


def test_envoy_s_keys_are_read_in_any_order_and_case() -> None:
    """
    Cert may be missing where Chain begins with the same certificate, and the reverse.
    """
    value = as_envoy([CLIENT, AUTHORITY])
    pairs = value.split(";")
    assert own(";".join(reversed(pairs))) == [CLIENT, AUTHORITY]
    assert own(";".join(one for one in pairs if "Cert" not in one)) == [CLIENT, AUTHORITY]
    assert own(";".join(one for one in pairs if "Chain" not in one)) == [CLIENT]
    assert own(re.sub("(^|;)([A-Z][A-Za-z]+)=", lambda f: f[0].upper(), value))[0] == CLIENT
    assert own(value + ";DNS=one.example;DNS=two.example;By=spiffe://example.com/b")[0] == CLIENT
    assert own(value.replace('"-----', "-----").replace('%0A"', "%0A"))[0] == CLIENT


@pytest.mark.parametrize(
    ("others", "rule"),
    [
        ({"Hash": "0" * 64}, "contradiction"),
        ({"Hash": ""}, "contradiction"),
        ({"hash": "0" * 64}, "several_values"),
        ({"cert": '"x"'}, "several_values"),
        ({"URI": f'u;Cert="{as_nginx([OTHER])}"'}, "several_values"),
        ({"URI": f'u;Chain="{as_nginx([OTHER])}"'}, "contradiction"),
        ({"URI": f'u,Cert="{as_nginx([OTHER])}"'}, "several_values"),
        ({"URI": f"u,{as_envoy([OTHER])}"}, "several_values"),
        ({"URI": 'u"'}, "bad_structure"),
        ({"URI": '"u'}, "bad_structure"),
        ({"URI": '"u\\"'}, "bad_structure"),
        ({"Subject": '"a"b"'}, "bad_structure"),
        ({"Subject": '"a""b"'}, "bad_structure"),
        ({"Subject": f'"\\";Cert="{as_nginx([OTHER])}"'}, "bad_structure"),
        ({"URI": "u;;DNS=a"}, "bad_structure"),
        ({"URI": "u;DNS"}, "bad_structure"),
        ({"URI": "u;"}, "bad_structure"),
        ({"URI": "u; DNS=a"}, "bad_structure"),
        ({"Cert": ""}, "bad_structure"),
        ({"Cert": f'"{as_nginx([CLIENT, AUTHORITY])}"'}, "several_certificates"),
        ({"Cert": f'"{as_nginx([OTHER])}"'}, "contradiction"),
        ({"Cert": f'"{as_aws([CLIENT])}"'}, "bad_encoding"),
        ({"Cert": f'"{as_traefik([CLIENT])}"'}, "bad_encoding"),
        ({"Cert": f'"{as_nginx([CLIENT])[:-9]}%2"'}, "bad_encoding"),
        ({"Chain": f'"{as_nginx([AUTHORITY, CLIENT])}"'}, "contradiction"),
        ({"Chain": f'"{as_nginx([OTHER])}"'}, "contradiction"),
        ({"Chain": f'"{quote(KEY, safe="")}"'}, "bad_pem"),
    ],
)
def test_what_does_not_fit_together_in_envoy_s_element_is_refused(
    others: dict[str, str], rule: str
) -> None:
    """
    A second certificate, wherever it hides: in a URI, behind a quote, in another element.
    """
    assert refusal(as_envoy([CLIENT], **others), HeaderForm.ENVOY).rule == rule


def test_a_certificate_that_a_uri_adds_is_not_the_client_s() -> None:
    """
    Where Envoy writes no Cert, the URI of the client may, and the Hash is not of it.
    """
    pairs = as_envoy([CLIENT]).split(";")
    without = ";".join(one for one in pairs if not one.startswith("Cert="))
    added = f'{without};Cert="{as_nginx([OTHER])}"'
    assert refusal(without, HeaderForm.ENVOY).rule == "bad_structure"
    assert refusal(added, HeaderForm.ENVOY).rule == "contradiction"


@pytest.mark.parametrize("prefix", ['A="', 'A="\\', 'A="\\"', "A=", '",', 'Cert="x"', "A=b;"])
def test_no_text_ahead_of_envoy_s_element_moves_its_quotes(prefix: str) -> None:
    """
    With APPEND_FORWARD the client's own header comes first.
    """
    for separator in (",", ""):
        refusal(f"{prefix}{separator}{as_envoy([CLIENT])}", HeaderForm.ENVOY)


# ---- whatever is changed -------------------------------------------------------------

ALPHABET = st.sampled_from([*' \t\n\r\0%",;:=+/\\-_.{}()AaMZz09', "é", "%0A", "%00", '";Cert="'])


@st.composite
def changed_values(draw: st.DrawFn) -> tuple[HeaderForm, str]:
    """A value that something was put into, taken from, or was written over in."""
    form = draw(st.sampled_from(FORMS))
    value = WRITERS[form]([CLIENT, AUTHORITY] if form in OF_PATHS else [CLIENT])
    pieces = [WRITERS[other]([OTHER]) for other in FORMS]
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(value)))
        stop = draw(st.sampled_from([start, start + 1, start + 4, start + 65, len(value)]))
        new = draw(st.one_of(st.just(""), ALPHABET, st.sampled_from([*pieces, value])))
        value = value[:start] + new + value[stop:]
    return form, value


def bare(text: str) -> str:
    """Text without what may be written in several ways: escapes, blanks and line ends."""
    return re.sub(r"\s", "", unquote(text))


@given(changed_values())
def test_a_changed_value_hides_nothing(changed: tuple[HeaderForm, str]) -> None:
    """
    It is an error, or what was read is all that is there: written again, it is that value.

    Of Envoy's the other keys are not written again: there no certificate gets by its Hash.
    """
    form, value = changed
    try:
        found = certificates_in_header(value, form)
    except CertificateHeaderError:
        return
    if form is HeaderForm.ENVOY:
        assert found[0] in (CLIENT, OTHER)
    else:
        assert bare(WRITERS[form](found)) == bare(value)


@given(st.sampled_from(FORMS), st.text() | st.binary())
def test_any_text_is_read_or_refused(form: HeaderForm, value: str | bytes) -> None:
    """
    No value ends in an error of another kind.
    """
    with pytest.raises(CertificateHeaderError):
        certificates_in_header(value, form)
