"""
Exact, constant-time certificate revocation checks from compiled CRLs.

Public names are resolved when they are first used (PEP 562), so that importing
crlcheck loads neither boto3 nor cryptography: a cold start pays only for what
it needs.

crlcheck decides revocation only. Every certificate given to it must already
have been verified (chain, dates, possession of the key) by whoever terminated
TLS.
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
    from crlcheck.certificate import load_certificate, load_certificates
    from crlcheck.checker import CheckerStatus, RevocationChecker, ScopeStatus
    from crlcheck.compiler import BinaryReader, compile_crl, compile_unverified_crl, split_crls
    from crlcheck.errors import (
        CatalogRollbackError,
        CertificateError,
        CorruptIndexError,
        CrlBaseMissingError,
        CrlCheckError,
        CrlError,
        CrlExpiredError,
        CrlNotYetValidError,
        CrlRollbackError,
        CrlShrinkError,
        CrlSignatureError,
        FetchError,
        IndexClosedError,
        IndexFileError,
        MalformedCrlError,
        PreconditionFailedError,
        StoreError,
        StoreUnavailableError,
        UnsupportedCrlError,
        UnsupportedIndexVersionError,
    )
    from crlcheck.fetcher import FetchLimits, check_url, fetch
    from crlcheck.index import RevocationIndex, open_index
    from crlcheck.issuers import (
        readmit_issuer,
        remove_issuer,
        set_issuer,
        withdraw_issuers,
    )
    from crlcheck.mirror import MirrorReport, mirror_store
    from crlcheck.operations import (
        advance_generation,
        clean_up,
        deny_certificate,
        lift_denial,
        override_scope,
        remove_scope,
        reset_scope,
    )
    from crlcheck.publisher import publish_crl, publish_each
    from crlcheck.rejections import Rejection, read_rejections, rejection_cause
    from crlcheck.stores import LocalStore, ObjectStore, S3Store, StoredObject, open_store
    from crlcheck.types import (
        CertificateFacts,
        CheckResult,
        CompileReport,
        CrlWarning,
        DistributionPoint,
        Freshness,
        IssuingDistributionPoint,
        Policy,
        ProblemKind,
        PublishReport,
        PublishWarning,
        PublishWarningKind,
        ReasonCode,
        RevocationStatus,
        RevokedEntry,
        Rule,
        StaleRule,
        StatusProblem,
        UndeterminedCause,
    )

__version__ = "0.1.0"

__all__ = [
    "BinaryReader",
    "CatalogRollbackError",
    "CertificateError",
    "CertificateFacts",
    "CheckResult",
    "CheckerStatus",
    "CompileReport",
    "CorruptIndexError",
    "CrlBaseMissingError",
    "CrlCheckError",
    "CrlError",
    "CrlExpiredError",
    "CrlNotYetValidError",
    "CrlRollbackError",
    "CrlShrinkError",
    "CrlSignatureError",
    "CrlWarning",
    "DistributionPoint",
    "FetchError",
    "FetchLimits",
    "Freshness",
    "IndexClosedError",
    "IndexFileError",
    "IssuingDistributionPoint",
    "LocalStore",
    "MalformedCrlError",
    "MirrorReport",
    "ObjectStore",
    "Policy",
    "PreconditionFailedError",
    "ProblemKind",
    "PublishReport",
    "PublishWarning",
    "PublishWarningKind",
    "ReasonCode",
    "Rejection",
    "RevocationChecker",
    "RevocationIndex",
    "RevocationStatus",
    "RevokedEntry",
    "Rule",
    "S3Store",
    "ScopeStatus",
    "StaleRule",
    "StatusProblem",
    "StoreError",
    "StoreUnavailableError",
    "StoredObject",
    "UndeterminedCause",
    "UnsupportedCrlError",
    "UnsupportedIndexVersionError",
    "advance_generation",
    "check_url",
    "clean_up",
    "compile_crl",
    "compile_unverified_crl",
    "deny_certificate",
    "fetch",
    "lift_denial",
    "load_certificate",
    "load_certificates",
    "mirror_store",
    "open_index",
    "open_store",
    "override_scope",
    "publish_crl",
    "publish_each",
    "read_rejections",
    "readmit_issuer",
    "rejection_cause",
    "remove_issuer",
    "remove_scope",
    "reset_scope",
    "set_issuer",
    "split_crls",
    "withdraw_issuers",
]

_HOMES = {
    "certificate": ("load_certificate", "load_certificates"),
    "checker": ("CheckerStatus", "RevocationChecker", "ScopeStatus"),
    "compiler": ("BinaryReader", "compile_crl", "compile_unverified_crl", "split_crls"),
    "errors": (
        "CatalogRollbackError",
        "CertificateError",
        "CorruptIndexError",
        "CrlBaseMissingError",
        "CrlCheckError",
        "CrlError",
        "CrlExpiredError",
        "CrlNotYetValidError",
        "CrlRollbackError",
        "CrlShrinkError",
        "CrlSignatureError",
        "FetchError",
        "IndexClosedError",
        "IndexFileError",
        "MalformedCrlError",
        "PreconditionFailedError",
        "StoreError",
        "StoreUnavailableError",
        "UnsupportedCrlError",
        "UnsupportedIndexVersionError",
    ),
    "fetcher": ("FetchLimits", "check_url", "fetch"),
    "index": ("RevocationIndex", "open_index"),
    "issuers": ("readmit_issuer", "remove_issuer", "set_issuer", "withdraw_issuers"),
    "mirror": ("MirrorReport", "mirror_store"),
    "operations": (
        "advance_generation",
        "clean_up",
        "deny_certificate",
        "lift_denial",
        "override_scope",
        "remove_scope",
        "reset_scope",
    ),
    "publisher": ("publish_crl", "publish_each"),
    "rejections": ("Rejection", "read_rejections", "rejection_cause"),
    "stores": ("LocalStore", "ObjectStore", "S3Store", "StoredObject", "open_store"),
    "types": (
        "CertificateFacts",
        "CheckResult",
        "CompileReport",
        "CrlWarning",
        "DistributionPoint",
        "Freshness",
        "IssuingDistributionPoint",
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
