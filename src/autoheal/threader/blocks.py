"""Slack's Block Kit in the few shapes used here, with its limits, and what to send when Slack refuses. Pure.

Slack counts a message's blocks in a way that it does not tell, and refuses those beyond some 13,200 characters, where
containers count, too. So everything in the blocks' JSON is counted here, and kept below `MOST`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from autoheal.threader.mrkdwn import calls, cut, literal, units

Block = dict[str, Any]
Payload = dict[str, Any]
"""What a message is: `text` and, for Slack's own, `blocks`."""

MOST = 9000
"""Of all blocks of a message, as `weight` counts."""
BLOCKS = 50
SECTION = 2900
"""Slack allows 3,000."""
HEADER = 150
ELEMENTS = 25
BUTTON = 75
VALUE = 2000
OPTIONS = 25
OPTION = 75
OPTION_VALUE = 150
TEXT = 3000
"""Of the text beside or instead of the blocks; Slack asks for less than 4,000."""


def weight(part: Any) -> int:
    """How long the JSON of blocks, or of a part of one, is: names and brackets too, escapes as what they stand for."""
    if isinstance(part, str):
        return units(part) + 3
    if isinstance(part, dict):
        return 3 + sum(weight(name) + weight(value) for name, value in part.items())
    if isinstance(part, list):
        return 3 + sum(map(weight, part))
    return 6


def header(text: str) -> Block:
    return {"type": "header", "text": {"type": "plain_text", "text": text, "emoji": True}}


def section(text: str) -> Block:
    return {"type": "section", "text": _mrkdwn(text)}


def context(text: str) -> Block:
    return {"type": "context", "elements": [_mrkdwn(text)]}


def actions(elements: Sequence[Block]) -> Block:
    return {"type": "actions", "elements": list(elements)}


def button(label: str, action: str, value: str, style: str = "") -> Block | None:
    """A button, or None where there is no value for it, or one that Slack would refuse."""
    if not 0 < units(value) <= VALUE:
        return None
    made = {"type": "button", "text": _plain(label), "action_id": action, "value": value}
    return {**made, "style": style} if style else made


def option(label: str, value: str) -> Block | None:
    """One line of a select, or None as for a button."""
    return {"text": _plain(label), "value": value} if label and 0 < units(value) <= OPTION_VALUE else None


def select(placeholder: str, action: str, options: Sequence[Block]) -> Block:
    return {
        "type": "static_select",
        "action_id": action,
        "placeholder": _plain(placeholder),
        "options": list(options),
    }


def packed(paragraphs: Iterable[str], between: str = "\n") -> list[Block]:
    """The paragraphs, each shorter than a section, in as few sections as hold them."""
    texts: list[str] = []
    for paragraph in paragraphs:
        if texts and units(texts[-1]) + units(between) + units(paragraph) <= SECTION:
            texts[-1] += between + paragraph
        else:
            texts.append(paragraph)
    return [section(text) for text in texts]


def fitting(parts: Iterable[str], most: int, between: str) -> str:
    """The parts that fit, in their order; what is empty or too long is left out."""
    kept: list[str] = []
    room = most + units(between)
    for part in parts:
        needs = units(part) + units(between)
        if part and needs <= room:
            kept.append(part)
            room -= needs
    return between.join(kept)


def listed(lines: Sequence[str], most: int, total: int) -> str:
    """The lines that fit, and how many of `total` are not shown; never a line in part."""
    kept: list[str] = []
    room = most - units(_more(total)) - 1
    for line in lines:
        room -= units(line) + 1
        if room < 0:
            break
        kept.append(line)
    left = total - len(kept)
    return "\n".join([*kept, _more(left)] if left > 0 else kept)


def whole_lines(text: str, most: int) -> str:
    """Drawn text, by whole lines, as much as fits: a line in part could cut a link or a sign in two. `most`: 200 or
    more."""
    if units(text) <= most:
        return text
    lines = text.split("\n")
    if units(lines[0]) + units(_more(len(lines))) >= most:
        return _minimal(lines[0])
    return listed(lines, most, len(lines))


def _more(count: int) -> str:
    return f"… and {count} more"


# ---- what is sent instead, where Slack refuses ----------------------------------------------------------------------


def simpler(payload: Payload, level: int) -> Payload:
    """The same message with less of Slack in it: 1 fewer blocks, 2 only text, 3 only the first line of it.

    People who were called are called on every level. `blocks` is empty from level 2 on, so that an edit removes them.
    """
    if level <= 0:
        return payload
    if level == 1 and payload.get("blocks"):
        return {"text": payload["text"], "blocks": _fewer(payload)}
    text = _as_text(payload) if level <= 2 else _with_calls(_minimal(payload["text"]), payload)
    return {"text": text, "blocks": []} if "blocks" in payload else {"text": text}


_SHORT = 1000
_KEPT = 3


def _fewer(payload: Payload) -> list[Block]:
    """The title as text, the first sections cut, and the buttons."""
    texts: list[str] = []
    buttons: list[Block] = []
    for block in payload["blocks"]:
        if block["type"] == "header":
            texts.append(f"*{literal(block['text']['text'], 400)}*")
        elif block["type"] == "section" and len(texts) <= _KEPT:
            texts.append(whole_lines(block["text"]["text"], _SHORT))
        elif block["type"] == "actions":
            buttons += [element for element in block["elements"] if element["type"] == "button"]
    if not texts:
        texts = [whole_lines(payload["text"], _SHORT)]
    texts[0] = _with_calls(texts[0], payload, "\n".join(texts))
    return [section(text) for text in texts] + ([actions(buttons)] if buttons else [])


def _as_text(payload: Payload) -> str:
    """Everything that is written in the message, without its buttons."""
    written = _written(payload)
    return _with_calls(whole_lines("\n".join([payload["text"], *written]), TEXT - _CALLS), payload)


def _written(payload: Payload) -> list[str]:
    blocks = payload.get("blocks", ())
    sections = [block["text"]["text"] for block in blocks if block["type"] == "section"]
    return sections + [block["elements"][0]["text"] for block in blocks if block["type"] == "context"]


_CALLS = 800
"""Units that the mentions of one message take at most."""


def _with_calls(text: str, payload: Payload, all_of_it: str = "") -> str:
    """`text`, and who was called in the message and is not any more."""
    wanted = calls("\n".join([payload["text"], *_written(payload)]))
    there = calls(all_of_it or text)
    return " ".join([text, fitting((one for one in wanted if one not in there), _CALLS, " ")]).strip()


def _minimal(text: str) -> str:
    """The first line, without links, dates and signs of its own."""
    bare = _SEQUENCE.sub(lambda found: found.group(1) or "", text.split("\n", 1)[0])
    bare = " ".join(re.sub("[*`]", "", _unescaped(bare)).split())
    return cut(bare, HEADER, _ENTITIES) or "Alerts"


_SEQUENCE = re.compile(r"<[^<>|]*(?:\|([^<>]*))?>")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def _unescaped(text: str) -> str:
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def _mrkdwn(text: str) -> Block:
    """`verbatim`: Slack makes no links and no names out of what only looks like them."""
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def _plain(text: str) -> Block:
    return {"type": "plain_text", "text": text, "emoji": True}
