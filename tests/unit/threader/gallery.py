"""Every message that people get, from conversations made up for it, as `docs/threader-messages.md` shows them.

`python -m tests.unit.threader.gallery` writes that document anew; a test says when it is not what is drawn.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from autoheal.threader.conversation import Acknowledged, Conversation, Healing, Line, Member
from autoheal.threader.words import Look, Payload, parent, plain, pointer, reply

DOCUMENT = Path(__file__).parents[3] / "docs" / "threader-messages.md"
NIGHT = 1_795_143_960.0
"""2026-11-20 03:06:00 UTC."""


def _signed(conversation: Conversation, scope: str, duration: str) -> str:
    return f"{conversation.key}.{scope}.{duration}"


def _paged(conversation: Conversation, scope: str, duration: str) -> str:
    return f"https://heal.example/slack/ack?token={_signed(conversation, scope, duration)}"


LOOK = Look("https://heal.example", True, _signed, _paged, "https://alerts.example")
LINKS = replace(LOOK, buttons=False)
"""Without a Slack app: links in place of buttons."""


def member(number: int, severity: str = "critical", **changed: Any) -> Member:
    labels = {
        "alertname": "ServiceDown",
        "service": "svc",
        "instance": f"web-{number}:9100",
        "job": "svc",
        "severity": severity,
    }
    made = Member(
        f"{number:016x}",
        labels,
        NIGHT,
        NIGHT,
        summary=f"web-{number} does not answer",
        description=f"The probe of web-{number} has failed for 30 s.",
        runbook_url="https://wiki.example/runbooks/svc",
        url="http://prometheus.example/graph?g0.expr=up%7Bjob%3D%22svc%22%7D+%3D%3D+0&g0.tab=1",
    )
    return replace(made, **changed)


def group(*members: Member, **changed: Any) -> Conversation:
    made = Conversation(
        key="k1",
        source="http://alertmanager:9093",
        receiver="slack",
        group_key='{}:{alertname="ServiceDown", service="svc"}',
        group_labels={"alertname": "ServiceDown", "service": "svc"},
        channel="#alerts-critical",
        opened_at=NIGHT,
        mentions=["<!here>"],
        members={one.fingerprint: one for one in members},
        fired_at=NIGHT,
        heard_at=NIGHT,
        worst="critical",
        number=1,
    )
    return replace(made, **changed)


def resolved(one: Member, after: float = 300.0) -> Member:
    return replace(one, firing=False, since=NIGHT + after, ends_at=NIGHT + after)


SILENCE = "0f8fad5b-d9cb-469f-a165-70867728950e"
ACK = Acknowledged(SILENCE, {"alertname": "ServiceDown"}, NIGHT + 7800, "slack:U0ABC (alice)", NIGHT + 600, "on it")


def healing(state: str, **changed: Any) -> Healing:
    made = Healing("r-17", f"{1:016x}", "svc-down", state, NIGHT + 20, "docker restart svc")
    return replace(made, **changed)


def _healed(*found: Healing) -> dict[str, Healing]:
    return {one.remediation_id: one for one in found}


def _behind(*members: Member) -> list[Member]:
    return [replace(one, behind=SILENCE) for one in members]


def parents() -> Iterator[tuple[str, Conversation]]:
    """Each state of the first message."""
    three = [member(1), member(2), member(3)]
    yield "One alert fires", group(member(1))
    yield "Several fire, one has resolved", group(*three, resolved(member(4)))
    yield "Several of different severity and name", group(
        member(1, labels={"alertname": "ServiceDown", "instance": "web-1:9100", "severity": "critical"}),
        member(2, labels={"alertname": "HighLatency", "instance": "web-2:9100", "severity": "warning"},
               summary="p99 is above 2 s", starts_at=NIGHT - 900),
        group_labels={"cluster": "eu-1"},
    )  # fmt: skip
    yield "Five hundred fire", group(*(member(number) for number in range(1, 501)), truncated=12)
    yield "Healing is under way", group(member(1), healing=_healed(healing("running")))
    yield "A person must approve", group(member(1), healing=_healed(healing("held", detail="approval")))
    yield "Held back", group(member(1), healing=_healed(healing("held", detail="blast_radius")))
    yield "Nobody knows whether the action ran", group(member(1), healing=_healed(healing("unknown")))
    yield "Acknowledged", group(*_behind(*three), acks={SILENCE: ACK})
    yield "One of three acknowledged", group(*_behind(three[0]), *three[1:], acks={SILENCE: ACK})
    yield (
        "Healed and resolved",
        group(resolved(member(1)), resolved(member(2)), resolved_at=NIGHT + 300, healing=_healed(healing("healed"))),
    )
    yield "Resolved while acknowledged", group(resolved(member(1)), resolved_at=NIGHT + 300, acks={SILENCE: ACK})
    yield "It fires again, and flaps", group(member(1), times=9, flapping=True, flips=[NIGHT])
    yield "The sender has fallen silent", group(member(1), stale=True, heard_at=NIGHT + 60)
    yield (
        "In another channel than it should be, after an earlier thread",
        group(
            member(1),
            note="#alerts-critical is archived, so this is here",
            earlier="https://team.slack.com/archives/C1/p1795143000000100",
        ),
    )


def line(kind: Any, **changed: Any) -> Line:
    return replace(Line(kind, 2, 2, NIGHT + 300), **changed)


def lines() -> Iterator[Line]:
    """One line of each kind."""
    names = ["web-2 does not answer", "web-3 does not answer"]
    done = {"rule": "svc-down", "remediation_id": "r-17"}
    command = {**done, "detail": "docker restart svc"}
    alice, bob = "slack:U0ABC (alice)", "admin"
    yield line("joined", count=2, left=3, names=names)
    yield line("resolved_some", count=2, left=1, names=names)
    yield line("resolved", count=3, until=NIGHT, names=names)
    yield line("resolved_acked", count=3, until=NIGHT, who=alice)
    yield line("refired", count=2, names=names, fired=3, broadcast=True, mentions=["<!here>"])
    yield line("rose", detail="critical", names=names[:1], broadcast=True, mentions=["<!here>"])
    yield line("acked", who=alice, until=NIGHT + 7500, detail="on it", count=3)
    yield line("extended", who=alice, until=NIGHT + 15000)
    yield line("ack_undone", who=alice, left=3)
    yield line("ack_ending", who=alice, until=NIGHT + 900, left=3)
    yield line("ack_expired", left=3, broadcast=True)
    yield line("ack_ended")
    yield line("hidden", count=2, left=5, names=names)
    yield line("dry_run", **command)
    yield line("healing", **command)
    yield line("done", **command)
    yield line("action_failed", detail="exit code 1: no such container: svc", **done)
    yield line("healed", **command)
    yield line("ineffective", detail="http://svc:8000/health answers 503", **done)
    yield line("inconclusive", detail="Prometheus cannot be reached", **done)
    yield line("unknown", detail="interrupted", broadcast=True, **done)
    yield line("approval", until=NIGHT + 1200, broadcast=True, mentions=["<!here>"], **command)
    yield line("held", detail="blast_radius", **done)
    yield line("approved", who=bob, **done)
    yield line("rejected", who=bob, detail="not during the sale", **done)
    yield line("cancelled", detail="resolved", **done)
    yield line("settled", who=bob, detail="by_hand", **done)
    yield line("escalated", detail="svc-down: every step has failed", broadcast=True, **done)
    yield line("digest", at=NIGHT, until=NIGHT + 600, fired=7, ended=6, left=1, count=13)
    yield line("calm", left=1)
    yield line("moved", detail="#alerts-critical was archived")


# ---- as text --------------------------------------------------------------------------------------------------------

_ENTITIES = (("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&"))
_SEQUENCE = re.compile(r"<([^<>|]*)(?:\|([^<>]*))?>")


def shown(payload: Payload) -> str:
    """A message as Slack would show it, as far as text can: dates in UTC, links and buttons in brackets."""
    rows = []
    for block in payload.get("blocks", ()):
        if block["type"] == "header":
            rows.append(f"# {block['text']['text']}")
        elif block["type"] == "section":
            rows.append(seen(block["text"]["text"]))
        elif block["type"] == "context":
            rows += [seen(element["text"]) for element in block["elements"]]
        else:
            rows.append(" ".join(_element(element) for element in block["elements"]))
    return "\n".join(rows or [seen(payload["text"])])


def seen(text: str) -> str:
    """Mrkdwn as it reads."""
    text = _SEQUENCE.sub(_sequence, text).replace("\u200b", "")
    for entity, char in _ENTITIES:
        text = text.replace(entity, char)
    return text


def _sequence(found: re.Match[str]) -> str:
    what, label = found.group(1), found.group(2)
    if what.startswith("!date^"):
        return str(label).removesuffix(" UTC").partition(" ")[2]
    if what.startswith("!"):
        return "@" + what[1:]
    return what if what.startswith("@") else f"[{label}]"


def _element(element: dict[str, Any]) -> str:
    if element["type"] == "button":
        return f"( {element['text']['text']} )"
    return f"( {element['placeholder']['text']} ▾ )"


def document() -> str:
    parts = [_HEAD]
    for name, conversation in parents():
        parts += [f"### {name}\n", _fenced(shown(parent(conversation, LOOK)))]
    parts.append(_NOTICE)
    group_of_three = group(member(1), member(2), member(3))
    for name, conversation in list(parents())[:2]:
        parts.append(f"- {name}: {seen(parent(conversation, LOOK)['text'])}")
    told = {one.kind: one for one in lines()}
    for kind in ("joined", "approval", "resolved_acked"):
        parts.append(f"- `{kind}`: {seen(reply([told[kind]], group_of_three, LOOK)['text'])}")
    parts.append(_REPLIES)
    for one in lines():
        parts += [f"`{one.kind}`\n", _fenced(shown(reply([one], group_of_three, LOOK)))]
    parts.append(_SEVERAL)
    several = [told[kind] for kind in ("joined", "healing", "healed")]
    parts.append(_fenced(shown(reply(several, group_of_three, LOOK))))
    parts.append(_POINTER)
    thread = "https://team.slack.com/archives/C2/p1795143960000100"
    parts.append(
        _fenced(shown(pointer(told["rose"], replace(group_of_three, channel="#alerts-warning"), LOOK, thread)))
    )
    parts.append(_PLAIN)
    parts.append(_fenced(shown(plain(group_of_three, LINKS))))
    parts.append(_fenced(shown(plain(group(member(1), resolved(member(2))), LINKS, [line("resolved_some", count=1)]))))
    return "\n".join(parts)


def _fenced(text: str) -> str:
    return f"```text\n{text}\n```\n"


_HEAD = """# What the threader writes in Slack

Written by `python -m tests.unit.threader.gallery`; a test fails when it is not what is drawn. `#` is a message's title,
`[…]` a link, `( … )` a button, `*…*` bold, `` `…` `` code type. Times are UTC here; Slack shows them in the reader's
own zone, with the day.

## The first message of a thread

It is edited as the truth changes. It says in words what its signs say. Alerts are listed with the labels that tell them
apart, worst first; what all have alike stands below, and what the title says is not said again.
"""
_NOTICE = """## What a notification shows
"""
_REPLIES = """
## Replies

One for each thing that people must be told. The ones that the channel sees, too, begin with the group's name.
"""
_SEVERAL = """What has been waiting is told in one reply:
"""
_POINTER = """## In another channel

When the severity rises, the channel of the new severity is told, and where the conversation is:
"""
_PLAIN = """## Through an incoming webhook alone

One message for each change, with links in place of buttons:
"""

if __name__ == "__main__":
    DOCUMENT.write_text(document())
