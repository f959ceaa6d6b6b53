"""What a client hears when the operating system refuses a store something."""

import errno

from openecr.domain.errors import StorageFull, Unavailable

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


def storage_failed(error: OSError) -> Unavailable:
    """Return the error of the port that stands for one of the system."""
    if error.errno in _FULL:
        return StorageFull(context=str(error))
    return Unavailable(message="The registry's storage failed. Try again.", context=str(error))
