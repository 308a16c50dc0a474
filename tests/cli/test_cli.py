"""The command line: what it says, and above all the status it exits with."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

import crlcheck
from crlcheck.cli import main
from crlcheck.demo.encoding import encode_extension
from crlcheck.demo.pki import CertificateAuthority, pem_block, sign_crl
from support.command_line import NOW, WEEK, Place, make_place

STATUS = {"good": 0, "revoked": 1, "foreign": 3, "missing": 4}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Files that the tests read, and add to under names of their own."""
    return make_place(tmp_path_factory.mktemp("cli"))


def run_json(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    """The one JSON document that a command prints."""
    main([*arguments, "--json"])
    return json.loads(capsys.readouterr().out)


# ---- check ---------------------------------------------------------------------


@pytest.mark.parametrize("target", ["ca.crlx", "store"])
@pytest.mark.parametrize(
    ("client", "sentence"),
    [("good", "is not revoked"), ("revoked", "is revoked"), ("foreign", "is undetermined")],
)
def test_a_certificate_gets_a_sentence_and_a_status(
    place: Place, capsys: pytest.CaptureFixture[str], target: str, client: str, sentence: str
) -> None:
    """
    A good, a revoked and a foreign certificate exit 0, 1 and 3 with a sentence
    each, against an image and against a store.
    """
    path = place[f"{client}.pem"]
    assert main(["check", place[target], path]) == STATUS[client]
    out, err = capsys.readouterr()
    assert out.startswith(f"{path}: certificate {place.serial(client)} issued by ")
    assert sentence in out
    assert (len(out.splitlines()), err) == (1, "")


@pytest.mark.parametrize(
    "clients", [c for n in (2, 4) for c in itertools.permutations(STATUS, n)], ids="-".join
)
def test_the_worst_of_several_decides(place: Place, clients: tuple[str, ...]) -> None:
    """
    Of several certificates the exit status is 1 over 4 over 3 over 0, in
    whatever order they come.
    """
    expected = next(s for s in (1, 4, 3, 0) if s in {STATUS[client] for client in clients})
    paths = [place[f"{client}.pem"] for client in clients]
    assert main(["check", place["store"], *paths]) == expected


def test_an_unforeseen_error_hides_no_revoked_certificate(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Whatever fails about one certificate, the others are judged.
    """
    check = crlcheck.RevocationChecker.check

    def fail_once(checker: Any, certificate: Any) -> Any:
        monkeypatch.setattr(crlcheck.RevocationChecker, "check", check)
        raise RuntimeError("unforeseen")

    monkeypatch.setattr(crlcheck.RevocationChecker, "check", fail_once)
    assert main(["check", place["store"], place["good.pem"], place["revoked.pem"]]) == 1


def test_check_as_json(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    """
    All verdicts and failures are in one document, with the exit status.
    """
    names = ("good.pem", "revoked.pem", "missing.pem")
    found = run_json(capsys, "check", place["store"], *map(place.__getitem__, names))
    assert found["exit_status"] == 1
    assert [result["certificate"] for result in found["results"]] == [place[n] for n in names]
    assert [r["status"] for r in found["results"]] == ["not_revoked", "revoked", None]
    assert found["results"][1]["reason_code"] == "key_compromise"
    assert found["results"][2]["error"] == f"{place['missing.pem']}: No such file or directory"


def test_a_chain_is_judged_by_its_first_certificate(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Certificates that are not judged are not ignored in silence.
    """
    chain = place.write("chain.pem", place.world.good.pem + place.world.authority.pem)
    assert main(["check", place["store"], chain]) == 0
    assert "only the first of 2 certificates was checked" in capsys.readouterr().err


def test_a_store_without_the_image_is_a_failure(place: Place, tmp_path: Path) -> None:
    """
    Where the store cannot give what would decide, the status is 4 and not 3:
    trying again may help.
    """
    shutil.copytree(place["store"], tmp_path / "store")
    shutil.rmtree(tmp_path / "store" / "images")
    assert main(["check", str(tmp_path / "store"), place["revoked.pem"]]) == 4
    assert main(["check", str(tmp_path / "store"), "--serial", place.serial("revoked")]) == 4


# ---- serial numbers --------------------------------------------------------------


@pytest.mark.parametrize("target", ["ca.crlx", "store"])
def test_serial_numbers(place: Place, target: str) -> None:
    """
    A serial number alone is judged, in the forms in which tools print it.
    """
    good, revoked = place.serial("good"), place.serial("revoked")
    colons = ":".join(itertools.starmap(str.__add__, zip(revoked[::2], revoked[1::2], strict=True)))
    assert main(["check", place[target], "--serial", good]) == 0
    for text in (revoked, revoked.upper(), f"0x{revoked}", f"00{revoked}", colons):
        assert main(["check", place[target], "--serial", text]) == 1
    assert main(["check", place[target], "--serial", good, "--serial", revoked]) == 1
    assert main(["check", place[target], "--serial", "xyz"]) == 2
    assert main(["check", place[target], "--serial", good, place["good.pem"]]) == 2


@pytest.mark.parametrize("other_has_crl", [True, False], ids=["two CRLs", "one CRL"])
def test_a_serial_number_of_several_issuers_needs_one(
    place: Place, tmp_path: Path, other_has_crl: bool
) -> None:
    """
    Where the store knows several issuers, it must be said whose serial number
    it is, and only that issuer's CRLs count.
    """
    other = CertificateAuthority.create("Other CA")
    store, serial = str(tmp_path / "store"), place.serial("revoked")
    issuers = [place.world.authority.der, other.der]
    crlcheck.publish_crl(place.world.crl, store, issuer=issuers)
    if other_has_crl:
        crl = sign_crl(other, this_update=NOW, next_update=NOW + WEEK, crl_number=1)
        crlcheck.publish_crl(crl, store, issuer=other.der)
    theirs = place.write(f"other-{other_has_crl}.pem", other.pem)
    assert main(["check", store, "--serial", serial]) == 2
    assert main(["check", store, "--serial", serial, "--issuer", place["ca.pem"]]) == 1
    status = 0 if other_has_crl else 3
    assert main(["check", store, "--serial", serial, "--issuer", theirs]) == status


def _partitioned() -> bytes:
    point = x509.IssuingDistributionPoint(
        full_name=[x509.UniformResourceIdentifier("http://example.com/1.crl")],
        relative_name=None,
        only_contains_user_certs=False,
        only_contains_ca_certs=False,
        only_some_reasons=None,
        indirect_crl=False,
        only_contains_attribute_certs=False,
    )
    return encode_extension("2.5.29.28", point.public_bytes(), critical=True)


@pytest.mark.parametrize(
    "options",
    [
        {"this_update": NOW - 2 * WEEK, "next_update": NOW - WEEK},
        {"extensions": [_partitioned()]},
    ],
    ids=["stale", "partitioned"],
)
def test_not_being_listed_proves_nothing_on_some_crls(
    place: Place, tmp_path: Path, options: dict[str, Any]
) -> None:
    """
    On a stale or a partitioned CRL a listed serial number is revoked, and one
    that is not listed is undetermined.
    """
    crl = place.crl("some.crl", **options)
    for target in (tmp_path / "some.crlx", tmp_path / "store"):
        command = ["publish", "--to"] if target.name == "store" else ["compile", "-o"]
        assert main([command[0], crl, "--issuer", place["ca.pem"], command[1], str(target)]) == 0
        assert main(["check", str(target), "--serial", place.serial("revoked")]) == 1
        assert main(["check", str(target), "--serial", place.serial("good")]) == 3


def test_what_is_said_of_a_serial_number_counts(
    place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Distribution points and kind may clear what is undetermined without them;
    for a certificate, which says both, they are wrong usage.
    """
    crl = place.crl("part.crl", extensions=[_partitioned()])
    store, good = str(tmp_path / "store"), place.serial("good")
    assert main(["publish", crl, "--issuer", place["ca.pem"], "--to", store]) == 0
    serial = ["check", store, "--serial", good]
    assert main(serial) == 3
    assert "the certificate's distribution points are not known" in capsys.readouterr().out
    assert main([*serial, "--point", "http://elsewhere", "--kind", "user"]) == 3
    assert main([*serial, "--point", "HTTP://example.com/1.crl"]) == 0
    assert main([*serial, "--kind", "both"]) == 2
    for point in ("http://example.com/é.crl", "http://bücher.example/", "http://a\udcff/"):
        assert main([*serial, "--point", "http://elsewhere", "--point", point]) == 2
        assert "expected ASCII" in capsys.readouterr().err
    assert main([*serial, "--point", ""]) == 2
    assert "found an empty text, expected a URI" in capsys.readouterr().err
    for option in (["--point", "http://example.com/1.crl"], ["--kind", "ca"]):
        assert main(["check", store, place["good.pem"], *option]) == 2


def test_an_issuer_of_a_serial_number_is_a_certificate(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    A file that is none is one failure that names it, before any answer.
    """
    command = ["check", place["store"], "--serial", "1", "--serial", "2", "--issuer"]
    assert main([*command, place["ca.crl"]]) == 4
    out, err = capsys.readouterr()
    assert (out, err.count(place["ca.crl"])) == ("", 1)


# ---- compile and publish -----------------------------------------------------------


def test_compile(place: Place, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """
    The report tells entries, issuer and sizes, and the image is the library's.
    """
    output = tmp_path / "out.crlx"
    found = run_json(
        capsys, "compile", place["ca.crl"], "--issuer", place["ca.pem"], "-o", str(output)
    )
    assert output.read_bytes() == Path(place["ca.crlx"]).read_bytes()
    assert (found["num_entries"], found["crl_number"]) == (20, 7)
    assert (found["issuer"], found["warnings"]) == ("CN=Demo Issuing CA", [])
    assert found["image_size"] == output.stat().st_size
    assert found["source_size"] == len(place.world.crl)


def test_compile_options_reach_the_library(place: Place, tmp_path: Path) -> None:
    """
    What is refused by default is accepted where asked for, and the other way about.
    """
    without = place.crl("no-number.crl", crl_number=None, next_update=None)
    arguments = ["compile", without, "--issuer", place["ca.pem"], "-o", str(tmp_path / "x.crlx")]
    assert main(arguments) == 4
    assert main([*arguments, "--allow-no-next-update", "--no-attributes"]) == 0
    with crlcheck.open_index(tmp_path / "x.crlx") as index:
        assert index.metadata.attributes is False
    assert main([*arguments, "--allow-no-next-update", "--strict"]) == 4
    assert main([*arguments, "--allow-no-next-update", "--max-source-size", "10"]) == 4


def test_publish(place: Place, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """
    A CRL is published once; the same again is no failure, an older one is.
    """
    store = str(tmp_path / "store")
    arguments = ("--issuer", place["ca.pem"], "--to", store)
    newer = place.crl("newer.crl", crl_number=9)
    first = run_json(capsys, "publish", newer, *arguments)
    again = run_json(capsys, "publish", newer, *arguments)
    assert (first["published"], again["published"]) == (True, False)
    assert (first["generation"], again["generation"]) == (1, 1)
    assert (tmp_path / "store" / first["image_name"]).exists()
    assert main(["publish", place["ca.crl"], *arguments]) == 4
    assert "has a lower number" in capsys.readouterr().err


# ---- inspect -----------------------------------------------------------------------


def test_inspect(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    """
    A CRL, its PEM, its image and a store are each recognised; a CRL is said to
    be unverified.
    """
    pem = place.write("ca.crl.pem", pem_block("X509 CRL", place.world.crl))
    for target, words in (
        (place["ca.crl"], "not verified"),
        (pem, "not verified"),
        (place["ca.crlx"], "the image of a verified CRL"),
        (place["store"], "generation 1, 1 CRL"),
    ):
        assert main(["inspect", target]) == 0
        out = capsys.readouterr().out
        assert words in out.splitlines()[0]
        assert "CN=Demo Issuing CA" in out
    crl, image, store = (
        run_json(capsys, "inspect", place[name]) for name in ("ca.crl", "ca.crlx", "store")
    )
    assert (crl["verified"], image["verified"]) == (False, True)
    assert crl["metadata"]["tbs_digest"] == image["metadata"]["tbs_digest"]
    assert store["scopes"][image["scope"]]["metadata"] == image["metadata"]


def test_inspect_tells_what_is_odd(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    """
    Warnings, staleness and the distribution point are shown.
    """
    times = {"this_update": NOW - 2 * WEEK, "next_update": NOW - WEEK}
    crl = place.crl("odd.crl", crl_number=None, extensions=[_partitioned()], **times)
    assert main(["inspect", crl]) == 0
    out = capsys.readouterr().out
    assert "no crl number" in out
    assert "(stale)" in out
    assert "http://example.com/1.crl" in out
