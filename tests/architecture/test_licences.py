"""Everything that a user installs with OpenECR is under a licence that lets them do as they please with it.

Development tools are exempt: they are not shipped. The list grows only by a licence that is known to be permissive.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PERMISSIVE = {
    "0BSD",
    "Apache Software License",
    "Apache-2.0",
    "BSD License",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "MIT",
    "MIT License",
    "MIT-0",
    "PSF-2.0",
    "Python Software Foundation License",
    "Zlib",
}


def _needs(package: str, extras: frozenset[str]) -> Iterator[tuple[str, frozenset[str]]]:
    """What a package requires here, with these of its extras."""
    for line in requires(package) or []:
        requirement = Requirement(line)
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            yield canonicalize_name(requirement.name), frozenset(requirement.extras)


def runtime_packages() -> set[str]:
    """The names of all packages that installing `openecr` brings."""
    seen: set[tuple[str, frozenset[str]]] = set()
    waiting = [("openecr", frozenset[str]())]
    while waiting:
        current = waiting.pop()
        if current not in seen:
            seen.add(current)
            waiting.extend(_needs(*current))
    return {name for name, _ in seen} - {"openecr"}


def licences() -> dict[str, str]:
    """The licence of every installed package, as an expression or as a list of classifiers."""
    command = Path(sys.executable).with_name("pip-licenses")
    run = subprocess.run(
        [command, f"--python={sys.executable}", "--format=json", "--from=mixed", "--with-system"],
        capture_output=True,
        text=True,
        check=True,
    )
    return {canonicalize_name(entry["Name"]): entry["License"] for entry in json.loads(run.stdout)}


def is_permissive(licence: str) -> bool:
    """Whether every licence that binds at once is allowed; of alternatives one is enough."""
    return all(
        any(choice.strip(" ()") in PERMISSIVE for choice in re.split(r"\bOR\b", demand))
        for demand in re.split(r"\bAND\b|;", licence)
    )


def test_every_runtime_dependency_is_permissive() -> None:
    known = licences()
    refused = {
        name: known.get(name) for name in runtime_packages() if not is_permissive(known.get(name, "none"))
    }

    assert refused == {}


def test_the_runtime_dependencies_are_found() -> None:
    packages = runtime_packages()

    assert {"sqlalchemy", "granian", "uvloop", "greenlet", "mako", "cffi"} <= packages
    assert {"pytest", "hypothesis", "awscli"}.isdisjoint(packages)


def test_copyleft_is_refused_whatever_stands_beside_it() -> None:
    assert not is_permissive("MPL-2.0 AND (Apache-2.0 OR MIT)")
    assert not is_permissive("LGPL-3.0-only")
    assert not is_permissive("BSD License; GNU General Public License (GPL)")
    assert is_permissive("GPL-2.0-only OR MIT")
