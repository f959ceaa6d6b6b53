"""The settings of the database and the keys: where they are, where they are not in the data folder."""

import re
from typing import Annotated
from urllib.parse import parse_qsl, urlencode, urlsplit

import msgspec

from openecr.settings.s3 import check_endpoint, check_region
from openecr.settings.setting import STRINGS, Setting, check_path
from openecr.settings.values import DatabaseUrl

_SCHEMES = ("postgresql", "postgres")
_URL_MAX_CHARACTERS = 2048
_HOST_AND_PORT = re.compile(
    r"(\[[0-9A-Fa-f:.%]{2,64}\]|[A-Za-z0-9._%-]{0,255})(:(?P<port>[0-9]{1,5}))?", re.ASCII
)
_PORT_MAX = 65_535
_SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_SECRETS = frozenset({"password", "sslpassword"})
_KMS_KEY = re.compile(r"[A-Za-z0-9:/_-]{1,2048}", re.ASCII)
_MASTER_KEY = re.compile(r"(?P<number>[1-9][0-9]{0,8}):[0-9a-f]{64}", re.ASCII)


def database_url(value: str) -> DatabaseUrl:
    """Read `postgresql://user:password@host:port/database?sslmode=...` (PostgreSQL manual, 34.1.1.2).

    What it leaves out is found in libpq's environment. Raises ValueError, whose text never holds a password.
    """
    if len(value) > _URL_MAX_CHARACTERS or not value.isprintable() or " " in value:
        raise ValueError(f"it is a URL of at most {_URL_MAX_CHARACTERS} characters without spaces")
    scheme, separator, _ = value.partition("://")
    if scheme not in _SCHEMES or not separator:
        raise ValueError("it is a URL such as postgresql://user@host:5432/database")
    if "#" in value:
        raise ValueError("write # in it as %23")
    try:
        parts = urlsplit(value)
        query = parse_qsl(parts.query, strict_parsing=True) if parts.query else []
    except ValueError:
        raise ValueError("it is no URL: write what is special in it with %") from None
    user, _, hosts = parts.netloc.rpartition("@")
    if "@" in user:
        raise ValueError("write @ in its user and password as %40")
    for host in (*hosts.split(","), *(f":{port}" for name, port in query if name == "port")):
        match = _HOST_AND_PORT.fullmatch(host)
        if match is None or not 0 < int(match["port"] or 1) <= _PORT_MAX:
            raise ValueError("its host and port are malformed")
    for name, mode in query:
        if name == "sslmode" and mode not in _SSL_MODES:
            raise ValueError(f"its sslmode is one of {', '.join(_SSL_MODES)}")
    shown_user = f"{user.partition(':')[0]}@" if user else ""
    shown_query = urlencode([pair for pair in query if pair[0] not in _SECRETS], safe="/:,")
    shown = f"{scheme}://{shown_user}{hosts}{parts.path}" + (f"?{shown_query}" if shown_query else "")
    return DatabaseUrl(text=value, shown=shown)


def _check_database(value: str) -> None:
    database_url(value)


def _check_master_keys(values: tuple[str, ...]) -> None:
    matches = [_MASTER_KEY.fullmatch(value) for value in values]
    numbers = [match["number"] for match in matches if match is not None]
    if len(numbers) != len(values) or len(set(numbers)) != len(values):
        raise ValueError(
            "each is a number, a colon and 64 hexadecimal digits in lower case, and each number stands once"
        )


def _check_kms_keys(values: tuple[str, ...]) -> None:
    for value in values:
        if _KMS_KEY.fullmatch(value) is None:
            raise ValueError(f"{value[:64]!r} is no id, ARN or alias of a key")


