"""
What an execution environment begins with: settings, and a checker that already
loads its images while the rest of the function is imported.
"""

from __future__ import annotations

import logging
import os
import threading

import crlcheck
from crlcheck.settings import read_settings
from lambda_authorizer.settings import Settings

# Lambda gives initialisation ten seconds; what is late is loaded at need.
_INIT_SECONDS = 6.0

LOG = logging.getLogger("lambda_authorizer")
SETTINGS = read_settings(Settings, os.environ)
LOG.setLevel(SETTINGS.log_level.name)


def _store(settings: Settings) -> str | crlcheck.ObjectStore:
    if not settings.store.startswith("s3://"):
        return settings.store
    return crlcheck.S3Store(settings.store, load_seconds=settings.load_seconds)


CHECKER = crlcheck.RevocationChecker(
    _store(SETTINGS),
    policy=SETTINGS.policy,
    refresh_after=SETTINGS.refresh_after,
    image_memory=SETTINGS.image_memory,
    max_catalog_age=SETTINGS.max_catalog_age,
)
_LOADING = threading.Thread(target=CHECKER.preload, name="crlcheck preload", daemon=True)
_LOADING.start()


def finish_loading() -> None:
    """Wait for what is being loaded: between invocations an environment stands still."""
    _LOADING.join(_INIT_SECONDS)


def recheck_after_restore() -> None:
    """
    Have the store asked once an environment continues from a snapshot, which may
    be days old. Only Lambda's SnapStart has such a thing.
    """
    if os.environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") != "snap-start":
        return
    from snapshot_restore_py import register_after_restore

    register_after_restore(_recheck)


def _recheck() -> None:
    try:
        CHECKER.refresh()
    except Exception as error:  # noqa: BLE001 - whatever it is, requests must be answered
        LOG.warning("after the restore the store could not be asked: %s", error)
