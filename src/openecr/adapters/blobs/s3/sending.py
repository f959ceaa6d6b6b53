"""Making objects so that a try after a lost answer knows its own work, and nothing is taken for there that is not."""

import secrets
from collections.abc import Callable, Sequence
from typing import TypeVar

from openecr.adapters.blobs.s3.bucket import Bucket
from openecr.adapters.blobs.s3.calls import Calls
from openecr.adapters.blobs.s3.failures import FAILURES, CallFailed, Kind, failure_of, told
from openecr.adapters.blobs.s3.planning import Piece

T = TypeVar("T")


class Write:
    """One write of one object: in one piece, or in parts. `may_exist` tells whether the object may be ours."""

    def __init__(self, bucket: Bucket, calls: Calls, name: str) -> None:
        self._bucket = bucket
        self._calls = calls
        self._name = name
        self._token = secrets.token_hex(8)
        self._upload_id: str | None = None
        self.may_exist = False

    async def put(self, body: bytes | bytearray) -> None:
        """Make the object of bytes. Raises StorageFull, Unavailable."""
        await self._make(lambda: self._bucket.put(self._name, body, self._token), len(body), is_slow=False)

    async def begin(self) -> None:
        """Begin to make it of parts. Raises StorageFull, Unavailable."""
        self._upload_id = await self._run(lambda: self._bucket.begin(self._name, self._token))

    async def send_part(self, number: int, body: bytes | bytearray) -> str:
        """Send a part and return its tag. Raises StorageFull, Unavailable."""
        upload_id = self._begun()
        return await self._run(lambda: self._bucket.send_part(self._name, upload_id, number, body))

    async def copy_part(self, number: int, piece: Piece) -> str:
        """Have bytes of another object copied as a part and return its tag. Raises as `send_part`."""
        upload_id = self._begun()
        return await self._run(
            lambda: self._bucket.copy_part(self._name, upload_id, number, piece), is_slow=True
        )

    async def complete(self, tags: Sequence[str], size_bytes: int) -> None:
        """Make the object of the parts, and see that all is there. Raises StorageFull, Unavailable."""
        upload_id = self._begun()
        await self._make(
            lambda: self._bucket.complete(self._name, upload_id, tags), size_bytes, is_slow=True, verify=True
        )
        self._upload_id = None

    async def drop(self) -> None:
        """Remove what may be there. Raises Unavailable."""
        upload_id, self._upload_id = self._upload_id, None
        if upload_id is not None:
            await self._run(lambda: self._bucket.abort(self._name, upload_id))
        if self.may_exist:
            await self._run(lambda: self._bucket.remove_one(self._name))

    def _begun(self) -> str:
        assert self._upload_id is not None
        return self._upload_id

    async def _make(
        self, make: Callable[[], None], size_bytes: int, *, is_slow: bool, verify: bool = False
    ) -> None:
        tries = 0

        def attempt() -> None:
            nonlocal tries
            tries += 1
            try:
                make()
            except FAILURES as error:
                # The answer to an earlier try may have been lost: then its object, or no upload, is there.
                if tries == 1 or failure_of(error).kind not in {Kind.TAKEN, Kind.MISSING}:
                    raise
                self._verify(size_bytes)
            else:
                if verify:
                    self._verify(size_bytes)

        self.may_exist = True
        try:
            await self._calls.run(attempt, is_slow=is_slow)
        except CallFailed as failure:
            self.may_exist = failure.kind is not Kind.TAKEN
            raise told(failure) from failure

    def _verify(self, size_bytes: int) -> None:
        """See, in a worker thread, that the object is this write's, and whole. Raises CallFailed."""
        found = self._bucket.head(self._name)
        if found is None:
            raise CallFailed(Kind.MISSING, f"{self._name} was not written")
        if found.token != self._token:
            raise CallFailed(Kind.TAKEN, f"{self._name} was written by another")
        if found.size_bytes != size_bytes:
            context = f"{self._name} has {found.size_bytes} bytes of {size_bytes}"
            raise CallFailed(Kind.FINAL, context)

    async def _run(self, call: Callable[[], T], *, is_slow: bool = False) -> T:
        try:
            return await self._calls.run(call, is_slow=is_slow)
        except CallFailed as failure:
            raise told(failure) from failure
