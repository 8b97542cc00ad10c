"""Settings: defaults, ``forebay.yaml`` and the environment, as one frozen record."""

from forebay.settings.load import load_settings, redacted, with_target, without_password
from forebay.settings.records import BucketPlace, Settings, StoreSettings

__all__ = ["BucketPlace", "Settings", "StoreSettings", "load_settings", "redacted", "with_target", "without_password"]
