"""Many CRLs are published as if one by one, whatever their order, and whatever fails."""

from __future__ import annotations

import io
import itertools
import random
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crlcheck import (
    CertificateError,
    CrlBaseMissingError,
    CrlError,
    CrlRollbackError,
    CrlSignatureError,
    MalformedCrlError,
    PublishReport,
    PublishSource,
    PublishSummary,
    StoreUnavailableError,
    publish_crl,
    publish_many,
    read_rejections,
)
from crlcheck.catalog.published_set import read_set
from crlcheck.demo.pki import pem_block
from crlcheck.publisher.publish_many import PublishResult, SourceCrl
from crlcheck.publisher.verify import verify_store
from crlcheck.stores import LocalStore
from support.memory_store import MemoryStore
from support.pki import DAY, NOW, delta_of, make_authority, make_crl
from support.publishing import CA, OTHER_CA, catalog_of, images_of, publish

ISSUERS = [CA.pem, OTHER_CA.pem]


@pytest.fixture(scope="module", params=[1, 200], autouse=True)
def ahead(request: pytest.FixtureRequest) -> Iterator[None]:
    """Write images ahead of the swap when so many CRLs wait: at once, or not in these tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("crlcheck.publisher.publish_many._PREPARED_AT_ONCE", request.param)
        yield


@dataclass(frozen=True)
class Run:
    """A run of ``publish_many``, with all its results by name."""

    summary: PublishSummary
    results: Mapping[str, PublishResult]


def run(store: Any, sources: Any, **options: Any) -> Run:
    """Publish at NOW."""
    results: dict[str, PublishResult] = {}

    def note(crl: SourceCrl, result: PublishResult) -> None:
        assert str(crl) not in results
        results[str(crl)] = result

    arguments: dict[str, Any] = {"issuers": ISSUERS, "now": NOW, "jobs": 3, **options}
    return Run(publish_many(sources, store, on_result=note, **arguments), results)


def named(crls: Mapping[str, bytes]) -> list[PublishSource]:
    """The CRLs as sources with names."""
    return [PublishSource(source=crl, name=name) for name, crl in crls.items()]


# ---- as if one by one ----------------------------------------------------------------


CRLS = {
    "ca-1": make_crl(CA, 1, [1]),
    "ca-2": make_crl(CA, 2, range(1, 40)),
    "ca-3": make_crl(CA, 3, [1]),
    "ca-4": make_crl(CA, 4, [1, 4]),
    "delta-3": make_crl(CA, 3, [5], extensions=[delta_of(2)]),
    "delta-5": make_crl(CA, 5, [6], extensions=[delta_of(4)]),
    "delta-9": make_crl(CA, 9, [7], extensions=[delta_of(8)]),
    "other-1": make_crl(OTHER_CA, 1, [9]),
    "other-none": make_crl(OTHER_CA, None, [8], this_update=NOW - DAY),
    "stranger": make_crl(make_authority("Stranger"), 1),
    "tomorrow": make_crl(OTHER_CA, 7, this_update=NOW + DAY),
    "no CRL": b"no CRL",
}
ORDER = (
    "stranger", "tomorrow", "no CRL", "other-none", "ca-1", "other-1", "ca-2", "ca-3", "ca-4",
    "delta-3", "delta-5", "delta-9",
)  # fmt: skip


def one_by_one(store: MemoryStore, names: Iterator[str]) -> dict[str, str]:
    """Publish in the documented order; return what became of each CRL."""
    found = {}
    for name in names:
        try:
            report = publish(store, CRLS[name], issuer=ISSUERS, source_name=name)
        except CrlError as error:
            found[name] = type(error).__name__
        else:
            found[name] = word_of(report)
    return found


def word_of(result: PublishResult) -> str:
    """What became of a CRL, in a word that does not name a generation."""
    if isinstance(result, PublishReport):
        counts = (result.num_newly_revoked, result.num_lifted) if result.published else ""
        return f"{result.published} {counts}"
    return type(result).__name__


def state_of(store: MemoryStore) -> object:
    """What is published, without what differs between one swap and several."""
    return {
        key: (
            record.base.digest,
            record.delta and record.delta.digest,
            record.source,
            record.earlier_sources,
        )
        for key, record in catalog_of(store).scopes.items()
    }


@given(st.sets(st.sampled_from(ORDER)), st.sets(st.sampled_from(ORDER)), st.randoms())
def test_any_batch_is_published_as_if_one_by_one(
    before: set[str], batch: set[str], order: random.Random
) -> None:
    """
    On whatever was published before, and in whatever order the batch comes.
    """
    single, many = MemoryStore(), MemoryStore()
    for store in (single, many):
        one_by_one(store, (name for name in ORDER if name in before))
    shuffled = sorted(batch)
    order.shuffle(shuffled)
    expected = one_by_one(single, (name for name in ORDER if name in batch))
    found = run(many, named({name: CRLS[name] for name in shuffled}))
    only_older = {name for name in batch if is_only_older(name, expected)}
    assert {name: word_of(result) for name, result in found.results.items()} == {
        **expected,
        **dict.fromkeys(only_older, "False "),
    }
    assert state_of(many) == state_of(single)
    refused = {rejection.source: rejection.cause for rejection in read_rejections(many)}
    assert refused == {
        one.source: one.cause for one in read_rejections(single) if one.source not in only_older
    }
    named_images = {image.name for image in catalog_of(many).images()}
    assert named_images <= set(images_of(many))
    assert found.summary.num_refused == len(found.summary.refused)


def is_only_older(name: str, expected: Mapping[str, str]) -> bool:
    """Whether a CRL was refused as older, and a newer one of the batch was not refused."""
    kind, _, number = name.partition("-")
    newer = {
        other
        for other, word in expected.items()
        if other.partition("-")[0] == kind and not word.endswith("Error")
    }
    if expected[name] != "CrlRollbackError":
        return False
    if number == "none":
        return "other-1" in newer
    return any(int(other.partition("-")[2]) > int(number) for other in newer)


def test_a_directory_that_keeps_its_old_crls_can_be_published_again() -> None:
    """
    What is older than another CRL of the run is no rollback. Alone it is, and so are two CRLs
    of one number.
    """
    store = MemoryStore()
    batch = named({name: CRLS[name] for name in ("ca-1", "ca-3", "ca-4", "delta-5")})
    assert run(store, batch).summary.num_published == 4
    again = run(store, batch).summary
    assert (again.num_published, again.num_unchanged, again.num_refused) == (0, 4, 0)
    assert read_rejections(store) == []
    assert run(store, named({"ca-1": CRLS["ca-1"]})).summary.num_refused == 1
    other = make_crl(CA, 4, [1, 4, 44])
    alike = run(store, named({"ca-4": CRLS["ca-4"], "other 4": other})).summary
    assert (alike.num_unchanged, alike.num_refused) == (1, 1)


def test_one_swap_is_for_all() -> None:
    """
    And the image of a CRL that another one of the batch replaces is never written.
    """
    store = MemoryStore()
    found = run(store, named({name: CRLS[name] for name in ("ca-1", "ca-3", "ca-4", "other-1")}))
    assert (found.summary.num_published, found.summary.generation) == (4, 1)
    assert len(images_of(store)) == 2
    replaced, stays = found.results["ca-3"], found.results["ca-4"]
    assert isinstance(replaced, PublishReport)
    assert isinstance(stays, PublishReport)
    assert (replaced.image_name, stays.image_name in images_of(store)) == ("", True)
    assert run(store, named({"ca-4": CRLS["ca-4"]})).summary.num_unchanged == 1
    assert read_set(store)[0].generation == 1


def test_every_crl_of_every_file_counts(tmp_path: Path) -> None:
    """
    Of PEM files too; a file that is not there, one that breaks off and one that is no file
    keep none of the others out.
    """

    class Broken(io.RawIOBase):
        def read(self, _size: int = -1, /) -> bytes:
            raise ConnectionResetError("gone")

    bundle = tmp_path / "both.pem"
    bundle.write_bytes(b"".join(pem_block("X509 CRL", CRLS[name]) for name in ("ca-1", "no CRL")))
    sources: list[Any] = [
        bundle,
        str(tmp_path / "missing.crl"),
        PublishSource(source=Broken(), name="broken"),
        io.BytesIO(CRLS["other-1"]),
        bytearray(CRLS["ca-2"]),
        3,
    ]
    found = run(MemoryStore(), iter(sources))
    words = {name.rpartition("/")[2]: word_of(one) for name, one in found.results.items()}
    assert words == {
        "both.pem": "True (1, 0)",
        "both.pem#2": "MalformedCrlError",
        "missing.crl": "FileNotFoundError",
        "broken": "ConnectionResetError",
        "source 4": "True (1, 0)",
        "source 5": "True (38, 0)",
        "source 6": "TypeError",
    }
    summary = found.summary
    assert (summary.num_published, summary.num_refused, summary.num_failed) == (3, 1, 3)


def test_a_delta_waits_for_a_base_of_a_later_group() -> None:
    """
    However small the groups are; without its base it is refused at the end.
    """
    names = ("delta-5", "delta-9", "other-1", "ca-4")
    found = run(MemoryStore(), named({name: CRLS[name] for name in names}), max_group=1, jobs=1)
    assert word_of(found.results["delta-5"]) == "True (1, 0)"
    assert list(found.summary.refused) == ["delta-9"]
    assert isinstance(found.summary.refused["delta-9"], CrlBaseMissingError)


def test_an_older_crl_of_a_later_group_is_refused() -> None:
    """
    As it would be if it came by itself.
    """
    found = run(
        MemoryStore(),
        named({name: CRLS[name] for name in ("ca-4", "ca-1")}),
        max_group=1,
        jobs=1,
    )
    assert isinstance(found.summary.refused["ca-1"], CrlRollbackError)


def test_each_source_has_its_own_options() -> None:
    """
    One may lose most of its entries and another may not.
    """
    store = MemoryStore()
    run(store, named({"ca-2": CRLS["ca-2"], "other": make_crl(OTHER_CA, 2, range(1, 40))}))
    sources = [
        PublishSource(source=CRLS["ca-3"], name="ca", allow_shrink=True),
        PublishSource(source=make_crl(OTHER_CA, 3, [1]), name="other"),
    ]
    found = run(store, sources)
    assert list(found.summary.refused) == ["other"]
    assert found.summary.num_published == 1


def test_wrong_arguments_are_refused_before_anything_is_read() -> None:
    """
    An issuer that is no certificate, no jobs, a note that is too long.
    """
    source = PublishSource(source=lambda: pytest.fail("it was opened"), name="never")
    for options, error in (
        ({"issuers": [b"no certificate"]}, CertificateError),
        ({"jobs": 0}, ValueError),
        ({"max_group": 0}, ValueError),
        ({"note": "x" * 10_000}, ValueError),
    ):
        with pytest.raises(error):
            run(MemoryStore(), [source], **options)


def test_what_sources_raise_ends_the_run_after_its_swap(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The results that were ready are given before.
    """
    # Most sources are asked for only after results: else a machine that holds this thread up
    # while another one compiles could come to the last of them before the first swap.
    monkeypatch.setattr("crlcheck.publisher.publish_many._LOOK_AHEAD", 20)

    def sources() -> Iterator[PublishSource]:
        yield from named({f"{number}": make_crl(CA, number) for number in range(1, 1100)})
        raise LookupError("no more")

    store, names = MemoryStore(), []
    with pytest.raises(LookupError, match="no more"):
        publish_many(
            sources(),
            store,
            issuers=ISSUERS,
            now=NOW,
            jobs=1,
            max_group=5,
            on_result=lambda crl, _: names.append(str(crl)),
        )
    assert catalog_of(store).scopes
    assert names


