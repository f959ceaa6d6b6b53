"""Blobs are found, checked, shared and linked to only through a repository that holds them, on both databases."""

import base64
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openecr.adapters.keys import MASTER_KEY_BYTES, MasterKeyRing
from openecr.application.blobs import Blobs, DownloadLink
from openecr.domain.blobs import Availability, LayerFailureCode, LayerStatus
from openecr.domain.decisions import Grant
from openecr.domain.digests import Digest
from openecr.domain.errors import (
    LayerInaccessible,
    LayerInUse,
    LayerNotFound,
    LinkExpired,
    RepositoryNotFound,
    StorageFull,
    Unavailable,
)
from openecr.domain.repositories import Encryption, RepositorySettings
from openecr.store.database import Database
from openecr.testing.clocks import MovableClock
from tests.contract.databases import Databases
from tests.contract.fronts import Front
from tests.contract.galleries import CALLER, CONFIG_TYPE, LAYER_TYPE, NOW, REGISTRY, grant_for
from tests.contract.shelves import LIMITS, NO_GRACE, Shelf

CONTENT = b"layer"
DIGEST = Digest.of(CONTENT)
UNKNOWN = Digest.of(b"unknown")
HALF_OF_GRACE = LIMITS.link_grace_seconds // 2


@pytest.fixture
async def shelf(databases: Databases, tmp_path: Path) -> AsyncIterator[Shelf]:
    shelf = await Shelf(databases, tmp_path).open()
    yield shelf
    await shelf.check()
    await shelf.files.close()


@pytest.fixture
async def mounting(shelf: Shelf) -> None:
    await shelf.settings.put(grant_for("app"), "BLOB_MOUNTING", "ENABLED")


# --- found through a repository --------------------------------------------------------------------------------------


async def test_a_blob_is_found_only_where_it_is_held(shelf: Shelf) -> None:
    other = await shelf.create("other")
    pushed = await shelf.push(CONTENT)

    assert await shelf.blobs.find(shelf.grant, DIGEST) == pushed
    assert await shelf.blobs.get(shelf.grant, DIGEST) == pushed
    for grant, digest in (
        (other, DIGEST),
        (shelf.grant, UNKNOWN),
        (shelf.grant, Digest.of(CONTENT, "sha512")),
    ):
        assert await shelf.blobs.find(grant, digest) is None
        with pytest.raises(LayerNotFound):
            await shelf.blobs.get(grant, digest)


async def test_a_part_of_a_blob_is_read(shelf: Shelf) -> None:
    blob = await shelf.push(CONTENT)

    assert [chunk async for chunk in shelf.blobs.open(blob, 1, 3)] == [CONTENT[1:3]]
    assert [chunk async for chunk in shelf.blobs.open(blob, 3, 3)] == []


async def test_bytes_in_a_format_that_is_not_known_are_never_sent_as_they_are(shelf: Shelf) -> None:
    await shelf.push(CONTENT)
    await shelf.set_header(DIGEST, b"a later format")
    blob = await shelf.blobs.get(shelf.grant, DIGEST)

    assert blob.header == b"a later format"
    with pytest.raises(Unavailable):
        shelf.blobs.file(blob)
    with pytest.raises(Unavailable):
        _ = [chunk async for chunk in shelf.blobs.open(blob, 0, len(CONTENT))]
    await shelf.lose(DIGEST)


async def test_lost_bytes_that_are_pushed_again_are_read_whatever_the_old_ones_were(shelf: Shelf) -> None:
    await shelf.push(CONTENT)
    await shelf.set_header(DIGEST, b"a later format")
    await shelf.lose(DIGEST)
    await shelf.push(CONTENT)
    blob = await shelf.blobs.get(shelf.grant, DIGEST)

    assert [chunk async for chunk in shelf.blobs.open(blob, 0, len(CONTENT))] == [CONTENT]


async def test_a_lost_blob_is_nowhere(shelf: Shelf, mounting: None) -> None:
    other = await shelf.create("other")
    await shelf.push_image("config", "layer")
    await shelf.lose(DIGEST)

    assert await shelf.blobs.find(shelf.grant, DIGEST) is None
    with pytest.raises(LayerNotFound):
        await shelf.blobs.get(shelf.grant, DIGEST)
    with pytest.raises(LayerNotFound):
        await shelf.blobs.download_link(shelf.grant, DIGEST)
    assert (await shelf.blobs.check(shelf.grant, [str(DIGEST)]))[0][
        0
    ].availability is Availability.UNAVAILABLE
    assert await shelf.blobs.mount_candidates(other, DIGEST) == []
    assert await shelf.blobs.mount(other, [shelf.grant], DIGEST) is None


