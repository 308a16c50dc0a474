"""Compiling: what is reported, what is refused, and what is left behind."""

from __future__ import annotations

import functools
import io
import os
import resource
import subprocess
import sys
import tempfile
import textwrap
import threading
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn

import pytest

from crlcheck import (
    CertificateError,
    CrlSignatureError,
    CrlWarning,
    MalformedCrlError,
    UnsupportedCrlError,
    compile_crl,
    compile_unverified_crl,
    open_index,
)
from crlcheck._binding import PAGE_SIZE
from crlcheck.compiler import compile as compile_module
from crlcheck.compiler import pipeline, worker
from crlcheck.compiler import source as source_module
from crlcheck.compiler.compile import (
    MAX_IN_MEMORY,
    FileSink,
    _TemporarySink,
    compile_to_temporary,
)
from crlcheck.compiler.source import CHUNK_SIZE, CrlSource
from crlcheck.demo.pki import CertificateAuthority, encode_entry, pem_block, sign_crl
from support.crls import NEXT_UPDATE, REVOKED_ON, THIS_UPDATE, ChunkedFile, authority, make_crl
from support.kinds import make_bundle


def test_the_report_says_what_was_found() -> None:
    """
    A report repeats the CRL's fields, its counts and the image's.
    """
    crl = make_crl({1: 1, 2: None, 3: 4})
    report = compile_crl(crl, issuer=authority().der)
    assert report.image is not None
    assert (report.num_entries, report.num_duplicates) == (3, 0)
    assert (report.crl_number, report.base_crl_number) == (7, None)
    assert (report.this_update, report.next_update) == (THIS_UPDATE, NEXT_UPDATE)
    assert (report.source_size, report.image_size) == (len(crl), len(report.image))
    assert report.issuer == authority().certificate.subject.public_bytes()
    assert report.warnings == CrlWarning(0)
    with open_index(report.image) as index:
        assert index.digest == report.digest
        assert index.metadata.tbs_digest == report.tbs_digest
        assert index.metadata.verified


def test_the_size_of_a_crl_is_that_of_its_der() -> None:
    """In whatever form it is given, so that the sizes of its images can be compared with it."""
    crl = make_crl(range(1, 4000))
    pem = pem_block("X509 CRL", crl)
    sources = (crl, pem, b"of June\n" + pem + b"\n", make_bundle(crls=[crl]))
    for source in sources:
        assert compile_crl(source, issuer=authority().der).source_size == len(crl)


@pytest.mark.parametrize("as_pem", [False, True], ids=["der", "pem"])
def test_every_kind_of_source_gives_the_same_image(tmp_path: Path, as_pem: bool) -> None:
    """
    Path, bytes, bytearray, memoryview and file give the same bytes, as DER or
    PEM, and so does running it again: images are reproducible.
    """
    der = make_crl(range(1, 4000))
    source = pem_block("X509 CRL", der) if as_pem else der
    path = tmp_path / "list.crl"
    path.write_bytes(source)
    expected = compile_crl(der, issuer=authority().der).image
    for given in (
        path,
        str(path),
        source,
        bytearray(source),
        memoryview(source),
        io.BytesIO(source),
        ChunkedFile(source, [1, 70, 3]),
    ):
        assert compile_crl(given, issuer=authority().pem).image == expected


