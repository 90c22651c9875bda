"""One settings tree; in a deployment it is the Helm chart's ``config:`` block.

Order of precedence: flags, then environment ``ASTROLABE_<SECTION>__<FIELD>``, then the YAML file,
then the defaults in the tree.  Unknown names are errors.  Secrets come from the environment only.
"""

from astrolabe.config.loading import load_settings
from astrolabe.config.tree import (
    AuthSettings,
    DatabaseSettings,
    EngineSettings,
    ImageSettings,
    ImportSettings,
    LimitsSettings,
    Paths,
    QuotaSettings,
    ServerSettings,
    Settings,
    StorageSettings,
    TapSettings,
)

__all__ = [
    "AuthSettings",
    "DatabaseSettings",
    "EngineSettings",
    "ImageSettings",
    "ImportSettings",
    "LimitsSettings",
    "Paths",
    "QuotaSettings",
    "ServerSettings",
    "Settings",
    "StorageSettings",
    "TapSettings",
    "load_settings",
]
