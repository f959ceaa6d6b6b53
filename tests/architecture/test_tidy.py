"""House rules that no linter knows. Each failure says the file, the line and what to do."""

import ast
import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.architecture.sources import PROJECT, Source, files, python_sources

MAX_FUNCTION_LINES = 70
MAX_FILE_LINES = 500
LONG_FUNCTIONS = Path(__file__).with_name("long_functions.json")
UPDATE = os.environ.get("OPENECR_UPDATE_GOLDEN") == "1"

VAGUE_NAMES = {"common", "helper", "helpers", "manager", "managers", "misc", "util", "utils"}

A_MACHINE = "a path of somebody's machine"
BANNED_IN_TEXT = {
    re.compile(r"(?<![\w.])/(work|farm)/|/tmp/build"): A_MACHINE,
    re.compile(r"(?<!\w)/(home|Users)/[a-z]"): A_MACHINE,
    re.compile(r"\bFIXME\b|\bXXX\b"): "an alarm without an owner: mend it, or write TODO(what): why",
    re.compile(r"\bTODO\b(?!\([\w -]+\): \w)"): "a note that does not say what it waits for: TODO(what): why",
    re.compile(r"type: ignore(?!\[[a-z-]+\])"): "an ignored type error without its code",
    re.compile(r"pyright: ignore(?!\[[A-Za-z, ]+\])"): "an ignored type error without its rule",
    re.compile(r"#\s*noqa(?!: [A-Z]+[0-9]+)"): "a silenced lint rule without its code",
}

BANNED_IN_PRODUCT = {
    re.compile(r"\brepo\b(?!:-)"): "say repository",  # subjects in GitHub's tokens begin so
    re.compile(r"\bpdb\b|\bbreakpoint\("): "a debugger",
}

SILENCED = re.compile(r"#.*(?:type: ignore\[|pyright: ignore\[|noqa: )")
REASON = re.compile(r"(?:type: ignore\[[^]]+\]|pyright: ignore\[[^]]+\]|noqa: [A-Z0-9, ]+?)\s+(?:#|--?)\s*\w")


def _findings(sources: Iterator[Source], banned: dict[re.Pattern[str], str]) -> list[str]:
    return [
        f"{source.name}:{number}: {why}"
        for source in sources
        for number, line in enumerate(source.lines, start=1)
        for pattern, why in banned.items()
        if pattern.search(line)
    ]


def _others() -> Iterator[Source]:
    """All Python but this file, which has to name what it bans."""
    own = str(Path(__file__).resolve().relative_to(PROJECT))
    return (source for source in python_sources() if source.name != own)


def _product() -> Iterator[Source]:
    return (source for source in python_sources() if source.is_product)


def test_no_file_holds_what_is_banned() -> None:
    found = _findings(_others(), BANNED_IN_TEXT)

    assert found == [], "\n".join(found)


def test_the_product_speaks_its_own_vocabulary() -> None:
    found = _findings(_product(), BANNED_IN_PRODUCT)

    assert found == [], "\n".join(found)


@pytest.mark.parametrize("suffixes", [(".md", ".toml", ".sh", ".json", ".yml", "Makefile")])
def test_no_document_names_somebodys_machine(suffixes: tuple[str, ...]) -> None:
    paths = [pattern for pattern, why in BANNED_IN_TEXT.items() if why == A_MACHINE]
    found = [
        f"{path.relative_to(PROJECT)}:{number}"
        for path in [*files(*suffixes), *(PROJECT / ".ci").iterdir()]
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if any(pattern.search(line) for pattern in paths)
    ]

    assert found == [], "\n".join(found)


def test_what_is_silenced_says_why() -> None:
    bare = [
        f"{source.name}:{number}: say why: `# type: ignore[code] # why`, `# noqa: CODE - why`"
        for source in _others()
        for number, line in enumerate(source.lines, start=1)
        if SILENCED.search(line) and not REASON.search(line)
    ]

    assert bare == [], "\n".join(bare)


def test_every_module_says_what_it_is_for() -> None:
    silent = [
        source.name
        for source in python_sources()
        if not ast.get_docstring(source.tree) and source.text.strip()
    ]
    empty = [source.name for source in _product() if not source.text.strip()]

    assert silent == [], "\n".join(silent)
    assert empty == [], "\n".join(empty)


def test_no_module_has_a_name_that_says_nothing() -> None:
    vague = [
        source.name
        for source in python_sources()
        if VAGUE_NAMES & set(source.name.removesuffix(".py").split("/"))
    ]

    assert vague == [], "\n".join(vague)


def test_only_commands_print() -> None:
    printing = [
        f"{source.name}:{node.lineno}"
        for source in _product()
        if not source.name.startswith("src/openecr/cli/")
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]

    assert printing == [], "\n".join(printing)


def test_nothing_is_patched_or_mocked() -> None:
    patched = [
        f"{source.name}:{node.lineno}"
        for source in _others()
        for node in ast.walk(source.tree)
        if (isinstance(node, ast.ImportFrom) and (node.module or "").startswith("unittest"))
        or (isinstance(node, ast.Import) and any(alias.name.startswith("unittest") for alias in node.names))
        or (
            isinstance(node, ast.Attribute)
            and node.attr in {"setattr", "delattr"}
            and _is_monkeypatch(node.value)
        )
    ]

    assert patched == [], "\n".join(patched)


def _is_monkeypatch(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in {"monkeypatch", "mocker"}


def test_every_file_can_be_read_in_one_sitting() -> None:
    long = {
        source.name: len(source.lines) for source in python_sources() if len(source.lines) > MAX_FILE_LINES
    }

    assert long == {}


def _long_functions() -> dict[str, int]:
    """Lines of each function over the limit. Names that occur twice in a file (overloads) count together."""
    lengths: Counter[str] = Counter()
    for source in python_sources():
        for name, node in source.functions():
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > MAX_FUNCTION_LINES:
                lengths[f"{source.name}:{name}"] += length
    return dict(sorted(lengths.items()))


def test_no_function_grows_past_the_limit() -> None:
    """A ratchet: functions that were too long may stay, shrink and vanish; none may join them or grow."""
    found = _long_functions()
    known: dict[str, int] = json.loads(LONG_FUNCTIONS.read_text(encoding="utf-8"))
    if UPDATE:
        kept = {name: min(length, known[name]) for name, length in found.items() if name in known}
        LONG_FUNCTIONS.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")

    grown = {name: length for name, length in found.items() if length > known.get(name, MAX_FUNCTION_LINES)}
    outdated = {name: known[name] for name in known if found.get(name, 0) < known[name]}

    assert grown == {}, f"make them shorter than {MAX_FUNCTION_LINES} lines"
    assert UPDATE or outdated == {}, "they shrank: run with OPENECR_UPDATE_GOLDEN=1 to say so"
