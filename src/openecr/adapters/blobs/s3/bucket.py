"""A bucket as botocore shows it: every call blocks, is tried once, and raises what botocore raises.

botocore's own client is used bare: of boto3, nothing but its wrapping of this very client would be.
"""

from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from openecr.adapters.blobs.s3.failures import FAILURES, CallFailed, Kind, code_of, failure_of
from openecr.adapters.blobs.s3.leashes import current, put_on_leash
from openecr.adapters.blobs.s3.options import S3Options
from openecr.adapters.blobs.s3.planning import Piece

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NOT_THERE_CODES = frozenset({"InvalidRange", "NoSuchKey"})
"""No such object, or none of these bytes in it. A bucket that is not there has another one."""

_WANTS_OTHERWISE_CODES = frozenset({"InvalidDigest", "InvalidRequest", "MissingContentMD5"})
"""What servers say that want a checksum which botocore does not send for this call, or have not the call."""

_TOKEN = "openecr-write"  # noqa: S105 -- the name of an object's metadata


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What HEAD tells: the length, and the token of the write that made the object."""

    size_bytes: int
    token: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftover:
    """A multipart upload that has not ended; `begun_at` in microseconds."""

    name: str
    upload_id: str
    begun_at: int


UploadsPage = tuple[str, str]
"""Where a page of multipart uploads ends: the last one's name as the server has it, and id."""


class Body:
    """The rest of an answer's bytes, on a connection of its own."""

    def __init__(self, stream: Any) -> None:  # noqa: ANN401 -- botocore's StreamingBody has no types
        self._stream = stream
        leash = current()
        self._connection = None if leash is None else leash.connection

    def read(self, size_bytes: int) -> bytes:
        """Return bytes, fewer only at the end."""
        leash = current()
        if leash is not None and self._connection is not None:
            leash.tie(self._connection)
        data: bytes = self._stream.read(size_bytes)
        return data

    def close(self) -> None:
        """Close the connection, where bytes are left on it."""
        with suppress(*FAILURES):
            self._stream.close()


