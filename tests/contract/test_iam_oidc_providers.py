"""OpenID Connect providers of accounts, on both databases."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from openecr.application.iam import tags
from openecr.domain.decisions import Grant, Requirement
from openecr.domain.iam_errors import EntityAlreadyExists, IamLimitExceeded, InvalidInput, NoSuchEntity
from openecr.domain.oidc_providers import OidcProvider
from openecr.store import oidc_providers, principals
from tests.contract.databases import Databases
from tests.contract.iam_houses import ACCOUNT, OTHER_ACCOUNT, IamHouse

URL = "https://ci.example.com/realm"
ARN = f"arn:aws:iam::{ACCOUNT}:oidc-provider/ci.example.com/realm"
THUMBPRINT = "a" * 40


@pytest.fixture
async def house(databases: Databases) -> IamHouse:
    return await IamHouse(databases, oidc_providers_per_account=2).open()


async def make(
    house: IamHouse,
    url: str = URL,
    *,
    account_id: str = ACCOUNT,
    client_ids: tuple[str, ...] = ("sts.amazonaws.com",),
    thumbprints: tuple[str, ...] = (),
) -> OidcProvider:
    """A new provider."""
    return await house.iam.oidc_providers.create(
        await house.grant(account_id=account_id),
        url,
        client_ids=client_ids,
        thumbprints=thumbprints,
        tags={"Team": "a"},
    )


async def found(house: IamHouse, arn: str = ARN) -> OidcProvider:
    return (await house.iam.oidc_providers.get(await house.grant(), arn)).provider


async def trusted(house: IamHouse, account_id: str = ACCOUNT) -> tuple[str, ...] | None:
    """For whom the account takes the provider's tokens, as a caller with one is asked."""
    return await house.database.read(
        lambda connection: principals.client_ids(
            connection, account_id=account_id, provider_url="ci.example.com/realm"
        )
    )


async def test_a_provider_is_what_it_was_made_as(house: IamHouse) -> None:
    made = await make(house, client_ids=("b", "a", "b"), thumbprints=(THUMBPRINT,))
    assert made.arn == ARN
    described = await house.iam.oidc_providers.get(await house.grant(), ARN)
    assert described.provider == made
    assert (made.client_ids, made.thumbprints) == (("b", "a"), (THUMBPRINT,))
    assert described.tags == {"Team": "a"}
    assert await trusted(house) == ("b", "a")
    assert await trusted(house, OTHER_ACCOUNT) is None


async def test_an_account_has_one_provider_of_a_url_and_so_many_of_all(house: IamHouse) -> None:
    await make(house)
    with pytest.raises(EntityAlreadyExists, match=f"Provider with url {URL} already exists"):
        await make(house)
    await make(house, account_id=OTHER_ACCOUNT)
    await make(house, "https://a.example.com")
    with pytest.raises(IamLimitExceeded, match="OpenIdConnectProvidersPerAccount: 2"):
        await make(house, "https://b.example.com")
    listed = await house.iam.oidc_providers.list(await house.grant())
    assert [each.url for each in listed] == ["a.example.com", "ci.example.com/realm"]


async def test_a_slash_at_the_end_is_part_of_what_an_issuer_calls_itself(house: IamHouse) -> None:
    await make(house, URL + "/")
    await make(house)
    assert (await found(house, ARN + "/")).url == "ci.example.com/realm/"


@pytest.mark.parametrize(
    "url",
    [
        "http://ci.example.com",
        "ci.example.com",
        "HTTPS://ci.example.com",
        "https://",
        "https:///realm",
        "https://me@ci.example.com",
        "https://ci.example.com?x=1",
        "https://ci.example.com#x",
        "https://ci.example.com\\realm",
        "https://ci.example.com/a b",
        "https://ci.example.com/\0",
        "https://ci.example.com/\n",
        "https://ci.exämple.com",
        "https://ci.example.com:port",
        "https://[::1]",
    ],
    ids=ascii,
)
async def test_what_is_no_providers_url_is_refused(house: IamHouse, url: str) -> None:
    with pytest.raises(InvalidInput, match="Invalid Open ID Connect Provider URL"):
        await make(house, url)


async def test_audiences_come_and_go_once(house: IamHouse) -> None:
    await make(house)
    grant, providers = await house.grant(), house.iam.oidc_providers
    for _ in range(2):
        await providers.add_client_id(grant, ARN, "other")
    assert await trusted(house) == ("sts.amazonaws.com", "other")
    for _ in range(2):
        await providers.remove_client_id(grant, ARN, "sts.amazonaws.com")
    assert await trusted(house) == ("other",)


async def test_two_audiences_that_come_at_once_both_stay(house: IamHouse) -> None:
    await make(house, client_ids=())
    grant, names = await house.grant(), [f"client{number}" for number in range(8)]
    await asyncio.gather(*(house.iam.oidc_providers.add_client_id(grant, ARN, name) for name in names))
    assert sorted((await found(house)).client_ids) == names


