"""What users, groups and roles have in common: how the one that a grant is about is found, and how ids are drawn."""

from typing import TypeVar

from openecr.domain.decisions import Grant
from openecr.domain.iam import (
    UNIQUE_ID_RANDOM_BYTES,
    AccessKeyOwner,
    Entity,
    EntityKind,
    EntityName,
    IamGroup,
    IamRole,
    IamUser,
    Located,
    entity_arn,
    unique_id,
)
from openecr.domain.iam_errors import (
    ConcurrentModification,
    DeleteConflict,
    EntityAlreadyExists,
    IamLimitExceeded,
    NoSuchEntity,
    UnmodifiableEntity,
)
from openecr.domain.kms import KeyName
from openecr.domain.pages import Page, PageRequest, cut_page
from openecr.domain.service_roles import SERVICE_ROLE_PATH
from openecr.ports.ids import Ids
from openecr.store import access_keys, accounts, iam_entities, iam_tags
from openecr.store.connections import Connection, ConstraintViolated
from openecr.store.database import Database

DELETE_KEYS_FIRST = "Cannot delete entity, must delete access keys first."
DELETE_POLICIES_FIRST = "Cannot delete entity, must delete policies first."
DETACH_POLICIES_FIRST = "Cannot delete entity, must detach all policies first."
REMOVE_USERS_FIRST = "Cannot delete entity, must remove users from group first."

E = TypeVar("E", bound=Entity)


def draw_unique_id(ids: Ids, prefix: str) -> str:
    """Draw an id such as `AIDA...`. Before a unit of work, which may run twice."""
    return unique_id(prefix, ids.token(UNIQUE_ID_RANDOM_BYTES))


def locate(
    connection: Connection, account_id: str, named: EntityName | AccessKeyOwner | KeyName | None
) -> Located | None:
    """Return what a requirement names as it is now, for the decision; None where it does not exist.

    The ARN is the one that it would have after the change that `new_name` and `new_path` ask for.
    """
    match named:
        case None | KeyName():  # keys of KMS are looked up in their regions
            return None
        case AccessKeyOwner(access_key_id=access_key_id):
            key = access_keys.find(connection, access_key_id)
            owner = None if key is None else iam_entities.find_by_id(connection, key.principal_id)
            if owner is None or owner.account_id != account_id:
                return None
            return Located(unique_id=owner.unique_id, arn=owner.arn)
        case EntityName(kind=kind, name=name, new_name=new_name, new_path=new_path):
            entity = iam_entities.find(connection, account_id, kind, name)
            if entity is None:
                return None
            arn = entity_arn(kind, account_id, new_name or entity.name, path=new_path or entity.path)
            return Located(unique_id=entity.unique_id, arn=arn)


def require_user(connection: Connection, grant: Grant) -> IamUser:
    """Return the user that a grant is about. Raises NoSuchEntity, ConcurrentModification."""
    return _require(connection, grant, IamUser)


def require_group(connection: Connection, grant: Grant) -> IamGroup:
    """Return the group that a grant is about. Raises NoSuchEntity, ConcurrentModification."""
    return _require(connection, grant, IamGroup)


def require_role(connection: Connection, grant: Grant) -> IamRole:
    """Return the role that a grant is about. Raises NoSuchEntity, ConcurrentModification."""
    return _require(connection, grant, IamRole)


def require_entity(connection: Connection, grant: Grant) -> Entity:
    """Return the user, group or role that a grant is about. Raises NoSuchEntity, ConcurrentModification."""
    return _require(connection, grant, Entity)


def require_same(connection: Connection, grants: tuple[Grant, ...]) -> Entity:
    """Return the one entity that all of some grants are about. Raises NoSuchEntity, ConcurrentModification."""
    found = [_require(connection, grant, Entity) for grant in grants]
    assert len({entity.unique_id for entity in found}) == 1, "the row names one entity"
    return found[0]


