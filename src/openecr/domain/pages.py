"""Pages of a list: a limit and the key after which the page starts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRequest:
    """At most `limit` items whose key sorts after `after` (None: from the start)."""

    limit: int
    after: str | None = None


@dataclass(frozen=True, kw_only=True)
class Page(Generic[T]):
    """The items, and the key to continue after (None: this was the last page).

    Without slots: a frozen generic class with them cannot be made as `Page[str](...)` before Python 3.12.
    """

    items: tuple[T, ...]
    after: str | None = None


def cut_page(items: Sequence[T], limit: int, key: Callable[[T], str]) -> Page[T]:
    """Make a page of up to `limit` items out of a sequence that was read one item longer than that."""
    if len(items) <= limit:
        return Page(items=tuple(items))
    kept = tuple(items[:limit])
    return Page(items=kept, after=key(kept[-1]) if kept else None)
