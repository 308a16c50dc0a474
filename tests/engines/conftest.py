"""Fixtures of the tests of engines; `make test-engines` installs these."""

from __future__ import annotations

import pytest

from support.inventory import Inventory, make_certificates, make_inventory


@pytest.fixture(scope="session")
def inventory(tmp_path_factory: pytest.TempPathFactory) -> Inventory:
    """A store and a table, which no test changes."""
    made = make_inventory(tmp_path_factory.mktemp("inventory"))
    assert set(made.statuses) == {"not_revoked", "revoked", "undetermined", None}
    return made


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Inventory:
    """A store and a table of certificates, which no test changes."""
    return make_certificates(tmp_path_factory.mktemp("certificates"))
