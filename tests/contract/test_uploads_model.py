"""Uploads do what a simple model does, whatever order requests, losses and collections come in."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openecr.application.uploads import Uploads
from openecr.domain.digests import Digest
from openecr.domain.errors import InvalidLayer, InvalidLayerPart, UploadInterrupted, UploadNotFound
from tests.contract.databases import Databases
from tests.contract.shelves import LIMITS, Shelf, chunks_of, digests_of, interrupted_after

PIECES = st.lists(st.binary(max_size=20), max_size=3)
SESSIONS = st.integers(0, 2)
ALGORITHMS = st.sampled_from(["sha256", "sha512"])
ACTIONS = st.one_of(
    st.tuples(st.just("start"), st.none() | ALGORITHMS),
    st.tuples(st.just("append"), SESSIONS, PIECES),
    st.tuples(st.just("interrupt"), SESSIONS, PIECES),
    st.tuples(st.just("overtake"), SESSIONS, PIECES, PIECES),
    st.tuples(st.just("misplace"), SESSIONS, st.integers(0, 60)),
    st.tuples(st.just("finish"), SESSIONS, ALGORITHMS),
    st.tuples(st.just("mistake"), SESSIONS),
    st.tuples(st.just("cancel"), SESSIONS),
    st.tuples(st.just("wait"), st.sampled_from([1, 40, 60, 200, 2_000])),
    st.tuples(st.just("collect")),
    st.tuples(st.just("restart")),
)


@dataclass(slots=True)
class Session:
    """What the model knows of an upload."""

    upload_id: str
    content: bytes = b""
    expires_at: int = 0


@dataclass(slots=True)
class Model:
    """The system beside what it should be."""

    shelf: Shelf
    uploads: Uploads
    sessions: list[Session] = field(default_factory=list)
    blobs: dict[Digest, bytes] = field(default_factory=dict)
    blob_until: dict[Digest, int] = field(default_factory=dict)

    def session(self, number: int) -> Session | None:
        return self.sessions[number % len(self.sessions)] if self.sessions else None

    def touch(self, session: Session) -> None:
        session.expires_at = self.shelf.clock.now() + LIMITS.upload_idle_seconds * 1_000_000

    async def start(self, algorithm: str | None) -> None:
        upload = await self.uploads.start(self.shelf.grant, algorithm=algorithm)
        self.sessions.append(Session(upload.id))
        self.touch(self.sessions[-1])

    async def append(self, number: int, pieces: list[bytes]) -> None:
        if session := self.session(number):
            upload = await self.uploads.append(self.shelf.grant, session.upload_id, chunks_of(*pieces))
            session.content += b"".join(pieces)
            self.touch(session)
            assert upload.received_bytes == len(session.content)

    async def interrupt(self, number: int, pieces: list[bytes]) -> None:
        if session := self.session(number):
            with pytest.raises(UploadInterrupted):
                await self.uploads.append(self.shelf.grant, session.upload_id, interrupted_after(*pieces))
            session.content += b"".join(pieces)
            self.touch(session)

    async def overtake(self, number: int, stale: list[bytes], fresh: list[bytes]) -> None:
        """A request is still sending when another one takes the session from it."""
        if session := self.session(number):

            async def chunks() -> AsyncIterator[bytes]:
                for chunk in stale:
                    yield chunk
                await self.append(number, fresh)
                for chunk in stale:
                    yield chunk

            with pytest.raises(InvalidLayerPart):
                await self.uploads.append(self.shelf.grant, session.upload_id, chunks())

    async def misplace(self, number: int, first_byte: int) -> None:
        session = self.session(number)
        if session and first_byte != len(session.content):
            with pytest.raises(InvalidLayerPart) as raised:
                await self.uploads.append(
                    self.shelf.grant, session.upload_id, chunks_of(b"x"), first_byte=first_byte
                )
            assert raised.value.received_bytes == len(session.content)

    async def finish(self, number: int, algorithm: str) -> None:
        if session := self.session(number):
            digest = Digest.of(session.content, algorithm)
            blob = await self.uploads.finish(self.shelf.grant, session.upload_id, [digest])
            self.sessions.remove(session)
            self.blobs[digest] = session.content
            self.blob_until[digest] = self.shelf.clock.now() + LIMITS.link_grace_seconds * 1_000_000
            assert await self.shelf.read(blob) == session.content

    async def mistake(self, number: int) -> None:
        if session := self.session(number):
            with pytest.raises(InvalidLayer):
                await self.uploads.finish(
                    self.shelf.grant, session.upload_id, digests_of(session.content + b"x")
                )

    async def cancel(self, number: int) -> None:
        if session := self.session(number):
            await self.uploads.cancel(self.shelf.grant, session.upload_id)
            self.sessions.remove(session)
            with pytest.raises(UploadNotFound):
                await self.uploads.get(self.shelf.grant, session.upload_id)

    async def wait(self, seconds: int) -> None:
        self.shelf.clock.move(seconds=seconds)

    async def collect(self) -> None:
        await self.shelf.collection.collect()
        now = self.shelf.clock.now()
        self.sessions = [session for session in self.sessions if session.expires_at > now]
        self.blobs = {
            digest: content for digest, content in self.blobs.items() if self.blob_until[digest] > now
        }

    async def restart(self) -> None:
        self.uploads = self.shelf.another_process()

    async def compare(self) -> None:
        for session in self.sessions:
            upload = await self.uploads.get(self.shelf.grant, session.upload_id)
            assert upload.received_bytes == len(session.content)
        for digest, content in self.blobs.items():
            blob = await self.shelf.blobs.get(self.shelf.grant, digest)
            assert await self.shelf.read(blob) == content
        await self.shelf.check()


@pytest.fixture
async def shelf(databases: Databases, tmp_path: Path) -> AsyncIterator[Shelf]:
    shelf = Shelf(databases, tmp_path)
    yield shelf
    await shelf.files.close()


@settings(
    max_examples=25,  # each example is a history
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(history=st.lists(ACTIONS, max_size=25))
async def test_any_history_is_the_models(shelf: Shelf, history: list[tuple[str, ...]]) -> None:
    await shelf.open()
    model = Model(shelf, shelf.another_process())
    try:
        await model.start(None)
        for action, *arguments in history:
            call: Callable[..., Awaitable[None]] = getattr(model, action)
            await call(*arguments)
            await model.compare()
    finally:  # the next history begins with nothing, whatever became of this one
        await shelf.repositories.delete(shelf.grant, force=True)
        await shelf.collect_everything()
    await shelf.check_settled()
