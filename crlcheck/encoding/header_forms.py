"""
Read the DER of the certificates that a proxy hands on in a header.

A client can choose the text of a header, so the text is believed only as far as the proxy
is the one that wrote it. Nothing in it is skipped, searched for or mended:

1. The value has the form that was asked for, from its first character to its last. What
   looks like another form is an error that names both.
2. Each form has one place for the client's certificate. A second one there is an error, and
   so is what a server makes of a header that came twice: values with a comma between them.
3. What is decoded is all that the value holds: nothing stands beside the blocks of PEM, and
   what is base64 alone is exactly what its bytes encode to.
4. Size, number of certificates and work are bounded; the work is linear in the size.

So two values that differ by more than how they are written give different certificates, and
none hides behind another. No message repeats anything of a value.
"""

from __future__ import annotations

import binascii
import enum
import re
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import NoReturn
from urllib.parse import unquote_to_bytes

from crlcheck.encoding.pem import CERTIFICATE, only_certificate, pem_contents
from crlcheck.errors import CertificateHeaderError

MAX_VALUE_SIZE = 1 << 16
"""Characters of a header. Proxies and servers allow fewer, 8 to 60 KB for all headers."""

MAX_CERTIFICATES = 10
"""Real TLS paths are shorter, and each certificate costs a parse."""


class HeaderForm(enum.Enum):
    """
    The form in which a proxy hands the client's certificate on, by the proxy's name.

    NGINX: ``$ssl_client_escaped_cert``, URL-encoded PEM.
    APACHE: ``%{SSL_CLIENT_CERT}s`` in mod_headers, PEM with blanks in place of line ends.
    HAPROXY: ``%[ssl_c_der,base64]``, the base64 of DER.
    CADDY: ``{http.request.tls.client.certificate_der_base64}``, the same.
    TRAEFIK: the header of passTLSClientCert, the base64 of one or several certificates with
    commas between them; before Traefik 2.9.4 URL-encoded.
    ENVOY: X-Forwarded-Client-Cert with the keys Hash and Cert or Chain. It has one element.
    RFC_9440: Client-Cert, and Client-Cert-Chain beside it.
    ALB_VERIFY: X-Amzn-Mtls-Clientcert-Leaf of AWS's load balancer, URL-encoded PEM.
    ALB_PASSTHROUGH: X-Amzn-Mtls-Clientcert, the same of a path that nobody has verified.
    CLOUDFRONT: CloudFront-Viewer-Cert-Pem, URL-encoded PEM.
    """

    NGINX = "nginx"
    APACHE = "apache"
    HAPROXY = "haproxy"
    CADDY = "caddy"
    TRAEFIK = "traefik"
    ENVOY = "envoy"
    RFC_9440 = "rfc9440"
    ALB_VERIFY = "alb-verify"
    ALB_PASSTHROUGH = "alb-passthrough"
    CLOUDFRONT = "cloudfront"


_BASE64_OF_DER = "base64 of DER (the form of HAProxy and Caddy)"
_AWS_PEM = "URL-encoded PEM that leaves + = and / as they are (the form of AWS)"
_TEXTS = {
    HeaderForm.NGINX: "URL-encoded PEM (the form of nginx)",
    HeaderForm.APACHE: "PEM with blanks in place of line ends (the form of Apache)",
    HeaderForm.HAPROXY: _BASE64_OF_DER,
    HeaderForm.CADDY: _BASE64_OF_DER,
    HeaderForm.TRAEFIK: "PEM without its boundaries and line ends (the form of Traefik)",
    HeaderForm.ENVOY: "keys and values (XFCC, the form of Envoy)",
    HeaderForm.RFC_9440: "base64 between colons (the form of RFC 9440)",
    HeaderForm.ALB_VERIFY: _AWS_PEM,
    HeaderForm.ALB_PASSTHROUGH: _AWS_PEM,
    HeaderForm.CLOUDFRONT: _AWS_PEM,
}

