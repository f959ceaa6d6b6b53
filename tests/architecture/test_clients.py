"""Every habit of clients that `docs/clients.md` names has tests that name it, and the page lists just those.

With `OPENECR_UPDATE_GOLDEN=1` the page's columns of tests are written anew; otherwise they are compared.
"""

import ast
import os
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from tests.architecture.sources import PROJECT

CLIENTS = PROJECT / "tests" / "clients"
PAGE = PROJECT / "docs" / "clients.md"
ROW = re.compile(r"^\| `(?P<quirk>[a-z0-9-]+)` \| (?P<habit>[^|]+) \|(?P<tests>[^|]*)\|$", re.MULTILINE)
UPDATE = os.environ.get("OPENECR_UPDATE_GOLDEN") == "1"


def marks(path: Path) -> Iterator[tuple[str, str]]:
    """The quirks that a file's tests name, each with the test."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.FunctionDef):
            continue
        for mark in node.decorator_list:
            if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.quirk":
                quirk = ast.literal_eval(mark.args[0])
                yield quirk, node.name


def proofs() -> dict[str, str]:
    """For each quirk the tests that name it, as the page tells them: by file."""
    found: dict[str, dict[str, int]] = defaultdict(dict)
    for path in sorted(CLIENTS.glob("test_*.py")):
        for quirk, _ in marks(path):
            found[quirk][path.stem] = found[quirk].get(path.stem, 0) + 1
    return {
        quirk: ", ".join(f"`{name}.py` ({count})" for name, count in files.items())
        for quirk, files in found.items()
    }


def test_every_quirk_of_the_page_is_proven_by_the_tests_that_it_tells() -> None:
    page, expected = PAGE.read_text(encoding="utf-8"), proofs()
    if UPDATE:
        page = ROW.sub(
            lambda row: f"| `{row['quirk']}` | {row['habit']} | {expected.get(row['quirk'], '')} |", page
        )
        PAGE.write_text(page, encoding="utf-8")
    told = {row["quirk"]: row["tests"].strip() for row in ROW.finditer(page)}

    assert told == expected
