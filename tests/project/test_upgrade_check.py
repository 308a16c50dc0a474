"""What ``make upgrade-check`` takes for a refusal that is right."""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from types import ModuleType

import pytest

from support.wheels import ROOT

ROOT_REFUSED = (4, "catalog.json cannot be read: expected 2, found 3, written by a later crlcheck")
IMAGE_REFUSED = (4, "the image cannot be loaded: image has format version 2, this library reads 1")
NOBODY_KNOWS = (3, "no trusted issuer has that name")


@pytest.fixture(scope="module")
def upgrade() -> ModuleType:
    """tests/upgrade.py, imported."""
    spec = spec_from_file_location("upgrade_check", ROOT / "tests" / "upgrade.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up there
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("good", "revoked", "foreign", "expected"),
    [
        (ROOT_REFUSED, ROOT_REFUSED, ROOT_REFUSED, True),
        (IMAGE_REFUSED, IMAGE_REFUSED, NOBODY_KNOWS, True),
        # Whatever is said of the others, this one has passed.
        (ROOT_REFUSED, (0, "written by a later crlcheck"), NOBODY_KNOWS, False),
        (ROOT_REFUSED, ROOT_REFUSED, (0, "is not revoked"), False),
        # A wrong "revoked" is no refusal, nor is a failure that no format explains.
        ((1, "written by a later crlcheck"), ROOT_REFUSED, ROOT_REFUSED, False),
        (ROOT_REFUSED, (4, "try again later"), NOBODY_KNOWS, False),
        # All is as it should be: nothing is refused.
        ((0, "is not revoked"), (1, "is revoked"), NOBODY_KNOWS, False),
    ],
)
def test_a_refusal_lets_nobody_pass_and_names_the_format(
    upgrade: ModuleType,
    good: tuple[int, str],
    revoked: tuple[int, str],
    foreign: tuple[int, str],
    expected: bool,
) -> None:
    """
    Another version that lets a revoked client pass is never "as documented".
    """
    answers = {"good.pem": good, "revoked.pem": revoked, "foreign.pem": foreign}
    assert upgrade.is_refusal(answers) is expected
