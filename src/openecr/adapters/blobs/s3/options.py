"""What a store on S3 is told: where the bucket is, how to sign, how long to wait, how much to hold."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

MIB = 1024 * 1024

ServerSideEncryption = Literal["none", "AES256", "aws:kms"]

COPY_MAX_BYTES = 256 * MIB
"""The longest range that the server is asked to copy at once: S3 allows 5 GiB, which takes a server minutes."""

PART_MIN_BYTES = 5 * MIB
"""The smallest part of a multipart upload, but for its last (Amazon S3 user guide, "multipart upload limits")."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long each thing may take, in seconds."""

    connect: float = 5
    silence: float = 60
    """The longest pause of a connection within an answer."""

    attempt: float = 30
    """One try of an ordinary call, the waiting for a thread included."""

    total: float = 75
    """An ordinary call with all its tries. Whoever called hears `Unavailable` then, whatever the thread does."""

    slow: float = 300
    """One try and the longest pause of what the server may need long for, copies and the end of a multipart upload;
    it has `total` more to be tried again in."""

    idle: float = 5
    """A reader that asks for nothing gives its connection back after this, and takes up a new one when it asks."""

    cleanup: float = 10
    """How long a dropped upload is waited for; its cleaning goes on without anybody."""

    first_pause: float = 0.1
    longest_pause: float = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How much is held and done at once."""

    data_threads: int = 32
    deleting_threads: int = 8
    probing_threads: int = 2
    memory_bytes: int = 512 * MIB
    """All parts of uploads that are filled or under way."""

    part_bytes: int = 8 * MIB
    parts_in_flight: int = 2
    """Of one upload, beside the part that is being filled."""

    copies_in_flight: int = 4
    read_bytes: int = 1 * MIB
    names: int = 1000
    """What one call lists or removes, which S3 does not let be more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Options:
    """A bucket and the way to it. What is None is botocore's ordinary search: variables, files, the machine's role."""

    bucket: str
    prefix: str = ""
    """Goes before every name, as it is: it ends in a slash, or is empty."""

    endpoint: str | None = None
    region: str | None = None
    is_path_style: bool = False
    ca_file: Path | None = None
    access_key_id: str | None = None
    secret_access_key: str | None = field(default=None, repr=False)
    encryption: ServerSideEncryption = "none"
    kms_key_id: str | None = None
    patience: Patience = Patience()
    bounds: Bounds = Bounds()