async def test_audiences_and_thumbprints_are_bounded(house: IamHouse) -> None:
    many = tuple(f"client{number}" for number in range(100))
    with pytest.raises(IamLimitExceeded, match="ClientIdsPerOpenIdConnectProvider: 100"):
        await make(house, client_ids=(*many, "more"))
    with pytest.raises(InvalidInput, match="no more than 5"):
        await make(house, thumbprints=(THUMBPRINT,) * 6)
    await make(house, client_ids=many, thumbprints=(THUMBPRINT,) * 5)
    grant, providers = await house.grant(), house.iam.oidc_providers
    with pytest.raises(IamLimitExceeded, match="ClientIdsPerOpenIdConnectProvider: 100"):
        await providers.add_client_id(grant, ARN, "more")
    await providers.add_client_id(grant, ARN, "client7")
    with pytest.raises(InvalidInput, match="no more than 5"):
        await providers.set_thumbprints(grant, ARN, (THUMBPRINT,) * 6)
    await providers.set_thumbprints(grant, ARN, ("b" * 40,))
    assert ((await found(house)).client_ids, (await found(house)).thumbprints) == (many, ("b" * 40,))


async def test_a_provider_is_deleted_with_its_tags(house: IamHouse) -> None:
    await make(house)
    await make(house, account_id=OTHER_ACCOUNT)
    await house.iam.oidc_providers.delete(await house.grant(), ARN)
    assert await trusted(house) is None
    assert await trusted(house, OTHER_ACCOUNT) == ("sts.amazonaws.com",)
    await house.iam.oidc_providers.create(await house.grant(), URL, client_ids=(), thumbprints=(), tags={})
    assert (await house.iam.oidc_providers.get(await house.grant(), ARN)).tags == {}


@pytest.mark.parametrize(
    "arn",
    [
        f"arn:aws:iam::{ACCOUNT}:oidc-provider/other.example.com",
        f"arn:aws:iam::{OTHER_ACCOUNT}:oidc-provider/ci.example.com/realm",
        f"{ARN}/",
        f"{ARN}\0",
        f"{ARN}\ud800",
        "ci.example.com/realm",
        "x" * 20,
    ],
    ids=ascii,
)
async def test_what_is_not_there_is_not_found(house: IamHouse, arn: str) -> None:
    await make(house)
    await make(house, account_id=OTHER_ACCOUNT)
    grant, providers = await house.grant(), house.iam.oidc_providers
    for act in (
        providers.get(grant, arn),
        providers.add_client_id(grant, arn, "x"),
        providers.remove_client_id(grant, arn, "sts.amazonaws.com"),
        providers.set_thumbprints(grant, arn, (THUMBPRINT,)),
        providers.delete(grant, arn),
        house.iam.tags.put(await _on(house, arn), tags.of_provider, {"a": "b"}),
    ):
        with pytest.raises(NoSuchEntity):
            await act
    assert await trusted(house, OTHER_ACCOUNT) == ("sts.amazonaws.com",)


async def _on(house: IamHouse, arn: str = ARN) -> Grant:
    """The grant on a provider."""
    grant = await house.grant()
    requirement = Requirement(actions=("iam:Test",), registry=grant.registry, arn=arn)
    return Grant(caller=grant.caller, context=grant.context, requirement=requirement, verdict=grant.verdict)


CHANGES: dict[str, Callable[[IamHouse, Grant], Awaitable[object]]] = {
    "CreateOpenIDConnectProvider": lambda house, _: make(house, "https://a.example.com"),
    "AddClientIDToOpenIDConnectProvider": lambda house, grant: house.iam.oidc_providers.add_client_id(
        grant, ARN, "x"
    ),
    "RemoveClientIDFromOpenIDConnectProvider": lambda house, grant: house.iam.oidc_providers.remove_client_id(
        grant, ARN, "x"
    ),
    "UpdateOpenIDConnectProviderThumbprint": lambda house, grant: house.iam.oidc_providers.set_thumbprints(
        grant, ARN, ()
    ),
    "TagOpenIDConnectProvider": lambda house, grant: house.iam.tags.put(grant, tags.of_provider, {"a": "b"}),
    "UntagOpenIDConnectProvider": lambda house, grant: house.iam.tags.remove(
        grant, tags.of_provider, ["Team"]
    ),
    "DeleteOpenIDConnectProvider": lambda house, grant: house.iam.oidc_providers.delete(grant, ARN),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_every_change_makes_every_cache_look_again(house: IamHouse, change: str) -> None:
    await make(house)
    before, elsewhere = await house.epoch(), await house.epoch(OTHER_ACCOUNT)
    await CHANGES[change](house, await _on(house))
    assert before is not None
    assert (await house.epoch() or 0) > before
    assert await house.epoch(OTHER_ACCOUNT) == elsewhere


async def test_an_account_without_providers_lists_none(house: IamHouse) -> None:
    await make(house)
    listed = await house.database.read(lambda connection: oidc_providers.list_of(connection, OTHER_ACCOUNT))
    assert listed == []


async def test_of_two_providers_of_one_url_that_come_at_once_one_is_made(house: IamHouse) -> None:
    made = await asyncio.gather(*(make(house) for _ in range(3)), return_exceptions=True)
    assert sorted(type(each).__name__ for each in made) == [
        "EntityAlreadyExists",
        "EntityAlreadyExists",
        "OidcProvider",
    ]
