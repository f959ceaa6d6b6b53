"""The master keys that a server seals with, as the settings say."""

from openecr.adapters.data_folder import DataFolder
from openecr.adapters.keys import MasterKeyRing, open_key_ring
from openecr.settings import Settings


def open_keys(settings: Settings, folder: DataFolder, *, may_create: bool) -> MasterKeyRing:
    """Take the keys of the environment, or of the folder of keys. Raises CannotStart."""
    if settings.master_keys:
        pairs = (key.partition(":") for key in settings.master_keys)
        return MasterKeyRing({int(number): bytes.fromhex(digits) for number, _, digits in pairs})
    return open_key_ring(settings.keys or folder.keys, may_create=may_create)