# What a value looks like, first come first served. One name stands for all its forms. The
# base64 of DER begins with MI where that has 128 bytes or more.
_SHAPES = (
    (HeaderForm.ENVOY, re.compile(r"(?:By|Hash|Cert|Chain|Subject|URI|DNS)=", re.IGNORECASE)),
    (HeaderForm.RFC_9440, re.compile(r":")),
    (HeaderForm.NGINX, re.compile(r"-----BEGIN%20[^+=/]*\Z")),
    (HeaderForm.ALB_VERIFY, re.compile(r"-----BEGIN%20")),
    (HeaderForm.APACHE, re.compile(r"-----BEGIN ")),
    (HeaderForm.HAPROXY, re.compile(r"MI[A-Za-z0-9+/=]+\Z")),
    (HeaderForm.TRAEFIK, re.compile(r"MI[A-Za-z0-9+/]+=*[%,]")),
)
# AWS documents that + = and / stay as they are. Encoded they are no less clear.
_URL_ENCODED = frozenset({HeaderForm.NGINX, HeaderForm.ALB_VERIFY})
_PEM = _URL_ENCODED | {HeaderForm.APACHE}
_LABEL = "CERTIFICATE-----"
_SHAPES_OF = {
    HeaderForm.CADDY: frozenset({HeaderForm.HAPROXY}),
    HeaderForm.TRAEFIK: frozenset({HeaderForm.TRAEFIK, HeaderForm.HAPROXY}),
    HeaderForm.ALB_VERIFY: _URL_ENCODED,
    HeaderForm.ALB_PASSTHROUGH: _URL_ENCODED,
    HeaderForm.CLOUDFRONT: _URL_ENCODED,
}

# What proxies write where the client sent no certificate, beside nothing at all.
_NONE = {
    HeaderForm.APACHE: "(null)",
    HeaderForm.CADDY: "{http.request.tls.client.certificate_der_base64}",
}

# Line ends are for Apache, whose server may hand them on, and for what is URL-encoded.
_NOT_TEXT = re.compile(r"[^\t\n\r -~]")
_NOT_UNRESERVED = re.compile(r"[^A-Za-z0-9._~%-]")  # RFC 3986 2.3
_NOT_AWS = re.compile(r"[^A-Za-z0-9._~%+=/-]")
_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_END = "-----END CERTIFICATE-----\n"
_BOUNDARY_OR_BLANK = re.compile(r"-----(?:BEGIN|END) [^-]*-----| ")
_BYTE_SEQUENCE = re.compile(r":([A-Za-z0-9+/=]*):")  # RFC 8941 3.3.5
# A pair of XFCC. A backslash in a quoted value makes the next character an ordinary one, as
# in the subject in RFC 2253 form that Envoy writes there.
_PAIR = re.compile(r'([A-Za-z][A-Za-z0-9_-]*)=(?:"((?:[^"\\]|\\.)*)"|([^",;]*))', re.DOTALL)
_ONCE = ("hash", "cert", "chain")
_REPEATED = (
    "a header that came more than once looks so, and one of its values may be the client's own; "
    "let the proxy replace the header"
)
_ALONE = "the client's certificate alone"


def certificates_in_header(
    value: str | bytes, form: HeaderForm, *, chain: str | bytes | None = None
) -> list[bytes]:
    """
    Return the DER of the certificates in *value*: the client's first, the others as given.

    They are no more than DER by their looks: nothing in them is parsed here. *chain* is
    Client-Cert-Chain of RFC 9440.

    Raises:
        CertificateHeaderError: *value* or *chain* is not of that form.
        ValueError: there is a *chain*, and the form is another one.
    """
    if chain is not None and form is not HeaderForm.RFC_9440:
        raise ValueError(
            f"chain: found a value, expected none with the form {form.value}: only RFC 9440 has "
            "a header for the certificates after the client's"
        )
    ders = _READERS[form](_text(value, form), form)
    if chain is not None:
        ders += _byte_sequences(_text(chain, form), form)
    if len(ders) > MAX_CERTIFICATES:
        _refuse(
            form,
            f"found {len(ders)} certificates, expected {MAX_CERTIFICATES} at most",
            rule="several_certificates",
        )
    return ders


