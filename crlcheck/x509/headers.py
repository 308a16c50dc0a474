"""Read the certificates of a client from the header of the proxy that ended its TLS."""

from __future__ import annotations

from crlcheck.encoding.header_forms import HeaderForm, certificates_in_header
from crlcheck.errors import CertificateError, CertificateHeaderError
from crlcheck.types import CertificateFacts
from crlcheck.x509.certificates import parse_der


def certificate_from_header(
    value: str | bytes, *, form: HeaderForm | str, chain: str | bytes | None = None
) -> tuple[CertificateFacts, ...]:
    """
    Read the client's certificate from the header of a proxy, and the path if that has one.

    The first certificate is the client's, in every form: it is what ``check`` takes. The
    others are what the proxy handed on after it, in their order. Most proxies hand on what
    the client sent, and have verified its certificate by others: so they need not be its
    issuers. ``check_chain`` takes all that is returned where the proxy verified this very
    path, and ``validate_path`` where nobody verified anything.

    *form* is the proxy's form, such as ``"nginx"``: see ``HeaderForm`` and
    docs/reference/proxies.md. *value* is the whole value of that header, and *chain* that of
    Client-Cert-Chain, which RFC 9440 has beside Client-Cert. Who may set the header cannot be
    seen in it: that the request came from the proxy, and the header once, is for the caller to
    know.

    Raises:
        CertificateHeaderError: *value* is anything else than certificates in that form, or
            is empty (``rule`` is ``"no_certificate"``).
        ValueError: there is no such form, or it has no *chain*.
    """
    expected = _form(form)
    for one in (value,) if chain is None else (value, chain):
        if not isinstance(one, str | bytes):
            raise TypeError(
                f"certificate header: found {type(one).__name__}, expected the value of one "
                "header as str or bytes; a request without it has no certificate"
            )
    ders = certificates_in_header(value, expected, chain=chain)
    if len(ders) == 1:
        return (_parse(ders[0], "certificate", expected),)
    return tuple(
        _parse(der, f"certificate, number {number}", expected) for number, der in enumerate(ders, 1)
    )


def _form(form: HeaderForm | str) -> HeaderForm:
    try:
        return HeaderForm(form)
    except ValueError:
        names = ", ".join(one.value for one in HeaderForm)
        raise ValueError(f"form: found {form!r}, expected one of {names}") from None


def _parse(der: bytes, name: str, form: HeaderForm) -> CertificateFacts:
    try:
        return parse_der(der, name)
    except CertificateError as error:
        in_header = CertificateHeaderError(
            f"certificate header ({form.value}): {error}",
            form=form.value,
            rule=error.rule,
            offset=error.offset,
            found=error.found,
            remedy=error.remedy,
        )
        if error.extension_oid is not None:
            in_header.extension_oid = error.extension_oid
        raise in_header from error
