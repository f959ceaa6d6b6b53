"""Uploads are fenced, resumable and durable, on both databases."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from openecr.application.uploads import FinishRules
from openecr.domain.digests import Digest
from openecr.domain.errors import (
    EmptyUpload,
    InvalidLayer,
    InvalidLayerPart,
    LayerAlreadyExists,
    LayerPartLengthMismatch,
    LayerPartTooSmall,
    LayerTooLarge,
    LimitExceeded,
    RepositoryNotFound,
    UploadInterrupted,
    UploadNotFound,
)
from tests.contract.databases import Databases
from tests.contract.shelves import (
    ALL_DOOMED,
    ALL_PARTS,
    LIMITS,
    Shelf,
    chunks_of,
    digests_of,
    interrupted_after,
)

CONTENT = bytes(range(256)) * 8
HALF = len(CONTENT) // 2
UNKNOWN = "00000000-0000-0000-0000-000000000000"


@pytest.fixture
async def shelf(databases: Databases, tmp_path: Path) -> AsyncIterator[Shelf]:
    shelf = await Shelf(databases, tmp_path).open()
    yield shelf
    await shelf.check()
    await shelf.files.close()


async def shelf_with(databases: Databases, folder: Path, **limits: int) -> Shelf:
    return await Shelf(databases, folder, limits=replace(LIMITS, **limits)).open()


async def started(shelf: Shelf, *contents: bytes) -> str:
    upload = await shelf.uploads.start(shelf.grant)
    for content in contents:
        await shelf.uploads.append(shelf.grant, upload.id, chunks_of(content))
    return upload.id


# --- the ordinary way ------------------------------------------------------------------------------------------------


async def test_a_session_begins_with_nothing_and_ends_in_time(shelf: Shelf) -> None:
    upload = await shelf.uploads.start(shelf.grant)

    assert upload.received_bytes == 0
    assert upload.expires_at - upload.started_at == LIMITS.upload_idle_seconds * 1_000_000
    assert await shelf.uploads.get(shelf.grant, upload.id) == upload


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
@pytest.mark.parametrize("hint", [None, "sha512", "md5"])
@pytest.mark.parametrize(
    "parts",
    [[], [b""], [CONTENT], [CONTENT[:HALF], b"", CONTENT[HALF:]]],
    ids=["none", "empty", "one", "several"],
)
async def test_what_arrived_is_the_blob(
    shelf: Shelf, parts: list[bytes], algorithm: str, hint: str | None
) -> None:
    digest = Digest.of(b"".join(parts), algorithm)
    upload = await shelf.uploads.start(shelf.grant, algorithm=hint)
    received = 0
    for part in parts:
        appended = await shelf.uploads.append(shelf.grant, upload.id, chunks_of(part))
        received += len(part)
        assert appended.received_bytes == received
        assert (await shelf.uploads.get(shelf.grant, upload.id)).received_bytes == received

    blob = await shelf.uploads.finish(shelf.grant, upload.id, [digest])

    assert (blob.digest, blob.size_bytes) == (digest, received)
    assert await shelf.read(await shelf.blobs.get(shelf.grant, digest)) == b"".join(parts)
    with pytest.raises(UploadNotFound):
        await shelf.uploads.get(shelf.grant, upload.id)


async def test_the_last_part_may_come_with_the_end(shelf: Shelf) -> None:
    upload_id = await started(shelf, CONTENT[:HALF])

    await shelf.uploads.finish(
        shelf.grant, upload_id, digests_of(CONTENT), chunks=chunks_of(CONTENT[HALF:]), first_byte=HALF
    )

    assert await shelf.read(await shelf.blobs.get(shelf.grant, Digest.of(CONTENT))) == CONTENT


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
async def test_another_process_goes_on_where_one_was_killed(shelf: Shelf, algorithm: str) -> None:
    upload_id = await started(shelf, CONTENT[:HALF])
    other = shelf.another_process()
    await other.append(shelf.grant, upload_id, chunks_of(CONTENT[HALF:-1]), first_byte=HALF)

    blob = await shelf.uploads.finish(
        shelf.grant,
        upload_id,
        digests_of(CONTENT, algorithm=algorithm),
        chunks=chunks_of(CONTENT[-1:]),
    )

    assert await shelf.read(blob) == CONTENT


async def test_the_first_digest_that_fits_names_the_blob(shelf: Shelf) -> None:
    upload_id = await started(shelf, CONTENT)

    blob = await shelf.uploads.finish(
        shelf.grant, upload_id, digests_of(b"other", CONTENT) + digests_of(CONTENT, algorithm="sha512")
    )

    assert blob.digest == Digest.of(CONTENT)


async def test_content_is_stored_once_for_each_digest_that_it_was_pushed_under(shelf: Shelf) -> None:
    other = await shelf.create("other")

    first = await shelf.push(CONTENT)
    again = await shelf.push(CONTENT[:HALF], CONTENT[HALF:], grant=other)
    under_another_name = await shelf.push(CONTENT, algorithm="sha512")

    assert again.location == first.location
    assert under_another_name.location != first.location
    shelf.clock.move(seconds=LIMITS.doomed_seconds)
    await shelf.collection.remove_doomed()
    assert await shelf.locations() == {first.location, under_another_name.location}


async def test_only_what_is_kept_stays_stored(shelf: Shelf) -> None:
    blob = await shelf.push(CONTENT[:HALF], CONTENT[HALF:])
    assert len(await shelf.locations()) == 3

    await shelf.collection.remove_doomed()

    assert await shelf.locations() == {blob.location}


async def test_an_upload_heals_a_lost_blob_for_everyone(shelf: Shelf) -> None:
    other = await shelf.create("other")
    lost = await shelf.push(CONTENT)
    await shelf.push(CONTENT, grant=other)
    await shelf.lose(lost.digest)
    assert await shelf.blobs.find(shelf.grant, lost.digest) is None

    healed = await shelf.push(CONTENT, grant=other, rules=FinishRules.AWS)

    assert healed.location != lost.location
    assert await shelf.read(await shelf.blobs.get(shelf.grant, lost.digest)) == CONTENT
    assert lost.location in [row[0] for row in await shelf.rows(ALL_DOOMED)]


# --- offsets ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first_byte", [0, HALF - 1, HALF + 1, 2**62])
async def test_a_part_begins_where_the_last_one_ended(shelf: Shelf, first_byte: int) -> None:
    upload_id = await started(shelf, CONTENT[:HALF])

    with pytest.raises(InvalidLayerPart) as raised:
        await shelf.uploads.append(shelf.grant, upload_id, chunks_of(b"x"), first_byte=first_byte)
    assert raised.value.received_bytes == HALF
    for chunks in (None, chunks_of(b"x")):
        with pytest.raises(InvalidLayerPart):
            await shelf.uploads.finish(
                shelf.grant, upload_id, digests_of(CONTENT), chunks=chunks, first_byte=first_byte
            )

    await shelf.uploads.append(shelf.grant, upload_id, chunks_of(CONTENT[HALF:]), first_byte=HALF)
    await shelf.uploads.finish(shelf.grant, upload_id, digests_of(CONTENT), first_byte=len(CONTENT))


async def test_what_arrived_before_an_interruption_is_kept(shelf: Shelf) -> None:
    upload_id = await started(shelf)

    with pytest.raises(UploadInterrupted):
        await shelf.uploads.append(shelf.grant, upload_id, interrupted_after(CONTENT[:HALF]))
    assert (await shelf.uploads.get(shelf.grant, upload_id)).received_bytes == HALF
    blob = await shelf.uploads.finish(
        shelf.grant, upload_id, digests_of(CONTENT), chunks=chunks_of(CONTENT[HALF:])
    )

    assert await shelf.read(blob) == CONTENT


async def test_a_part_of_known_length_is_taken_whole_or_not_at_all(shelf: Shelf) -> None:
    upload_id = await started(shelf, CONTENT[:HALF])

    with pytest.raises(UploadInterrupted):
        await shelf.uploads.append(shelf.grant, upload_id, interrupted_after(b"x"), length_bytes=2)
    for sent in (b"", b"x", b"xxx"):
        with pytest.raises(LayerPartLengthMismatch) as raised:
            await shelf.uploads.append(shelf.grant, upload_id, chunks_of(sent), length_bytes=2)
        assert raised.value.received_bytes == HALF

    assert (await shelf.uploads.get(shelf.grant, upload_id)).received_bytes == HALF
    await shelf.uploads.append(
        shelf.grant, upload_id, chunks_of(CONTENT[HALF:]), length_bytes=len(CONTENT) - HALF
    )
    await shelf.uploads.finish(shelf.grant, upload_id, digests_of(CONTENT))


# --- refusals --------------------------------------------------------------------------------------------------------


async def test_a_digest_that_does_not_fit_ends_nothing(shelf: Shelf) -> None:
    upload_id = await started(shelf, CONTENT)

    for digests in ([], digests_of(b"other"), digests_of(b"other", algorithm="sha512")):
        with pytest.raises(InvalidLayer):
            await shelf.uploads.finish(shelf.grant, upload_id, digests)

    assert await shelf.blobs.find(shelf.grant, Digest.of(CONTENT)) is None
    await shelf.uploads.finish(shelf.grant, upload_id, digests_of(CONTENT))


async def test_an_upload_that_is_unknown_or_anothers_is_not_found(shelf: Shelf) -> None:
    other = await shelf.create("other")
    upload_id = await started(shelf)

    for grant, wanted in ((shelf.grant, UNKNOWN), (other, upload_id)):
        with pytest.raises(UploadNotFound):
            await shelf.uploads.get(grant, wanted)
        with pytest.raises(UploadNotFound):
            await shelf.uploads.append(grant, wanted, chunks_of(b"x"))
        with pytest.raises(UploadNotFound):
            await shelf.uploads.finish(grant, wanted, digests_of(b""))
        with pytest.raises(UploadNotFound):
            await shelf.uploads.cancel(grant, wanted)


async def test_a_cancelled_upload_leaves_nothing(shelf: Shelf) -> None:
    upload_id = await started(shelf, CONTENT[:HALF], CONTENT[HALF:])

    await shelf.uploads.cancel(shelf.grant, upload_id)

    with pytest.raises(UploadNotFound):
        await shelf.uploads.append(shelf.grant, upload_id, chunks_of(b"x"))
    await shelf.check_settled()


async def test_a_layer_has_a_greatest_size(databases: Databases, tmp_path: Path) -> None:
    shelf = await shelf_with(databases, tmp_path, layer_max_bytes=HALF + 1)
    upload_id = await started(shelf, CONTENT[:HALF])

    with pytest.raises(LayerTooLarge):
        await shelf.uploads.append(shelf.grant, upload_id, chunks_of(b"x", b"x"))
    await shelf.uploads.append(shelf.grant, upload_id, chunks_of(b"x"))

    await shelf.uploads.cancel(shelf.grant, upload_id)
    await shelf.check_settled()
    await shelf.files.close()


async def test_an_upload_has_a_greatest_number_of_parts(databases: Databases, tmp_path: Path) -> None:
    shelf = await shelf_with(databases, tmp_path, layer_parts=2)
    upload_id = await started(shelf, b"1", b"2")

    with pytest.raises(LimitExceeded):
        await shelf.uploads.append(shelf.grant, upload_id, chunks_of(b"3"))
    await shelf.files.close()


async def test_an_upload_of_the_greatest_number_of_parts_ends(databases: Databases, tmp_path: Path) -> None:
    shelf = await shelf_with(databases, tmp_path, layer_parts=2)
    upload_id = await started(shelf, b"1")
    with pytest.raises(UploadInterrupted):  # a part of a given length, of which nothing is kept
        await shelf.uploads.append(shelf.grant, upload_id, interrupted_after(b"2"), length_bytes=9)
    await shelf.uploads.append(shelf.grant, upload_id, chunks_of(b"2"))

    blob = await shelf.uploads.finish(shelf.grant, upload_id, digests_of(b"12"))

    assert await shelf.read(blob) == b"12"
    await shelf.files.close()


async def test_a_repository_has_a_greatest_number_of_open_uploads(
    databases: Databases, tmp_path: Path
) -> None:
    shelf = await shelf_with(databases, tmp_path, uploads_per_repository=2)
    other = await shelf.create("other")
    await started(shelf)
    upload_id = await started(shelf)

    with pytest.raises(LimitExceeded):
        await shelf.uploads.start(shelf.grant)
    await shelf.uploads.start(other)
    await shelf.uploads.cancel(shelf.grant, upload_id)
    await shelf.uploads.start(shelf.grant)
    await shelf.files.close()


async def test_nothing_is_uploaded_to_a_namesake(shelf: Shelf) -> None:
    upload_id = await started(shelf, CONTENT)
    await shelf.repositories.delete(shelf.grant, force=False)
    namesake = await shelf.create("app")

    with pytest.raises(RepositoryNotFound):
        await shelf.uploads.start(shelf.grant)
    with pytest.raises(RepositoryNotFound):
        await shelf.uploads.append(shelf.grant, upload_id, chunks_of(b"x"))
    with pytest.raises(RepositoryNotFound):
        await shelf.uploads.finish(shelf.grant, upload_id, digests_of(CONTENT))
    with pytest.raises(UploadNotFound):
        await shelf.uploads.finish(namesake, upload_id, digests_of(CONTENT))


# --- AWS's rules -----------------------------------------------------------------------------------------------------


async def test_aws_knows_no_empty_layer(shelf: Shelf) -> None:
    upload_id = await started(shelf)

    with pytest.raises(EmptyUpload):
        await shelf.uploads.finish(shelf.grant, upload_id, digests_of(b""), rules=FinishRules.AWS)


@pytest.mark.parametrize(
    ("sizes", "is_refused"), [([9], False), ([10, 1], False), ([9, 10], True), ([10, 9, 10], True)]
)
async def test_aws_wants_every_part_but_the_last_to_be_large(
    shelf: Shelf, sizes: list[int], is_refused: bool
) -> None:
    contents = [b"x" * size for size in sizes]
    if is_refused:
        with pytest.raises(LayerPartTooSmall):
            await shelf.push(*contents, rules=FinishRules.AWS)
    else:
        await shelf.push(*contents, rules=FinishRules.AWS)
    await shelf.push(*contents)


async def test_aws_tells_that_a_layer_is_there_already(shelf: Shelf) -> None:
    other = await shelf.create("other")
    await shelf.push(CONTENT, rules=FinishRules.AWS)

    with pytest.raises(LayerAlreadyExists):
        await shelf.push(CONTENT, rules=FinishRules.AWS)
    await shelf.push(CONTENT, grant=other, rules=FinishRules.AWS)
    assert await shelf.rows(ALL_PARTS) == []


# --- who holds the session -------------------------------------------------------------------------------------------


async def test_the_later_of_two_requests_wins(shelf: Shelf) -> None:
    upload_id = await started(shelf)

    async def overtaken() -> AsyncIterator[bytes]:
        yield b"old"
        await shelf.uploads.append(shelf.grant, upload_id, chunks_of(CONTENT), first_byte=0)
        yield b"older"

    with pytest.raises(InvalidLayerPart) as raised:
        await shelf.uploads.append(shelf.grant, upload_id, overtaken())

    assert raised.value.received_bytes == len(CONTENT)
    blob = await shelf.uploads.finish(shelf.grant, upload_id, digests_of(CONTENT))
    assert await shelf.read(blob) == CONTENT
    await shelf.check_settled()


async def test_a_request_whose_session_is_taken_but_not_yet_fed_records_nothing(shelf: Shelf) -> None:
    upload_id = await started(shelf, CONTENT[:HALF])
    is_taken, is_over = asyncio.Event(), asyncio.Event()

    async def second() -> AsyncIterator[bytes]:
        is_taken.set()
        await is_over.wait()
        yield CONTENT[HALF:]

    async with anyio.create_task_group() as group:

        async def first() -> AsyncIterator[bytes]:
            yield b"stale"
            group.start_soon(shelf.uploads.append, shelf.grant, upload_id, second())
            await is_taken.wait()

        with pytest.raises(InvalidLayerPart) as raised:
            await shelf.uploads.append(shelf.grant, upload_id, first())
        assert raised.value.received_bytes == HALF
        is_over.set()

    blob = await shelf.uploads.finish(shelf.grant, upload_id, digests_of(CONTENT))
    assert await shelf.read(blob) == CONTENT


@pytest.mark.parametrize("end", ["finish", "cancel", "expiry", "deletion"])
async def test_a_request_whose_session_ends_leaves_no_bytes(shelf: Shelf, end: str) -> None:
    upload_id = await started(shelf, CONTENT)

    async def ended() -> AsyncIterator[bytes]:
        yield b"late"
        match end:
            case "finish":
                await shelf.uploads.finish(shelf.grant, upload_id, digests_of(CONTENT))
            case "cancel":
                await shelf.uploads.cancel(shelf.grant, upload_id)
            case "expiry":
                shelf.clock.move(seconds=LIMITS.upload_idle_seconds)
                await shelf.collection.expire_uploads()
            case _:
                await shelf.repositories.delete(shelf.grant, force=True)
                await shelf.collection.run(shelf.collection.purge_repositories)
        # All that is doomed goes before the late request has written a byte.
        shelf.clock.move(seconds=LIMITS.doomed_seconds)
        await shelf.collection.remove_doomed()

    with pytest.raises(UploadNotFound):
        await shelf.uploads.append(shelf.grant, upload_id, ended())

    await shelf.check_settled()


async def test_a_streaming_request_keeps_its_session_alive(shelf: Shelf) -> None:
    upload_id = await started(shelf)

    async def slow() -> AsyncIterator[bytes]:
        for start in range(0, len(CONTENT), HALF // 4):
            shelf.clock.move(seconds=LIMITS.upload_idle_seconds / 2)
            yield CONTENT[start : start + HALF // 4]
            await shelf.collection.expire_uploads()

    await shelf.uploads.append(shelf.grant, upload_id, slow())

    await shelf.uploads.finish(shelf.grant, upload_id, digests_of(CONTENT))


async def test_a_streaming_request_notices_that_its_session_is_taken(shelf: Shelf) -> None:
    upload_id = await started(shelf)
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        await shelf.uploads.append(shelf.grant, upload_id, chunks_of(CONTENT))
        while sent < 100:
            sent += 1
            shelf.clock.move(seconds=LIMITS.upload_idle_seconds / 3)
            yield b"x"

    with pytest.raises(InvalidLayerPart):
        await shelf.uploads.append(shelf.grant, upload_id, endless())

    assert sent == 1


async def test_a_session_that_nobody_uses_ends(shelf: Shelf) -> None:
    idle, used = await started(shelf, CONTENT), await started(shelf, CONTENT)
    shelf.clock.move(seconds=LIMITS.upload_idle_seconds - 1)
    await shelf.uploads.append(shelf.grant, used, chunks_of(b"more"))
    await shelf.collection.expire_uploads()
    await shelf.uploads.get(shelf.grant, idle)

    shelf.clock.move(seconds=1)
    await shelf.collection.collect()

    with pytest.raises(UploadNotFound):
        await shelf.uploads.get(shelf.grant, idle)
    await shelf.uploads.finish(shelf.grant, used, digests_of(CONTENT + b"more"))
