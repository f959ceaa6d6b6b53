"""Settings: typed, frozen, read once. Defaults < TOML file < `OPENECR_*` variables < flags."""

from openecr.settings.documentation import markdown
from openecr.settings.loading import CONFIG_VARIABLE, SettingsError, default_data, load, place_of
from openecr.settings.setting import Setting
from openecr.settings.table import SETTINGS
from openecr.settings.values import DatabaseUrl, S3Place, Settings

__all__ = [
    "CONFIG_VARIABLE",
    "SETTINGS",
    "DatabaseUrl",
    "S3Place",
    "Setting",
    "Settings",
    "SettingsError",
    "default_data",
    "load",
    "markdown",
    "place_of",
]