def test_the_output_is_replaced_whole(tmp_path: Path) -> None:
    """
    The image appears under its name only when complete, with ordinary rights,
    over whatever was there.
    """
    output = tmp_path / "index.crlx"
    output.write_bytes(b"old")
    report = compile_crl(make_crl([1, 2]), output, issuer=authority().der)
    assert report.image is None
    assert output.stat().st_size == report.image_size
    assert output.stat().st_mode & 0o777 == 0o666 & ~_umask()
    assert list(tmp_path.iterdir()) == [output]
    with open_index(output) as index:
        assert 1 in index
        assert 3 not in index


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _refused_inputs() -> dict[str, tuple[bytes, type[Exception], str]]:
    """Bad input of every kind, with the error and the rule or reason it has."""
    good = make_crl({1: 1, 2: 4})
    other = CertificateAuthority.create("Test CA")
    return {
        "empty": (b"", MalformedCrlError, "empty"),
        "truncated": (good[:-1], MalformedCrlError, "truncated"),
        "trailing data": (good + b"\0", MalformedCrlError, "trailing_data"),
        "wrong tag": (b"\x31" + good[1:], MalformedCrlError, "wrong_tag"),
        "indefinite length": (b"\x30\x80" + good[4:], MalformedCrlError, "indefinite_length"),
        "non-minimal length": (
            b"\x30\x83\x00" + good[2:],
            MalformedCrlError,
            "non_minimal_length",
        ),
        "inner overrun": (
            b"\x30\x81\x90" + good[4:],  # shorter than the tbsCertList in it
            MalformedCrlError,
            "length_overrun",
        ),
        "non-minimal integer": (
            make_crl([_entry_with_serial(b"\x00\x01")]),
            MalformedCrlError,
            "non_minimal_integer",
        ),
        "empty integer": (
            make_crl([_entry_with_serial(b"")]),
            MalformedCrlError,
            "empty_integer",
        ),
        "serial of 65 octets": (
            make_crl([_entry_with_serial(b"\x01" * 65)]),
            UnsupportedCrlError,
            "serial_too_long",
        ),
        "a certificate": (authority().der, MalformedCrlError, "wrong_tag"),
        "text": (b"this is not a CRL at all", MalformedCrlError, "bad_pem"),
        "two in one PEM": (
            pem_block("X509 CRL", good) * 2,
            MalformedCrlError,
            "several_pem_blocks",
        ),
        "version 1": (
            make_crl([1], version=1, crl_number=None, authority_key_id=False),
            UnsupportedCrlError,
            "version_1",
        ),
        "nextUpdate before thisUpdate": (
            make_crl([1], next_update=THIS_UPDATE - timedelta(seconds=1)),
            MalformedCrlError,
            "next_update_before_this_update",
        ),
        "no nextUpdate": (make_crl([1], next_update=None), UnsupportedCrlError, "no_next_update"),
        "another key": (
            make_crl_of(other, [1]),
            CrlSignatureError,
            "key_id",
        ),
        "another issuer": (
            make_crl_of(CertificateAuthority.create("Other CA"), [1]),
            CrlSignatureError,
            "no_issuer",
        ),
        "damaged entry": (
            good.replace(b"\x02\x01\x02\x17", b"\x02\x01\x03\x17"),
            CrlSignatureError,
            "bad_signature",
        ),
    }


def make_crl_of(signer: CertificateAuthority, serials: list[int]) -> bytes:
    """A CRL of another authority."""
    entries = [encode_entry(serial, REVOKED_ON) for serial in serials]
    return sign_crl(signer, entries, this_update=THIS_UPDATE, next_update=NEXT_UPDATE, crl_number=1)


def _entry_with_serial(contents: bytes) -> bytes:
    regular = encode_entry(1, REVOKED_ON)
    body = bytes((2, len(contents))) + contents + regular[5:]
    return bytes((0x30, len(body))) + body


REFUSED = _refused_inputs()


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_refused_and_leaves_nothing(case: str, tmp_path: Path) -> None:
    """
    Each kind of bad input has a typed error that names the rule, and neither an
    output nor a temporary file stays behind.
    """
    source, kind, name = REFUSED[case]
    path = tmp_path / "list.crl"
    path.write_bytes(source)
    with pytest.raises(kind) as caught:
        compile_crl(path, tmp_path / "index.crlx", issuer=authority().der)
    error = caught.value
    assert name in {getattr(error, field, None) for field in ("rule", "feature", "reason")}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("case", [name for name in REFUSED if name != "text"])
def test_how_the_source_is_cut_changes_no_error(case: str) -> None:
    """
    An error is the same, rule and offset included, whatever chunks it came in.
    """
    source, kind, _ = REFUSED[case]
    messages = set()
    for sizes in ([1], [7, 2], [64], [100_000]):
        with pytest.raises(kind) as caught:
            compile_crl(ChunkedFile(source, sizes), issuer=authority().der)
        messages.add(str(caught.value))
    assert len(messages) == 1


