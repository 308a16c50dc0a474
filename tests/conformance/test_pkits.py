"""NIST's PKITS, test by test, and the table that ``make conformance`` prints."""

from __future__ import annotations

import dataclasses

import pytest

from support import pkits
from support.pkits import PkitsTest, load_tests, run


@pytest.mark.parametrize("test", load_tests(), ids=lambda test: test.id)
def test_pkits(test: PkitsTest) -> None:
    """
    The path's verdict, found along the path given and by walking up from the end
    entity, is the one that the suite expects, and only the CRLs named are refused.
    """
    assert run(test).mismatches == []


def test_every_section_is_complete() -> None:
    """
    The four sections have 74 tests; one of them, 4.5.8, asserts nothing here and
    says why.
    """
    tests = load_tests()
    counts = dict.fromkeys(("4.4", "4.5", "4.14", "4.15"), 0)
    for test in tests:
        counts[test.id.rpartition(".")[0]] += 1
    assert counts == {"4.4": 21, "4.5": 8, "4.14": 35, "4.15": 10}
    assert [(test.id, bool(test.note)) for test in tests if test.status is None] == [
        ("4.5.8", True)
    ]


def test_the_table_fails_where_anything_differs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    The command prints a line for each test and what differs, and exits with 1 if
    a verdict, a cause or a refusal is not as expected.
    """
    good, *others = load_tests()[:4]
    wrong = [
        dataclasses.replace(others[0], status="not_revoked"),
        dataclasses.replace(good, cause="stale"),
        dataclasses.replace(others[1], refused={"GoodCACRL": "bad_signature"}),
    ]
    monkeypatch.setattr(pkits, "load_tests", lambda: [good, others[2]])
    assert pkits.main() == 0
    assert "2 PKITS tests, 2 of them with a verdict: 0 not as expected" in capsys.readouterr().out
    for test in wrong:
        monkeypatch.setattr(pkits, "load_tests", lambda test=test: [good, test])
        assert pkits.main() == 1
        output = capsys.readouterr().out
        assert f"FAIL  {test.id}" in output
        assert "1 not as expected" in output