@pytest.mark.parametrize("max_group_seconds", [0.0, 3600.0])
def test_results_come_while_sources_come_slowly(
    monkeypatch: pytest.MonkeyPatch, max_group_seconds: float
) -> None:
    """
    A refusal between two sources, and a publication once its time has come; not after the last
    of them. Until then, CRLs that were compiled wait for others.
    """
    monkeypatch.setattr("crlcheck.publisher.publish_many._LOOK_AHEAD_TIME", 0.0)
    monkeypatch.setattr("crlcheck.publisher.publish_many.MAX_GROUP_SECONDS", max_group_seconds)
    results: dict[str, PublishResult] = {}
    wanted = {"no CRL", "good"} if max_group_seconds == 0 else {"no CRL"}

    def sources() -> Iterator[PublishSource]:
        yield from named({"good": make_crl(CA, 1), "no CRL": b"no CRL"})
        for number in range(900):
            if wanted <= results.keys():
                break
            time.sleep(0.01)
            yield PublishSource(source=b"no CRL", name=f"more {number}")
        assert wanted <= results.keys()
        assert ("good" in results) == (max_group_seconds == 0)

    publish_many(
        sources(),
        MemoryStore(),
        issuers=ISSUERS,
        now=NOW,
        on_result=lambda crl, result: results.update({str(crl): result}),
    )
    assert isinstance(results["no CRL"], MalformedCrlError)
    assert isinstance(results["good"], PublishReport)


