"""Settings: defaults, ``forebay.yaml`` and the environment, as one frozen record."""

from forebay.settings.load import load_settings, redacted, with_target, without_password
from forebay.settings.records import Settings, StoreSettings

__all__ = ["Settings", "StoreSettings", "load_settings", "redacted", "with_target", "without_password"]
