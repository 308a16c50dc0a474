"""When a store may be asked, and how long it is not asked: the rules of ``polling``."""

from __future__ import annotations

import itertools
from datetime import timedelta

import pytest

from crlcheck.checker.polling import OBJECT_REFUSED, OBJECT_UNAVAILABLE, STORE_FAILED, Polling
from crlcheck.times import Moment
from support.pki import NOW


def at(seconds: float, *, wall: float | None = None, boot: float | None = None) -> Moment:
    """A moment so long after the start, by all clocks unless another time is given for one."""
    return Moment(
        NOW + timedelta(seconds=seconds if wall is None else wall),
        seconds,
        seconds if boot is None else boot,
    )


def answered(interval: float, seconds: float = 0, took: float = 0) -> Polling:
    """The store answered one poll, which began then."""
    polling = Polling(interval)
    return polling.answered(at(seconds), at(seconds + took), took, still_refused=False)


def failed(polling: Polling, seconds: float) -> Polling:
    """The store did not answer another poll, which ended then."""
    return polling.failed(1.0).ended(at(seconds))


# ---- when to ask -------------------------------------------------------------------


def test_a_store_that_was_never_asked_is_due() -> None:
    """
    Rule 1.
    """
    assert Polling(3600).is_due(at(0))


def test_a_poll_is_due_an_interval_after_the_last_answered_one_began() -> None:
    """
    Rule 1. How long that one took, and polls that failed since, change nothing.
    """
    polling = failed(answered(10, took=4), 7)
    assert not polling.is_due(at(9.9))
    assert polling.is_due(at(10))


def test_without_an_interval_every_check_asks() -> None:
    """
    Rule 1.
    """
    assert answered(0).is_due(at(0))


@pytest.mark.parametrize("now", [at(1, wall=10), at(1, boot=10), at(10, wall=1, boot=1)])
def test_the_clock_that_says_most_decides(now: Moment) -> None:
    """
    A machine that slept moves one clock and not the other.
    """
    assert answered(10).is_due(now)


def test_a_wall_clock_that_was_set_back_makes_a_poll_due() -> None:
    """
    Rule 1. One that stands still does not.
    """
    assert answered(10).is_due(at(1, wall=-1))
    assert not answered(10).is_due(at(1, wall=0))


@pytest.mark.parametrize(
    ("interval", "margin"), [(0.02, 0.5), (0.5, 0.5), (0.75, 0.75), (1, 1), (3600, 1)]
)
def test_beside_a_thread_a_check_asks_only_where_that_is_late(
    interval: float, margin: float
) -> None:
    """
    Rule 2: by an interval and a margin from the end of the last poll.
    """
    polling = answered(interval, took=4)
    assert not polling.is_overdue(at(4 + interval + margin))
    assert polling.is_overdue(at(4.01 + interval + margin))


def test_beside_a_thread_a_check_leaves_a_failing_store_to_the_thread() -> None:
    """
    Rule 2: its turn comes after the pause.
    """
    polling = answered(10)
    for seconds in (1, 2, 3):
        polling = failed(polling, seconds)
    assert not polling.is_overdue(at(3 + 10 + 1 + 5))
    assert polling.is_overdue(at(3.1 + 10 + 1 + 5))


def test_a_thread_that_has_not_begun_is_not_late() -> None:
    """
    Rule 2: the first check asks in any case, because it has no set.
    """
    assert not Polling(10).is_overdue(at(3600))


# ---- failures ----------------------------------------------------------------------


def test_the_example_of_the_rules() -> None:
    """
    A check every second with an interval of zero, and a store that fails.
    """
    polling, asked = answered(0), []
    for second in range(1, 260):
        now = at(second)
        if polling.is_due(now) and not polling.is_paused(now):
            asked.append(second)
            polling = failed(polling, second)
    assert asked == [1, 2, 3, 8, 18, 38, 78, 138, 198, 258]


def test_a_store_that_fails_for_years_is_asked_once_a_minute() -> None:
    """
    Rule 3: whatever the number of failures.
    """
    assert [STORE_FAILED.pause(number) for number in (0, 1, 2, 3, 4, 7, 10**9)] == [
        *(0, 0, 0, 5, 10, 60, 60)
    ]


