"""The history of a store: what was published, by whom, what changed, and what was refused."""

from __future__ import annotations

import json
import signal
import time
from datetime import timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from crlcheck.catalog.compare_and_swap import Change, swap
from crlcheck.catalog.earlier import store_at
from crlcheck.catalog.history import Action
from crlcheck.catalog.published_set import read_set
from crlcheck.catalog.root import CATALOG_NAME
from crlcheck.errors import (
    CatalogDamagedError,
    CrlError,
    CrlExpiredError,
    CrlNotYetValidError,
    CrlRollbackError,
    MalformedCrlError,
    ReadOnlyStoreError,
)
from crlcheck.publisher.clean_up import clean_up
from crlcheck.publisher.operator import deny_certificate, lift_denial, reset_scope
from crlcheck.publisher.rejections import record_rejections
from crlcheck.publisher.timeline import HistoryEntry, HistoryOutcome, read_history
from crlcheck.stores import LocalStore, open_store
from crlcheck.x509.certificates import load_certificate
from support.changes import CHANGES, published_store
from support.memory_store import MemoryStore
from support.moto_server import S3Environment
from support.pki import DAY, NOW, delta_of, make_authority, make_crl
from support.publish_worker import publisher
from support.publishing import CA, OTHER_CA, catalog_of, publish

HOUR = timedelta(hours=1)
KEPT = timedelta(days=365)
NAME = load_certificate(CA.der).subject
PUBLISHED, UNDONE, LOST = HistoryOutcome.PUBLISHED, HistoryOutcome.UNDONE, HistoryOutcome.LOST
REFUSED, MISSING = HistoryOutcome.REFUSED, HistoryOutcome.MISSING


