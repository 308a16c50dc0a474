"""The runbook's answers are those of the incidents that are run as tests."""

from __future__ import annotations

import re
from pathlib import Path

from support.blocks import as_page, blocks
from support.documents import document
from support.journey import read_steps

ROOT = Path(__file__).parents[2]
RUNBOOK = document("runbook.md").read_text("utf-8")
SHOWN = read_steps(as_page(blocks("runbook.md")))
INCIDENTS = {
    path.stem: read_steps(path.read_text("utf-8"))
    for path in sorted((ROOT / "tests" / "journeys").glob("incident_*.md"))
}


def test_each_answer_is_that_of_an_incident() -> None:
    """
    Command and output are the same as on a page that ``make journeys`` runs.
    """
    known = {(step.command, step.expected) for steps in INCIDENTS.values() for step in steps}
    shown = SHOWN
    assert len(shown) > 20
    assert [step for step in shown if (step.command, step.expected) not in known] == []


def test_each_incident_is_in_the_runbook() -> None:
    """
    A command of each page is shown, of more than one word.
    """
    shown = {step.command for step in SHOWN}
    for name, steps in INCIDENTS.items():
        own = {step.command for step in steps if step.command.startswith("crlcheck ")}
        assert own & shown, name


def test_each_symptom_leads_to_its_section() -> None:
    """
    The table's links name headings, and each heading is linked.
    """
    links = set(re.findall(r"\]\(#([a-z-]+)\)", RUNBOOK))
    headings = {
        line.removeprefix("## ").lower().replace(" ", "-")
        for line in RUNBOOK.splitlines()
        if line.startswith("## ")
    }
    assert links == headings
