"""Settings: typed, frozen, read once. Defaults < TOML file < `OPENECR_*` variables < flags."""

from openecr.settings.documentation import markdown
from openecr.settings.loading import CONFIG_VARIABLE, SettingsError, default_data, load
from openecr.settings.table import SETTINGS, Setting
from openecr.settings.values import Settings

__all__ = [
    "CONFIG_VARIABLE",
    "SETTINGS",
    "Setting",
    "Settings",
    "SettingsError",
    "default_data",
    "load",
    "markdown",
]
