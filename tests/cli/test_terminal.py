"""What the command writes: nothing that a terminal would obey or that hides where text is."""

from __future__ import annotations

import ast
import logging
import sys
import unicodedata
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from rich.table import Table

import crlcheck
from crlcheck import cli
from crlcheck.catalog.descriptions import printable
from crlcheck.cli import main
from crlcheck.cli.status import report_error
from crlcheck.cli.text import console, say, say_fields, say_json
from crlcheck.demo.pki import CertificateAuthority, sign_crl

HOSTILE = (
    "x\x1b]0;title\x07\x1b[2J\nforged line\r\t\x00\x7f\x9b31m\u202e\u2066\u200f\u2028\ufeff\ud800"
)
"""ESC, BEL, line ends, NUL, DEL, C1, marks that turn text around, and no character at all."""

NAME = HOSTILE.replace("\ud800", "").replace("\x00", "")


def assert_harmless(text: str) -> None:
    """Require that *text* has only characters that print, and line ends of its own."""
    found = {
        character
        for character in text
        if character != "\n" and unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"}
    }
    assert found == set()
    assert "\nforged line" not in text


@pytest.fixture
def store(tmp_path: Path) -> str:
    """A store whose CRL, tombstone, denial and refusal have such names and notes."""
    path, now = tmp_path / "store", datetime.now(UTC)
    for common_name in ("CA", "Other"):
        authority = CertificateAuthority.create(common_name)
        crl = sign_crl(
            authority, [], crl_number=1, this_update=now, next_update=now + timedelta(days=1)
        )
        report = crlcheck.publish_crl(crl, path, issuer=authority.der, source_name=NAME)
    crlcheck.remove_scope(path, report.scope, note=NAME)
    issuer = CertificateAuthority.create("CA")
    crlcheck.deny_certificate(path, issuer.certificate.subject.public_bytes(), 7, note=NAME)
    with pytest.raises(crlcheck.CrlError):
        crlcheck.publish_crl(b"no CRL", path, issuer=issuer.der, source_name=NAME + "2")
    return str(path)


@pytest.mark.parametrize("as_json", [False, True], ids=["text", "json"])
@pytest.mark.parametrize(
    "command", [["scope", "list"], ["deny", "list"], ["inspect"]], ids=" ".join
)
def test_what_others_named_is_shown_harmlessly(
    store: str, command: list[str], as_json: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Names of sources and notes reach the terminal escaped, in tables and JSON too.
    """
    assert main([*command, store, *["--json"] * as_json]) == 0
    captured = capsys.readouterr()
    assert command == ["inspect"] or "u202e" in captured.out
    assert_harmless(captured.out + captured.err)


@pytest.mark.parametrize(
    "arguments",
    [
        ["check", "store", NAME],
        ["--debug", "check", "store", NAME],
        ["inspect", NAME],
        ["publish", NAME, "--issuer", NAME, "--to", "store"],
        ["clean", f"s4://{NAME}"],
        ["deny", "add", "store", NAME, "--for", NAME],
    ],
    ids=lambda arguments: " ".join(arguments)[:16],
)
def test_errors_repeat_names_harmlessly(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Of files that are not there, of stores, of values: as one line, or as lines of a
    traceback.
    """
    assert main(arguments) in (2, 4)
    captured = capsys.readouterr()
    text = captured.out + captured.err
    assert "\x1b" not in text
    assert "\u202e" not in text


def test_warnings_of_the_library_are_lines_of_the_command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    What is logged while a command runs, by whatever library, is escaped like an error.
    """
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    with cli._logging():
        logging.getLogger("anybody").warning("lost %s", HOSTILE)
    assert root.handlers == []
    captured = capsys.readouterr()
    assert captured.err.startswith("crlcheck: lost x")
    assert_harmless(captured.err)


def test_every_writer_escapes(capsys: pytest.CaptureFixture[str]) -> None:
    """
    Lines, fields, JSON, tables, errors: each by itself.
    """
    say(HOSTILE)
    say_fields({HOSTILE: HOSTILE, "several": [HOSTILE, HOSTILE]})
    say_json({HOSTILE: HOSTILE})
    table = Table(HOSTILE, title=HOSTILE, caption=HOSTILE)
    table.add_row(HOSTILE)
    console().print(table)
    console().print(HOSTILE)
    report_error(HOSTILE)
    captured = capsys.readouterr()
    assert captured.out.count("forged line") >= 6
    assert_harmless(captured.out)
    assert_harmless(captured.err)


def test_every_character_is_printable_or_escaped() -> None:
    """
    No character that is none of letters, marks, digits, signs or a space is left over.
    """
    for number in range(sys.maxunicode + 1):
        character = chr(number)
        shown = printable(character)
        assert shown == character or (shown.isascii() and shown.startswith("\\"))
        assert unicodedata.category(shown[0])[0] in "LMNPS" or shown == " "


def test_nothing_else_writes_to_the_terminal() -> None:
    """
    Only the two modules of the writers call what writes, so that none is passed by.
    """
    folder = Path(cli.__file__).parent
    writers = {"text.py", "status.py"}
    forbidden = {"print", "print_exc", "print_exception", "echo", "secho", "Console"}
    for path in sorted(folder.glob("*.py")):
        if path.name in writers:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                name = getattr(node.func, "id", getattr(node.func, "attr", None))
                owner = ast.unparse(getattr(node.func, "value", ast.Constant(None)))
                is_console = owner in ("console()", "screen")  # it escapes
                assert name not in forbidden or is_console, f"{path.name}, line {node.lineno}"
            if isinstance(node, ast.Attribute):
                place = f"{path.name}, line {node.lineno}"
                assert ast.unparse(node) not in {"sys.stdout.write", "sys.stderr.write"}, place
