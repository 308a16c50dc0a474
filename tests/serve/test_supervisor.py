"""What the supervisor decides, without processes."""

from __future__ import annotations

import pytest

from crlcheck.serve.supervisor import pause_after


@pytest.mark.parametrize(
    ("num_short", "seconds"), [(0, 0.0), (1, 0.0), (2, 0.4), (5, 3.2), (7, 10.0), (100_000, 10.0)]
)
def test_a_worker_that_ends_at_once_is_tried_for_ever(num_short: int, seconds: float) -> None:
    """
    After ever longer pauses, up to ten seconds.
    """
    assert pause_after(num_short) == pytest.approx(seconds)
