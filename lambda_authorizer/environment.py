"""
Start one execution environment: read its settings, load its images, make its authorizer.

Importing this module reads no setting; ``start`` does.
"""

from __future__ import annotations

import functools
import logging
import os
import threading
from typing import TYPE_CHECKING

import crlcheck
from crlcheck.settings import is_http_url, is_s3_url, read_settings
from lambda_authorizer.settings import Settings

if TYPE_CHECKING:
    from lambda_authorizer.authorizer import Authorizer

# Lambda ends an initialisation after ten seconds. Images that are not loaded by then are
# loaded when they are first needed.
_INIT_SECONDS = 6.0

_LOG = logging.getLogger("lambda_authorizer")


@functools.cache
def start() -> Authorizer:
    """
    Return the authorizer of this process, which is made by the first call.

    Raises:
        ValueError: a setting is missing or wrong; the message names the variable.
    """
    settings = read_settings(Settings, os.environ)
    _LOG.setLevel(settings.log_level.name)
    checker = crlcheck.RevocationChecker(
        _store(settings),
        policy=settings.policy,
        refresh_after=settings.refresh_after,
        image_memory=settings.image_memory,
        image_loading=settings.image_loading,
        max_catalog_age=settings.max_catalog_age,
        root_keys=settings.root_keys,
        minimum_generation=settings.minimum_generation,
    )
    loading = threading.Thread(target=checker.preload, name="crlcheck preload", daemon=True)
    loading.start()
    # Imported here, so that the images are loaded meanwhile.
    from lambda_authorizer.authorizer import Authorizer

    authorizer = Authorizer(settings, checker)
    # Between invocations the environment is frozen, and so would the thread be.
    loading.join(_INIT_SECONDS)
    _recheck_after_restore(checker)
    return authorizer


def _store(settings: Settings) -> str | crlcheck.ObjectStore:
    if is_s3_url(settings.store):
        return crlcheck.S3Store(settings.store, load_seconds=settings.load_seconds)
    if is_http_url(settings.store):
        return crlcheck.HttpsStore(settings.store, load_seconds=settings.load_seconds)
    return settings.store


def _recheck_after_restore(checker: crlcheck.RevocationChecker) -> None:
    """
    Ask the store after the environment is restored from a snapshot by Lambda's
    SnapStart, because the snapshot may be days old.
    """
    if os.environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") != "snap-start":
        return
    from snapshot_restore_py import register_after_restore

    register_after_restore(_recheck, checker)


def _recheck(checker: crlcheck.RevocationChecker) -> None:
    try:
        checker.refresh()
    except Exception as error:  # noqa: BLE001 - requests must be answered in any case
        _LOG.warning("after the restore the store could not be asked: %s", error)
