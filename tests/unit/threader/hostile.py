"""What may come in at worst, and what no message may ever do."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from random import Random
from typing import Any, get_args

from hypothesis import strategies as st

from autoheal.testing.slack_blocks import complaints, elements, size
from autoheal.threader.blocks import MOST, weight
from autoheal.threader.conversation import NAMES, Acknowledged, Conversation, Healing, Kind, Line, Member
from autoheal.threader.mrkdwn import units
from autoheal.threader.words import Look, Payload

KINDS = get_args(Kind)
NASTY = (
    "<!channel>", "<!here>", "<@U0ABC>", "<!subteam^S0123>", "<#C0123>", "<https://evil.example|Runbook>", "@here",
    "@everyone", "*bold*", "_it_", "~no~", "`code`", "```", ":fire:", "&lt;!here&gt;", "&", "<", ">", "|", '"' * 40,
    "\u202eevil\u202c", "\u2066", "\u2069", "שלום עולם", "مرحبا", "a" + "\u0301" * 90, "👩\u200d🔧", "🚀" * 60,
    "\n\n", "\u2028", "\x1b[31m", "\ud83d", "\u200b", "javascript:alert(1)", "https://a.example/x?y=1&z=<>|", "-", "=",
    "x" * 3000, "<!date^0^{ago}|now>", "%s", "{labels.x}", "… and 3 more", "\U000e0001", "＜!here＞",
)  # fmt: skip


def ugly(most: int = 12) -> st.SearchStrategy[str]:
    """Text from what hurts, and from anything else; no NUL, as intake writes it out."""
    anything = st.text(st.characters(exclude_characters="\0"), max_size=20)
    return st.lists(st.sampled_from(NASTY) | anything, max_size=most).map("".join)


SILENCES = ("s-1", "s-2", "s-3", "s-4")
MENTIONS = ["<!here>", "<@U0ABC>", "<!subteam^S0123>"]
STATES = (
    "held", "reserved", "running", "verifying", "healed", "done", "failed", "exhausted", "unknown", "cancelled",
    "rejected", "expired",
)  # fmt: skip
NAMED = ("alertname", "severity", "instance", "job", "service", "cluster", "x")


class Chance:
    """Makes things up: texts from a few that Hypothesis drew, and may shrink, the rest from one number. Drawing each
    part of a conversation from Hypothesis takes a hundred times as long."""

    def __init__(self, texts: list[str], seed: int) -> None:
        self._texts, self._random = texts, Random(seed)

    def text(self) -> str:
        return self._random.choice(self._texts)

    def one(self, *of: Any) -> Any:
        """One of these, or some text."""
        place = self._random.randrange(len(of) + 1)
        return of[place] if place < len(of) else self.text()

    def of(self, *of: Any) -> Any:
        return self._random.choice(of)

    def number(self, most: int) -> int:
        return self._random.randint(0, most)

    def moment(self) -> float:
        odd = (0.0, -62135596800.0, 1e300, float("nan"), float("inf"))
        return float(self.of(*odd)) if self.number(3) == 0 else self._random.uniform(1.7e9, 1.8e9)

    def labels(self) -> dict[str, str]:
        severity = self.one("critical", "warning", "info", "page", "none", "")
        return {**{self.one(*NAMED): self.text() for _ in range(self.number(8))}, "severity": severity}

    def url(self) -> str:
        return str(self.of("", "https://a.example/") + self.text())

    def actor(self) -> str:
        return str(self.one("slack:U0ABC (alice)", "slack:U0ABC", "admin", "slack:U0ABC (<!here>)", ""))

    def mentions(self) -> list[str]:
        return [self.of(*MENTIONS, f"x{self.text()}") for _ in range(self.number(4))]

    def member(self, number: int) -> Member:
        return Member(
            f"{number:016x}",
            self.labels(),
            self.moment(),
            self.moment(),
            firing=self.of(True, False),
            summary=self.text(),
            description=self.text(),
            runbook_url=self.url(),
            url=self.url(),
            behind=self.of("", "", *SILENCES),
        )

    def acknowledged(self, silence: str) -> Acknowledged:
        return Acknowledged(silence, self.labels(), self.moment(), self.actor(), self.moment(), self.text())

    def healing(self, number: int) -> Healing:
        detail = self.one("approval", "blast_radius", "")
        return Healing(f"r-{number}", "f", self.text(), self.one(*STATES), self.moment(), self.text(), detail)

    def members(self) -> list[Member]:
        found = [self.member(number) for number in range(self.number(6))]
        if found and self.of(True, False):  # a crowd of one kind
            first = found[0]
            found += [
                Member(f"{number:016x}", dict(first.labels), 1.7951e9, 1.7951e9, first.firing, summary=first.summary)
                for number in range(100, 101 + self.number(60))
            ]
        return found

    def conversation(self) -> Conversation:
        acks = [self.acknowledged(silence) for silence in SILENCES[: self.number(4)]]
        healing = [self.healing(number) for number in range(self.number(6))]
        return Conversation(
            "k" * 32,
            self.url(),
            self.text(),
            self.text(),
            {self.one(*NAMED): self.text() for _ in range(self.number(5))},
            self.one("#alerts", "C0123"),
            self.moment(),
            mentions=self.mentions(),
            members={one.fingerprint: one for one in self.members()},
            truncated=self.number(10**9) - 1,
            fired_at=self.moment(),
            resolved_at=self.of(None, self.moment()),
            heard_at=self.moment(),
            worst=self.one("critical", "warning", ""),
            times=self.number(1000),
            acks={one.silence_id: one for one in acks},
            healing={one.remediation_id: one for one in healing},
            number=self.number(1000),
            flapping=self.of(True, False),
            stale=self.of(True, False),
            note=self.text(),
            earlier=self.url(),
        )

    def line(self) -> Line:
        return Line(
            self.of(*KINDS),
            1,
            1,
            self.moment(),
            count=self.number(10**9),
            left=self.of(0, self.number(10**9)),
            names=[self.text() for _ in range(self.number(NAMES))],
            who=self.actor(),
            until=self.moment(),
            detail=self.text(),
            rule=self.text(),
            remediation_id=self.one("", "r-1"),
            fired=self.number(10**9),
            ended=self.number(10**9),
            broadcast=self.of(True, False),
            mentions=self.mentions(),
            elsewhere=self.of("", "#other"),
        )

    def look(self) -> Look:
        token, page = (self.of(0, 10, 133, 150, 151, 600, 2000, 2001) for _ in range(2))
        return Look(
            self.of("", "https://heal.example", "https://heal.example/", "nonsense"),
            self.of(True, False),
            lambda conversation, scope, duration: "t" * token,
            lambda conversation, scope, duration: "https://heal.example/" + "t" * page if page else "",
            self.of("", "https://alerts.example"),
        )


chances = st.builds(Chance, st.lists(ugly(), min_size=4, max_size=12), st.integers(0, 2**32))


# ---- what no message may ever do ------------------------------------------------------------------------------------

_SEQUENCE = re.compile(r"<([^<>]*)>")
_DATE = re.compile(r"!date\^[0-9]{1,12}\^\{date_short_pretty\} at \{time\}\|[0-9]{4,}-[0-9]{2}-[0-9]{2} [0-9:]{5} UTC")
_LINK = re.compile(r"https?://[^<>|\s]{1,1000}\|[^<>|]+")
_OURS = {"Runbook", "Prometheus", "Console", "Alertmanager"}
_INVISIBLE = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066\u2067\u200e\u200f\u2028\u2029]")


def texts(payload: Payload) -> Iterator[tuple[str, str]]:
    """Every text of a message, with its kind."""
    yield "mrkdwn", payload["text"]
    waiting: list[Any] = list(payload.get("blocks", ()))
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            if part.get("type") in ("mrkdwn", "plain_text"):
                yield part["type"], part["text"]
            waiting += part.values()
        elif isinstance(part, list):
            waiting += part


def faults(payload: Payload, may_call: set[str], most_text: int = 4000) -> list[str]:
    """Everything that is wrong with a message: for Slack, for a reader, or because it calls somebody it must not."""
    blocks = payload.get("blocks", [])
    found = complaints(blocks)
    if not payload["text"].strip() or units(payload["text"]) > most_text:
        found.append(f"the text has {units(payload['text'])} units")
    if weight(blocks) > MOST or size(blocks) > MOST:
        found.append(f"the blocks weigh {weight(blocks)}, by Slack's fake {size(blocks)}")
    for kind, text in texts(payload):
        found += [f"{fault}: {text!r}" for fault in _faults(kind, text, may_call)]
    if '"mrkdwn"' in (drawn := json.dumps(blocks)) and drawn.count('"mrkdwn"') != drawn.count('"verbatim": true'):
        found.append("Slack may make links and names of its own")
    for block in blocks:
        for element, _ in elements(block):
            if element.get("action_id", "").split(":")[0] not in ("ack", "ack_one", "extend", "undo"):
                found.append(f"an unknown action: {element}")
    return found


def _faults(kind: str, text: str, may_call: set[str]) -> Iterator[str]:
    try:
        text.encode()
    except UnicodeEncodeError:
        yield "cannot be encoded"
    if _INVISIBLE.search(text):
        yield "hides or turns text"
    if any(line.count("\u2068") != line.count("\u2069") for line in text.split("\n")):
        yield "leaves a direction open"
    if re.search("@(?:here|channel|everyone)", _SEQUENCE.sub("", text), re.IGNORECASE):
        yield "may call everybody"
    if kind == "plain_text":
        if re.search("[<>\n]", text):
            yield "has a sign that Slack may read"
        return
    for inner in _SEQUENCE.findall(text):
        if f"<{inner}>" not in may_call and not _DATE.fullmatch(inner) and not _LINK.fullmatch(inner):
            yield f"has a sequence that it must not have, {inner!r}"
    rest = _SEQUENCE.sub("", text)
    if re.search("[<>]", rest) or re.search(r"&(?!amp;|lt;|gt;)", rest):
        yield "is not escaped"
    if any(line.count("`") % 2 for line in text.split("\n")):
        yield "leaves code type open"
