"""Two small kinds of action, so that the policy file is tested without the real ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autoheal.core.errors import Invalid
from autoheal.core.policy import ActionSpec


class Say:
    """Options: ``{words: [TEXT, …]}``."""

    schema: Mapping[str, Any] = {
        "type": "object",
        "properties": {"words": {"type": "array", "items": {"type": "string"}, "minItems": 1}},
        "required": ["words"],
        "additionalProperties": False,
    }

    def check(self, options: Any) -> ActionSpec:
        if not isinstance(options, dict):
            raise Invalid("expected a mapping")
        words = options.get("words")
        if not isinstance(words, list) or not words:
            raise Invalid("expected a list", "words")
        for index, word in enumerate(words):
            if not isinstance(word, str):
                raise Invalid("expected text", f"words[{index}]")
        return ActionSpec("say", options, ("say", *words))


class Docker:
    """Options: ``{restart: NAME}`` or ``{compose_restart: …}``."""

    schema: Mapping[str, Any] = {"type": "object", "properties": {"restart": {"type": "string"}}}

    def check(self, options: Any) -> ActionSpec:
        name = options.get("restart") if isinstance(options, dict) else None
        if name is None and isinstance(options, dict) and "compose_restart" in options:
            return ActionSpec("docker", options, ("docker", "compose", "restart"))
        if not isinstance(name, str):
            raise Invalid("expected text", "restart")
        return ActionSpec("docker", options, ("docker", "restart", name))


KINDS = {"say": Say(), "docker": Docker()}
