"""Who may import whom: the contracts of pyproject.toml hold, and the pure packages import what they may.

The contracts name what is forbidden; `PURE` below names what is allowed, so that nothing slips in between.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.architecture.sources import PROJECT, Source, python_sources

PURE_MODULES = {
    "ast",
    "base64",
    "binascii",
    "bisect",
    "collections",
    "contextlib",
    "copy",
    "dataclasses",
    "datetime",
    "decimal",
    "email",
    "enum",
    "fnmatch",
    "fractions",
    "functools",
    "hashlib",
    "heapq",
    "hmac",
    "ipaddress",
    "itertools",
    "json",
    "math",
    "operator",
    "re",
    "string",
    "struct",
    "textwrap",
    "types",
    "typing",
    "unicodedata",
    "urllib",
}
"""Modules of the standard library that only compute."""

PURE = {
    "src/openecr/domain/": PURE_MODULES | {"openecr.domain"},
    "src/openecr/engines/": PURE_MODULES
    | {"openecr.domain", "openecr.engines", "botocore", "cryptography", "msgspec"},
    "src/openecr/ports/": PURE_MODULES | {"openecr.domain", "openecr.ports", "pathlib"},
}
"""What may be imported, by folder. Ports name paths, which local storage hands to the server."""


def _imported(source: Source) -> Iterator[str]:
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module


def _is_within(module: str, allowed: set[str]) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in allowed)


def test_the_import_contracts_hold() -> None:
    command = Path(sys.executable).with_name("lint-imports")
    run = subprocess.run([command, "--no-cache"], cwd=PROJECT, capture_output=True, text=True, check=False)

    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize("folder", sorted(PURE))
def test_a_pure_package_imports_only_what_computes(folder: str) -> None:
    sources = [source for source in python_sources() if source.name.startswith(folder)]
    foreign = {
        f"{source.name}: {module}"
        for source in sources
        for module in _imported(source)
        if not _is_within(module, PURE[folder])
    }

    assert sources
    assert foreign == set(), "\n".join(sorted(foreign))


def test_nothing_is_imported_only_for_types() -> None:
    guarded = [
        source.name
        for source in python_sources()
        if any(
            isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
            for node in ast.walk(source.tree)
        )
    ]

    assert guarded == [], "\n".join(guarded)