class Bucket:
    """Objects by their names below the prefix."""

    def __init__(self, options: S3Options) -> None:
        self._options = options
        self._client = _client(options, silence=options.patience.silence)
        self._slow_client = _client(options, silence=options.patience.slow)
        for client in (self._client, self._slow_client):
            put_on_leash(client)
        self._is_exclusive = True

    # --- one object ---

    def put(self, name: str, body: bytes | bytearray, token: str) -> None:
        """Make an object, which must not be there: CallFailed says TAKEN where the server can tell."""
        self._exclusively(self._client.put_object, Body=body, **self._made(name, token))

    def head(self, name: str) -> Stored | None:
        """Return what is stored, or None."""
        try:
            found = self._client.head_object(**self._named(name))
        except ClientError as error:
            if failure_of(error).kind is Kind.MISSING:
                return None
            raise
        return Stored(size_bytes=int(found["ContentLength"]), token=found.get("Metadata", {}).get(_TOKEN))

    def get(self, name: str, start: int, stop: int) -> Body:
        """Open bytes [start, stop), of which there is at least one. Raises CallFailed where they are not all there."""
        try:
            found = self._client.get_object(**self._named(name), Range=f"bytes={start}-{stop - 1}")
        except ClientError as error:
            if code_of(error) in _NOT_THERE_CODES:
                raise CallFailed(Kind.DAMAGED, f"{name} in [{start}, {stop}): {error}"[:500]) from error
            raise
        body = Body(found["Body"])
        told = str(found.get("ContentRange", f"bytes 0-{found['ContentLength'] - 1}/"))
        span, _, total = told.partition("/")
        if span != f"bytes {start}-{stop - 1}":
            body.close()
            is_short = total.isdecimal() and int(total) < stop
            raise CallFailed(
                Kind.DAMAGED if is_short else Kind.FINAL,
                f"{name}: asked for [{start}, {stop}), the answer has {told}",
            )
        return body

    def remove(self, names: Sequence[str]) -> dict[str, str]:
        """Remove several objects, at most as many as a page has; one that is not there is fine.

        Returns those that stay, with what the server says about each. Raises CallFailed.
        """
        try:
            found = self._client.delete_objects(
                Bucket=self._options.bucket,
                Delete={"Objects": [{"Key": self._key(name)} for name in names], "Quiet": True},
            )
        except ClientError as error:
            if code_of(error) in _WANTS_OTHERWISE_CODES:
                raise CallFailed(Kind.NOT_SERVED, str(error)[:500]) from error
            raise
        errors = [each for each in found.get("Errors", ()) if each.get("Code") != "NoSuchKey"]
        return {self._name(each["Key"]): f"{each.get('Code')}: {each.get('Message')}" for each in errors}

    def remove_one(self, name: str) -> None:
        """Remove one object, for servers that cannot take several; one that is not there is fine."""
        with _fine_where_missing():
            self._client.delete_object(**self._named(name))

    # --- multipart uploads ---

    def begin(self, name: str, token: str) -> str:
        """Begin a multipart upload and return its id."""
        found: str = self._client.create_multipart_upload(**self._made(name, token))["UploadId"]
        return found

    def send_part(self, name: str, upload_id: str, number: int, body: bytes | bytearray) -> str:
        """Send a part and return its tag."""
        part = self._part(name, upload_id, number)
        found: str = self._client.upload_part(Body=body, **part)["ETag"]
        return found

    def copy_part(self, name: str, upload_id: str, number: int, piece: Piece) -> str:
        """Have the server copy bytes of another object as a part, and return its tag."""
        found: str = self._slow_client.upload_part_copy(
            CopySource={"Bucket": self._options.bucket, "Key": self._key(piece.source)},
            CopySourceRange=f"bytes={piece.start}-{piece.stop - 1}",
            **self._part(name, upload_id, number),
        )["CopyPartResult"]["ETag"]
        return found

    def complete(self, name: str, upload_id: str, tags: Sequence[str]) -> None:
        """Make an object of parts, numbered from 1. As `put` where an object is there."""
        parts = [{"PartNumber": number, "ETag": tag} for number, tag in enumerate(tags, 1)]
        self._exclusively(
            self._slow_client.complete_multipart_upload,
            **self._named(name),
            UploadId=upload_id,
            MultipartUpload={"Parts": parts},
        )

    def abort(self, name: str, upload_id: str) -> None:
        """Drop a multipart upload; one that is not there is fine."""
        with _fine_where_missing():
            self._client.abort_multipart_upload(**self._named(name), UploadId=upload_id)

    # --- lists ---

    def list_page(self, after: str | None) -> tuple[list[str], str | None]:
        """Return a page of names, and what to ask the next page with."""
        more = {} if after is None else {"ContinuationToken": after}
        found = self._client.list_objects_v2(
            Bucket=self._options.bucket,
            Prefix=self._options.prefix,
            MaxKeys=self._options.bounds.names,
            **more,
        )
        names = [self._name(each["Key"]) for each in found.get("Contents", ())]
        return names, found.get("NextContinuationToken") if found.get("IsTruncated") else None

    def leftovers_page(self, after: UploadsPage | None) -> tuple[list[Leftover], UploadsPage | None]:
        """Return a page of the multipart uploads that have not ended, and what to ask the next page with."""
        more = {} if after is None else {"KeyMarker": after[0], "UploadIdMarker": after[1]}
        found = self._client.list_multipart_uploads(
            Bucket=self._options.bucket,
            Prefix=self._options.prefix,
            MaxUploads=self._options.bounds.names,
            **more,
        )
        page = [
            Leftover(
                name=self._name(each["Key"]),
                upload_id=each["UploadId"],
                begun_at=int((each["Initiated"] - _EPOCH).total_seconds() * 1_000_000),
            )
            for each in found.get("Uploads", ())
        ]
        ends_with = (found.get("NextKeyMarker", ""), found.get("NextUploadIdMarker", ""))
        is_last = not found.get("IsTruncated") or not ends_with[0] or ends_with == after
        return page, None if is_last else ends_with

    # --- the bucket ---

    def probe(self) -> None:
        """Ask whether the bucket is there and may be used."""
        self._client.head_bucket(Bucket=self._options.bucket)

    def url(self, name: str, seconds: int) -> str:
        """Return a URL at which anybody may read the object for so long. Computed here: nothing is asked."""
        found: str = self._client.generate_presigned_url(
            "get_object",
            Params={**self._named(name), "ResponseContentType": "application/octet-stream"},
            ExpiresIn=seconds,
        )
        return found

    def close(self) -> None:
        """Close what connections there are."""
        self._client.close()
        self._slow_client.close()

    # --- shared ---

    def _exclusively(self, call: Any, **parameters: Any) -> None:  # noqa: ANN401 -- botocore's methods
        """Have something made only where nothing is. A server that knows no such condition is not asked again.

        Nothing hangs on the condition: a name is drawn at random for each write, and written down before it is used.
        """
        if not self._is_exclusive:
            call(**parameters)
            return
        try:
            call(**parameters, IfNoneMatch="*")
        except ClientError as error:
            if failure_of(error).kind is not Kind.NOT_SERVED:
                raise
            call(**parameters)
            self._is_exclusive = False

    def _key(self, name: str) -> str:
        return self._options.prefix + name

    def _name(self, key: str) -> str:
        return key.removeprefix(self._options.prefix)

    def _named(self, name: str) -> dict[str, Any]:
        return {"Bucket": self._options.bucket, "Key": self._key(name)}

    def _part(self, name: str, upload_id: str, number: int) -> dict[str, Any]:
        return {**self._named(name), "UploadId": upload_id, "PartNumber": number}

    def _made(self, name: str, token: str) -> dict[str, Any]:
        made = {**self._named(name), "Metadata": {_TOKEN: token}, "ContentType": "application/octet-stream"}
        if self._options.encryption != "none":
            made["ServerSideEncryption"] = self._options.encryption
        if self._options.kms_key_id is not None:
            made["SSEKMSKeyId"] = self._options.kms_key_id
        return made


