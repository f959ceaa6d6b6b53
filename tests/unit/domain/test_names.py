"""Grammars of repository names, tags, digests and ARNs."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openecr.domain.digests import Digest
from openecr.domain.names import is_repository_name, is_tag
from openecr.domain.registries import RegistryId, parse_repository_arn, repository_arn


@pytest.mark.parametrize("name", ["ab", "a/b", "a__b", "a--b", "a.b/c_d", "0x", "a" * 256])
def test_repository_names_that_ecr_takes(name: str) -> None:
    assert is_repository_name(name)


@pytest.mark.parametrize(
    "name",
    ["", "a", "A", "a___b", "a..b", "a._b", "/ab", "ab/", "a//b", "ab\n", "ä" * 2, "a" * 257, "a:b", "a b"],
)
def test_repository_names_that_ecr_refuses(name: str) -> None:
    assert not is_repository_name(name)


@pytest.mark.parametrize(
    ("tag", "legal"), [("v1.0_x-Y", True), ("_", True), ("-v", False), (".v", False), ("", False)]
)
def test_tags(tag: str, *, legal: bool) -> None:
    assert is_tag(tag) is legal
    assert not is_tag(tag + "\n")


@given(content=st.binary(), algorithm=st.sampled_from(["sha256", "sha512"]))
def test_a_digest_reads_what_it_wrote(content: bytes, algorithm: str) -> None:
    digest = Digest.of(content, algorithm)

    assert digest.encoded == hashlib.new(algorithm, content).hexdigest()
    assert Digest.parse(str(digest)) == digest


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sha256",
        "sha256:",
        "sha256:AB" + "a" * 62,
        "md5:" + "a" * 32,
        "sha256:" + "a" * 63,
        "sha256:" + "a" * 64 + "\n",
    ],
)
def test_what_is_no_digest_is_none(text: str) -> None:
    assert Digest.find(text) is None


@given(st.text(max_size=100))
def test_any_text_is_read_without_an_error(text: str) -> None:
    assert Digest.find(text) is None
    assert parse_repository_arn(text) is None
    assert is_tag(text) in {True, False}
    assert is_repository_name(text) in {True, False}


def test_an_arn_leads_back_to_its_repository() -> None:
    registry = RegistryId(account_id="123456789012", region="eu-west-1")

    assert parse_repository_arn(repository_arn(registry, "team/app")) == (registry, "team/app")
    assert RegistryId.parse(str(registry)) == registry
