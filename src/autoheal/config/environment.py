"""The process's environment, read once at the door."""

from __future__ import annotations

import os
from collections.abc import Mapping


def environment() -> Mapping[str, str]:
    """A copy of the environment variables."""
    return dict(os.environ)
