"""Blobs: stored bytes, reached only through a repository that holds them."""

import enum
from dataclasses import dataclass, field

from openecr.domain.digests import Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredBlob:
    """A blob as one repository holds it.

    `location` is the blob store's own key. `header` tells how the stored bytes are sealed (None: they are in clear),
    `sealed_key` is the key to them, itself sealed: by the server, or where `key_id` names a key of KMS, by the blob's
    share key, which is `link_key`, sealed by the repository's key; `data_key` then is the key once it was opened.
    `media_type` is what a manifest declares for it, if one does.
    """

    blob_id: int
    digest: Digest
    size_bytes: int
    location: str
    header: bytes | None = None
    sealed_key: bytes | None = None
    key_id: str = ""
    link_key: bytes | None = None
    data_key: bytes | None = field(default=None, repr=False, compare=False)
    media_type: str | None = None


class Availability(enum.Enum):
    """ECR API: LayerAvailability."""

    AVAILABLE = "AVAILABLE"
    UNAVAILABLE = "UNAVAILABLE"


class LayerFailureCode(enum.Enum):
    """ECR API: LayerFailureCode."""

    INVALID_LAYER_DIGEST = "InvalidLayerDigest"
    MISSING_LAYER_DIGEST = "MissingLayerDigest"


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerStatus:
    """One answer of BatchCheckLayerAvailability; size and media type only when available."""

    digest: str
    availability: Availability
    size_bytes: int | None = None
    media_type: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerFailure:
    """One malformed digest of BatchCheckLayerAvailability, echoed as given."""

    digest: str
    code: LayerFailureCode
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """An open upload session. `received_bytes` is the offset at which the next part must start.

    `owner` is the principal (account and unique id) that began it: nobody else's requests find it. `sealed_key` is the
    key of the blob to be, itself sealed; None: its parts are stored in clear.
    """

    id: str
    repository_id: int
    owner: str
    received_bytes: int
    epoch: int
    started_at: int
    expires_at: int
    sealed_key: bytes | None = None
