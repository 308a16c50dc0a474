"""
Define the exceptions that crlcheck raises, in one tree.

Misuse raises ``TypeError`` or ``ValueError``, and the system's own errors
(``FileNotFoundError``, a full disk's ``OSError``, ``MemoryError``) stay
themselves. A revoked certificate is an answer, never an exception.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from datetime import datetime

from crlcheck.times import time_text


@contextlib.contextmanager
def naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """
    Put *path* into errors of the system that name none, as a full disk's does.

    The system names a file where it is opened, and none where it is written.
    """
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = os.fspath(path)
        raise


class CrlCheckError(Exception):
    """The base class of all exceptions of crlcheck."""

    def as_dict(self) -> dict[str, str | int | None]:
        """Return the error's attributes as JSON-ready scalars, for logs."""
        return {
            name: time_text(value) if isinstance(value, datetime) else value
            for name, value in vars(self).items()
            if value is None or isinstance(value, str | int | datetime)
        }


class CrlError(CrlCheckError):
    """
    A CRL was refused.

    Where the reason has a place, ``field`` is the field of RFC 5280 5.1 (such as
    ``"crlExtensions"``), ``extension_oid`` the extension in dotted text, ``entry_number``
    the entry of revokedCertificates, from 1, and ``serial_number`` that of the entry.
    """

    field: str | None = None
    extension_oid: str | None = None
    entry_number: int | None = None
    serial_number: int | None = None


class MalformedCrlError(CrlError):
    """
    The bytes are not a DER CertificateList as RFC 5280 defines it.

    ``rule`` names the broken rule (such as ``"non_minimal_integer"``). ``offset`` is the
    place in the DER source, in bytes. ``found`` names what the bytes are instead (such as
    ``"gzip"`` or ``"certificate"``), None where that is not known, and ``remedy`` says what
    to do with that.
    """

    found: str | None = None
    remedy: str | None = None

    def __init__(
        self,
        message: str,
        *,
        rule: str,
        offset: int,
        found: str | None = None,
        remedy: str | None = None,
    ) -> None:
        super().__init__(message)
        self.rule = rule
        self.offset = offset
        if found is not None:
            self.found = found
        if remedy:
            self.remedy = remedy


class UnsupportedCrlError(CrlError):
    """
    The CRL is well-formed, but has a feature that crlcheck does not accept.

    ``feature`` names it (such as
    ``"unknown_critical_extension"`` or ``"sha1_signature"``). ``offset`` and the rest are as
    for MalformedCrlError, where the feature has a place.
    """

    offset: int | None = None

    def __init__(self, message: str, *, feature: str) -> None:
        super().__init__(message)
        self.feature = feature


class CrlSignatureError(CrlError):
    """
    None of the issuer certificates given verifies the CRL's signature.

    ``reason`` is a stable word: ``"no_issuer"`` (no certificate of that name),
    ``"key_usage"`` (none may sign CRLs), ``"key_id"`` (the signature does not hold,
    and none has the CRL's authority key id), ``"small_rsa_key"`` (the key is an RSA
    key of too few bits), ``"removed_issuer"`` (the signature holds, but an operator
    removed the issuer) or ``"bad_signature"``.
    """

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class PathValidationError(CrlCheckError):
    """
    A certificate does not lead to a trust anchor, by the rules of RFC 5280 6.1.

    ``section`` is that of the rule that failed, such as ``"6.1.3 (a)(1)"``. ``position``
    is that of the certificate in the chain as it was given, from 1; 0 is the anchor.
    The message has no name of the certificates.
    """

    def __init__(self, message: str, *, section: str, position: int) -> None:
        super().__init__(message)
        self.section = section
        self.position = position


class CrlNotYetValidError(CrlError):
    """The CRL's thisUpdate lies in the future beyond the allowed clock skew."""

    def __init__(self, message: str, *, this_update: datetime, now: datetime) -> None:
        super().__init__(message)
        self.this_update = this_update
        self.now = now


class CrlRollbackError(CrlError):
    """
    The CRL is not newer than the one already published for its scope.

    ``offered`` and ``published`` are the values that were compared: CRL numbers
    where both CRLs have one, else their thisUpdate.
    """

    def __init__(
        self, message: str, *, offered: int | datetime | None, published: int | datetime | None
    ) -> None:
        super().__init__(message)
        self.offered = offered
        self.published = published


class CrlOrderUnknownError(CrlRollbackError):
    """
    Nobody can tell whether the CRL is newer than the published one; the CA's next CRL can.

    Both have the same thisUpdate, the published one has no CRL number, and the CRL does not
    list all that is published. ``offered`` and ``published`` are the thisUpdate of both.
    """


class CrlBaseMissingError(CrlError):
    """
    No published complete CRL is the base of this delta CRL; trying again later helps.

    ``base_crl_number`` is the delta's BaseCRLNumber, ``published`` the number of
    the complete CRL of its scope, None where there is none or it has none.
    """

    def __init__(self, message: str, *, base_crl_number: int, published: int | None) -> None:
        super().__init__(message)
        self.base_crl_number = base_crl_number
        self.published = published


