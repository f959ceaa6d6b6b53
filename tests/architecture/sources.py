"""The project's own files, as the architecture tests see them: what is on disk, less what tools have made."""

import ast
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
PACKAGE = PROJECT / "src" / "openecr"
MADE_BY_TOOLS = {
    ".git",
    ".hypothesis",
    ".import_linter_cache",
    ".mypy_cache",
    ".pytest_cache",
    ".ruff_cache",
    ".tools",
    ".venv",
    ".work",
    "__pycache__",
    "build",
    "dist",
    "node_modules",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One Python file: its name as the project's reader sees it, its text and its syntax tree."""

    name: str
    text: str
    tree: ast.Module

    @property
    def lines(self) -> list[str]:
        return self.text.splitlines()

    @property
    def is_product(self) -> bool:
        return self.name.startswith("src/")

    def functions(self) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
        """Every function with its dotted name inside the file."""
        yield from _functions(self.tree, "")


def _functions(node: ast.AST, prefix: str) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{prefix}{child.name}", child
        name = getattr(child, "name", None)
        inner = f"{prefix}{name}." if isinstance(name, str) else prefix
        yield from _functions(child, inner)


def files(*suffixes: str) -> Iterator[Path]:
    """The project's files with one of these suffixes, or all of them."""
    for folder, folders, names in os.walk(PROJECT):
        folders[:] = [name for name in folders if name not in MADE_BY_TOOLS]
        for name in names:
            if not suffixes or name.endswith(suffixes):
                yield Path(folder, name)


@cache
def python_sources() -> tuple[Source, ...]:
    """Every Python file of the project, parsed once."""
    found: list[Source] = []
    for path in sorted(files(".py")):
        text = path.read_text(encoding="utf-8")
        found.append(Source(name=str(path.relative_to(PROJECT)), text=text, tree=ast.parse(text)))
    return tuple(found)
