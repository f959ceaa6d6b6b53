"""How keys are named in requests, and which key is meant."""

from dataclasses import dataclass

from openecr.domain.decisions import Grant
from openecr.domain.errors import AccessDenied
from openecr.domain.iam import Located
from openecr.domain.kms import KeyName, KmsKey, alias_arn, is_alias, is_key_id, key_arn, parse_key_arn
from openecr.domain.kms_errors import CIPHERTEXT_DENIED, KmsInvalidArn, KmsNotFound
from openecr.domain.registries import RegistryId
from openecr.store import kms_aliases, kms_keys
from openecr.store.connections import Connection

_SHOWN_CHARACTERS = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedKey:
    """Which key a request means, by whatever name, and where."""

    registry: RegistryId
    name: KeyName

    @property
    def arn(self) -> str:
        """Return the ARN of the key or alias, as far as the request tells."""
        if self.name.alias:
            return alias_arn(self.registry, self.name.alias)
        return key_arn(self.registry, self.name.key_id)


def read_key(text: str, registry: RegistryId, *, takes_alias: bool = True) -> NamedKey:
    """Read a key's id, its ARN, an alias or an alias's ARN. `registry` is the caller's.

    Raises KmsNotFound, KmsInvalidArn.
    """
    resource, place = text, registry
    if text.startswith("arn:"):
        parsed = parse_key_arn(text)
        if parsed is None:
            raise KmsInvalidArn(message=f"Invalid arn {text[:_SHOWN_CHARACTERS]}")
        place, resource = parsed
        if place.region != registry.region:
            raise KmsNotFound(message=f"Invalid arn {place.region}")
        if resource.startswith("key/"):
            resource = resource.removeprefix("key/")
        elif not resource.startswith("alias/"):
            raise KmsInvalidArn(message=f"Invalid arn {text[:_SHOWN_CHARACTERS]}")
    if takes_alias and is_alias(resource):
        return NamedKey(registry=place, name=KeyName(alias=resource))
    if not is_key_id(resource):
        raise KmsNotFound(message=f"Invalid keyId '{text[:_SHOWN_CHARACTERS]}'")
    return NamedKey(registry=place, name=KeyName(key_id=resource))


def locate_key(connection: Connection, registry: RegistryId, name: KeyName) -> Located | None:
    """Return the key that a name means now, or None. Ids of keys are of one account and region alone."""
    key_id = name.key_id
    if name.alias:
        alias = kms_aliases.find(connection, registry, name.alias)
        if alias is None:
            return None
        key_id = alias.key_id
    key = kms_keys.find(connection, key_id)
    if key is None or key.registry != registry:
        return None
    return Located(unique_id=key_id, arn=key.arn)


def key_id_of(grant: Grant) -> str:
    """Return the id of the key that a grant is about. Raises KmsNotFound, AccessDenied as `missing`."""
    if grant.located is None:
        raise missing(grant)
    return grant.located.unique_id


def require_key(connection: Connection, grant: Grant) -> KmsKey:
    """Return the key that a grant is about. Raises KmsNotFound, or AccessDenied where a ciphertext names it."""
    key = kms_keys.find(connection, key_id_of(grant))
    if key is None:
        raise missing(grant)
    return key


def missing(grant: Grant) -> KmsNotFound | AccessDenied:
    """Return what is said of a key that is not there."""
    name, arn = grant.requirement.entity, grant.requirement.resource
    assert isinstance(name, KeyName), "the row requires a key"
    if name.is_in_ciphertext:
        return AccessDenied(message=CIPHERTEXT_DENIED)
    if name.alias:
        return KmsNotFound(message=f"Alias {arn} is not found.")
    return KmsNotFound(message=f"Key '{arn}' does not exist")