def _refuse(
    form: HeaderForm,
    what: str,
    *,
    rule: str,
    found: str | None = None,
    remedy: str | None = None,
) -> NoReturn:
    text = f"{what}: {remedy}" if remedy else what
    raise CertificateHeaderError(
        f"certificate header ({form.value}): {text}",
        form=form.value,
        rule=rule,
        found=found,
        remedy=remedy,
    )


# ---- what all forms have in common ----------------------------------------------


def _text(value: str | bytes, form: HeaderForm) -> str:
    """Return a value as text without the blanks around it, which looks like *form*."""
    if len(value) > MAX_VALUE_SIZE:
        _refuse(
            form,
            f"found {len(value)} characters, expected {MAX_VALUE_SIZE} at most",
            rule="too_large",
        )
    # HTTP headers are bytes; latin-1 gives each of them one character, as WSGI does.
    text = value.decode("latin-1") if isinstance(value, bytes) else value
    text = text.strip(" \t\r\n" if form is HeaderForm.APACHE else " \t")
    if text in ("", _NONE.get(form)):
        _refuse(
            form,
            f"found {text or 'an empty value'}, expected {_TEXTS[form]}",
            rule="no_certificate",
            remedy="the client sent no certificate, or the proxy does not ask for one",
        )
    _demand_text(text, form)
    shape = next((shape for shape, looks in _SHAPES if looks.match(text) is not None), None)
    if shape in _SHAPES_OF.get(form, {form}):
        return text
    if shape is None or (shape in _PEM and _LABEL not in text[: len(_LABEL) + 16]):
        name, looks_like = _described(text)
    else:
        name, looks_like = shape.value, _TEXTS[shape]
    # The same text in a form with several certificates and in one that came twice.
    is_joined = shape is HeaderForm.TRAEFIK and form in (HeaderForm.HAPROXY, HeaderForm.CADDY)
    _refuse(
        form,
        f"found {looks_like}, expected {_TEXTS[form]}",
        rule="several_values" if is_joined else "other_form",
        found=name,
        remedy=_REPEATED if is_joined else None,
    )


def _demand_text(text: str, form: HeaderForm) -> None:
    odd = _NOT_TEXT.search(text)
    if odd is not None:
        what = "a NUL" if odd[0] == "\0" else "a character that is not printable ASCII"
        _refuse(
            form,
            f"found {what} at {_place(odd.start())}, expected {_TEXTS[form]}",
            rule="not_ascii",
        )


def _described(text: str) -> tuple[str | None, str]:
    """Return the name of what is no form of any proxy, and what it looks like."""
    # Only here, because certificates that are accepted do without it.
    from crlcheck.encoding.kinds import recognise

    kind = recognise(text.encode("ascii"))
    if kind is None or kind.name == "text":
        return None, "text of no form that is known"
    return kind.name, kind.text


def _place(index: int) -> str:
    return f"character {index + 1}"


def _refuse_comma(text: str, form: HeaderForm) -> None:
    """Refuse several values with commas between them in a form that has no comma."""
    if "," in text:
        _refuse(
            form,
            "found several values with commas between them, expected one",
            rule="several_values",
            remedy=_REPEATED,
        )


def _only(ders: list[bytes], form: HeaderForm) -> list[bytes]:
    """Return *ders* if the client's certificate is the only one."""
    if len(ders) != 1:
        _refuse(
            form,
            f"found {len(ders)} certificates, expected {_ALONE}",
            rule="several_certificates",
        )
    return ders


def _from_base64(text: str, form: HeaderForm) -> bytes:
    """Decode base64 as a program writes it: RFC 4648 with padding, and no stray bits."""
    try:
        der = binascii.a2b_base64(text, strict_mode=True)
    except binascii.Error:
        der = b""
    if not der or binascii.b2a_base64(der, newline=False) != text.encode("ascii"):
        _refuse_comma(text, form)
        _refuse(form, "found broken base64, expected that of RFC 4648", rule="bad_encoding")
    return der


