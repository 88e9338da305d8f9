"""The Dockerfile as a test reads it."""

from __future__ import annotations

import re

from tests.monitoring.routing import MONITORING

DOCKERFILE = MONITORING.parent / "Dockerfile"


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions: word and rest, comments and line ends taken out."""
    text = re.sub(r"^\s*#.*\n", "", DOCKERFILE.read_text(), flags=re.MULTILINE)
    found = [line.partition(" ") for line in re.sub(r"\\\n\s*", "", text).splitlines() if line.strip()]
    return [(word, rest.strip()) for word, _, rest in found]


def final_stage() -> list[tuple[str, str]]:
    """The instructions of the image that is kept, FROM first."""
    every = instructions()
    return every[max(index for index, (word, _) in enumerate(every) if word == "FROM") :]


def environment() -> dict[str, str]:
    """What the finished image sets."""
    pairs = " ".join(rest for word, rest in final_stage() if word == "ENV").split()
    return dict(pair.split("=", 1) for pair in pairs)
