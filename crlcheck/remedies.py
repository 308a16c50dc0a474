"""
Say what can be done about an undetermined certificate and about a refused CRL.

This is the only table of remedies. The checker puts them into its verdicts; the command,
the status objects in a store and the preprocessor's log put them beside an error. A remedy
names commands (``crlcheck scope set``), options (``--allow-sha1``), settings of a function
(``CRLCHECK_ALLOW_SHA1``), fields of a policy and their settings (``Policy.stale
(CRLCHECK_STALE)``) and sections of documents
(``docs/guides/operations.md#by-hand``). A test looks each of them up.

A cause that is not in ``REMEDIES`` is in ``WITHOUT_REMEDY``, with the reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from crlcheck import errors
from crlcheck.types import UndeterminedCause

Cause = UndeterminedCause | type[errors.CrlCheckError]

NEXT_CRL = "publish the CA's next CRL (crlcheck publish, crlcheck fetch)"
SIGN_AGAIN = "sign it again (crlcheck sign), and do so regularly"

REMEDIES: Mapping[Cause, str] = MappingProxyType(
    {
        # ---- verdicts --------------------------------------------------------------------
        UndeterminedCause.UNKNOWN_ISSUER: "if its issuer is to be trusted, publish the issuer's "
        "CRL with the issuer's certificate (crlcheck publish --issuer); Policy.unknown_issuer "
        "(CRLCHECK_UNKNOWN_ISSUER) lets certificates of all unknown issuers pass",
        UndeterminedCause.AMBIGUOUS_ISSUER: "trust a certificate that ties the keys, or stop "
        "trusting the key that is no longer used (crlcheck issuer list, crlcheck issuer remove); "
        "docs/reference/supported-crls.md#which-crls-cover-a-certificate says which keys are tied",
        UndeterminedCause.OUT_OF_SCOPE: "publish the CRL that covers it (crlcheck publish); "
        "crlcheck scope list shows what is published. If its CA publishes none, say so "
        "with crlcheck issuer no-crl or Policy.unpublished_issuers (CRLCHECK_UNPUBLISHED_ISSUERS)",
        UndeterminedCause.STALE: f"{NEXT_CRL}; Policy.stale (CRLCHECK_STALE) and "
        "Policy.stale_grace (CRLCHECK_STALE_GRACE) allow a grace period",
        UndeterminedCause.NOT_YET_VALID: "compare this machine's clock with that of the CA; "
        "Policy.clock_skew (CRLCHECK_CLOCK_SKEW) allows a larger difference",
        UndeterminedCause.REASONS_NOT_COVERED: "publish the CA's CRLs for the other reasons too "
        "(crlcheck publish); crlcheck scope list shows what is published",
        UndeterminedCause.CERTIFICATE_EXPIRED: "use a certificate that has not expired; "
        "Policy.expired_certificate (CRLCHECK_EXPIRED_CERTIFICATE) lets expired ones pass",
        UndeterminedCause.CRL_SIGNER_REVOKED: "publish a CRL that the CA signed with a key "
        "that is not revoked (crlcheck publish)",
        UndeterminedCause.STORE_UNAVAILABLE: "find out whether the store can be read "
        "(crlcheck scope list); where something in it is missing or damaged, find all of it "
        "(crlcheck verify) and repair it (crlcheck verify --repair-from a mirror or the CRLs)",
        # ---- refused CRLs ----------------------------------------------------------------
        errors.MalformedCrlError: "if the file is meant to be a CRL, fetch it again (a page or a "
        "file of another kind in its place is the usual reason), or ask the CA for a CRL that "
        "follows RFC 5280; if it is not, take it away (crlcheck refusal dismiss, if listed); "
        "docs/reference/supported-crls.md#extensions says what is accepted with a warning",
        errors.UnsupportedCrlError: "docs/reference/supported-crls.md says what is accepted; "
        "ask the CA for such a CRL",
        errors.CrlSignatureError: "give the certificate of the key that signed the CRL "
        "(crlcheck publish --issuer)",
        errors.CrlNotYetValidError: "compare this machine's clock with that of the CA; "
        "CRLCHECK_CLOCK_SKEW and the argument clock_skew allow a larger difference",
        errors.CrlRollbackError: "nothing, if a cache on the way sent an old CRL; if the CA "
        "restarted its CRL numbers, let the scope take any CRL next (crlcheck scope reset)",
        errors.CrlOrderUnknownError: "publish the CA's next CRL, with a later thisUpdate or a CRL "
        "number (crlcheck publish, crlcheck fetch); if this one is known to be the newer one, let "
        "the scope take any CRL next (crlcheck scope reset)",
        errors.CrlBaseMissingError: "publish the complete CRL first (crlcheck publish), then this "
        "one again",
        errors.CrlShrinkError: "ask the CA whether so many revocations have ended; if so, "
        "allow it for this CRL (crlcheck publish --allow-shrink, or allow_shrink)",
        errors.CrlExpiredError: NEXT_CRL,
        errors.CertificateError: "give a certificate as PEM or DER, and the issuers that are "
        "trusted with crlcheck publish --issuer",
        errors.CertificateHeaderError: "compare the form with the proxy and its configuration "
        "(docs/reference/proxies.md), and let the proxy set the header anew for every request",
        errors.PathValidationError: "give the anchor and the intermediate certificates by which "
        "the certificate leads to it; docs/guides/authorizer.md says which rules count",
        errors.FetchError: "look at the URL and at its server, then try again",
        errors.FetchLockedError: "nothing, unless it happens at every run: then the runs take "
        "longer than their interval, or one of them hangs",
        # ---- stores and images -----------------------------------------------------------
        errors.IndexFileError: "make the image again from its CRL (crlcheck compile, "
        "crlcheck publish --rebuild)",
        errors.UnsupportedIndexVersionError: "read the image by the version that wrote it or a "
        "later one; docs/reference/index-format.md has the rule for versions",
        errors.StoreUnavailableError: "try again; if it fails again, check the store and the "
        "rights that docs/explanation/security.md lists",
        errors.NothingPublishedError: "correct the store's name, or publish the CRLs first "
        "(crlcheck publish); with CRLCHECK_WAIT_FOR_SET=true the service starts, and denies "
        "everything until a set is published",
        errors.ReadOnlyStoreError: "give the directory or the s3:// URL from which the server at "
        "this URL takes its files, and no @GENERATION after it",
        errors.LockFileError: "find out who made it, then remove it; the next writer makes a "
        "lock file of its own",
        errors.UnsafeStoreError: "use a store that compares and swaps; docs/guides/stores.md "
        "names some, and crlcheck doctor tries one",
        errors.StoreError: "check the store; docs/guides/operations.md#a-restored-store says what "
        "to do about a catalog that cannot be read",
        errors.EarlierSetError: "crlcheck history shows which generations there are; "
        "crlcheck clean --keep 30d keeps for longer what they need, see "
        "docs/guides/operations.md#history",
        errors.CatalogRollbackError: "bring the set back that services have (crlcheck restore), or "
        "publish the current CRLs and bring the store above the generation in use (crlcheck "
        "advance); see docs/guides/operations.md#a-restored-store",
        errors.CatalogDamagedError: "find all that is missing or damaged (crlcheck verify); "
        "--repair-from copies it from a mirror, and crlcheck restore makes the set anew",
        errors.RootSignatureError: "docs/explanation/security.md#a-signed-root says which roots "
        "are refused; find out who wrote the root before it is signed (crlcheck sign)",
        errors.SigningKeyError: "give a key that signs roots (crlcheck key new, crlcheck key "
        "show); docs/explanation/security.md#a-signed-root says which do",
        errors.ResponderKeyError: "give for each issuer a certificate with id-kp-OCSPSigning that "
        "this issuer has issued, as NAME.crt, and its key without a passphrase, as NAME.key with "
        "mode 0600; docs/guides/serve.md#ocsp says more",
        errors.PartsUnsupportedError: "let the server answer ranges of an object, unpacked "
        "(docs/guides/stores.md), or load images whole (CRLCHECK_IMAGE_LOADING)",
        errors.PreconditionFailedError: "try again: another publication came first",
    }
)

REMEDIES_BY_REASON: Mapping[str, str] = MappingProxyType(
    {
        # ---- CrlSignatureError.reason ----------------------------------------------------
        "no_issuer": "give the certificate of the CRL's issuer (crlcheck publish --issuer, "
        "CRLCHECK_ISSUERS), and all of them in a rollover",
        "key_id": "give the certificate of the key that signed the CRL (crlcheck publish "
        "--issuer, CRLCHECK_ISSUERS): the CA has another key than the certificates given",
        "key_usage": "give the CA's certificate whose keyUsage has cRLSign "
        "(crlcheck publish --issuer, CRLCHECK_ISSUERS)",
        "small_rsa_key": "ask the CA for a key of 2048 bits; --allow-small-rsa and "
        "CRLCHECK_ALLOW_SMALL_RSA accept 1024 bits and more",
        "removed_issuer": "if the issuer is to be trusted again, readmit it "
        "(crlcheck issuer readmit)",
        "bad_signature": "get the CRL again, or ask the CA: it was changed, or damaged on its way",
        # ---- UnsupportedCrlError.feature -------------------------------------------------
        "sha1_signature": "ask the CA to sign with SHA-256; --allow-sha1 and CRLCHECK_ALLOW_SHA1 "
        "accept SHA-1",
        "version_1": "ask the CA for version 2 CRLs; --allow-v1 and CRLCHECK_ALLOW_V1 accept "
        "version 1",
        "no_next_update": "ask the CA for nextUpdate; --allow-no-next-update and "
        "CRLCHECK_REQUIRE_NEXT_UPDATE accept CRLs without it, which never go stale",
        "source_too_large": "if the CRL is meant to be so large, raise --max-source-size or "
        "CRLCHECK_MAX_CRL_SIZE",
        "too_many_crls": "if the file is meant to have so many CRLs, raise --max-crls or "
        "CRLCHECK_MAX_CRLS",
        # ---- RootSignatureError.reason ---------------------------------------------------
        "unsigned": "if the set is as it should be, sign it (crlcheck sign --adopt); if it was "
        "signed before, somebody else wrote it",
        "unknown_key": "if the key is the publisher's, accept it (crlcheck key show, "
        "CRLCHECK_ROOT_KEYS); to change a set that a replaced key signed, give that key too "
        "(--sign-with), or vouch for the set by the new one (crlcheck sign --adopt); else "
        "somebody else wrote the root",
        "key_twice": "sign the root anew (crlcheck sign --adopt), once it is known who wrote it",
        "later_format": "read it by the version that signed it, or a later one",
        "other_store": "look for a mix-up of stores or a copied catalog.json, and put the "
        "store's own root back; each store should have a key of its own",
        "other_root": "find out who changed catalog.json, and put back the one that was signed; "
        "crlcheck sign --adopt vouches for this one",
        "expired": "sign it again, once it is known to be the newest (crlcheck sign), and do so "
        "regularly; compare this machine's clock",
        "unsigned_record": "restore from a mirror; or look at what changes (crlcheck restore "
        "--adopt --dry-run) and accept it (crlcheck restore --adopt)",
        "no_signing_key": "give the key (--sign-with, CRLCHECK_SIGN_WITH)",
        "set_back": "bring the lost set back (crlcheck restore STORE --from @GENERATION); crlcheck "
        "history --all and crlcheck verify say which generation is the latest",
        "invalid_signature": "read the root again, and look at who changed catalog.json; "
        "crlcheck sign --adopt vouches for it",
        "malformed": "look at who changed catalog.json; crlcheck sign --adopt vouches for it",
        # ---- SigningKeyError.reason ------------------------------------------------------
        "exposed_key": "take the rights of others away (chmod 600), and make a new key if "
        "somebody may have read this one (crlcheck key new)",
        "encrypted_key": "keep the key in AWS KMS, or without a passphrase in a file of mode 0600",
        "wrong_signature": "name the key by its ARN instead of its alias",
        "kms_refused": "grant kms:GetPublicKey and kms:Sign on the key, in its region; "
        "docs/explanation/security.md#the-rights lists the rights",
        "kms_unavailable": "try again; if it fails again, check region, network and credentials",
    }
)
"""What is said instead for errors that have this ``reason`` or ``feature``."""

WITHOUT_REMEDY: Mapping[Cause, str] = MappingProxyType(
    {
        UndeterminedCause.CERTIFICATE_HOLD: "it is only ever waived (Policy.hold, "
        "CRLCHECK_HOLD); without that the certificate is REVOKED",
        errors.CrlCheckError: "it is the class from which the other errors derive",
        errors.CrlError: "it is the class from which the errors of refused CRLs derive",
        errors.SettingsError: "its message says for each setting what was expected",
        errors.IndexClosedError: "it is a mistake of the program that closed the index",
    }
)
"""Causes about which nobody can do anything, and why."""


def remedy_of(error: BaseException) -> str | None:
    """Return what can be done about an error, None where there is nothing to say."""
    own = getattr(error, "remedy", None)
    if isinstance(own, str):
        return own
    for name in ("reason", "feature"):
        found = REMEDIES_BY_REASON.get(str(getattr(error, name, "")))
        if found is not None:
            return found
    for kind in type(error).__mro__:
        if kind in WITHOUT_REMEDY:
            return None
        if kind in REMEDIES:
            return REMEDIES[kind]
    return None


def with_remedy(text: str, remedy: str | None) -> str:
    """
    Return *text*, which ends without a full stop, and what can be done about it.

    Where a file is of another kind, the text of the error ends with the remedy already.
    """
    return f"{text}. What to do: {remedy}" if remedy and not text.endswith(remedy) else text