class CrlShrinkError(CrlError):
    """The CRL was refused because it lacks most entries of the published one."""

    def __init__(self, message: str, *, offered: int, published: int) -> None:
        super().__init__(message)
        self.offered = offered
        self.published = published


class CrlExpiredError(CrlError):
    """
    The CRL was refused because it is past its nextUpdate and would replace a current one
    that revokes no less.

    ``next_update`` is the CRL's, ``published_next_update`` that of the one that stays
    published (None: it has none), ``now`` the time that was compared.
    """

    def __init__(
        self,
        message: str,
        *,
        next_update: datetime,
        published_next_update: datetime | None,
        now: datetime,
    ) -> None:
        super().__init__(message)
        self.next_update = next_update
        self.published_next_update = published_next_update
        self.now = now


class FetchError(CrlCheckError):
    """
    A URL could not be fetched, or is not allowed; trying again may help.

    ``remedy`` says what to do where the reason is known.
    """

    remedy: str | None = None

    def __init__(self, message: str, *, remedy: str | None = None) -> None:
        super().__init__(message)
        if remedy:
            self.remedy = remedy


class FetchLockedError(FetchError):
    """
    Another process fetches to the same store now.

    ``path`` is the lock file, ``process`` the number of the process, None if unknown.
    """

    def __init__(self, message: str, *, path: str, process: int | None) -> None:
        super().__init__(message)
        self.path = path
        self.process = process


class CertificateError(CrlCheckError):
    """
    What was given as a certificate is none; the attributes are as for MalformedCrlError.
    """

    found: str | None = None
    remedy: str | None = None
    extension_oid: str | None = None

    def __init__(
        self,
        message: str,
        *,
        rule: str = "not_a_certificate",
        offset: int = 0,
        found: str | None = None,
        remedy: str | None = None,
    ) -> None:
        super().__init__(message)
        self.rule = rule
        self.offset = offset
        if found is not None:
            self.found = found
        if remedy:
            self.remedy = remedy


class CertificateHeaderError(CertificateError):
    """
    The value of a header is no client certificate in the form that was expected.

    ``form`` is that form's name, and ``found`` that of what the value looks like: another
    form, or a kind of file. ``rule`` is ``"no_certificate"`` (the proxy had none),
    ``"other_form"``, ``"several_values"`` (the header came more than once, or through several
    proxies), ``"several_certificates"``, ``"too_large"``, ``"not_ascii"``, ``"bad_encoding"``,
    ``"bad_pem"``, ``"bad_structure"``, ``"contradiction"`` (parts of the value are about
    different certificates), or the rule that a certificate in it breaks. The message repeats
    nothing of the value.
    """

    def __init__(
        self,
        message: str,
        *,
        form: str,
        rule: str,
        offset: int = 0,
        found: str | None = None,
        remedy: str | None = None,
    ) -> None:
        super().__init__(message, rule=rule, offset=offset, found=found, remedy=remedy)
        self.form = form


class SigningKeyError(CrlCheckError):
    """
    A private key cannot be used, so that the root of a published set is not signed.

    ``reason`` is a stable word: ``"not_a_signing_key"`` (none, or one of a kind that signs
    no roots), ``"exposed_key"`` (others may read its file), ``"encrypted_key"`` (it has a
    passphrase), ``"wrong_signature"`` (it does not fit its public key), ``"kms_refused"``
    or ``"kms_unavailable"`` (trying again may help).
    """

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class ResponderKeyError(CrlCheckError):
    """
    A certificate and its private key cannot sign OCSP responses.

    ``path`` is that of the file or directory, and ``reason`` a stable word: ``"no_pair"`` (a
    certificate without a key, or the reverse, or another file), ``"key_rights"`` (others may
    read the key's file, or it is another user's), ``"encrypted_private_key"``,
    ``"not_a_private_key"``, ``"unsupported_key"``, ``"not_a_certificate"``,
    ``"other_certificate"`` (the key is not that of the certificate), ``"not_a_responder"`` (the
    certificate says that its key signs something else) or ``"certificate_dates"``.
    """

    def __init__(self, message: str, *, path: str, reason: str) -> None:
        super().__init__(message)
        self.path = path
        self.reason = reason


class IndexFileError(CrlCheckError):
    """An image could not be used."""


class CorruptIndexError(IndexFileError):
    """
    The image contradicts itself, its digests or its catalog entry, or is none.

    ``found`` names what was given instead (such as ``"crl"``), None where that is not known,
    and ``remedy`` says what to do with that.
    """

    found: str | None = None
    remedy: str | None = None

    def __init__(
        self, message: str, *, found: str | None = None, remedy: str | None = None
    ) -> None:
        super().__init__(message)
        if found is not None:
            self.found = found
        if remedy:
            self.remedy = remedy


class UnsupportedIndexVersionError(IndexFileError):
    """The image has a later major version than this library reads."""

    def __init__(self, message: str, *, found: int, supported: int) -> None:
        super().__init__(message)
        self.found = found
        self.supported = supported


class IndexClosedError(IndexFileError):
    """The index was closed before this call."""


class StoreError(CrlCheckError):
    """An operation on a store failed."""


