"""
Hold the names of a certificate against name constraints (RFC 5280 4.2.1.10).

Where it is not said how a name compares, the reading counts that refuses more.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

from crlcheck.encoding.der import read_element, read_elements
from crlcheck.encoding.names import canonical_name
from crlcheck.types import CertificateFacts
from crlcheck.x509.extensions import (
    DIRECTORY_NAME,
    DNS_NAME,
    FORM_NAMES,
    IP_ADDRESS,
    OTHER_NAME,
    RFC822_NAME,
    URI,
    Extensions,
    GeneralName,
    NameConstraints,
)

_SEQUENCE = 0x30
_EMAIL_ADDRESS = bytes.fromhex("2a864886f70d010901")
# Of a host (RFC 1123 2.1), and the underscore that many have; none before a leading dot.
_LABEL = re.compile(r"[a-z0-9_-]*")
# What one comparison costs beside the bytes of the name and of the subtree.
_COMPARISON = 16
_SMTP_UTF8_MAILBOX = bytes.fromhex("06082b06010505070809")
_STRINGS = (0x0C, 0x13, 0x14, 0x16)  # UTF8String, PrintableString, TeletexString, IA5String


MAX_WORK = 1 << 20
"""
The most that may be compared on one path, as ``work`` counts it.

A CA that is constrained, and its client, choose how many names and subtrees there are.
"""


class UnsupportedFormError(ValueError):
    """A name is of a form that is constrained and that nobody here compares."""


def names_of(certificate: CertificateFacts, extensions: Extensions) -> list[GeneralName]:
    """
    Return all names that constraints apply to: the subject, those of subjectAltName,
    and the emailAddress attributes of the subject.

    Raises:
        ValueError: a name is malformed.
    """
    names = list(extensions.alternative_names())
    if relative_names(certificate.subject):
        names.append(GeneralName(DIRECTORY_NAME, certificate.subject))
    for relative_name in read_elements(read_element(certificate.subject, _SEQUENCE)):
        for attribute in read_elements(relative_name.contents):
            kind, value = read_elements(attribute.contents)
            if kind.contents == _EMAIL_ADDRESS:
                # A value that is no string compares with nothing, and so is no address.
                contents = value.contents if value.tag in _STRINGS else b""
                names.append(GeneralName(RFC822_NAME, contents))
    return names


def work(names: Sequence[GeneralName], constraints: NameConstraints) -> int:
    """Return what it costs to hold each of *names* against each subtree, in bytes."""
    subtrees = (*(constraints.permitted or ()), *(constraints.excluded or ()))
    size_of_names = sum(len(name.contents) for name in names)
    size_of_subtrees = sum(_COMPARISON + len(subtree.contents) for subtree in subtrees)
    return len(names) * size_of_subtrees + len(subtrees) * size_of_names


def is_excluded(name: GeneralName, constraints: NameConstraints) -> bool:
    """
    Whether *name* lies within an excluded subtree.

    Raises:
        ValueError: the name or a subtree is malformed, or of a form that is not supported.
    """
    subtrees = _of_form(name, constraints.excluded or ())
    return any(_within(name, one, excluding=True) for one in subtrees)


def is_permitted(name: GeneralName, constraints: NameConstraints) -> bool:
    """
    Whether *name* lies within a permitted subtree, or none of its form is given.

    Raises:
        ValueError: the name or a subtree is malformed, or of a form that is not supported.
    """
    subtrees = _of_form(name, constraints.permitted or ())
    return not subtrees or any(_within(name, one, excluding=False) for one in subtrees)


def relative_names(name: bytes) -> list[bytes]:
    """
    Return the RDNs of a Name in the form in which they are compared (7.1).

    Raises:
        ValueError: *name* is no Name.
    """
    return [one.whole for one in read_elements(read_element(canonical_name(name), _SEQUENCE))]


def _of_form(name: GeneralName, subtrees: Sequence[GeneralName]) -> list[GeneralName]:
    found = [one for one in subtrees if one.tag == name.tag]
    if name.tag == OTHER_NAME and name.contents.startswith(_SMTP_UTF8_MAILBOX):
        # RFC 9598 section 6: the subtrees of rfc822Name hold for these, too.
        found += [one for one in subtrees if one.tag == RFC822_NAME]
    if found and name.tag not in _WITHIN:
        raise UnsupportedFormError(
            f"nameConstraints of the form {FORM_NAMES[name.tag]} are not supported"
        )
    return found


def _within(name: GeneralName, subtree: GeneralName, *, excluding: bool) -> bool:
    return _WITHIN[name.tag](name.contents, subtree.contents, excluding)


def _directory_name(name: bytes, subtree: bytes, _excluding: bool) -> bool:
    base = relative_names(subtree)
    return relative_names(name)[: len(base)] == base


def _dns_name(name: bytes, subtree: bytes, excluding: bool) -> bool:
    host, base = _labels(name, may_be_wildcard=True), _labels(subtree)
    if not host:
        raise ValueError("a dNSName is empty")
    if base[:1] == [""]:  # ".example.com", which RFC 5280 does not define
        base = base[1:]
        if not excluding and len(host) <= len(base):
            return False
    if host[0] == "*" and excluding:
        # The wildcard stands for names that may lie within.
        known = host[1:]
        return _ends_with(host, base) or (len(base) > len(known) and _ends_with(base, known))
    return _ends_with(host, base)


def _rfc822_name(name: bytes, subtree: bytes, excluding: bool) -> bool:
    mailbox, separator, host_text = _text(name).rpartition("@")
    if not separator or not mailbox or not host_text:
        raise ValueError("an rfc822Name is no mailbox")
    text = _text(subtree)
    base_mailbox, separator, base_host = text.rpartition("@")
    if separator:
        if '"' in mailbox + base_mailbox:
            raise ValueError("an rfc822Name has quotes, which have other spellings")
        same = mailbox == base_mailbox or (
            excluding and mailbox.casefold() == base_mailbox.casefold()
        )
        return same and _labels_of(host_text) == _labels_of(base_host)
    return _host(_labels_of(host_text), text)


def _uri(name: bytes, subtree: bytes, _excluding: bool) -> bool:
    text = _text(name)
    # Some readers take a backslash for a slash, and so see another host.
    host = None if "\\" in text else urlsplit(text).hostname
    if not host or ":" in host or host.replace(".", "").isdigit():
        raise ValueError("a uniformResourceIdentifier has no host by name")
    return _host(_labels_of(host), _text(subtree))


def _host(host: list[str], text: str) -> bool:
    """Whether a host is *text*, below it where that begins with a dot, or it is empty."""
    base = _labels_of(text)
    if base[:1] == [""]:
        base = base[1:]
        return len(host) > len(base) and _ends_with(host, base)
    return not base or host == base


def _ip_address(name: bytes, subtree: bytes, _excluding: bool) -> bool:
    if len(name) not in (4, 16) or len(subtree) not in (8, 32):
        raise ValueError("an iPAddress has another length")
    half = len(subtree) // 2
    mask = int.from_bytes(subtree[half:], "big")
    ones = f"{mask:0{half * 8}b}".rstrip("0")
    if "0" in ones:
        raise ValueError("an iPAddress has a mask with gaps")
    network = ipaddress.ip_network((subtree[:half], len(ones)), strict=False)
    return ipaddress.ip_address(name) in network


_WITHIN: dict[int, Callable[[bytes, bytes, bool], bool]] = {
    DIRECTORY_NAME: _directory_name,
    DNS_NAME: _dns_name,
    RFC822_NAME: _rfc822_name,
    URI: _uri,
    IP_ADDRESS: _ip_address,
}


def _labels(name: bytes, *, may_be_wildcard: bool = False) -> list[str]:
    return _labels_of(_text(name), may_be_wildcard=may_be_wildcard)


def _labels_of(host: str, *, may_be_wildcard: bool = False) -> list[str]:
    """
    Return the labels of a host; a dot at its end, which says no more, is dropped.

    Raises:
        ValueError: it is no host. A subtree that is a URL or a pattern would else exclude
            nothing, and a name in percent-encoding would lie in no subtree.
    """
    host = host.lower().removesuffix(".")
    labels = host.split(".") if host else []
    if "" in labels[1:]:
        raise ValueError("a host has an empty label")
    plain = labels[1:] if may_be_wildcard and labels[:1] == ["*"] else labels
    if not all(map(_LABEL.fullmatch, plain)):
        raise ValueError("a host has characters that it must not have")
    return labels


def _ends_with(labels: list[str], base: list[str]) -> bool:
    return labels[len(labels) - len(base) :] == base if len(base) <= len(labels) else False


def _text(contents: bytes) -> str:
    text = contents.decode("ascii", errors="replace")
    if not text.isprintable() or "\ufffd" in text or " " in text:
        raise ValueError("a name has characters that it must not have")
    return text