# --- availability ----------------------------------------------------------------------------------------------------


async def test_layers_are_told_with_the_type_that_an_image_gives_them(shelf: Shelf) -> None:
    await shelf.push_image("config", "layer")
    await shelf.push(b"loose")

    statuses, failures = await shelf.blobs.check(
        shelf.grant,
        [str(Digest.of(content)) for content in (b"layer", b"config", b"loose", b"unknown", b"layer")],
    )

    def available(content: bytes, media_type: str | None) -> LayerStatus:
        return LayerStatus(
            digest=str(Digest.of(content)),
            availability=Availability.AVAILABLE,
            size_bytes=len(content),
            media_type=media_type,
        )

    assert failures == []
    assert statuses == [
        available(b"layer", LAYER_TYPE),
        available(b"config", CONFIG_TYPE),
        available(b"loose", None),
        LayerStatus(digest=str(UNKNOWN), availability=Availability.UNAVAILABLE),
    ]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", LayerFailureCode.MISSING_LAYER_DIGEST),
        ("x", LayerFailureCode.INVALID_LAYER_DIGEST),
        ("sha256:00", LayerFailureCode.INVALID_LAYER_DIGEST),
        (str(DIGEST).upper(), LayerFailureCode.INVALID_LAYER_DIGEST),
        (f"{DIGEST}\n", LayerFailureCode.INVALID_LAYER_DIGEST),
    ],
)
async def test_a_malformed_digest_is_a_failure_of_its_own(
    shelf: Shelf, text: str, code: LayerFailureCode
) -> None:
    await shelf.push(CONTENT)

    statuses, failures = await shelf.blobs.check(shelf.grant, [text, str(DIGEST)])

    assert [(failure.digest, failure.code) for failure in failures] == [(text, code)]
    assert [status.availability for status in statuses] == [Availability.AVAILABLE]


# --- grace -----------------------------------------------------------------------------------------------------------


async def ask_by_find(shelf: Shelf) -> None:
    assert await shelf.blobs.find(shelf.grant, DIGEST) is not None


async def ask_by_check(shelf: Shelf) -> None:
    await shelf.blobs.check(shelf.grant, [str(DIGEST)])


async def ask_by_mount(shelf: Shelf) -> None:
    assert await shelf.blobs.mount(shelf.grant, [shelf.grant], DIGEST) is not None


async def ask_by_upload(shelf: Shelf) -> None:
    await shelf.push(CONTENT)


@pytest.mark.parametrize("ask", [ask_by_find, ask_by_check, ask_by_mount, ask_by_upload])
async def test_whoever_is_told_that_a_blob_is_there_finds_it_as_long_as_the_grace(
    shelf: Shelf, mounting: None, ask: type
) -> None:
    await shelf.push(CONTENT)
    shelf.clock.move(seconds=LIMITS.link_grace_seconds - 1)
    await ask(shelf)

    shelf.clock.move(seconds=LIMITS.link_grace_seconds - 1)
    await shelf.collection.collect()
    assert (await shelf.blobs.get(shelf.grant, DIGEST)).digest == DIGEST

    shelf.clock.move(seconds=1)
    await shelf.collection.collect()
    with pytest.raises(LayerNotFound):
        await shelf.blobs.get(shelf.grant, DIGEST)


class FullDatabase(Front):
    """A database whose disk can be full: then it refuses every change."""

    def __init__(self, database: Database) -> None:
        self.is_full = False
        super().__init__(database)

    async def write(self, work: Callable[[Any], Any]) -> Any:
        if self.is_full:
            raise StorageFull
        return await super().write(work)


async def test_a_full_disk_refuses_no_question_whether_a_blob_is_there(
    databases: Databases, tmp_path: Path
) -> None:
    database = FullDatabase(databases.metadata)
    shelf = await Shelf(databases, tmp_path, database=database).open()
    pushed = await shelf.push(CONTENT)
    shelf.clock.move(seconds=LIMITS.link_grace_seconds)
    database.is_full = True

    assert await shelf.blobs.find(shelf.grant, DIGEST) == pushed
    assert await shelf.blobs.find(shelf.grant, UNKNOWN) is None

    await shelf.files.close()


async def test_grace_is_renewed_only_in_its_second_half(shelf: Shelf) -> None:
    await shelf.push(CONTENT)
    shelf.clock.move(seconds=HALF_OF_GRACE)
    await ask_by_find(shelf)

    shelf.clock.move(seconds=HALF_OF_GRACE)
    await shelf.collection.collect()

    assert await shelf.blobs.find(shelf.grant, DIGEST) is None


