"""What the verbs that start a service share."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from autoheal.config.settings import Settings


def settings_with(options: Mapping[str, str | None], what: str = "the service") -> Settings:
    """The environment's settings with those options, by the names of variables, that were given. Permanent where
    services do not run."""
    from autoheal.config.settings import Settings
    from autoheal.core.errors import Permanent

    if sys.platform == "win32":
        raise Permanent(f"{what} needs Linux or macOS; the other verbs work here with --url")
    given = {name: text for name, text in options.items() if text is not None}
    return Settings.from_env({**os.environ, **given})
