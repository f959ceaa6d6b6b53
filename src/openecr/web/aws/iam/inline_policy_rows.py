"""The operations of inline policies, one row each for users, groups and roles."""

from collections.abc import Iterator

from openecr.domain.iam import EntityKind
from openecr.web.aws.call import Handler
from openecr.web.aws.iam import inline_policies
from openecr.web.aws.iam.requirements import NAME_MEMBERS, on_entity
from openecr.web.aws.rows import Row


def _rows(kind: EntityKind) -> Iterator[Row]:
    noun = kind.value.capitalize()
    handlers: dict[str, Handler] = {
        f"Put{noun}Policy": inline_policies.put_policy,
        f"Get{noun}Policy": inline_policies.get_policy(kind),
        f"List{noun}Policies": inline_policies.list_policies,
        f"Delete{noun}Policy": inline_policies.delete_policy,
    }
    for name, handler in handlers.items():
        yield Row(
            service="iam",
            name=name,
            requires=on_entity(f"iam:{name}", kind),
            handler=handler,
            needs=frozenset({NAME_MEMBERS[kind]}),
        )


ROWS: tuple[Row, ...] = tuple(row for kind in EntityKind for row in _rows(kind))