@pytest.fixture(params=["memory", "directory", "S3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """An empty store of each kind."""
    if request.param == "memory":
        return MemoryStore()
    if request.param == "directory":
        return LocalStore(tmp_path / "store", fsync=False)
    s3: S3Environment = request.getfixturevalue("s3")
    return open_store(f"s3://{s3.bucket}/published")


def put(store: Any, number: int, days: float = 0, **options: Any) -> None:
    """Publish a CRL so many days after NOW, and keep all that is superseded."""
    publish(store, make_crl(CA, number), now=NOW + days * DAY, grace=KEPT, **options)


def generations(store: Any, **options: Any) -> list[tuple[int | None, HistoryOutcome]]:
    """Generation and outcome of each entry."""
    return [(one.generation, one.outcome) for one in read_history(store, **options)]


def test_what_was_published_by_whom_and_what_changed(store: Any) -> None:
    """The latest first, with CRL numbers, counts, issuers, denials, actors and notes."""
    put(store, 1, source_name="ca.crl", actor="lambda f 1")
    deny_certificate(store, NAME, 5, now=NOW + DAY, note="stolen", actor="alice@desk")
    delta = make_crl(CA, 3, [7, 8], extensions=[delta_of(1)])
    publish(store, delta, now=NOW + 2 * DAY, source_name="delta.crl", grace=KEPT)
    lift_denial(store, NAME, 5, now=NOW + 3 * DAY, note="found")
    put(store, 4, 4)
    newest, lifted, with_delta, denied, first = read_history(store)
    assert [one.summary for one in (newest, lifted, with_delta, denied, first)] == [
        "CRL 4 of CN=Example CA is published",
        "certificate 5 of CN=Example CA is not denied any more",
        "delta CRL 3 of CN=Example CA is published",
        "certificate 5 of CN=Example CA is denied",
        "CRL 1 of CN=Example CA is published",
    ]
    assert (denied.generation, denied.actor, denied.note) == (2, "alice@desk", "stolen")
    assert (denied.action, denied.outcome) == ("deny", PUBLISHED)
    assert timedelta(0) <= denied.at - NOW - DAY < HOUR
    assert [one.serial_number for one in denied.denials_added] == [5]
    assert [one.note for one in lifted.denials_lifted] == ["stolen"]
    assert lifted.note == "found"
    (crl,) = first.crls
    assert (crl.change, crl.crl_number, crl.source) == ("added", 1, "ca.crl")
    assert first.actor == "lambda f 1"
    assert [one.subject for one in first.issuers_added] == ["CN=Example CA"]
    (crl,) = with_delta.crls
    assert (crl.change, crl.base_crl_number, crl.num_entries) == ("added", 1, 2)
    assert crl.source == "delta.crl"
    base, gone = newest.crls
    assert (base.change, base.num_entries_before, gone.change) == ("replaced", 0, "removed")
    assert str(gone) == "delta CRL 3 of CN=Example CA"


@pytest.mark.parametrize("action", CHANGES)
def test_every_change_is_said_in_words(action: str) -> None:
    """With all that it names, and as values for JSON, however it is called."""
    store = published_store()
    CHANGES[action](store)
    entry = next(read_history(store))
    assert entry.action == action
    assert "?" not in entry.summary
    assert "_" not in entry.summary.replace("covers_no_distribution_point", "").replace(
        "is_anchor", ""
    )
    found = json.loads(json.dumps(entry.as_dict()))
    assert found["summary"] == entry.summary
    assert found["outcome"] == "published"


def test_since_a_time_or_a_generation_and_of_a_scope(store: Any) -> None:
    """In any time zone; a generation is the one after which the history begins."""
    for day in range(5):
        put(store, day + 1, day)
    publish(store, make_crl(OTHER_CA, 1), OTHER_CA.pem, now=NOW + 5 * DAY, grace=KEPT)
    east, west = (timezone(timedelta(hours=hours)) for hours in (14, -12))
    now = NOW + 6 * DAY
    since: Any
    for since, expected in (
        (NOW + 3.5 * DAY, [6, 5]),
        ((NOW + 3.5 * DAY).astimezone(east), [6, 5]),
        ((NOW + 3.5 * DAY).astimezone(west), [6, 5]),
        (2.5 * DAY, [6, 5]),
        (4, [6, 5]),
        (6, []),
        (40, []),
        (0, [6, 5, 4, 3, 2, 1]),
        (None, [6, 5, 4, 3, 2, 1]),
        (NOW + 7 * DAY, []),
    ):
        found = generations(store, since=since, now=now)
        assert found == [(generation, PUBLISHED) for generation in expected]
    (scope,) = (
        key for key, one in catalog_of(store).scopes.items() if one.base.metadata.issuer == NAME
    )
    reset_scope(store, scope, now=NOW + 6 * DAY)
    assert [g for g, _ in generations(store, scope=scope[:8])] == [7, 5, 4, 3, 2, 1]
    assert generations(store, scope="f" * 32) == []
    with pytest.raises(ValueError, match="aware"):
        read_history(store, since=NOW.replace(tzinfo=None))


def test_a_writer_whose_clock_is_wrong_hides_nothing() -> None:
    """A record that is older than it should be does not end the search for a time."""
    store = MemoryStore()
    for day in (0, 1, 2, -40, 3, 4):
        deny_certificate(store, NAME, 5, now=NOW + day * DAY) if day else put(store, 1)
    found = generations(store, since=NOW + 1.5 * DAY)
    assert [generation for generation, _ in found] == [6, 5, 3]


def test_it_is_read_as_it_is_asked_for() -> None:
    """To see the latest entry of a long history, three objects are read."""
    read: list[str] = []
    store = MemoryStore(lambda method, name: read.append(name) if method == "read" else None)
    put(store, 1)
    for number in range(40):
        deny_certificate(store, NAME, number, now=NOW)
    read.clear()
    entries = read_history(store)
    assert next(entries).generation == 41
    assert len(read) <= 3
    assert len(list(entries)) == 40


# ---- swaps that lost ------------------------------------------------------------------


def test_processes_that_race_leave_one_chain(tmp_path: Path) -> None:
    """
    Publishers are killed at any time while they race. What is shown as published is what the
    store went through: each CRL newer than the one before it, up to the present set. What
    they left behind is shown only if it is asked for.
    """
    store = LocalStore(tmp_path / "store", fsync=False)
    authorities = [make_authority(f"CA {number}") for number in range(3)]
    paths: list[list[str]] = []
    for number, authority in enumerate(authorities):
        (tmp_path / f"{number}.pem").write_bytes(authority.pem)
        paths.append([])
        for crl_number in range(1, 40):
            path = tmp_path / f"{number}-{crl_number}.crl"
            path.write_bytes(make_crl(authority, crl_number))
            paths[-1].append(str(path))
    workers = [
        publisher(tmp_path / "store", tmp_path / f"{number}.pem", *paths[number])
        for number in (0, 1, 2, 0, 1, 2)
    ]
    time.sleep(2)
    for worker in workers[:3]:
        worker.send_signal(signal.SIGKILL)
    for worker in workers:
        worker.communicate()
    # Who comes second with a CRL may be refused: another one has published a newer one.
    entries = [one for one in read_history(store) if one.outcome != REFUSED]
    numbers = [one.generation for one in entries]
    assert numbers == sorted(numbers, key=lambda one: -(one or 0))
    assert {one.outcome for one in entries} == {PUBLISHED}
    last: dict[str, int] = {}
    for entry in reversed(entries):
        for crl in entry.crls:
            assert crl.change in ("added", "replaced")
            assert (crl.crl_number or 0) > last.get(crl.issuer, 0)
            last[crl.issuer] = crl.crl_number or 0
    published = {
        one.base.metadata.scope: one.base.metadata.crl_number
        for one in catalog_of(store).scopes.values()
    }
    assert sorted(last.values()) == sorted(filter(None, published.values()))
    others = [one for one in read_history(store, include_lost=True) if one not in entries]
    assert {one.outcome for one in others} <= {LOST, REFUSED}


class DyingStore(MemoryStore):
    """A store whose writers die before the swap, while ``dies`` is set."""

    dies = False

    def write(self, name: str, *arguments: Any, **options: Any) -> str:
        """As MemoryStore.write."""
        if self.dies and name == CATALOG_NAME:
            raise SystemExit
        return super().write(name, *arguments, **options)


def test_a_writer_that_died_before_its_swap() -> None:
    """Its generation was never published: it is shown only if that is asked for."""
    store = DyingStore()
    put(store, 1)
    store.dies = True
    with pytest.raises(SystemExit):
        put(store, 2)
    store.dies = False
    assert generations(store) == [(1, PUBLISHED)]
    assert generations(store, include_lost=True) == [(2, LOST), (1, PUBLISHED)]
    put(store, 3)
    put(store, 4)
    assert generations(store) == [(4, PUBLISHED), (3, PUBLISHED), (1, PUBLISHED)]
    assert generations(store, include_lost=True) == [
        (4, PUBLISHED),
        (3, PUBLISHED),
        (2, LOST),
        (1, PUBLISHED),
    ]
    (lost,) = [one for one in read_history(store, include_lost=True) if one.outcome is LOST]
    assert lost.summary == "CRL 2 of CN=Example CA is published"


def test_an_old_root_was_put_back(store: Any) -> None:
    """
    The generations after it were published and are lost, the last one too. That is shown at
    once, and for as long as their records are there.
    """
    put(store, 1)
    put(store, 2, 1)
    body = store.read(CATALOG_NAME).body
    for number in (3, 4, 5):
        put(store, number, number)
    store.write(CATALOG_NAME, body)
    lost = [(5, UNDONE), (4, UNDONE), (3, UNDONE)]
    kept = [(2, PUBLISHED), (1, PUBLISHED)]
    assert generations(store) == [*lost, *kept]
    put(store, 6, 6)
    assert generations(store) == [(6, PUBLISHED), *lost, *kept]
    put(store, 7, 7)
    assert generations(store) == [(7, PUBLISHED), (6, PUBLISHED), *lost, *kept]
    assert generations(store, include_lost=True) == generations(store)
    assert generations(store, since=4) == [(7, PUBLISHED), (6, PUBLISHED), (5, UNDONE)]
    store.delete(CATALOG_NAME)
    found = generations(store)
    assert [generation for generation, _ in found] == [7, 6, 5, 4, 3, 2, 1]
    assert {outcome for _, outcome in found} == {UNDONE}


def test_while_others_publish() -> None:
    """What is published after the root was read is not said to be lost."""
    store = MemoryStore()
    put(store, 1)
    done: list[str] = []
    for moment in ("names", "read"):

        def publish_two(method: str, _name: str, moment: str = moment) -> None:
            if method == moment:
                store.before = None
                done.append(moment)
                held, _ = read_set(store)
                for number in (1, 2):
                    put(store, held.generation + number)

        store.before = publish_two
        outcomes = {outcome for _, outcome in generations(store, include_lost=True)}
        assert done[-1] == moment
        assert PUBLISHED in outcomes
        assert UNDONE not in outcomes


# ---- where it ends ---------------------------------------------------------------------


def test_records_that_clean_up_deleted(store: Any) -> None:
    """The history says where it ends, unless it reaches back as far as was asked."""
    for day in range(6):
        put(store, day + 1, day * 10)
    clean_up(store, grace=timedelta(0), now=NOW + 60 * DAY)
    found = generations(store)
    assert found[-1][1] is MISSING
    oldest = found[-2][0]
    assert oldest is not None
    assert found[-1][0] == oldest - 1
    (*_, last) = read_history(store)
    assert f"generation {oldest - 1} and all before it were deleted" in last.summary
    assert generations(store, since=NOW)[-1][1] is MISSING
    assert generations(store, since=1)[-1][1] is MISSING
    assert generations(store, scope="0" * 32) == [(oldest - 1, MISSING)]
    assert {one for _, one in generations(store, since=oldest)} == {PUBLISHED}


def test_a_damaged_record_is_an_error(store: Any) -> None:
    """What came after it is shown. What came before it cannot be told."""
    for day in range(4):
        put(store, day + 1, day)
    (_, _, third, _) = store.names("history/")
    store.write(third, store.read(third).body.replace(b"Example", b"Exampel"))
    entries = read_history(store)
    assert [next(entries).generation, next(entries).generation] == [4, 3]
    with pytest.raises(CatalogDamagedError):
        next(entries)


def test_nothing_is_published() -> None:
    """It is said as everywhere."""
    with pytest.raises(FileNotFoundError, match="nothing is published"):
        list(read_history(MemoryStore()))


class Unlisted(MemoryStore):
    """As a web server, which has no list of its objects."""

    is_unlisted = False

    def names(self, prefix: str) -> Any:
        """As MemoryStore.names, until it is a web server's."""
        if self.is_unlisted:
            raise ReadOnlyStoreError("no list", store=self.url, operation="list")
        return super().names(prefix)


def test_a_store_that_cannot_list_its_objects() -> None:
    """The chain is enough for what was published."""
    store = Unlisted()
    for day in range(3):
        put(store, day + 1, day)
    store.is_unlisted = True
    expected = [(3, PUBLISHED), (2, PUBLISHED), (1, PUBLISHED)]
    assert generations(store, include_lost=True) == expected
    assert store_at(store, 2, now=NOW + 9 * DAY).generation == 2
    assert store_at(store, NOW + 1.5 * DAY, now=NOW + 9 * DAY).generation == 2


def test_the_history_of_a_store_as_it_was() -> None:
    """It ends with the generation that is shown, and refusals of later are not in it."""
    store = MemoryStore()
    for day in range(3):
        put(store, day + 1, day)
    refuse(store, make_crl(CA, 1), CrlRollbackError)
    then = store_at(store, 2, now=NOW + 9 * DAY)
    assert generations(then, include_lost=True) == [(2, PUBLISHED), (1, PUBLISHED)]


# ---- refusals ---------------------------------------------------------------------------


def refuse(
    store: Any, crl: bytes, error: type[Exception], days: float = 3, source: str = "a", **by: Any
) -> None:
    """Publish what is refused."""
    with pytest.raises(error):
        publish(store, crl, now=NOW + days * DAY, source_name=source, **by)


def refusals(store: Any) -> list[HistoryEntry]:
    """The refusals in the history."""
    return [one for one in read_history(store) if one.outcome is REFUSED]


def test_refusals_stand_among_the_generations(store: Any) -> None:
    """
    With source, cause, reason, what to do and who published. The next success removes the
    status object and not the trace.
    """
    put(store, 2, 0, source_name="a")
    refuse(store, make_crl(CA, 1), CrlRollbackError, 1, actor="lambda f 1")
    put(store, 3, 2, source_name="a")
    refuse(store, b"<html>", MalformedCrlError, 3)
    refuse(store, b"<html>", MalformedCrlError, 4, source="b")
    entries = list(read_history(store))
    assert [one.outcome for one in entries] == [REFUSED, REFUSED, PUBLISHED, REFUSED, PUBLISHED]
    third, second, _, first, _ = entries
    assert [one.details["source"] for one in (first, second, third)] == ["a", "a", "b"]
    assert (first.action, first.generation, first.actor) == ("refuse", None, "lambda f 1")
    assert first.details["cause"] == "rollback"
    assert "CRL 1 of CN=Example CA is not newer" in first.details["detail"]
    assert "crlcheck scope reset" in first.details["remedy"]
    assert first.summary.startswith("a CRL of a is refused (rollback): CRL 1 of")
    assert abs(first.at - NOW - DAY) < HOUR
    since = read_history(store, since=NOW + 3.5 * DAY)
    assert [one.details["source"] for one in since] == ["b"]


def test_a_refusal_that_repeats_leaves_no_trace(store: Any) -> None:
    """Each hour, with the time of the run in the message, and after a success too."""
    put(store, 2, source_name="a")
    early = make_crl(CA, 9, this_update=NOW + 90 * DAY, next_update=NOW + 99 * DAY)
    expired = make_crl(CA, 3, this_update=NOW + DAY, next_update=NOW + DAY)
    for hour in range(3):
        refuse(store, b"<html>", MalformedCrlError, hour / 24)
    for hour in range(3):
        refuse(store, early, CrlNotYetValidError, 1 + hour / 24)
    for hour in range(3):
        refuse(store, expired, CrlExpiredError, 2 + hour / 24)
    for hour in range(3):
        refuse(store, make_crl(CA, 1), CrlRollbackError, 3 + hour / 24)
        publish(store, make_crl(CA, 2), now=NOW + 3 * DAY, source_name="a")
    refuse(store, b"<html>", MalformedCrlError, 4)
    causes = [one.details["cause"] for one in refusals(store)]
    assert causes == ["malformed", "rollback", "expired", "not_yet_valid", "malformed"]


def test_each_crl_of_a_file_leaves_its_own(store: Any) -> None:
    """Also those after the first that was refused, and once however often the file comes."""
    put(store, 5, source_name="a")
    for _ in range(2):
        for number in (1, 2, 3):
            refuse(store, make_crl(CA, number), CrlRollbackError, source=f"a#{number}")
    assert sorted(one.details["source"] for one in refusals(store)) == ["a#1", "a#2", "a#3"]


def test_traces_have_no_secrets_and_are_deleted_with_the_history(store: Any) -> None:
    """Thirty days later, or as late as the operator keeps what is not used any more."""
    put(store, 5)
    refuse(store, b"<html>", MalformedCrlError, 0, source="https://u:Tr0ub4dor@ca.example/a.crl")
    refuse(store, b"<html>", MalformedCrlError, 20, source="b")
    assert refusals(store)[1].details["source"] == "https://u:***@ca.example/a.crl"
    clean_up(store, now=NOW + 29 * DAY)
    assert len(refusals(store)) == 2
    clean_up(store, now=NOW + 31 * DAY, keep=40 * DAY)
    assert len(refusals(store)) == 2
    clean_up(store, now=NOW + 41 * DAY)
    assert [one.details["source"] for one in refusals(store)] == ["b"]


def test_a_trace_that_cannot_be_left_hides_no_error() -> None:
    """The CRL is refused for its own reason, and the status object is written all the same."""

    def fail(method: str, name: str) -> None:
        if name.startswith("history/refused/"):
            raise OSError(28, "No space left on device")

    store = MemoryStore()
    put(store, 2)
    store.before = fail
    refuse(store, make_crl(CA, 1), CrlRollbackError)
    store.before = None
    assert len(list(store.names("status/"))) == 1
    assert refusals(store) == []


@pytest.mark.parametrize("num_sources", [3, 40])
def test_the_traces_of_many_sources_cost_few_requests(num_sources: int) -> None:
    """Nothing is read to tell what is said already, and nothing is written for it."""
    calls: list[tuple[str, str]] = []
    store = MemoryStore(lambda method, name: calls.append((method, name)))
    errors = {f"source {number}": CrlError("junk") for number in range(num_sources)}
    put(store, 1)
    traces: list[list[str]] = []
    for hour in range(3):
        calls.clear()
        record_rejections(store, errors, NOW + hour * HOUR)
        touched = [method for method, name in calls if name.startswith("history/refused/")]
        assert touched.count("read") == 0
        assert touched.count("names") <= 8
        assert touched.count("write") == (0 if hour else num_sources)
        traces.append(list(store.names("history/refused/")))
    assert traces[0] == traces[2]
    record_rejections(store, {"source 1": CrlError("other junk")}, NOW + 3 * HOUR)
    record_rejections(store, errors, NOW + 4 * HOUR)
    assert len(refusals(store)) == num_sources + 2


# ---- records that others wrote -----------------------------------------------------------

JUNK: tuple[Any, ...] = (None, 0, -1.5, True, "", "{x}", [], [None], [{}], {}, {"a": [1]}, 1 << 900)
NAMES = ("scopes", "issuers_added", "denials_added", "scope", "issuer", "set", "until", "above")


@pytest.mark.parametrize("action", [*CHANGES, "restore", "withdraw_issuers", "of_later"])
def test_no_detail_of_a_record_breaks_the_history(action: str) -> None:
    """What cannot be read is a damaged record, and everything else is shown as it is."""
    store = MemoryStore()
    put(store, 1)
    for name in (*NAMES, "keep", "added_by", "source"):
        for junk in JUNK:
            held, etag = read_set(store)
            part = held.settings()
            made = Action(action=action, details={name: junk})
            assert swap(
                store,
                held,
                etag,
                Change(
                    before=part,
                    after=part,
                    action=made,
                    at=NOW,
                    clock=lambda: NOW,
                ),
            )
            try:
                entry = next(read_history(store))
            except CatalogDamagedError as error:
                found = error.found
            else:
                found = ""
                assert isinstance(entry.summary, str)
                json.dumps(entry.as_dict(), allow_nan=False)
            assert found == "" or (found == "unreadable" and name in NAMES[:3])
