"""What a key's state allows (KMS developer guide, "Key states of AWS KMS keys")."""

from openecr.domain.kms import KeyState, KmsKey
from openecr.domain.kms_errors import KeyDisabled, KmsInvalidState


def check_usable(key: KmsKey) -> None:
    """Check before a key is used, or a grant on it made. Raises KeyDisabled, KmsInvalidState."""
    if key.state is KeyState.DISABLED:
        raise KeyDisabled(key.arn)
    check_stays(key)


def check_stays(key: KmsKey) -> None:
    """Check before a key is changed that it does not wait for its end. Raises KmsInvalidState."""
    if key.state is KeyState.PENDING_DELETION:
        raise KmsInvalidState(message=f"{key.arn} is pending deletion.")
