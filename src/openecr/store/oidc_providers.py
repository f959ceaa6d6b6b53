"""OpenID Connect providers of accounts. What callers with their tokens need is read in `principals`."""

import json
from collections.abc import Sequence

from sqlalchemy import bindparam, delete, insert, select, update

from openecr.domain.oidc_providers import OidcProvider
from openecr.store.connections import Connection, Row
from openecr.store.iam_tables import OIDC_PROVIDERS
from openecr.store.statements import Statement

_O = OIDC_PROVIDERS.c
_COLUMNS = (_O.account_id, _O.url, _O.client_ids, _O.thumbprints, _O.created_at)
_OF_ACCOUNT = _O.account_id == bindparam("the_account")
_IS_THIS = (_OF_ACCOUNT, _O.url == bindparam("the_url"))
ADD = Statement(
    insert(OIDC_PROVIDERS), columns=("account_id", "url", "client_ids", "thumbprints", "created_at")
)
FIND = Statement(select(*_COLUMNS).where(*_IS_THIS))
LIST = Statement(select(*_COLUMNS).where(_OF_ACCOUNT).order_by(_O.url))
CHANGE = Statement(
    update(OIDC_PROVIDERS)
    .where(*_IS_THIS)
    .values(client_ids=bindparam("new_client_ids"), thumbprints=bindparam("new_thumbprints"))
)
REMOVE = Statement(delete(OIDC_PROVIDERS).where(*_IS_THIS))


def add(connection: Connection, provider: OidcProvider) -> None:
    """Add a provider. Raises ConstraintViolated where its URL is taken."""
    connection.execute(
        ADD,
        account_id=provider.account_id,
        url=provider.url,
        client_ids=_json(provider.client_ids),
        thumbprints=_json(provider.thumbprints),
        created_at=provider.created_at,
    )


def find(connection: Connection, account_id: str, url: str) -> OidcProvider | None:
    """Return the provider of that URL (without https://), or None."""
    row = connection.fetch_one(FIND, the_account=account_id, the_url=url)
    return None if row is None else _provider(row)


def list_of(connection: Connection, account_id: str) -> list[OidcProvider]:
    """Return an account's providers; their number is bounded."""
    return [_provider(row) for row in connection.fetch_all(LIST, the_account=account_id)]


def change(connection: Connection, provider: OidcProvider) -> None:
    """Store client ids and thumbprints."""
    connection.execute(
        CHANGE,
        the_account=provider.account_id,
        the_url=provider.url,
        new_client_ids=_json(provider.client_ids),
        new_thumbprints=_json(provider.thumbprints),
    )


def remove(connection: Connection, provider: OidcProvider) -> None:
    """Remove a provider."""
    connection.execute(REMOVE, the_account=provider.account_id, the_url=provider.url)


def _json(texts: Sequence[str]) -> str:
    return json.dumps(list(texts))


def _provider(row: Row) -> OidcProvider:
    account_id, url, client_ids, thumbprints, created_at = row
    return OidcProvider(
        account_id=account_id,
        url=url,
        client_ids=tuple(json.loads(client_ids)),
        thumbprints=tuple(json.loads(thumbprints)),
        created_at=created_at,
    )
