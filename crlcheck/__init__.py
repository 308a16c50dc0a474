"""
Exact, constant-time certificate revocation checks from compiled CRLs.

Public names are resolved when they are first used (PEP 562), so that importing
crlcheck loads neither boto3 nor cryptography: a cold start pays only for what
it needs.

crlcheck decides revocation only. Every certificate given to it must already
have been verified (chain, dates, possession of the key) by whoever terminated
TLS. For a chain that nobody has verified there is ``validate_path``.
"""

from __future__ import annotations

import _thread
import importlib
from typing import TYPE_CHECKING

# cffi supports the main interpreter only. The native module refuses all others too, but
# in Python 3.12 that is too late: importing hashlib in an isolated interpreter, which
# comes before, corrupts memory. Python 3.11 has no such function and no such fault.
_is_main_interpreter = getattr(_thread, "_is_main_interpreter", None)
if _is_main_interpreter is not None and not _is_main_interpreter():
    raise ImportError(
        "crlcheck does not support loading in subinterpreters: use it in the main interpreter, "
        "there in as many threads as you like, or in processes"
    )

if TYPE_CHECKING:
    from crlcheck.x509.certificates import (
        load_certificate as load_certificate,
        load_certificates as load_certificates,
    )
    from crlcheck.x509.headers import certificate_from_header as certificate_from_header
    from crlcheck.x509.path_validation import validate_path as validate_path
    from crlcheck.catalog.earlier import EarlierStore as EarlierStore, store_at as store_at
    from crlcheck.checker.checker import (
        CheckerStatus as CheckerStatus,
        RevocationChecker as RevocationChecker,
        ScopeStatus as ScopeStatus,
    )
    from crlcheck.compiler.compile import (
        BinaryReader as BinaryReader,
        compile_crl as compile_crl,
        compile_unverified_crl as compile_unverified_crl,
        split_crls as split_crls,
    )
    from crlcheck.encoding.header_forms import HeaderForm as HeaderForm
    from crlcheck.errors import (
        CatalogDamagedError as CatalogDamagedError,
        CatalogRollbackError as CatalogRollbackError,
        CertificateError as CertificateError,
        CertificateHeaderError as CertificateHeaderError,
        CorruptIndexError as CorruptIndexError,
        CrlBaseMissingError as CrlBaseMissingError,
        CrlCheckError as CrlCheckError,
        CrlError as CrlError,
        CrlExpiredError as CrlExpiredError,
        CrlNotYetValidError as CrlNotYetValidError,
        CrlOrderUnknownError as CrlOrderUnknownError,
        CrlRollbackError as CrlRollbackError,
        CrlShrinkError as CrlShrinkError,
        CrlSignatureError as CrlSignatureError,
        EarlierSetError as EarlierSetError,
        FetchError as FetchError,
        FetchLockedError as FetchLockedError,
        IndexClosedError as IndexClosedError,
        IndexFileError as IndexFileError,
        LockFileError as LockFileError,
        MalformedCrlError as MalformedCrlError,
        NothingPublishedError as NothingPublishedError,
        PartsUnsupportedError as PartsUnsupportedError,
        PathValidationError as PathValidationError,
        PreconditionFailedError as PreconditionFailedError,
        ReadOnlyStoreError as ReadOnlyStoreError,
        ResponderKeyError as ResponderKeyError,
        RootSignatureError as RootSignatureError,
        SettingsError as SettingsError,
        SigningKeyError as SigningKeyError,
        StoreError as StoreError,
        StoreUnavailableError as StoreUnavailableError,
        UnsafeStoreError as UnsafeStoreError,
        UnsupportedCrlError as UnsupportedCrlError,
        UnsupportedIndexVersionError as UnsupportedIndexVersionError,
    )
    from crlcheck.publisher.clean_up import clean_up as clean_up
    from crlcheck.publisher.fetch import (
        FetchLimits as FetchLimits,
        check_url as check_url,
        fetch as fetch,
    )
    from crlcheck.publisher.fetch_each import fetch_each as fetch_each
    from crlcheck.image.index import RevocationIndex as RevocationIndex, open_index as open_index
    from crlcheck.publisher.issuers import (
        readmit_issuer as readmit_issuer,
        remove_issuer as remove_issuer,
        set_issuer as set_issuer,
        withdraw_issuers as withdraw_issuers,
    )
    from crlcheck.publisher.mirror import MirrorReport as MirrorReport, mirror_store as mirror_store
    from crlcheck.publisher.operator import (
        advance_generation as advance_generation,
        deny_certificate as deny_certificate,
        grant_grace as grant_grace,
        lift_denial as lift_denial,
        override_scope as override_scope,
        remove_scope as remove_scope,
        reset_scope as reset_scope,
    )
    from crlcheck.publisher.publish import publish_crl as publish_crl
    from crlcheck.publisher.publish_many import (
        PublishSource as PublishSource,
        PublishSummary as PublishSummary,
        SourceCrl as SourceCrl,
        publish_each as publish_each,
        publish_many as publish_many,
    )
    from crlcheck.publisher.restore import (
        DenialsFrom as DenialsFrom,
        RestoreReport as RestoreReport,
        ScopeChange as ScopeChange,
        restore_store as restore_store,
    )
    from crlcheck.publisher.timeline import (
        HistoryCrl as HistoryCrl,
        HistoryDenial as HistoryDenial,
        HistoryEntry as HistoryEntry,
        HistoryIssuer as HistoryIssuer,
        HistoryOutcome as HistoryOutcome,
        read_history as read_history,
    )
    from crlcheck.publisher.locks import run_lock as run_lock
    from crlcheck.publisher.verify import (
        StoreFault as StoreFault,
        VerifyReport as VerifyReport,
        verify_store as verify_store,
    )
    from crlcheck.publisher.rejections import (
        Rejection as Rejection,
        dismiss_rejection as dismiss_rejection,
        read_rejections as read_rejections,
        rejection_cause as rejection_cause,
    )
    from crlcheck.publisher.store_status import (
        PublishedScope as PublishedScope,
        StoreStatus as StoreStatus,
        UnreadableObject as UnreadableObject,
        read_published_scopes as read_published_scopes,
        read_store_status as read_store_status,
    )
    from crlcheck.remedies import remedy_of as remedy_of
    from crlcheck.publisher.sign import SignReport as SignReport, sign_root as sign_root
    from crlcheck.catalog.signing_store import SigningStore as SigningStore
    from crlcheck.signing.root_key import RootKey as RootKey, read_root_keys as read_root_keys
    from crlcheck.signing.root_signer import RootSigner as RootSigner
    from crlcheck.signing.signing_key import (
        SigningKey as SigningKey,
        load_signing_key as load_signing_key,
    )
    from crlcheck.stores import (
        LocalStore as LocalStore,
        ObjectStore as ObjectStore,
        PartStore as PartStore,
        S3Store as S3Store,
        StoredObject as StoredObject,
        StoredPart as StoredPart,
        open_store as open_store,
    )
    from crlcheck.stores.doctor import examine_store as examine_store
    from crlcheck.stores.https import HttpsStore as HttpsStore
    from crlcheck.stores.examination import StoreCheck as StoreCheck
    from crlcheck.stores.probe import probe_store as probe_store
    from crlcheck.types import (
        CertificateFacts as CertificateFacts,
        CheckResult as CheckResult,
        CompileReport as CompileReport,
        CrlWarning as CrlWarning,
        DistributionPoint as DistributionPoint,
        Freshness as Freshness,
        ImageLoading as ImageLoading,
        ImageMetadata as ImageMetadata,
        IssuingDistributionPoint as IssuingDistributionPoint,
        OddExtension as OddExtension,
        Policy as Policy,
        ProblemKind as ProblemKind,
        PublishReport as PublishReport,
        PublishWarning as PublishWarning,
        PublishWarningKind as PublishWarningKind,
        ReasonCode as ReasonCode,
        RevocationStatus as RevocationStatus,
        RevokedEntry as RevokedEntry,
        Rule as Rule,
        StaleRule as StaleRule,
        StatusProblem as StatusProblem,
        UndeterminedCause as UndeterminedCause,
    )

