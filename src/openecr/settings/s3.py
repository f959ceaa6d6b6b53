"""The settings of where blobs are kept: a folder, or a bucket and the way to it."""

import re
from typing import Annotated
from urllib.parse import urlsplit

import msgspec

from openecr.settings.setting import Setting, check_path
from openecr.settings.values import S3Place, ServerSideEncryption

S3_SCHEME, FILE_SCHEME = "s3://", "file://"

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]", re.ASCII)
_PREFIX = re.compile(r"[A-Za-z0-9!_.*'()/-]{0,512}", re.ASCII)
_REGION = re.compile(r"[A-Za-z0-9-]{1,64}", re.ASCII)


def s3_place(value: str) -> S3Place:
    """Read `s3://bucket/prefix`. Raises ValueError."""
    bucket, _, prefix = value.removeprefix(S3_SCHEME).partition("/")
    if _BUCKET.fullmatch(bucket) is None:
        raise ValueError("it needs a bucket's name: s3://bucket/prefix")
    prefix = prefix.strip("/")
    if _PREFIX.fullmatch(prefix) is None or "//" in prefix:
        raise ValueError("the prefix has up to 512 letters, digits and !_.*'()-, with single slashes")
    return S3Place(bucket=bucket, prefix=f"{prefix}/" if prefix else "")


def _check_blobs(value: str) -> None:
    check_path(value)
    if value.startswith(S3_SCHEME):
        s3_place(value)
    elif value.startswith(FILE_SCHEME):
        if not value.startswith("file:///"):
            raise ValueError("a folder's URL has three slashes: file:///folder")
    elif "://" in value:
        raise ValueError("it is a folder, file:///folder or s3://bucket/prefix")


def check_endpoint(value: str) -> None:
    """Take the URL of a server. Raises ValueError."""
    found = urlsplit(value)
    if found.scheme not in {"http", "https"} or not found.hostname or found.query or found.fragment:
        raise ValueError("it is a URL such as https://s3.example.com:9000")


def check_region(value: str) -> None:
    """Take the name of a region, of whichever cloud. Raises ValueError."""
    if _REGION.fullmatch(value) is None:
        raise ValueError("it is no region's name")


BLOBS = Setting(
    name="blobs",
    flag="--blobs",
    kind=str,
    default=None,
    default_text="`blobs` in the data folder",
    check=_check_blobs,
    description="Where blobs are kept: a folder (also as `file:///folder`), or `s3://bucket/prefix`.",
)
BLOBS_OLD = Setting(
    name="blobs_old",
    flag="--blobs-old",
    kind=str,
    default=None,
    default_text="none",
    check=_check_blobs,
    description="Where blobs were before, while `openecr blobs copy` moves them: what `blobs` lacks is read there.",
)
S3_SETTINGS: tuple[Setting, ...] = (
    Setting(
        name="s3_endpoint",
        key="s3.endpoint",
        flag="--s3-endpoint",
        kind=str,
        default=None,
        default_text="Amazon's of the region",
        check=check_endpoint,
        description="URL of a server that speaks S3's protocol, where it is not Amazon's.",
    ),
    Setting(
        name="s3_region",
        key="s3.region",
        flag="--s3-region",
        kind=str,
        default=None,
        default_text="what the AWS SDK finds (`AWS_DEFAULT_REGION`, the profile)",
        check=check_region,
        description="Region of the bucket, by which requests to it are signed.",
    ),
    Setting(
        name="s3_path_style",
        key="s3.path_style",
        flag="--s3-path-style",
        kind=bool,
        default=False,
        description="The bucket stands in the path of its URLs and not in the host's name; servers other than "
        "Amazon's mostly need it.",
    ),
    Setting(
        name="s3_ca_file",
        key="s3.ca_file",
        flag="--s3-ca-file",
        kind=str,
        default=None,
        default_text="none",
        check=check_path,
        description="PEM file with the certificates that the endpoint is trusted by, in place of the usual ones.",
    ),
    Setting(
        name="s3_access_key_id",
        key="s3.access_key_id",
        flag=None,
        kind=str,
        default=None,
        default_text="what the AWS SDK finds (`AWS_ACCESS_KEY_ID`, the profile, the machine's role)",
        description="Key for the bucket, where it is another than that of the environment.",
    ),
    Setting(
        name="s3_secret_access_key",
        key="s3.secret_access_key",
        flag=None,
        kind=str,
        default=None,
        default_text="none",
        is_secret=True,
        description="Its secret. There is no flag, since everybody on a machine can read those.",
    ),
    Setting(
        name="s3_server_side_encryption",
        key="s3.server_side_encryption",
        flag="--s3-server-side-encryption",
        kind=ServerSideEncryption,
        default="none",
        description="What the S3 server is asked to encrypt objects with; `none` leaves it to the bucket's default.",
    ),
    Setting(
        name="s3_kms_key_id",
        key="s3.kms_key_id",
        flag="--s3-kms-key-id",
        kind=Annotated[str, msgspec.Meta(min_length=1, max_length=2048)],
        default=None,
        default_text="the bucket's own",
        description="The KMS key of the S3 server's account that `aws:kms` is done with.",
    ),
    Setting(
        name="s3_redirect",
        key="s3.redirect",
        flag="--s3-redirect",
        kind=bool,
        default=False,
        description="A pull of a blob is answered with a presigned URL of the bucket (307), so that its bytes do not "
        "come through this server. Clients must reach the endpoint. For blobs that this server has not encrypted.",
    ),
    Setting(
        name="s3_redirect_seconds",
        key="s3.redirect_seconds",
        flag="--s3-redirect-seconds",
        kind=Annotated[int, msgspec.Meta(ge=60, le=7 * 24 * 3600)],
        default=3600,
        description="How long such a URL works. It must outlive slow pulls, and be shorter than `doomed_seconds`.",
    ),
)