def test_every_truncation_is_refused() -> None:
    """
    A CRL that lacks its end anywhere is malformed, never a shorter list.
    """
    crl = make_crl({1: 1, 300: None})
    for length in range(len(crl)):
        with pytest.raises(MalformedCrlError) as caught:
            compile_unverified_crl(crl[:length])
        assert caught.value.offset <= length


def test_an_issuer_that_may_not_sign_crls_is_refused() -> None:
    """
    The key verifies, but keyUsage lacks cRLSign (RFC 5280 6.3.3 f).
    """
    signer = CertificateAuthority.create("No CRLs", may_sign_crls=False)
    with pytest.raises(CrlSignatureError) as caught:
        compile_crl(make_crl_of(signer, [1]), issuer=signer.der)
    assert caught.value.reason == "key_usage"


def test_directories_and_missing_files_stay_os_errors(tmp_path: Path) -> None:
    """
    The system's own errors stay themselves, for source, issuer and output.
    """
    crl = make_crl([1])
    with pytest.raises(IsADirectoryError):
        compile_crl(tmp_path, issuer=authority().der)
    with pytest.raises(FileNotFoundError):
        compile_crl(tmp_path / "absent", issuer=authority().der)
    with pytest.raises(IsADirectoryError):
        compile_crl(crl, tmp_path, issuer=authority().der)
    with pytest.raises(FileNotFoundError):
        compile_crl(crl, tmp_path / "absent" / "index.crlx", issuer=authority().der)
    with pytest.raises(FileNotFoundError):
        compile_crl(crl, issuer=tmp_path / "absent.pem")
    with pytest.raises(CertificateError):
        compile_crl(crl, issuer=b"not a certificate")
    with pytest.raises(TypeError):
        compile_crl(5, issuer=authority().der)  # type: ignore[arg-type]


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    """
    A write that fails half-way raises the system's OSError and removes what was
    written, and what was there before still is.
    """
    source, output = tmp_path / "list.crl", tmp_path / "index.crlx"
    source.write_bytes(
        make_crl(number * 0x9E3779B97F4A7C15 % (1 << 62) for number in range(1, 5000))
    )
    output.write_bytes(b"the last good image")
    (tmp_path / "ca.pem").write_bytes(authority().pem)
    program = textwrap.dedent(
        """
        import resource, sys
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        import crlcheck
        try:
            crlcheck.compile_crl("list.crl", "index.crlx", issuer="ca.pem")
        except OSError as error:
            print(type(error).__name__, error.errno)
        """
    )
    run = subprocess.run(
        [sys.executable, "-P", "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    assert run.stdout.split() == ["OSError", "27"]
    assert output.read_bytes() == b"the last good image"
    assert len(list(tmp_path.iterdir())) == 3
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 20_000


def test_a_source_that_fails_raises_its_own_error(tmp_path: Path) -> None:
    """
    An error of the file object passes through, and no output appears.
    """

    class Broken:
        def read(self, _size: int, /) -> bytes:
            raise ConnectionResetError("peer went away")

    with pytest.raises(ConnectionResetError):
        compile_crl(Broken(), tmp_path / "index.crlx", issuer=authority().der)
    assert list(tmp_path.iterdir()) == []


def test_sizes_are_capped() -> None:
    """
    A source over the limit is refused: by its own claim at once, and by what it
    really delivers where the claim is modest.
    """
    crl = make_crl(range(1, 100))
    assert compile_crl(crl, issuer=authority().der, max_source_size=len(crl)).num_entries == 99
    with pytest.raises(UnsupportedCrlError) as caught:
        compile_crl(crl, issuer=authority().der, max_source_size=len(crl) - 1)
    assert caught.value.feature == "source_too_large"
    claim = b"\x30\x85\x0b\xa4\x3b\x74\x00" + crl[4:]  # says 50 GB
    with pytest.raises(UnsupportedCrlError) as caught:
        compile_crl(claim, issuer=authority().der)
    assert caught.value.feature == "source_too_large"


def test_an_unverified_image_says_so() -> None:
    """
    A CRL compiled without its issuer is marked in the image.
    """
    report = compile_unverified_crl(make_crl([1]))
    assert report.image is not None
    with open_index(report.image) as index:
        assert not index.metadata.verified
        assert index.metadata.verifier_key_hash is None


@pytest.mark.parametrize("key_type", ["rsa", "rsa-pss", "ec-p384", "ed25519", "ml-dsa-44"])
def test_each_family_of_signatures_compiles(key_type: str) -> None:
    """
    The whole path works for every family of keys, in small chunks too.
    """
    signer = CertificateAuthority.create("Signer", key_type=key_type)  # type: ignore[arg-type]
    crl = make_crl_of(signer, [5, 6])
    report = compile_crl(ChunkedFile(crl, [50]), issuer=[authority().der, signer.der])
    assert report.num_entries == 2
    damaged = bytearray(crl)
    damaged[-1] ^= 1
    with pytest.raises(CrlSignatureError):
        compile_crl(bytes(damaged), issuer=signer.der)


def test_a_temporary_image_goes_with_its_context(tmp_path: Path) -> None:
    """
    ``compile_to_temporary`` keeps a small image in memory. A larger one is in a file for as
    long as its context lasts, which is gone where it fails. Both have the same bytes as
    those of ``compile_crl``.
    """
    places = []
    for count in (1, 50, 5000, 6500, 7500, 20_000):
        crl = make_crl(range(1, 1 << 40, (1 << 40) // count))
        whole = compile_crl(crl, issuer=authority().der)
        with compile_to_temporary(crl, issuer=authority().der, directory=tmp_path) as compiled:
            in_file = isinstance(compiled.content, Path)
            assert in_file == (compiled.report.image_size > MAX_IN_MEMORY)
            assert compiled.read() == whole.image
            assert compiled.signer is not None
            assert compiled.signer.der == authority().der
            assert [*tmp_path.iterdir()] == ([compiled.content] if in_file else [])
        assert [*tmp_path.iterdir()] == []
        places.append(in_file)
        with pytest.raises(MalformedCrlError):
            compile_to_temporary(crl[:-1], issuer=authority().der, directory=tmp_path)
        assert [*tmp_path.iterdir()] == []
    assert {False, True} == {*places}


def test_times_far_away_are_kept() -> None:
    """
    Dates from year 1 to 9999 survive, as RFC 5280's GeneralizedTime has them.
    """
    early = REVOKED_ON.replace(year=1)
    late = THIS_UPDATE.replace(year=9999)
    crl = make_crl(
        [encode_entry(1, early), encode_entry(2, late)],
        next_update=late,
        this_update=THIS_UPDATE - timedelta(days=36_500),
    )
    report = compile_crl(crl, issuer=authority().der)
    assert report.image is not None
    index = open_index(report.image)
    assert [index.find(serial).revocation_date for serial in (1, 2)] == [early, late]  # type: ignore[union-attr]
    assert index.metadata.next_update == late


def test_two_threads_write_one_temporary_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Where the second piece of an image comes from another thread while the first one still
    begins the file, both go to that file: each thread once began a file of its own.
    """
    make_file = tempfile.mkstemp
    others: list[threading.Thread] = []

    def begin_slowly(**options: Any) -> tuple[int, str]:
        if not others:
            others.append(threading.Thread(target=sink.write, args=(1 << 20, b"b" * (1 << 20))))
            others[0].start()
            others[0].join(0.2)
        return make_file(**options)

    monkeypatch.setattr(tempfile, "mkstemp", begin_slowly)
    with _TemporarySink(tmp_path) as sink:
        sink.write(0, b"a" * (1 << 20))
        others[0].join()
        content = sink.content()
    assert isinstance(content, Path)
    assert content.read_bytes() == b"a" * (1 << 20) + b"b" * (1 << 20)
    assert list(tmp_path.iterdir()) == [content]


def _sources(octets: bytes, path: Path) -> Iterator[CrlSource]:
    """The same bytes as sources of every kind."""
    path.write_bytes(octets)
    yield from (octets, memoryview(octets), path, str(path), io.BytesIO(octets))
    yield from (ChunkedFile(octets, [1, 70, 3]), ChunkedFile(octets, [1 << 16]))


@pytest.mark.parametrize("as_pem", [False, True], ids=["der", "pem"])
def test_a_small_crl_needs_no_thread_and_little_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, as_pem: bool
) -> None:
    """
    A CRL of a thousand entries is compiled on the caller's thread, by way of buffers of its
    own size, whatever it is read from. Zeroing megabytes took longer than compiling it.
    """
    der = make_crl(range(1 << 100, (1 << 100) + 1000))
    octets = pem_block("X509 CRL", der) if as_pem else der
    expected = compile_crl(der, issuer=authority().der).image
    assert expected is not None

    def no_thread(*_arguments: object) -> NoReturn:
        pytest.fail("a thread was started")

    monkeypatch.setattr(worker, "ThreadPoolExecutor", no_thread)
    for source in _sources(octets, tmp_path / "list.crl"):
        tracemalloc.start()
        try:
            report = compile_crl(source, issuer=authority().der)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert report.image == expected
        assert peak < 5 * len(octets) + 4 * len(expected) + (1 << 16)


@functools.cache
def _large_crl() -> bytes:
    """A CRL of several chunks, whose image has several pages."""
    return make_crl(1 << 120 | i * i * 0x9E3779B97F4A7C15 for i in range(40_000))


@pytest.mark.parametrize("num_pages", [1, 3, 16])
@pytest.mark.parametrize(("cores", "num_executors"), [(1, 0), (2, 1), (3, 2), (100, 2)])
def test_threads_and_sizes_of_chunks_change_no_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cores: int, num_executors: int, num_pages: int
) -> None:
    """
    A source that is larger than a chunk is compiled on as many threads as there are cores, and
    the image is that of one thread, whatever the source is read from and however many pages
    a piece of the image has.
    """
    der = _large_crl()
    assert len(der) > 2 * CHUNK_SIZE
    expected = compile_to_temporary(der, issuer=authority().der, is_alone=False)
    started = []

    class Executor(ThreadPoolExecutor):
        def __init__(self, *arguments: Any) -> None:
            started.append(self)
            super().__init__(*arguments)

    monkeypatch.setattr(worker, "ThreadPoolExecutor", Executor)
    monkeypatch.setattr(worker, "num_cores", lambda: cores)
    monkeypatch.setattr(pipeline, "_PIECE_SIZE", num_pages * PAGE_SIZE)
    sources = list(_sources(der, tmp_path / "list.crl"))
    sources[-2:] = [ChunkedFile(der, [CHUNK_SIZE - 1]), ChunkedFile(der, [100_003])]
    with expected:
        for source in sources:
            assert compile_crl(source, issuer=authority().der).image == expected.read()
    assert len(started) == num_executors * len(sources)


@pytest.mark.parametrize("num_pages", [1, 2])
def test_pieces_of_an_image_are_written_at_multiples_of_their_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, num_pages: int
) -> None:
    """
    So that each can be a huge page of the file. The header is written last, over what is before
    the first page.
    """
    writes: list[tuple[int, int]] = []

    class Sink(FileSink):
        def write(self, offset: int, piece: bytes | memoryview) -> None:
            writes.append((offset, len(piece)))
            super().write(offset, piece)

    size = num_pages * PAGE_SIZE
    monkeypatch.setattr(compile_module, "FileSink", Sink)
    monkeypatch.setattr(pipeline, "_PIECE_SIZE", size)
    path = tmp_path / "image.crlx"
    report = compile_crl(_large_crl(), issuer=authority().der, output=path)
    assert report.image_size > 3 * size
    *pieces, (end_offset, end_size), header = writes
    assert header == (0, int.from_bytes(path.read_bytes()[40:44], "little"))
    assert end_offset + end_size == report.image_size
    starts = sorted(offset for offset, _ in pieces)
    assert starts == [number * size for number in range(len(pieces))]
    assert all(length == size for offset, length in pieces if offset != starts[-1])


@pytest.mark.parametrize("size", [1, 100, CHUNK_SIZE])
def test_a_file_that_grows_while_it_is_read_is_read_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """
    The size of a file at first only says how large the buffers are.
    """
    der = _large_crl()
    path = tmp_path / "list.crl"
    path.write_bytes(der)
    monkeypatch.setattr(source_module, "_buffer_size", lambda _file: size)
    assert (
        compile_crl(path, issuer=authority().der).image
        == compile_crl(der, issuer=authority().der).image
    )