def _from_url(text: str, form: HeaderForm, foreign: re.Pattern[str]) -> str:
    """Decode URL-encoded text, of which no character is *foreign*."""
    odd = foreign.search(text) or _BROKEN_ESCAPE.search(text)
    if odd is not None:
        _refuse_comma(text, form)
        what = "a broken escape" if odd[0] == "%" else "a character that the proxy encodes"
        _refuse(
            form,
            f"found {what} at {_place(odd.start())}, expected {_TEXTS[form]}",
            rule="bad_encoding",
        )
    # Not unquote_plus: "+" is a digit of base64, and no proxy encodes a blank so.
    decoded = unquote_to_bytes(text).decode("latin-1")
    _demand_text(decoded, form)
    return decoded


def _refuse_pem(text: str, form: HeaderForm) -> NoReturn:
    number = text.count(_END.removesuffix("\n"))
    if number > MAX_CERTIFICATES:
        _refuse(
            form,
            f"found {number} certificates, expected {MAX_CERTIFICATES} at most",
            rule="several_certificates",
        )
    name, looks_like = _described(text)
    if name not in (None, "certificate"):
        _refuse(form, f"found {looks_like}, expected {_ALONE}", rule="bad_pem", found=name)
    try:
        pem_contents(text.encode("ascii"), CERTIFICATE)
    except ValueError as error:
        # What follows the number of the line may repeat the line.
        where = str(error).partition(":")[0]
        _refuse(form, f"found broken PEM ({where}), expected {_ALONE}", rule="bad_pem")
    _refuse(form, f"found PEM with something else in it, expected {_ALONE}", rule="bad_pem")


def _from_pem(text: str, form: HeaderForm) -> list[bytes]:
    """Return what is in blocks of certificates, beside which there is nothing."""
    text = text.removesuffix("\n") + "\n"
    blocks = text.split(_END)
    if len(blocks) <= MAX_CERTIFICATES + 1 and not blocks.pop():
        ders = [only_certificate((block + _END).encode("ascii")) for block in blocks]
        whole = [der for der in ders if der is not None]
        if len(whole) == len(ders):
            return whole
    _refuse_pem(text, form)


# ---- the forms -------------------------------------------------------------------


def _read_nginx(text: str, form: HeaderForm) -> list[bytes]:
    return _only(_from_pem(_from_url(text, form, _NOT_UNRESERVED), form), form)


def _read_aws_leaf(text: str, form: HeaderForm) -> list[bytes]:
    return _only(_read_aws_path(text, form), form)


def _read_aws_path(text: str, form: HeaderForm) -> list[bytes]:
    return _from_pem(_from_url(text, form, _NOT_AWS), form)


def _read_apache(text: str, form: HeaderForm) -> list[bytes]:
    _refuse_comma(text, form)
    # mod_headers makes a blank of each line end. The only other blanks are in boundaries.
    lines = _BOUNDARY_OR_BLANK.sub(
        lambda found: "\n" if found[0] == " " else found[0], text.replace("\r\n", "\n")
    )
    return _only(_from_pem(lines, form), form)


def _read_base64(text: str, form: HeaderForm) -> list[bytes]:
    return [_from_base64(text, form)]


def _read_traefik(text: str, form: HeaderForm) -> list[bytes]:
    if ", " in text:
        # Traefik writes no blank, but servers do where they join repeated headers.
        _refuse_comma(text, form)
    values = text.split(",")
    if any("%" in value for value in values):
        values = [_from_url(value, form, _NOT_UNRESERVED) for value in values]
    return [_from_base64(value, form) for value in values]


def _read_rfc_9440(text: str, form: HeaderForm) -> list[bytes]:
    _refuse_comma(text, form)
    return _byte_sequences(text, form)


