"""Key rings: what seals the server's own secrets, tokens and links."""

from openecr.adapters.keys.files import add_master_key, open_key_ring
from openecr.adapters.keys.ring import MASTER_KEY_BYTES, MasterKeyRing

__all__ = ["MASTER_KEY_BYTES", "MasterKeyRing", "add_master_key", "open_key_ring"]