# ---- processes -----------------------------------------------------------------------


def test_many_paths_are_compiled_in_processes(tmp_path: Path) -> None:
    """
    With the same results, refusals with all their attributes among them.
    """
    authorities = [make_authority(f"CA {number}") for number in range(70)]
    paths = []
    for number, authority in enumerate(authorities):
        paths.append(tmp_path / f"{number:02}.crl")
        paths[-1].write_bytes(make_crl(authority, 1, [number + 1]))
    (tmp_path / "bad.crl").write_bytes(CRLS["ca-1"])
    (tmp_path / "cut.crl").write_bytes(make_crl(authorities[0], 1)[:-7])
    paths += [tmp_path / "bad.crl", tmp_path / "cut.crl", tmp_path / "missing.crl"]
    store = LocalStore(tmp_path / "store", fsync=False)
    issuers = [one.der for one in authorities]
    found = run(store, paths, issuers=issuers, jobs=2)
    assert (found.summary.num_published, found.summary.generation) == (70, 1)
    assert verify_store(store).num_faults == 0
    refused = {Path(name).name: error for name, error in found.summary.refused.items()}
    assert sorted(refused) == ["bad.crl", "cut.crl"]
    bad, cut = refused["bad.crl"], refused["cut.crl"]
    assert isinstance(bad, CrlSignatureError)
    assert isinstance(cut, MalformedCrlError)
    assert (bad.reason, cut.rule) == ("no_issuer", "truncated")
    ((name, missing),) = found.summary.failed.items()
    assert isinstance(missing, FileNotFoundError)
    assert missing.filename == name == str(tmp_path / "missing.crl")


