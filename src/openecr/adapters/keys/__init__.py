"""Key rings: what seals the server's own secrets, tokens and links."""

from openecr.adapters.keys.aws_kms import AwsKms, KmsOptions
from openecr.adapters.keys.files import add_master_key, open_key_ring, read_master_keys
from openecr.adapters.keys.ring import MASTER_KEY_BYTES, MasterKeyRing
from openecr.adapters.keys.trusted import TrustedKeyRing

__all__ = [
    "MASTER_KEY_BYTES",
    "AwsKms",
    "KmsOptions",
    "MasterKeyRing",
    "TrustedKeyRing",
    "add_master_key",
    "open_key_ring",
    "read_master_keys",
]