async def test_reading_a_blob_renews_nothing(shelf: Shelf) -> None:
    await shelf.push(CONTENT)
    shelf.clock.move(seconds=LIMITS.link_grace_seconds)
    await shelf.blobs.get(shelf.grant, DIGEST)

    await shelf.collection.collect()

    assert await shelf.blobs.find(shelf.grant, DIGEST) is None


# --- removal ---------------------------------------------------------------------------------------------------------


async def test_a_layer_is_taken_out_unless_an_image_needs_it(shelf: Shelf) -> None:
    await shelf.push_image("config", "layer")
    await shelf.push(b"loose")

    with pytest.raises(LayerInUse):
        await shelf.blobs.unlink(shelf.grant, DIGEST)
    with pytest.raises(LayerNotFound):
        await shelf.blobs.unlink(shelf.grant, UNKNOWN)
    await shelf.blobs.unlink(shelf.grant, Digest.of(b"loose"))

    assert await shelf.blobs.find(shelf.grant, Digest.of(b"loose")) is None
    assert await shelf.blobs.find(shelf.grant, DIGEST) is not None
    await shelf.check_settled(b"config", b"layer")


async def test_a_layer_that_one_repository_gives_up_stays_in_the_others(shelf: Shelf) -> None:
    other = await shelf.create("other")
    await shelf.push(CONTENT)
    await shelf.push(CONTENT, grant=other)

    await shelf.blobs.unlink(shelf.grant, DIGEST)

    assert await shelf.read(await shelf.blobs.get(other, DIGEST)) == CONTENT


# --- mounts ----------------------------------------------------------------------------------------------------------


async def test_a_mounted_blob_is_shared(shelf: Shelf, mounting: None) -> None:
    other = await shelf.create("other")
    pushed = await shelf.push(CONTENT)

    mounted = await shelf.blobs.mount(other, [shelf.grant], DIGEST)

    assert mounted == pushed == await shelf.blobs.find(other, DIGEST)
    assert await shelf.locations() == {pushed.location}


async def test_the_first_source_that_holds_the_blob_is_taken(shelf: Shelf, mounting: None) -> None:
    empty, other = await shelf.create("empty"), await shelf.create("other")
    await shelf.push(CONTENT)
    missing = grant_for("missing")

    assert await shelf.blobs.mount(other, [], DIGEST) is None
    assert await shelf.blobs.mount(other, [missing], DIGEST) is None
    assert await shelf.blobs.mount(other, [empty], DIGEST) is None
    assert await shelf.blobs.mount(other, [shelf.grant], UNKNOWN) is None
    assert await shelf.blobs.mount(other, [missing, empty, shelf.grant], DIGEST) is not None


async def test_nothing_is_mounted_unless_the_account_says_so(shelf: Shelf) -> None:
    other = await shelf.create("other")
    await shelf.push(CONTENT)

    assert await shelf.blobs.mount(other, [shelf.grant], DIGEST) is None
    assert await shelf.blobs.mount_candidates(other, DIGEST) == []


def elsewhere(grant: Grant, **change: str) -> Grant:
    """The same repository, as if it were another registry's."""
    repository = grant.require_repository()
    return replace(grant, repository=replace(repository, registry=replace(REGISTRY, **change)))


@pytest.mark.parametrize("change", [{"account_id": "111111111111"}, {"region": "eu-west-1"}])
async def test_nothing_is_mounted_from_another_registry(
    shelf: Shelf, mounting: None, change: dict[str, str]
) -> None:
    other = await shelf.create("other")
    await shelf.push(CONTENT)

    assert await shelf.blobs.mount(other, [elsewhere(shelf.grant, **change)], DIGEST) is None


async def test_nothing_is_mounted_from_differently_encrypted_repositories(
    shelf: Shelf, mounting: None
) -> None:
    settings = RepositorySettings(encryption=Encryption(encryption_type="KMS", kms_key="key"))
    other = await shelf.create("other", settings)
    await shelf.push(CONTENT)

    assert await shelf.blobs.mount(other, [shelf.grant], DIGEST) is None


async def test_nothing_is_mounted_from_or_to_a_deleted_repository(shelf: Shelf, mounting: None) -> None:
    other = await shelf.create("other")
    await shelf.push(CONTENT)
    await shelf.repositories.delete(shelf.grant, force=True)

    assert await shelf.blobs.mount_candidates(other, DIGEST) == []
    assert await shelf.blobs.mount(other, [shelf.grant], DIGEST) is None
    await shelf.repositories.delete(other, force=True)
    with pytest.raises(RepositoryNotFound):
        await shelf.blobs.mount(other, [other], DIGEST)