def _byte_sequences(text: str, form: HeaderForm) -> list[bytes]:
    """Return the members of a List of Byte Sequences (RFC 8941), which have no parameters."""
    ders = []
    for member in text.split(","):
        match = _BYTE_SEQUENCE.fullmatch(member.strip(" \t"))
        if match is None:
            _refuse(
                form,
                "found something beside a byte sequence, expected base64 between two colons, "
                "without parameters (RFC 9440 2.2, RFC 8941 3.3.5)",
                rule="bad_structure",
            )
        ders.append(_from_base64(match[1], form))
    return ders


def _read_envoy(text: str, form: HeaderForm) -> list[bytes]:
    """
    Read the one element of X-Forwarded-Client-Cert.

    A proxy appends its element to those that came with the request. So the first may be the
    client's own text, and the last is about whoever spoke to the last proxy, which may be a
    proxy too: neither is surely the client, and several elements are refused. Envoy writes
    a certificate's URI without quotes. What such a URI adds to its element contradicts what
    Envoy wrote itself: each of these keys stands once, and Hash is always among them.
    """
    values = _xfcc_pairs(text, form)
    digest = values.get("hash", "").lower()
    cert = values.get("cert")
    path = values.get("chain")
    if not cert and not path:
        _refuse(
            form,
            "found neither Cert nor Chain, expected one of them",
            rule="bad_structure",
            remedy="set cert or chain in set_current_client_cert_details of Envoy",
        )
    ders = [] if not path else _from_pem(_from_url(path, form, _NOT_UNRESERVED), form)
    if cert:
        leaf = _only(_from_pem(_from_url(cert, form, _NOT_UNRESERVED), form), form)
        if ders and ders[0] != leaf[0]:
            _refuse(
                form,
                "found a Chain that begins with another certificate than Cert has, expected the "
                "client's certificate in both",
                rule="contradiction",
            )
        ders = ders or leaf
    if sha256(ders[0]).hexdigest() != digest:
        _refuse(
            form,
            f"found {'a Hash of another certificate' if digest else 'no Hash'}, expected the "
            "SHA-256 of the client's certificate, which Envoy always writes",
            rule="contradiction",
        )
    return ders


def _xfcc_pairs(text: str, form: HeaderForm) -> dict[str, str]:
    """Return the values of one element, by their keys in lower case; of some keys the last."""
    values: dict[str, str] = {}
    position = 0
    while True:
        match = _PAIR.match(text, position)
        if match is None:
            _refuse(
                form, f"found no key and value at {_place(position)}, expected key=value",
                rule="bad_structure",
            )  # fmt: skip
        key, quoted, bare = match.groups()
        key = key.lower()
        if key in _ONCE and key in values:
            _refuse(
                form, f"found the key {key.capitalize()} twice, expected it once",
                rule="several_values",
            )  # fmt: skip
        values[key] = bare if quoted is None else quoted
        position = match.end()
        if position == len(text):
            return values
        if text[position] == ",":
            _refuse(
                form,
                "found several elements, expected one",
                rule="several_values",
                remedy="only SANITIZE_SET in forward_client_cert_details of Envoy leaves nothing "
                "in the header that others wrote",
            )
        if text[position] != ";":
            _refuse(
                form, f"found a stray quote at {_place(position)}, expected a semicolon or the end",
                rule="bad_structure",
            )  # fmt: skip
        position += 1


_READERS: Mapping[HeaderForm, Callable[[str, HeaderForm], list[bytes]]] = {
    HeaderForm.NGINX: _read_nginx,
    HeaderForm.APACHE: _read_apache,
    HeaderForm.HAPROXY: _read_base64,
    HeaderForm.CADDY: _read_base64,
    HeaderForm.TRAEFIK: _read_traefik,
    HeaderForm.ENVOY: _read_envoy,
    HeaderForm.RFC_9440: _read_rfc_9440,
    HeaderForm.ALB_VERIFY: _read_aws_leaf,
    HeaderForm.ALB_PASSTHROUGH: _read_aws_path,
    HeaderForm.CLOUDFRONT: _read_aws_leaf,
}