@contextmanager
def _fine_where_missing() -> Generator[None]:
    """Some servers answer 404 where others say that what is to go is gone."""
    try:
        yield
    except ClientError as error:
        if failure_of(error).kind is not Kind.MISSING:
            raise


def _client(options: S3Options, *, silence: float) -> Any:  # noqa: ANN401 -- botocore makes it of the service's model
    """Raises ValueError."""
    bounds, patience = options.bounds, options.patience
    threads = bounds.data_threads + bounds.deleting_threads + bounds.probing_threads
    session: Any = botocore.session.Session()
    config: Any = Config(
        connect_timeout=patience.connect,
        read_timeout=silence,
        max_pool_connections=2 * threads,
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        retries={"mode": "standard", "total_max_attempts": 1},
        signature_version="s3v4",
        s3={
            "addressing_style": "path" if options.is_path_style else "auto",
            # Over TLS nobody can change the bytes, and hashing them again costs as much as all the rest. Over plain
            # HTTP botocore signs them whatever stands here.
            "payload_signing_enabled": False,
        },
        tcp_keepalive=True,
        user_agent_extra="openecr",
    )
    try:
        return session.create_client(
            "s3",
            region_name=options.region,
            endpoint_url=options.endpoint,
            aws_access_key_id=options.access_key_id,
            aws_secret_access_key=options.secret_access_key,
            verify=None if options.ca_file is None else str(options.ca_file),
            config=config,
        )
    except BotoCoreError as error:
        raise ValueError(str(error)) from error