def check_modifiable(entity: Entity) -> None:
    """Raise UnmodifiableEntity for a service-linked role, whose policies and trust are its service's alone."""
    if isinstance(entity, IamRole) and entity.path.startswith(SERVICE_ROLE_PATH):
        raise UnmodifiableEntity(
            message=f"Cannot perform the operation on the protected role '{entity.name}' - "
            "this role is only modifiable by AWS"
        )


def find_named(connection: Connection, account_id: str, kind: EntityKind, name: str) -> Entity:
    """Return an entity that a request names beside the one that was decided on. Raises NoSuchEntity."""
    entity = iam_entities.find(connection, account_id, kind, name)
    if entity is None:
        raise missing(kind, name)
    return entity


def missing(kind: EntityKind, name: str) -> NoSuchEntity:
    """Return the error that tells that there is no such user, group or role."""
    return NoSuchEntity(message=f"The {kind.value} with name {name} cannot be found.")


def taken(kind: EntityKind, name: str) -> EntityAlreadyExists:
    """Return the error that tells that a name is taken."""
    return EntityAlreadyExists(message=f"{kind.value.capitalize()} with name {name} already exists.")


def add(connection: Connection, entity: Entity) -> None:
    """Add an entity, and tell every cache. Raises EntityAlreadyExists."""
    if iam_entities.find(connection, entity.account_id, entity.kind, entity.name) is not None:
        raise taken(entity.kind, entity.name)
    iam_entities.add(connection, entity)
    accounts.raise_epoch(connection, entity.account_id)


def rename(connection: Connection, entity: Entity, *, name: str | None, path: str | None) -> None:
    """Give an entity another name or path, and tell every cache. Raises EntityAlreadyExists."""
    wanted = name or entity.name
    other = iam_entities.find(connection, entity.account_id, entity.kind, wanted)
    if other is not None and other.unique_id != entity.unique_id:
        raise taken(entity.kind, wanted)
    iam_entities.rename(connection, entity, name=wanted, path=path or entity.path)
    accounts.raise_epoch(connection, entity.account_id)


def remove(connection: Connection, entity: Entity) -> None:
    """Remove an entity with its tags, and tell every cache. Raises DeleteConflict while policies are attached.

    What else may hang on it is looked for before.
    """
    iam_tags.remove_all(connection, entity.unique_id)
    try:
        iam_entities.remove(connection, entity)
    except ConstraintViolated as error:
        raise DeleteConflict(message=DETACH_POLICIES_FIRST) from error
    accounts.raise_epoch(connection, entity.account_id)


def check_quota(used: int, limit: int, quota: str) -> None:
    """Raise IamLimitExceeded where no more may be added."""
    if used >= limit:
        raise IamLimitExceeded(message=f"Cannot exceed quota for {quota}: {limit}")


def name_key(entity: Entity) -> str:
    """Return the key that lists of entities are paged by."""
    return entity.name.lower()


def list_after(
    connection: Connection, grant: Grant, kind: EntityKind, page: PageRequest, *, path_prefix: str
) -> list[Entity]:
    """Return the entities of a page, and one more where there is one."""
    return iam_entities.list_after(
        connection,
        grant.registry.account_id,
        kind,
        path_prefix=path_prefix,
        after=page.after or "",
        limit=page.limit + 1,
    )


async def list_page(
    database: Database, grant: Grant, kind: EntityKind, page: PageRequest, *, path_prefix: str
) -> Page[Entity]:
    """Return a page of the account's entities of a kind, by name."""

    def scan(connection: Connection) -> list[Entity]:
        return list_after(connection, grant, kind, page, path_prefix=path_prefix)

    return cut_page(await database.scan(scan), page.limit, name_key)


def _require(connection: Connection, grant: Grant, kind: type[E]) -> E:
    """What was decided on by id and path has to be it still: another of the same name is another one."""
    named = grant.requirement.entity
    assert isinstance(named, EntityName), "the row names no user, group or role"
    account_id = grant.registry.account_id
    entity = iam_entities.find(connection, account_id, named.kind, named.name)
    if entity is None:
        raise missing(named.kind, named.name)
    assert isinstance(entity, kind), f"the row names a {named.kind.value}"
    if grant.located != locate(connection, account_id, named):
        raise ConcurrentModification
    return entity
