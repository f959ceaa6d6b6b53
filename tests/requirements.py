"""What a test needs beyond Python: asked for here, so that a bare machine skips and CI fails.

On a developer's machine a test whose tool is absent is skipped and says what to install. With
`OPENECR_REQUIRE_ALL=1`, as `.ci/run` sets it, the same test fails, so that nothing is left out unnoticed. A
skip that is right on every machine of a kind (a test of a newer kernel's feature, say) gives a reason that
starts with `NOT_APPLICABLE`.
"""

import importlib.util
import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest

NOT_APPLICABLE = "not applicable:"
"""Start of the reason of a skip that CI lets pass."""

TOOLS = Path(__file__).resolve().parent.parent / ".tools" / "bin"
"""Where `make tools` puts the tools that it builds; looked at before PATH."""


def everything_is_required() -> bool:
    """Whether a missing tool is a failure."""
    return os.environ.get("OPENECR_REQUIRE_ALL") == "1"


def lack(what: str) -> NoReturn:
    """Say that something is missing: the test is skipped, or fails where everything is required."""
    if everything_is_required():
        pytest.fail(f"{what} (OPENECR_REQUIRE_ALL=1)", pytrace=False)
    pytest.skip(what)


def search_path() -> str:
    """The PATH in which tools are looked for; give it to programs that start tools themselves.

    Last come folders that Debian keeps out of an ordinary user's PATH: dockerd and iptables are in the
    administrators', PostgreSQL's server programs in a folder for each version.
    """
    path = os.environ.get("PATH", os.defpath)
    postgresql = sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")), reverse=True)
    return os.pathsep.join([str(TOOLS), path, "/usr/local/sbin", "/usr/sbin", "/sbin", *postgresql])


def find_tool(name: str) -> str | None:
    """The path of a program, or None."""
    return shutil.which(name, path=search_path())


def require_tool(name: str, *, package: str | None = None) -> str:
    """The path of a program; `package` says what to install where that is not its name."""
    path = find_tool(name)
    if path is None:
        lack(f"{name} is not installed; it comes with {package or name}")
    return path


def require_root() -> None:
    """Some tests start system services or make namespaces."""
    if os.geteuid() != 0:
        lack("only root can do this")


def require_module(name: str, *, package: str | None = None) -> None:
    """A Python module that the locked dependencies do not bring."""
    if importlib.util.find_spec(name) is None:
        lack(f"the Python module {name} is not installed; it comes with {package or name}")


def require_environment(name: str) -> str:
    """The value of a variable that names an outside service."""
    value = os.environ.get(name)
    if not value:
        lack(f"{name} is not set")
    return value