# ---- faults ---------------------------------------------------------------------------


def test_a_store_that_fails_at_any_step_leaves_a_whole_set() -> None:
    """
    Whichever operation fails: each CRL has a result, none is said to be published that is
    not, and the next run publishes the rest.
    """
    names = ("ca-3", "ca-4", "other-1", "delta-5", "stranger")
    for step in itertools.count():
        store = MemoryStore()
        run(store, named({"ca-1": CRLS["ca-1"]}))
        steps = itertools.count()

        def fail(operation: str, name: str, steps: Any = steps, at: int = step) -> None:
            if next(steps) == at:
                raise StoreUnavailableError(f"{operation} {name}: no answer")

        store.before = fail
        found = run(store, named({name: CRLS[name] for name in names}), jobs=1)
        store.before = None
        assert set(found.results) == set(names)
        catalog = catalog_of(store)
        digests = {image.digest for image in catalog.images()}
        assert {image.name for image in catalog.images()} <= set(images_of(store))
        for result in found.results.values():
            if isinstance(result, PublishReport) and result.image_name:
                assert result.compiled.digest in digests
        again = run(store, named({name: CRLS[name] for name in names}))
        assert not again.summary.failed
        assert len(catalog_of(store).scopes) == 2
        if step >= next(steps) - 1:
            break
    assert step > 10


def test_a_lost_race_is_judged_again() -> None:
    """
    What another publisher brings meanwhile counts: a newer CRL, and the base of a delta.
    """
    store = MemoryStore()
    run(store, named({"other-1": CRLS["other-1"]}))
    swaps = itertools.count()

    def interfere(operation: str, name: str) -> None:
        if operation == "write" and name == "catalog.json" and next(swaps) == 0:
            store.before = None
            publish_crl(CRLS["ca-4"], store, issuer=CA.pem, now=NOW + timedelta(seconds=1))

    store.before = interfere
    names = ("ca-3", "delta-5", "other-none")
    other = make_crl(OTHER_CA, 2, [9, 10])
    found = run(store, named({**{name: CRLS[name] for name in names}, "other-2": other}))
    words = {name: word_of(result) for name, result in found.results.items()}
    assert words == {
        "ca-3": "CrlRollbackError",
        "delta-5": "True (1, 0)",
        "other-none": "False ",  # older than other-2, which is of this batch
        "other-2": "True (1, 0)",
    }
    named_images = {image.name for image in catalog_of(store).images()}
    assert named_images <= set(images_of(store))


def test_no_temporary_file_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Whether it ends well, or by what its caller raises.
    """
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    sources = named({name: CRLS[name] for name in ORDER})
    run(MemoryStore(), sources)
    assert not any(tmp_path.iterdir())

    def stop(_crl: SourceCrl, _result: PublishResult) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        publish_many(sources, MemoryStore(), issuers=ISSUERS, now=NOW, on_result=stop)
    assert not any(tmp_path.iterdir())


def test_small_images_make_no_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    One that was made ahead would stay where the run is killed before a process knows of it.
    """
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    authority = make_authority()
    seen = []
    publish_many(
        [make_crl(authority, 1, [7])],
        tmp_path / "store",
        issuers=authority.pem,
        now=NOW,
        on_result=lambda *_: seen.append(list(temporary.iterdir())),
    )
    assert seen == [[]]
