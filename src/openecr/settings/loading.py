"""Reading settings: defaults < TOML file < `OPENECR_*` variables < flags. Every mistake is one clear line."""

import difflib
import ipaddress
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast, get_args

import msgspec

from openecr.domain.errors import OperatorError
from openecr.settings.database import database_url
from openecr.settings.s3 import FILE_SCHEME, S3_SCHEME, s3_place
from openecr.settings.setting import Setting
from openecr.settings.table import SETTINGS
from openecr.settings.values import S3Place, Settings

CONFIG_FILE_NAME = "openecr.toml"
CONFIG_VARIABLE = "OPENECR_CONFIG"
LIMITS_TABLE = "limits"

_LIMIT_MAX = 2**53
_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "text",
    "array": "a list of texts",
}
_PATHS = (
    "data",
    "keys",
    "keys_old",
    "keys_kms_ca_file",
    "tls_cert",
    "tls_key",
    "oidc_ca_file",
    "s3_ca_file",
)
_BLOBS, _DATABASE = ("blobs", "blobs_old"), "database"
_OUTLET, _STANDARD_OUTPUT = "audit_stream", "-"


class SettingsError(OperatorError):
    """A setting is malformed, unknown or contradicts another one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Given:
    """A value as it was given, where it came from, and the folder that relative paths start at."""

    source: str
    value: Any
    base: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    """The TOML file: its keys, dotted, and the table of limits. `path` None where there is none."""

    path: Path | None
    keys: Mapping[str, Any]
    limits: Mapping[str, Any]


def load(
    flags: Mapping[str, Any],
    environ: Mapping[str, str],
    *,
    limits: Collection[str] = (),
    at_least_one: Collection[str] = (),
) -> Settings:
    """Put the settings together. `flags` is by setting name, and `config`; None or () means not given.

    `limits` are the names that may be changed in `[limits]` or by `OPENECR_<NAME>`, and `at_least_one` are those of
    them that may not be 0. Raises SettingsError.
    """
    file = _read_file(flags, environ)
    _refuse_unknown(file, {setting.toml_key for setting in SETTINGS}, limits)
    values: dict[str, Any] = {}
    for setting in SETTINGS:
        given = _find(setting, flags, environ, file)
        if given is None:
            values[setting.name] = setting.default
        elif setting.name in _PATHS:
            values[setting.name] = given.base / Path(_convert(setting, given)).expanduser()
        elif setting.name in _BLOBS:
            values[setting.name] = place_of(given.base, _convert(setting, given))
        elif setting.name == _DATABASE:
            values[setting.name] = database_url(_convert(setting, given))
        elif setting.name == _OUTLET and given.value != _STANDARD_OUTPUT:
            values[setting.name] = str(given.base / Path(_convert(setting, given)).expanduser())
        else:
            values[setting.name] = _convert(setting, given)
    values["data"] = values["data"] or default_data(environ)
    values["host"] = "127.0.0.1" if values["host"] == "localhost" else values["host"]
    values["limits"] = _limits(file, environ, limits, at_least_one)
    settings = Settings(**values)
    _check_consistency(settings)
    return settings


def place_of(base: Path, value: str) -> Path | S3Place:
    """Read a folder, `file:///folder` or `s3://bucket/prefix`. Raises ValueError."""
    if value.startswith(S3_SCHEME):
        return s3_place(value)
    return base / Path(value.removeprefix(FILE_SCHEME)).expanduser()


def default_data(environ: Mapping[str, str]) -> Path:
    """Return the data folder of a user who chose none (XDG base directory specification)."""
    home = Path(environ.get("XDG_DATA_HOME", ""))
    return (home if home.is_absolute() else Path.home() / ".local" / "share") / "openecr"


def _read_file(flags: Mapping[str, Any], environ: Mapping[str, str]) -> _File:
    named = flags.get("config") or environ.get(CONFIG_VARIABLE)
    data = flags.get("data") or environ.get("OPENECR_DATA") or default_data(environ)
    path = Path(named) if named else Path(data).expanduser() / CONFIG_FILE_NAME
    path = path.expanduser().absolute()
    if not named and not path.exists():
        return _File(path=None, keys={}, limits={})
    try:
        document: dict[str, Any] = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise SettingsError(message=f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:  # not TOML, or not UTF-8
        raise SettingsError(message=f"{path} is not TOML: {error}") from error
    limits = _table(document.pop(LIMITS_TABLE, {}))
    if limits is None:
        raise SettingsError(message=f"{LIMITS_TABLE} in {path}: expected a table")
    return _File(path=path, keys=_flatten(document), limits=limits)


def _flatten(document: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in document.items():
        inner = _table(value)
        if inner is None:
            flat[key] = value
        else:
            flat.update({f"{key}.{name}": item for name, item in inner.items()})
    return flat


def _table(value: object) -> dict[str, Any] | None:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def _refuse_unknown(file: _File, known: Collection[str], limits: Collection[str]) -> None:
    prefixed = {f"{LIMITS_TABLE}.{name}" for name in limits}
    for key in (*file.keys, *(f"{LIMITS_TABLE}.{name}" for name in file.limits)):
        if key in known or key in prefixed:
            continue
        near = difflib.get_close_matches(key, (*known, *prefixed), n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise SettingsError(message=f"{file.path} has an unknown setting {key}{hint}")


def _find(
    setting: Setting, flags: Mapping[str, Any], environ: Mapping[str, str], file: _File
) -> _Given | None:
    flag = flags.get(setting.name)
    if flag is not None and flag != ():
        return _Given(source=setting.flag or setting.name, value=flag, base=Path.cwd())
    text = environ.get(setting.variable, "")
    if text:  # a variable that is empty was not given
        value = [part.strip() for part in text.split(",") if part.strip()] if setting.is_list else text
        return _Given(source=setting.variable, value=value, base=Path.cwd())
    if setting.toml_key in file.keys and file.path is not None:
        source = f"{setting.toml_key} in {file.path}"
        return _Given(source=source, value=file.keys[setting.toml_key], base=file.path.parent)
    return None


def _convert(setting: Setting, given: _Given) -> Any:  # noqa: ANN401 -- the row's type, which differs
    """Give the value its type and check it."""
    try:
        value: Any = msgspec.convert(given.value, setting.kind, strict=not isinstance(given.value, str))
        if setting.check is not None:
            setting.check(value)
    except (msgspec.ValidationError, ValueError) as error:
        raise SettingsError(message=f"{given.source}: {_explain(setting, given.value, error)}") from error
    return value


def _explain(setting: Setting, value: object, error: Exception) -> str:
    shown = "its value" if setting.is_secret else repr(value)[:80]
    choices = [choice for choice in get_args(setting.kind) if isinstance(choice, str)]
    if choices:
        return f"{shown} is none of {', '.join(choices)}"
    if not isinstance(error, msgspec.ValidationError):
        return f"{shown}: {error}"
    expected = str(error).replace("`", "").partition(",")[0].removeprefix("Expected ")
    kind, _, bound = expected.partition(" ")
    return f"{shown} is not {_KINDS.get(kind, kind)} {bound}".rstrip()


def _limits(
    file: _File, environ: Mapping[str, str], names: Collection[str], at_least_one: Collection[str]
) -> dict[str, int]:
    given: dict[str, tuple[str, Any]] = {
        name: (f"{LIMITS_TABLE}.{name} in {file.path}", value) for name, value in file.limits.items()
    }
    for name in names:
        variable = f"OPENECR_{name.upper()}"
        if environ.get(variable):
            given[name] = (variable, environ[variable])
    return {name: _limit(source, value, int(name in at_least_one)) for name, (source, value) in given.items()}


def _limit(source: str, value: object, least: int) -> int:
    try:
        number = msgspec.convert(value, int, strict=not isinstance(value, str))
    except msgspec.ValidationError as error:
        raise SettingsError(message=f"{source}: {value!r} is no whole number") from error
    if not 0 <= number <= _LIMIT_MAX:
        raise SettingsError(message=f"{source}: {value!r} is negative or too large")
    if number < least:
        raise SettingsError(message=f"{source}: {value!r} is less than {least}")
    return number


def _check_consistency(settings: Settings) -> None:
    if (settings.tls_cert is None) != (settings.tls_key is None):
        raise SettingsError(message="--tls-cert and --tls-key go together: give both or none")
    if settings.tls_cert is not None and settings.tls == "auto":
        raise SettingsError(
            message="--tls auto makes its own certificate: leave --tls-cert and --tls-key out"
        )
    if (settings.s3_access_key_id is None) != (settings.s3_secret_access_key is None):
        raise SettingsError(
            message="s3.access_key_id and s3.secret_access_key go together: give both or none"
        )
    if settings.s3_kms_key_id is not None and settings.s3_server_side_encryption != "aws:kms":
        raise SettingsError(message="--s3-kms-key-id needs --s3-server-side-encryption aws:kms")
    if settings.s3_redirect and not isinstance(settings.blobs, S3Place):
        raise SettingsError(message="--s3-redirect needs --blobs s3://bucket/prefix")
    _check_keys(settings)
    loopback = ipaddress.ip_address(settings.host).is_loopback
    if settings.scheme == "http" and not loopback and not settings.force_http:
        raise SettingsError(
            message=f"plain HTTP is not served on {settings.host}, where others can listen in: "
            "use --tls auto, or --tls-cert and --tls-key, or --force-http"
        )


def _check_keys(settings: Settings) -> None:
    if settings.keys_kms_keys and (settings.keys is not None or settings.master_keys):
        raise SettingsError(
            message="--keys-kms-key stands in place of --keys and of OPENECR_MASTER_KEYS: give one of the three"
        )
    if settings.keys_old is not None and not settings.keys_kms_keys:
        raise SettingsError(message="--keys-old needs --keys-kms-key")
    if settings.keys_kms_check_seconds >= settings.keys_kms_trust_seconds:
        raise SettingsError(message="keys.kms_trust_seconds must be more than keys.kms_check_seconds")