class StoreUnavailableError(StoreError):
    """
    The store did not answer, or not in time; trying again may help.

    ``status`` is that of a web server's answer where it refused an object, and ``remedy`` says
    what to do where trying again does not help.
    """

    status: int | None = None
    remedy: str | None = None

    def __init__(
        self, message: str, *, status: int | None = None, remedy: str | None = None
    ) -> None:
        super().__init__(message)
        if status is not None:
            self.status = status
        if remedy:
            self.remedy = remedy


class SettingsError(CrlCheckError, ValueError):
    """Settings of a service are missing, malformed or unsafe, or contradict one another."""


class NothingPublishedError(StoreError):
    """A service was to start from a store in which nothing is published. ``store`` is its name."""

    def __init__(self, message: str, *, store: str) -> None:
        super().__init__(message)
        self.store = store


class PartsUnsupportedError(StoreError):
    """
    A server sent the whole of an object, or a compressed form of it, in place of a part.

    ``store`` is where it is.
    """

    def __init__(self, message: str, *, store: str) -> None:
        super().__init__(message)
        self.store = store


class ReadOnlyStoreError(StoreError):
    """
    The store can only be read: what was to be done there is for the store behind it.

    ``operation`` names it (such as ``"write"``), ``store`` is the URL.
    """

    def __init__(self, message: str, *, store: str, operation: str) -> None:
        super().__init__(message)
        self.store = store
        self.operation = operation


class LockFileError(StoreError):
    """
    What is in the place of a lock file is none, so nothing was locked or written.

    ``path`` is its place, ``found`` says what is there (such as ``"a directory"``).
    """

    def __init__(self, message: str, *, path: str, found: str) -> None:
        super().__init__(message)
        self.path = path
        self.found = found


class UnsafeStoreError(StoreError):
    """
    The store passes over conditions of a write, so that concurrent publications lose CRLs.

    ``found`` says which condition, and what the store did; it is ``"client"`` where the
    client cannot send them. ``remedy`` says what to do, where it is not to use another store.
    """

    remedy: str | None = None

    def __init__(self, message: str, *, found: str, remedy: str | None = None) -> None:
        super().__init__(message)
        self.found = found
        if remedy:
            self.remedy = remedy


class CatalogDamagedError(StoreError):
    """
    An object that the catalog names is missing, or is not the one that it names.

    ``name`` is the object's, and ``found`` says what was found: ``"missing"``,
    ``"damaged"``, ``"unreadable"`` or ``"order"``. ``crlcheck verify`` finds all such
    objects, and mends what can be mended.
    """

    def __init__(self, message: str, *, name: str, found: str) -> None:
        super().__init__(message)
        self.name = name
        self.found = found


class EarlierSetError(StoreError):
    """
    A store cannot be shown as it was at an earlier generation or time.

    ``generation`` is the one that was asked for, None for a time, ``held`` the store's.
    ``found`` says why: ``"deleted"`` (clean-up has deleted it or its objects), ``"lost"``
    (it is not part of what was published), ``"skipped"`` (no generation has that number),
    ``"later"`` (it is yet to come) or ``"before"`` (nothing was published at that time).
    """

    def __init__(self, message: str, *, generation: int | None, held: int, found: str) -> None:
        super().__init__(message)
        self.generation = generation
        self.held = held
        self.found = found


class CatalogRollbackError(StoreError):
    """
    A catalog is refused because a later one is in use, or another one of its generation.

    ``generation`` is that of the catalog, ``held`` that of the one in use. Later
    publications raise the store's generation above it; ``advance_generation`` does so at once.
    """

    def __init__(self, message: str, *, generation: int, held: int) -> None:
        super().__init__(message)
        self.generation = generation
        self.held = held


class RootSignatureError(StoreError):
    """
    The root of a published set is refused because of its signature.

    ``reason`` is a stable word. For every root there are ``"unsigned"``, ``"malformed"`` (its
    signatures cannot be read), ``"key_twice"`` (one key signed it twice), ``"unknown_key"``
    (no accepted key signed it), ``"later_format"`` (of the statement),
    ``"invalid_signature"``, ``"other_store"``, ``"other_root"`` (the statement is about
    another one) and ``"expired"``. A change is also refused with ``"no_signing_key"``, where
    the root would lose its signature, and with ``"set_back"``, where somebody put an old
    root back and a signature would renew it. A restore is also refused with
    ``"unsigned_record"``, where no signed root leads to the record of what would come back.
    ``key_id`` is the key's that the message is about, and ``expires`` when its statement
    expired; both may be None.
    """

    def __init__(
        self,
        message: str,
        *,
        reason: str,
        key_id: str | None = None,
        expires: datetime | None = None,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.key_id = key_id
        self.expires = expires


class PreconditionFailedError(StoreError):
    """
    A conditional write found the object in another state than it required.

    ``name`` is the object. The writer reads it again and decides anew. ``may_be_written``
    tells whether the object may have been written all the same and replaced since: the
    request was sent more than once, or the store does not know.
    """

    def __init__(self, message: str, *, name: str, may_be_written: bool = True) -> None:
        super().__init__(message)
        self.name = name
        self.may_be_written = may_be_written
