"""Encryption and decryption."""

from openecr.application.kms.ciphers import DataKey
from openecr.domain.kms import KEY_SPEC
from openecr.domain.kms_errors import KmsValidationFailed
from openecr.web.aws.call import Call, Output, Parameters, Services
from openecr.web.aws.kms.tokens import check_grant_tokens

_SIZES_BYTES = {"AES_128": 16, "AES_256": 32}


async def encrypt(services: Services, call: Call) -> Output:
    """Encrypt up to 4,096 bytes."""
    given = _checked(call.parameters)
    made = await services.kms.ciphers.encrypt(
        call.grant,
        given["Plaintext"],
        given.get("EncryptionContext") or {},
        is_dry_run=given.get("DryRun", False),
    )
    return {"CiphertextBlob": made.blob, "KeyId": made.key.arn, "EncryptionAlgorithm": KEY_SPEC}


async def decrypt(services: Services, call: Call) -> Output:
    """Decrypt what a key of this server encrypted."""
    given = _checked(call.parameters)
    opened = await services.kms.ciphers.decrypt(
        call.grant,
        _ciphertext(given),
        given.get("EncryptionContext") or {},
        is_dry_run=given.get("DryRun", False),
    )
    return {
        "KeyId": opened.key.arn,
        "Plaintext": opened.plaintext,
        "EncryptionAlgorithm": KEY_SPEC,
        "KeyMaterialId": opened.material_id,
    }


async def re_encrypt(services: Services, call: Call) -> Output:
    """Encrypt a ciphertext anew, under another key or context; its plaintext stays here."""
    given = _checked(call.parameters)
    source, destination = call.grants
    opened, made = await services.kms.ciphers.re_encrypt(
        (source, given.get("SourceEncryptionContext") or {}),
        (destination, given.get("DestinationEncryptionContext") or {}),
        _ciphertext(given),
        is_dry_run=given.get("DryRun", False),
    )
    return {
        "CiphertextBlob": made.blob,
        "SourceKeyId": opened.key.arn,
        "KeyId": made.key.arn,
        "SourceEncryptionAlgorithm": KEY_SPEC,
        "DestinationEncryptionAlgorithm": KEY_SPEC,
        "SourceKeyMaterialId": opened.material_id,
        "DestinationKeyMaterialId": made.material_id,
    }


async def generate_data_key(services: Services, call: Call) -> Output:
    """Draw a key; return it in clear and encrypted."""
    made = await _data_key(services, call)
    return _told(made) | {"Plaintext": made.plaintext}


async def generate_data_key_without_plaintext(services: Services, call: Call) -> Output:
    """Draw a key; return it encrypted alone."""
    return _told(await _data_key(services, call))


async def generate_random(services: Services, call: Call) -> Output:
    """Return random bytes."""
    given = call.parameters
    size_bytes = given.get("NumberOfBytes")
    if size_bytes is None or "CustomKeyStoreId" in given or "Recipient" in given:
        raise KmsValidationFailed(
            message="NumberOfBytes is needed; there are no custom key stores and no enclaves"
        )
    return {"Plaintext": services.kms.ciphers.random(size_bytes)}


async def _data_key(services: Services, call: Call) -> DataKey:
    given = _checked(call.parameters)
    if ("KeySpec" in given) == ("NumberOfBytes" in given):
        raise KmsValidationFailed(message="Please specify either number of bytes or key spec.")
    size_bytes = given["NumberOfBytes"] if "NumberOfBytes" in given else _SIZES_BYTES[given["KeySpec"]]
    return await services.kms.ciphers.generate_data_key(
        call.grant,
        size_bytes,
        given.get("EncryptionContext") or {},
        is_dry_run=given.get("DryRun", False),
    )


def _told(made: DataKey) -> Output:
    return {
        "CiphertextBlob": made.encrypted.blob,
        "KeyId": made.encrypted.key.arn,
        "KeyMaterialId": made.encrypted.material_id,
    }


def _ciphertext(given: Parameters) -> bytes:
    blob: bytes | None = given.get("CiphertextBlob")
    if blob is None:
        raise KmsValidationFailed(message="A CiphertextBlob is needed")
    return blob


def _checked(given: Parameters) -> Parameters:
    """Refuse what only other kinds of keys have. Raises KmsValidationFailed, InvalidGrantToken."""
    check_grant_tokens(given)
    for name in ("EncryptionAlgorithm", "SourceEncryptionAlgorithm", "DestinationEncryptionAlgorithm"):
        if given.get(name, KEY_SPEC) != KEY_SPEC:
            raise KmsValidationFailed(message=f"{name} {given[name]} is not valid for a symmetric key")
    if "Recipient" in given or "DryRunModifiers" in given:
        raise KmsValidationFailed(message="Recipient and DryRunModifiers are not supported by this server")
    return given
