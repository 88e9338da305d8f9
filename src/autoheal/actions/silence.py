"""The action `silence`: an exact-match silence in Alertmanager, for a time."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from autoheal.clients.alertmanager import AlertmanagerCluster
from autoheal.clients.exchange import settle
from autoheal.clients.outside import Outside
from autoheal.core.duration import parse_duration
from autoheal.core.errors import Invalid, Permanent
from autoheal.core.options import required, table, text, text_map
from autoheal.core.policy import ActionSpec
from autoheal.engine.ports import ActionResult, Begin

LONGEST = 7 * 24 * 3600.0
AUTHOR = "autoheal-policy"
"""Not `autoheal:…`, which is how silences of people's acknowledgements are found again."""
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


class SilenceAction:
    """Options: ``{labels: {alertname: "{alertname}", ...}, duration: 30m, comment: ...}``."""

    kind: ClassVar[str] = "silence"
    schema: ClassVar[Mapping[str, Any]] = {
        "type": "object",
        "properties": {
            "labels": {"type": "object", "additionalProperties": {"type": "string"}, "minProperties": 1},
            "duration": {"type": "string"},
            "comment": {"type": "string"},
        },
        "required": ["labels", "duration"],
        "additionalProperties": False,
    }

    def __init__(self, outside: Outside) -> None:
        self._outside = outside

    @classmethod
    def ready(cls, outside: Outside) -> SilenceAction:
        return cls(outside)

    @staticmethod
    def check(options: Any) -> ActionSpec:
        written = table(options, ("labels", "duration", "comment"))
        labels = text_map(required(written, "labels"), "labels")
        if not labels:
            raise Invalid("would silence everything; name at least one label", "labels")
        for name, value in labels.items():
            if not _LABEL.fullmatch(name):
                raise Invalid("is no label's name", f"labels.{name}")
            text(value, f"labels.{name}")
        duration = text(required(written, "duration"), "duration")
        _seconds(duration)
        comment = text(written.get("comment") or "silenced by a step of Autoheal's policy", "comment")
        words = ("silence", *(f"{name}={value}" for name, value in labels.items()), duration)
        return ActionSpec("silence", {"labels": labels, "duration": duration, "comment": comment}, words)

    def run(self, options: Mapping[str, Any], timeout: float, begin: Begin) -> ActionResult:
        return settle(self._create(options, timeout, begin))

    async def _create(self, options: Mapping[str, Any], timeout: float, begin: Begin) -> str:
        """In this thread's own loop, so with a client of its own."""
        urls = self._outside.alertmanagers
        if not urls:
            raise Permanent("no Alertmanager is configured (ALERTMANAGER_URL)")
        cluster = AlertmanagerCluster(urls, timeout / len(urls))
        now = self._outside.clock.now()
        ends_at = now + _seconds(options["duration"])
        try:
            silence_id = await cluster.create_silence(
                options["labels"], now, ends_at, AUTHOR, options["comment"], before=lambda: begin(lambda: None)
            )
        finally:
            await cluster.aclose()
        return f"silence {silence_id} for {options['duration']}"


def _seconds(duration: str) -> float:
    try:
        seconds = parse_duration(duration)
    except Invalid as error:
        raise Invalid(error.detail, "duration") from error
    if not 0 < seconds <= LONGEST:
        raise Invalid("must be more than nothing and at most 7d", "duration")
    return seconds
