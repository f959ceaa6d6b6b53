"""The documents agree with the project: links lead somewhere, decisions are numbered, dependencies have a reason."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.architecture.sources import PROJECT, files

DECISIONS = PROJECT / "docs" / "adr"
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#+ +(.+?) *$", re.MULTILINE)
DOCUMENTS = sorted(str(path.relative_to(PROJECT)) for path in files(".md"))
SECTIONS = ("## Context", "## Options", "## Decision", "## Consequences")


def _anchors(path: Path) -> set[str]:
    """The anchors that a Markdown viewer gives to headings: lower case, no punctuation, hyphens."""
    headings = HEADING.findall(FENCE.sub("", path.read_text(encoding="utf-8")))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _broken(document: Path) -> Iterator[str]:
    """The links of a document that lead nowhere inside the project."""
    for link in LINK.findall(FENCE.sub("", document.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (document.parent / name).resolve() if name else document
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in _anchors(target)):
            yield link


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_link_leads_somewhere(name: str) -> None:
    assert list(_broken(PROJECT / name)) == []


def test_decisions_are_numbered_without_gaps() -> None:
    numbers = sorted(int(path.name[:4]) for path in DECISIONS.glob("*.md"))

    assert numbers == list(range(1, len(numbers) + 1))


def test_every_decision_names_its_options_and_consequences() -> None:
    lacking = {
        path.name: section
        for path in DECISIONS.glob("*.md")
        for section in SECTIONS
        if f"\n{section}\n" not in path.read_text(encoding="utf-8")
    }

    assert lacking == {}


def test_every_dependency_has_its_reason_written_down() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    required = {Requirement(line).name for line in project["dependencies"]}
    table = (DECISIONS / "0007-dependencies.md").read_text(encoding="utf-8")
    explained = set(re.findall(r"^\| `([\w-]+)`", table, re.MULTILINE))

    assert explained == required
