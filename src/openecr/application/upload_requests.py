"""What requests know of the uploads that they go on with."""

from collections.abc import Sequence
from dataclasses import dataclass

from openecr.application.kms.vaults import Vault
from openecr.application.running_digests import RunningDigest
from openecr.domain.blobs import Upload
from openecr.domain.callers import RequestContext
from openecr.domain.digests import Digest
from openecr.domain.errors import UploadInterrupted
from openecr.domain.repositories import Repository


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Whose uploads to which repository a request is about; `vault` locks their keys, if there is a key of KMS."""

    repository: Repository
    owner: str
    context: RequestContext
    vault: Vault | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenPart:
    """A part that one request may write: the session as it was taken, and where the bytes go."""

    access: Access
    upload: Upload
    location: str

    @property
    def repository(self) -> Repository:
        """Return the repository that the session is of."""
        return self.access.repository


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """What a request brought, durable by now; `digest` is of the upload's bytes up to its end, if it is known."""

    size_bytes: int
    digest: RunningDigest | None
    interrupted: UploadInterrupted | None

    def match_of_whole(self, part: TakenPart, digests: Sequence[Digest]) -> Digest | None:
        """Return which of `digests` the upload has, where this request brought all of it and that can be told."""
        if part.upload.received_bytes > 0 or self.size_bytes == 0 or self.interrupted is not None:
            return None
        computed = set[Digest]() if self.digest is None else self.digest.digests()
        return next((digest for digest in digests if digest in computed), None)
