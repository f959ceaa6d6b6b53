"""Which registry a host means, and which name a registry is told by."""

import pytest

from openecr.domain.errors import RegistryNotServed
from openecr.domain.registries import RegistryId
from openecr.web.hosts import RegistryHosts

DEFAULT = RegistryId(account_id="000000000000", region="us-east-1")
OTHER = RegistryId(account_id="123456789012", region="eu-west-1")


@pytest.fixture
def hosts() -> RegistryHosts:
    return RegistryHosts(
        default=DEFAULT,
        regions=("us-east-1", "eu-west-1"),
        domains=("localhost", "registry.example"),
        plain_names=("Images.Example",),
        scheme="http",
        port=5050,
        default_host="localhost:5050",
    )


@pytest.mark.parametrize(
    "host",
    [
        "localhost:5050",
        "LOCALHOST",
        "127.0.0.1:5050",
        "127.9.9.9",
        "[::1]:5050",
        "images.example",
        "images.example:80",
    ],
)
def test_a_plain_name_means_the_default_registry(hosts: RegistryHosts, host: str) -> None:
    assert hosts.resolve(host) == DEFAULT


@pytest.mark.parametrize(
    "host",
    [
        "123456789012.dkr.ecr.eu-west-1.localhost:5050",
        "123456789012.dkr.ecr.eu-west-1.registry.example",
        "123456789012.dkr.ecr.eu-west-1.amazonaws.com",
        "123456789012.dkr.ecr-fips.eu-west-1.amazonaws.com:443",
        "123456789012.dkr-ecr.eu-west-1.on.aws",
        "123456789012.dkr-ecr-fips.eu-west-1.on.aws",
        "123456789012.DKR.ecr.eu-west-1.localhost",
    ],
)
def test_a_registry_name_means_its_account_and_region(hosts: RegistryHosts, host: str) -> None:
    assert hosts.resolve(host) == OTHER


@pytest.mark.parametrize(
    ("host", "text"),
    [
        ("example.com", "Could not resolve registry id from host example.com"),
        ("", "Could not resolve registry id from host "),
        ("12345.dkr.ecr.us-east-1.localhost", "Could not resolve registry id"),
        ("123456789012.dkr.ecr.us-east-1.evil.example", "Could not resolve registry id"),
        ("123456789012.dkr.ecr.mars-north-1.localhost", "The region 'mars-north-1' is not served here"),
        ("[", "Could not resolve registry id"),
    ],
)
def test_a_host_that_is_not_served_is_told_so(hosts: RegistryHosts, host: str, text: str) -> None:
    with pytest.raises(RegistryNotServed, match=text):
        hosts.resolve(host)


def test_the_default_registry_is_told_by_its_plain_name_and_every_other_by_its_full_one(
    hosts: RegistryHosts,
) -> None:
    assert hosts.repository_uri(DEFAULT, "team/app") == "localhost:5050/team/app"
    assert hosts.endpoint(DEFAULT) == "http://localhost:5050"
    assert hosts.repository_uri(OTHER, "app") == "123456789012.dkr.ecr.eu-west-1.localhost:5050/app"


def test_what_a_registry_is_told_by_leads_back_to_it(hosts: RegistryHosts) -> None:
    assert [hosts.resolve(hosts.host(registry)) for registry in (DEFAULT, OTHER)] == [DEFAULT, OTHER]
