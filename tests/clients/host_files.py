"""Host names that only the programs of one shell see: they get an `/etc/hosts` of their own, the machine keeps its.

Only root can do this: it takes a mount namespace.
"""

from collections.abc import Mapping
from pathlib import Path

from tests.requirements import require_root, require_tool

_MOUNT_AND_RUN = 'mount --bind "$0" /etc/hosts && exec "$@"'


def with_hosts(file: Path, addresses: Mapping[str, str]) -> tuple[str, ...]:
    """Write `file` from names and their addresses; gives the command that runs another one which sees these names."""
    require_root()
    require_tool("unshare", package="util-linux")
    lines = ["127.0.0.1 localhost", *(f"{address} {name}" for name, address in addresses.items())]
    file.write_text("".join(f"{line}\n" for line in lines))
    return ("unshare", "--mount", "sh", "-c", _MOUNT_AND_RUN, str(file))