async def test_candidates_are_the_registrys_repositories_that_hold_the_blob(
    shelf: Shelf, mounting: None
) -> None:
    empty = await shelf.create("empty")
    await shelf.push(CONTENT)
    for number in range(20):
        await shelf.push(CONTENT, grant=await shelf.create(f"other-{number}"))

    found = await shelf.blobs.mount_candidates(empty, DIGEST)

    assert len(found) == len(set(found)) == shelf.limits.mount_candidates
    assert "empty" not in found
    stranger = replace(
        empty, requirement=replace(empty.requirement, registry=replace(REGISTRY, account_id="111111111111"))
    )
    assert await shelf.blobs.mount_candidates(stranger, DIGEST) == []


# --- download URLs ---------------------------------------------------------------------------------------------------


async def test_a_link_says_who_may_have_what_and_until_when(shelf: Shelf) -> None:
    await shelf.push_image("config", "layer")

    token = await shelf.blobs.download_link(shelf.grant, DIGEST)

    assert len(token) < 1_000
    assert not set(token) & {"=", "+", "/", "&", "?", "%"}
    repository = shelf.grant.require_repository()
    assert shelf.blobs.open_link(token) == DownloadLink(
        version=2,
        account_id=REGISTRY.account_id,
        region=REGISTRY.region,
        repository_name="app",
        repository_id=repository.id,
        digest=str(DIGEST),
        caller_account_id=CALLER.account_id,
        caller_principal_id=CALLER.unique_id,
        caller_access_key_id=CALLER.access_key_id,
        caller_session=None,
        expires_at=NOW + LIMITS.download_link_seconds * 1_000_000,
    )
    assert shelf.blobs.open_link(token).registry == REGISTRY


async def test_a_layer_that_no_image_names_has_no_link(shelf: Shelf) -> None:
    await shelf.push(CONTENT)

    with pytest.raises(LayerInaccessible):
        await shelf.blobs.download_link(shelf.grant, DIGEST)
    with pytest.raises(LayerNotFound):
        await shelf.blobs.download_link(shelf.grant, UNKNOWN)


async def test_a_link_expires(shelf: Shelf) -> None:
    await shelf.push_image("config", "layer")
    token = await shelf.blobs.download_link(shelf.grant, DIGEST)

    shelf.clock.move(seconds=LIMITS.download_link_seconds - 1)
    shelf.blobs.open_link(token)
    shelf.clock.move(seconds=1)

    with pytest.raises(LinkExpired):
        shelf.blobs.open_link(token)


KEYS = MasterKeyRing({1: b"k" * MASTER_KEY_BYTES})


def link_opener() -> Blobs:
    """Only links are opened: neither database nor files are asked."""
    nothing = None
    return Blobs(
        database=nothing,  # type: ignore[arg-type] # as told
        contents=nothing,  # type: ignore[arg-type] # as told
        keyed=nothing,  # type: ignore[arg-type] # as told
        losses=nothing,  # type: ignore[arg-type] # as told
        keys=KEYS,
        clock=MovableClock(NOW),
        limits=NO_GRACE,
    )


def sealed(purpose: str, content: bytes) -> str:
    return base64.urlsafe_b64encode(KEYS.seal(purpose, content)).rstrip(b"=").decode()


@given(st.text() | st.binary().map(lambda data: base64.urlsafe_b64encode(data).decode()))
def test_nothing_else_is_a_link(text: str) -> None:
    with pytest.raises(LinkExpired):
        link_opener().open_link(text)


LINK_FIELDS: list[object] = [
    *(2, "0" * 12, "us-east-1", "app", 1, str(DIGEST)),
    *("0" * 12, "0" * 12, "AKIA", b"session", NOW + 1),
]


@pytest.mark.parametrize("number", [each for each in range(11) if each != LINK_FIELDS.index(b"session")])
@pytest.mark.parametrize("value", [None, [], {}, 1.5, True])
def test_a_sealed_link_of_another_shape_is_refused(number: int, value: object) -> None:
    fields = LINK_FIELDS.copy()
    link_opener().open_link(sealed("download-link", msgspec.msgpack.encode(fields)))

    fields[number] = value
    with pytest.raises(LinkExpired):
        link_opener().open_link(sealed("download-link", msgspec.msgpack.encode(fields)))


def test_a_link_of_another_version_or_purpose_is_refused() -> None:
    fields: list[object] = [1, *LINK_FIELDS[1:]]
    with pytest.raises(LinkExpired):
        link_opener().open_link(sealed("download-link", msgspec.msgpack.encode(fields)))
    fields[0] = 2
    with pytest.raises(LinkExpired):
        link_opener().open_link(sealed("authorization-token", msgspec.msgpack.encode(fields)))