def test_an_object_that_failed_is_left_alone_for_the_same_time_each_time() -> None:
    """
    For five seconds where it is unusable, for one where the store did not give it.
    """
    for number in (1, 2, 100):
        assert OBJECT_REFUSED.pause(number) == 5
        assert OBJECT_UNAVAILABLE.pause(number) == 1
    assert OBJECT_REFUSED.pause(0) == OBJECT_UNAVAILABLE.pause(0) == 0


def test_a_pause_ends_by_any_clock() -> None:
    """
    Rule 3: from the end of the last poll, which is long ago after a suspension.
    """
    polling = answered(0)
    for second in (1, 2, 3):
        polling = failed(polling, second)
    assert polling.is_paused(at(7.9))
    assert not polling.is_paused(at(8))
    assert not polling.is_paused(at(3, wall=8))
    assert not polling.is_paused(at(3, boot=8))


def test_nothing_is_paused_before_the_first_poll_has_ended() -> None:
    """
    There is no time from which a pause could count.
    """
    polling = Polling(0).failed(1.0).failed(1.0).failed(1.0)
    assert not polling.is_paused(at(0))


@pytest.mark.parametrize("how", ["answered", "refused", "resumed"])
def test_an_answer_of_any_kind_ends_a_row_of_failures(how: str) -> None:
    """
    Rule 4; and whoever demands a poll forgives them.
    """
    polling = answered(0)
    for second in (1, 2, 3):
        polling = failed(polling, second)
    if how == "answered":
        polling = polling.answered(at(4), at(4), 0.0, still_refused=True)
    elif how == "refused":
        polling = polling.refused(at(4), 0.0).ended(at(4))
    else:
        polling = polling.resumed()
    assert polling.pause == 0
    assert not polling.is_paused(at(4))


def test_a_refused_catalog_is_due_again_after_an_interval() -> None:
    """
    Rule 4: it is looked at as often as any other.
    """
    polling = Polling(10).refused(at(5), 0.1).ended(at(6))
    assert not polling.is_due(at(14.9))
    assert polling.is_due(at(15))


@pytest.mark.parametrize(
    ("interval", "waits"),
    [(0.3, [0.3, 0.3, 0.3, 0.3]), (10, [10, 1, 1, 5]), (3600, [3600, 1, 1, 5])],
)
def test_a_thread_asks_again_sooner_after_a_failure_and_never_later(
    interval: float, waits: list[float]
) -> None:
    """
    Rule 5: after a second, then after the pause, but no later than it would have anyway.
    """
    pollings = itertools.accumulate(range(3), failed, initial=answered(interval))
    assert [polling.seconds_to_next() for polling in pollings] == waits


# ---- waiting for another thread's poll ---------------------------------------------


def test_a_check_whose_set_is_late_waits_for_a_poll_that_has_just_begun() -> None:
    """
    Rule 6: until that is as old as the margin.
    """
    polling = answered(10)
    assert polling.patience(at(11.1), 0.0) == 1
    assert polling.patience(at(11.1), 0.75) == 0.25
    assert polling.patience(at(11.1), 1.0) == 0
    assert polling.patience(at(11.1), 30.0) == 0


def test_a_check_whose_set_is_in_time_waits_for_nobody() -> None:
    """
    Rule 6: it is late by more than the margin, not as soon as a poll is due.
    """
    assert answered(10).patience(at(11), 0.0) == 0


def test_nobody_waits_for_a_store_that_failed_the_last_time() -> None:
    """
    Rule 6: one failure is enough. Nor is it waited for where it never answered.
    """
    assert failed(answered(10), 11).patience(at(30), 0.0) == 0
    assert Polling(10).patience(at(30), 0.0) == 0


# ---- what polls cost ---------------------------------------------------------------


def test_polls_are_counted_by_what_came_of_them() -> None:
    """
    Each once, with the time that the last one took. A refused catalog that is found
    unchanged is no failure.
    """
    polling = Polling(10).answered(at(0), at(0), 0.1, still_refused=False)
    polling = polling.refused(at(1), 0.2).ended(at(1))
    polling = polling.answered(at(2), at(2), 0.3, still_refused=True)
    polling = polling.failed(0.4).ended(at(3))
    assert polling.last_seconds == 0.4
    assert (polling.num_polls, polling.num_failed, polling.num_refused) == (4, 2, 2)
    assert (polling.answered_at, polling.ended_at) == (at(2), at(3))
    assert polling.interval == 10