__version__ = "0.1.0"

_HOMES = {
    "x509.certificates": ("load_certificate", "load_certificates"),
    "x509.headers": ("certificate_from_header",),
    "x509.path_validation": ("validate_path",),
    "catalog.earlier": ("EarlierStore", "store_at"),
    "checker.checker": ("CheckerStatus", "RevocationChecker", "ScopeStatus"),
    "compiler.compile": ("BinaryReader", "compile_crl", "compile_unverified_crl", "split_crls"),
    "encoding.header_forms": ("HeaderForm",),
    "errors": (
        "CatalogDamagedError",
        "CatalogRollbackError",
        "CertificateError",
        "CertificateHeaderError",
        "CorruptIndexError",
        "CrlBaseMissingError",
        "CrlCheckError",
        "CrlError",
        "CrlExpiredError",
        "CrlNotYetValidError",
        "CrlOrderUnknownError",
        "CrlRollbackError",
        "CrlShrinkError",
        "CrlSignatureError",
        "EarlierSetError",
        "FetchError",
        "FetchLockedError",
        "IndexClosedError",
        "IndexFileError",
        "LockFileError",
        "MalformedCrlError",
        "NothingPublishedError",
        "PartsUnsupportedError",
        "PathValidationError",
        "PreconditionFailedError",
        "ReadOnlyStoreError",
        "ResponderKeyError",
        "RootSignatureError",
        "SettingsError",
        "SigningKeyError",
        "StoreError",
        "StoreUnavailableError",
        "UnsafeStoreError",
        "UnsupportedCrlError",
        "UnsupportedIndexVersionError",
    ),
    "publisher.clean_up": ("clean_up",),
    "publisher.fetch": ("FetchLimits", "check_url", "fetch"),
    "publisher.fetch_each": ("fetch_each",),
    "image.index": ("RevocationIndex", "open_index"),
    "publisher.issuers": ("readmit_issuer", "remove_issuer", "set_issuer", "withdraw_issuers"),
    "publisher.mirror": ("MirrorReport", "mirror_store"),
    "publisher.operator": (
        "advance_generation",
        "deny_certificate",
        "grant_grace",
        "lift_denial",
        "override_scope",
        "remove_scope",
        "reset_scope",
    ),
    "publisher.publish": ("publish_crl",),
    "publisher.publish_many": (
        "PublishSource",
        "PublishSummary",
        "SourceCrl",
        "publish_each",
        "publish_many",
    ),
    "publisher.restore": ("DenialsFrom", "RestoreReport", "ScopeChange", "restore_store"),
    "publisher.timeline": (
        "HistoryCrl",
        "HistoryDenial",
        "HistoryEntry",
        "HistoryIssuer",
        "HistoryOutcome",
        "read_history",
    ),
    "publisher.locks": ("run_lock",),
    "publisher.store_status": (
        "PublishedScope",
        "StoreStatus",
        "UnreadableObject",
        "read_published_scopes",
        "read_store_status",
    ),
    "publisher.verify": ("StoreFault", "VerifyReport", "verify_store"),
    "publisher.rejections": (
        "Rejection",
        "dismiss_rejection",
        "read_rejections",
        "rejection_cause",
    ),
    "remedies": ("remedy_of",),
    "catalog.signing_store": ("SigningStore",),
    "publisher.sign": ("SignReport", "sign_root"),
    "signing.root_key": ("RootKey", "read_root_keys"),
    "signing.root_signer": ("RootSigner",),
    "signing.signing_key": ("SigningKey", "load_signing_key"),
    "stores": (
        "LocalStore",
        "ObjectStore",
        "PartStore",
        "S3Store",
        "StoredObject",
        "StoredPart",
        "open_store",
    ),
    "stores.doctor": ("examine_store",),
    "stores.https": ("HttpsStore",),
    "stores.examination": ("StoreCheck",),
    "stores.probe": ("probe_store",),
    "types": (
        "CertificateFacts",
        "CheckResult",
        "CompileReport",
        "CrlWarning",
        "DistributionPoint",
        "Freshness",
        "ImageLoading",
        "ImageMetadata",
        "IssuingDistributionPoint",
        "OddExtension",
        "Policy",
        "ProblemKind",
        "PublishReport",
        "PublishWarning",
        "PublishWarningKind",
        "ReasonCode",
        "RevocationStatus",
        "RevokedEntry",
        "Rule",
        "StaleRule",
        "StatusProblem",
        "UndeterminedCause",
    ),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = list(_HOME_OF)


def __getattr__(name: str) -> object:
    """Import the module a public name lives in, and keep the name."""
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(importlib.import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
