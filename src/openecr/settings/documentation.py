"""docs/settings.md, written from the table."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec

from openecr.settings.setting import Setting
from openecr.settings.table import SETTINGS

_HEAD = """# Settings

Written by `openecr settings --markdown`; a test compares. Each setting is a flag of `openecr serve`, a variable and a
key of a TOML file. Flags win over variables, variables over the file, the file over the defaults.

The file is `--config FILE`, else `$OPENECR_CONFIG`, else `openecr.toml` in the data folder where it is there. Relative
paths in it start at its own folder. A list is repeated as a flag (`--region us-east-1 --region eu-west-1`) and has
commas in a variable (`OPENECR_REGIONS=us-east-1,eu-west-1`). A switch has a `--no-` form.

| flag | key in the file | variable | default | what it is |
|---|---|---|---|---|
"""

_LIMITS = """
## Limits

Quotas and bounds with ECR's values as defaults: keys of the table `[limits]`, or variables. Lifetimes, intervals,
leases and rates must be 1 at least; quotas and graces may be 0.

| key | variable | default |
|---|---|---|
"""


def markdown(limits: Mapping[str, int]) -> str:
    """Return the page. `limits` are the names and defaults of what `[limits]` may change."""
    rows = "".join(_row(setting) for setting in SETTINGS)
    limit_rows = "".join(
        f"| `{name}` | `OPENECR_{name.upper()}` | {value} |\n" for name, value in limits.items()
    )
    return _HEAD + rows + _LIMITS + limit_rows


def _row(setting: Setting) -> str:
    flag = "" if setting.flag is None else f"`{setting.flag}`{_kind(setting)}"
    description = setting.description
    return f"| {flag} | `{setting.toml_key}` | `{setting.variable}` | {_default(setting)} | {description} |\n"


def _kind(setting: Setting) -> str:
    kind: Any = setting.kind
    if setting.is_list:
        return " (list)"
    if kind is bool:
        return " (switch)"
    if get_origin(kind) is Literal:
        return " " + " or ".join(f"`{choice}`" for choice in get_args(kind))
    base = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    return {int: " (number)", float: " (number)"}.get(base, "")


def _default(setting: Setting) -> str:
    if setting.default_text is not None:
        return setting.default_text
    match setting.default:
        case bool() as switch:
            return "on" if switch else "off"
        case None:
            return "none"
        case other if setting.is_list:
            items = msgspec.convert(other, tuple[str, ...])
            return ", ".join(f"`{item}`" for item in items) or "none"
        case other:
            return f"`{other}`"