DATABASE_SETTINGS: tuple[Setting, ...] = (
    Setting(
        name="database",
        flag="--database",
        kind=str,
        default=None,
        default_text="SQLite in the data folder",
        check=_check_database,
        is_secret=True,
        description="PostgreSQL that any number of servers share: `postgresql://user@host:5432/database?sslmode=...`; "
        "a folder with its socket is `?host=/folder`. What is left out is taken from libpq's variables (`PGHOST`, "
        "`PGPASSWORD`, `PGPASSFILE`, ...), which are the better place for the password. Of several hosts, "
        "`host1,host2`, the one that takes changes is used (`target_session_attrs=read-write`).",
    ),
    Setting(
        name="database_connections",
        flag="--database-connections",
        kind=Annotated[int, msgspec.Meta(ge=3, le=500)],
        default=10,
        description="Connections that one process keeps to PostgreSQL at most. All processes together stay below its "
        "`max_connections`. PgBouncer may stand between in session mode alone.",
    ),
    Setting(
        name="migrate",
        flag="--migrate",
        kind=bool,
        default=False,
        description="Bring the schema of a PostgreSQL that an earlier version used up to date at the start, as "
        "`openecr migrate` does. An empty one, and SQLite, are always.",
    ),
    Setting(
        name="keys",
        flag="--keys",
        kind=str,
        default=None,
        default_text="`keys` in the data folder",
        check=check_path,
        description="Folder of the master keys. Servers that share a database need the same ones.",
    ),
    Setting(
        name="master_keys",
        flag=None,
        kind=STRINGS,
        default=(),
        check=_check_master_keys,
        is_secret=True,
        description="The master keys themselves, in place of the folder: `number:64 hexadecimal digits` each. "
        "The one with the highest number seals.",
    ),
    Setting(
        name="sealing_key",
        flag="--sealing-key",
        kind=Annotated[int, msgspec.Meta(ge=1, le=999_999_999)],
        default=None,
        default_text="the highest",
        description="Number of the master key that seals; all of them open. For a rotation on many servers "
        "([keys.md](keys.md)).",
    ),
    Setting(
        name="keys_kms_keys",
        key="keys.kms_keys",
        flag="--keys-kms-key",
        kind=STRINGS,
        default=(),
        check=_check_kms_keys,
        description="Keys of an external KMS, Amazon's or one that speaks its protocol, by id, ARN or alias, in place "
        "of `keys`: the master keys are data keys of the first; all of them open. Credentials are what the AWS SDK "
        "finds.",
    ),
    Setting(
        name="keys_old",
        flag="--keys-old",
        kind=str,
        default=None,
        default_text="none",
        check=check_path,
        description="Folder of the master keys of before the external KMS: they open, until `openecr keys rewrap` has "
        "left nothing for them.",
    ),
    Setting(
        name="keys_kms_endpoint",
        key="keys.kms_endpoint",
        flag="--keys-kms-endpoint",
        kind=str,
        default=None,
        default_text="Amazon's of the region",
        check=check_endpoint,
        description="URL of the external KMS, where it is not Amazon's.",
    ),
    Setting(
        name="keys_kms_region",
        key="keys.kms_region",
        flag="--keys-kms-region",
        kind=str,
        default=None,
        default_text="what the AWS SDK finds (`AWS_DEFAULT_REGION`, the profile)",
        check=check_region,
        description="Region of the external KMS's keys.",
    ),
    Setting(
        name="keys_kms_ca_file",
        key="keys.kms_ca_file",
        flag="--keys-kms-ca-file",
        kind=str,
        default=None,
        default_text="none",
        check=check_path,
        description="PEM file with the certificates that its endpoint is trusted by, in place of the usual ones.",
    ),
    Setting(
        name="keys_kms_check_seconds",
        key="keys.kms_check_seconds",
        flag="--keys-kms-check-seconds",
        kind=Annotated[int, msgspec.Meta(ge=1, le=3600)],
        default=300,
        description="How often the external KMS is asked again. When it says no, nothing is served any more.",
    ),
    Setting(
        name="keys_kms_trust_seconds",
        key="keys.kms_trust_seconds",
        flag="--keys-kms-trust-seconds",
        kind=Annotated[int, msgspec.Meta(ge=60, le=7 * 24 * 3600)],
        default=3600,
        description="How long the master keys are used after the last yes while it cannot be reached. More than "
        "`keys.kms_check_seconds`.",
    ),
)
