"""Certificates as proxies write them into headers, one writer for each form."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from hashlib import sha256
from urllib.parse import quote

from crlcheck.demo.pki import pem_block
from crlcheck.encoding.header_forms import HeaderForm


def pem_of(ders: Sequence[bytes]) -> str:
    """The certificates as blocks of PEM."""
    return b"".join(pem_block("CERTIFICATE", der) for der in ders).decode()


def base64_of(der: bytes) -> str:
    """The base64 of a certificate."""
    return base64.b64encode(der).decode()


def as_nginx(ders: Sequence[bytes]) -> str:
    """The value of ``$ssl_client_escaped_cert``."""
    return quote(pem_of(ders), safe="")


def as_apache(ders: Sequence[bytes]) -> str:
    """What mod_headers makes of SSL_CLIENT_CERT."""
    return pem_of(ders).replace("\n", " ")


def as_traefik(ders: Sequence[bytes]) -> str:
    """The value of X-Forwarded-Tls-Client-Cert."""
    return ",".join(base64_of(der) for der in ders)


def as_envoy(ders: Sequence[bytes], **others: str) -> str:
    """An element of X-Forwarded-Client-Cert with Cert, and Chain where there are several."""
    pairs = {
        "By": "spiffe://example.com/server",
        "Hash": sha256(ders[0]).hexdigest(),
        "Cert": f'"{quote(pem_of(ders[:1]), safe="")}"',
        **({"Chain": f'"{quote(pem_of(ders), safe="")}"'} if len(ders) > 1 else {}),
        "Subject": r'"CN=client,O=Exa\"mple\, Ltd\\"',
        "URI": "spiffe://example.com/client",
        **others,
    }
    return ";".join(f"{key}={value}" for key, value in pairs.items())


def as_rfc_9440(ders: Sequence[bytes]) -> str:
    """The value of Client-Cert, or of Client-Cert-Chain."""
    return ", ".join(f":{base64_of(der)}:" for der in ders)


def as_aws(ders: Sequence[bytes]) -> str:
    """The value of X-Amzn-Mtls-Clientcert and the like."""
    return quote(pem_of(ders), safe="+=/")


WRITERS: dict[HeaderForm, Callable[[Sequence[bytes]], str]] = {
    HeaderForm.NGINX: as_nginx,
    HeaderForm.APACHE: as_apache,
    HeaderForm.HAPROXY: as_traefik,
    HeaderForm.CADDY: as_traefik,
    HeaderForm.TRAEFIK: as_traefik,
    HeaderForm.ENVOY: as_envoy,
    HeaderForm.RFC_9440: as_rfc_9440,
    HeaderForm.ALB_VERIFY: as_aws,
    HeaderForm.ALB_PASSTHROUGH: as_aws,
    HeaderForm.CLOUDFRONT: as_aws,
}
OF_PATHS = {HeaderForm.TRAEFIK, HeaderForm.ENVOY, HeaderForm.ALB_PASSTHROUGH}
"""The forms that may have more than the client's certificate in one value."""
