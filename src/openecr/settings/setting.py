"""What one setting is."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Check = Callable[[Any], None]
"""Raises ValueError with a sentence where a value of the right type is not one that the setting takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One row: a field of `Settings`, the key in the file (dotted), the flag, the type and what it is for."""

    name: str
    flag: str | None
    kind: Any
    default: object
    description: str
    default_text: str | None = None
    key: str | None = None
    check: Check | None = None
    is_secret: bool = False

    @property
    def toml_key(self) -> str:
        """Return the dotted key in the TOML file."""
        return self.key or self.name

    @property
    def variable(self) -> str:
        """Return the name of the environment variable."""
        return f"OPENECR_{self.name.upper()}"

    @property
    def is_list(self) -> bool:
        """Tell whether the flag may be repeated, and the variable holds several values with commas between."""
        return self.kind is STRINGS


STRINGS = tuple[str, ...]


def check_path(value: str) -> None:
    """Take what may be a path. Raises ValueError."""
    if not value.strip() or "\0" in value:
        raise ValueError("it is no path")
