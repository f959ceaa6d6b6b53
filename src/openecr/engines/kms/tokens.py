"""Grant tokens: they name a grant and are no secret (KMS developer guide, "Grant token"). Grants work at once here."""

import base64
import binascii

from openecr.domain.kms import is_key_id
from openecr.domain.registries import RegistryId

_VERSION = "1"
_PARTS = 4
_ID_CHARACTERS = 64


def grant_token(registry: RegistryId, key_id: str, grant_id: str) -> str:
    """Return the token of a grant."""
    return base64.urlsafe_b64encode(f"{_VERSION}\n{registry}\n{key_id}\n{grant_id}".encode()).decode()


def parse_grant_token(token: str) -> tuple[RegistryId, str, str]:
    """Return registry, key id and grant id of a token. Raises ValueError for what is none."""
    try:
        parts = (
            base64.b64decode(token.encode("ascii"), altchars=b"-_", validate=True).decode("ascii").split("\n")
        )
    except (UnicodeError, binascii.Error) as error:
        raise ValueError("not a grant token") from error
    if len(parts) != _PARTS or parts[0] != _VERSION or not is_key_id(parts[2]) or not is_grant_id(parts[3]):
        raise ValueError("not a grant token")
    return RegistryId.parse(parts[1]), parts[2], parts[3]


def is_grant_id(text: str) -> bool:
    """Tell whether a text has the form of a grant's id: 64 hexadecimal digits."""
    return len(text) == _ID_CHARACTERS and all(character in "0123456789abcdef" for character in text)
