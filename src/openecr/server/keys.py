"""The master keys that a server seals with, as the settings say."""

import os
from dataclasses import dataclass
from typing import Any

from openecr.adapters.data_folder import DataFolder
from openecr.adapters.keys import (
    MASTER_KEY_BYTES,
    AwsKms,
    KmsOptions,
    MasterKeyRing,
    TrustedKeyRing,
    add_master_key,
    read_master_keys,
)
from openecr.application.key_ring_proof import highest_proven
from openecr.application.master_keys import MasterKeys
from openecr.domain.errors import CannotStart, Unavailable
from openecr.ports.clock import Clock
from openecr.settings import Settings
from openecr.store.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalKeys:
    """A ring that an external KMS opens, and what asks it. `older` holds the keys from before, if there are some."""

    ring: TrustedKeyRing
    master_keys: MasterKeys
    older: MasterKeyRing | None


def open_keys(settings: Settings, folder: DataFolder, *, may_create: bool) -> MasterKeyRing:
    """Take the keys of the environment, or of the folder of keys. Raises CannotStart."""
    found = keys_of_environment(settings) or read_master_keys(
        settings.keys or folder.keys, may_create=may_create
    )
    if settings.sealing_key is not None and settings.sealing_key not in found:
        raise CannotStart(
            message=f"there is no master key {settings.sealing_key}, which is to seal (--sealing-key)"
        )
    return MasterKeyRing(found, sealing_number=settings.sealing_key)


def keys_of_environment(settings: Settings) -> dict[int, bytes]:
    """Return the master keys that are settings themselves, by their numbers."""
    pairs = (key.partition(":") for key in settings.master_keys)
    return {int(number): bytes.fromhex(digits) for number, _, digits in pairs}


def external_keys(settings: Settings, database: Database, clock: Clock) -> ExternalKeys:
    """Return the ring of an external KMS, closed yet. Raises CannotStart."""
    if settings.keys_kms_ca_file is not None and not settings.keys_kms_ca_file.is_file():
        raise CannotStart(message=f"cannot read {settings.keys_kms_ca_file} (keys.kms_ca_file)")
    options = KmsOptions(
        key_ids=settings.keys_kms_keys,
        endpoint=settings.keys_kms_endpoint,
        region=settings.keys_kms_region,
        ca_file=settings.keys_kms_ca_file,
    )
    try:
        service = AwsKms(options)
    except ValueError as error:
        raise CannotStart(message=f"cannot use the external KMS: {error}") from error
    older = {} if settings.keys_old is None else read_master_keys(settings.keys_old, may_create=False)
    ring = TrustedKeyRing(clock=clock, sealing_number=settings.sealing_key)
    master_keys = MasterKeys(
        database=database,
        service=service,
        ring=ring,
        clock=clock,
        check_seconds=settings.keys_kms_check_seconds,
        trust_seconds=settings.keys_kms_trust_seconds,
        older=older,
    )
    return ExternalKeys(ring=ring, master_keys=master_keys, older=MasterKeyRing(older) if older else None)


async def add_key(
    settings: Settings, database: Database | None, master_keys: MasterKeys | None
) -> dict[str, Any]:
    """Make the next master key where the others are, and say which; one of the environment is told, and not kept.

    `database` None: there is none yet, and no number was used in it. Raises CannotStart.
    """
    if master_keys is not None:
        number = await master_keys.add()
        return {"number": number, "made": f"master key {number}, a data key of {settings.keys_kms_keys[0]}"}
    try:
        used = 0 if database is None else await database.read(highest_proven)
    except Unavailable as error:
        raise CannotStart(
            message=f"no master key was made: {error.message} {error.context}".rstrip()
        ) from error
    if settings.master_keys:
        number = max(used, *keys_of_environment(settings)) + 1
        return {"number": number, "setting": f"{number}:{os.urandom(MASTER_KEY_BYTES).hex()}"}
    number, path = add_master_key(settings.keys or settings.data / "keys", after=used)
    return {"number": number, "made": str(path)}
