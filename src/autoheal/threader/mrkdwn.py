"""Text as Slack reads it: foreign text that cannot ping, link or format, cut to a length; dates, links, mentions. Pure.

Lengths are UTF-16 units of the escaped text: the strictest way in which Slack may count.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from datetime import UTC, datetime
from urllib.parse import quote, urlsplit

ELLIPSIS = "…"
UNKNOWN_TIME = "an unknown time"
_NOTHING = "\u200b"
"""A space without width: beside it Slack takes `*`, `_`, `~` and `:` for what they are."""
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_LAST_SECOND = 253_402_300_799
"""The end of the year 9999; nothing of ours is later."""
_LONGEST_LINK = 1000

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\\s]+")
_INVISIBLE = re.compile(
    "[\xad\u061c\u115f\u1160\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\u3164\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e0fff]"
)
"""What would turn the line, or hide text in it."""
_SURROGATE = re.compile("[\ud800-\udfff]")
_MARKS = re.compile(r"(?<![^\W_])[*_~]+(?=\S)|(?<=\S)[*_~]+(?![^\W_])")
"""Signs that may begin or end bold, italic or struck text: those at the edge of a word."""
_EMOJI = re.compile(r":(?=(?:[a-z0-9_+'-]*[a-z+-][a-z0-9_+'-]*|100|1234):)")
"""The colon before a name that may be a picture's; a port between colons stays as it is, to be copied."""
_EVERYBODY = re.compile(r"@(?=here|channel|everyone|group)", re.IGNORECASE)
_PERSON = re.compile(r"slack:([UW][A-Z0-9]{1,30})(?: \((.+)\))?", re.DOTALL)
_MENTION = re.compile(r"<!(?:here|channel|everyone)>|<@[UW][A-Z0-9]{1,30}>|<!subteam\^S[A-Z0-9]{1,30}>")
_RIGHT_TO_LEFT = {"R", "AL", "AN"}
_NEVER_FIRST = {"Mn", "Mc", "Me"}
_ROOM = 10
"""Units below which a text is too short to turn a line."""
_MOST_MARKS = 3
"""Marks on one letter; some writings need two, and what carries more is meant to hurt."""


def units(text: str) -> int:
    """The length of `text` as UTF-16 counts it."""
    return len(text) + sum(1 for char in text if char > "\uffff")


def clean(text: str, most: int) -> str:
    """One line without what would hide or turn text, at most about four times `most` long: to be cut afterwards."""
    text = text.strip()
    if len(text) > 4 * most + 100:
        text = text[: 4 * most + 100] + ELLIPSIS
    text = _INVISIBLE.sub("", _CONTROL.sub(" ", text)).strip()
    text = _SURROGATE.sub(lambda found: f"\\u{ord(found.group()):04x}", text)
    return text if text.isascii() else _tamed(text)


def _tamed(text: str) -> str:
    """No letter with a tower of marks, and no mark at the beginning, where it would sit on ours."""
    kept: list[str] = []
    marks = _MOST_MARKS
    for char in text:
        marks = marks + 1 if unicodedata.category(char) in _NEVER_FIRST else 0
        if marks <= _MOST_MARKS:
            kept.append(char)
    return "".join(kept)


def cut(text: str, most: int, entities: dict[str, str] | None = None) -> str:
    """`text` escaped by `entities`, and shortened where it would be longer than `most`."""
    entities = entities or {}
    text = text[: max(most, 0) + 1]  # every sign counts at least once
    parts = [entities.get(char, char) for char in text]
    if sum(map(units, parts)) <= most:
        return "".join(parts)
    opened = "\u2068" in text  # a direction that is begun must be ended
    room, kept = most - units(ELLIPSIS) - opened, 0
    while kept < len(parts) and (room := room - units(parts[kept])) >= 0:
        kept += 1
    while kept and (text[kept - 1] == "\u200d" or unicodedata.category(text[kept]) in _NEVER_FIRST):
        kept -= 1
    shown = "".join(parts[:kept]).rstrip() + ELLIPSIS
    if most <= opened:
        return ""
    return shown + "\u2069" if shown.count("\u2068") > shown.count("\u2069") else shown


def literal(text: str, most: int) -> str:
    """Foreign text for mrkdwn, exactly as it reads: nothing in it formats, links, pings or becomes a picture."""
    text = clean(text, most).replace("`", "'")
    text = _MARKS.sub(_unmarked, text)
    text = _EVERYBODY.sub("@" + _NOTHING, _EMOJI.sub(":" + _NOTHING, text))
    return _isolated(text, most)


def code(text: str, most: int) -> str:
    """Foreign text in code type, so that it can be copied as it is; empty for nothing."""
    text = _EVERYBODY.sub("@" + _NOTHING, clean(text, most).replace("`", "'"))
    return f"`{_isolated(text, most - 2)}`" if text else ""


def plain_text(text: str, most: int) -> str:
    """Foreign text for a title or a button, where Slack knows no escapes: angles are drawn as other angles."""
    text = clean(text, most).replace("<", "‹").replace(">", "›")
    text = _EVERYBODY.sub("@" + _NOTHING, _EMOJI.sub(":" + _NOTHING, text))
    return _isolated(text, most, {})


def when(at: float) -> str:
    """A moment that Slack shows in the reader's own time zone, in UTC where it cannot; never the present."""
    if not 0 < at <= _LAST_SECOND:  # not true of NaN either
        return UNKNOWN_TIME
    written = datetime.fromtimestamp(int(at), UTC).strftime("%Y-%m-%d %H:%M UTC")
    return f"<!date^{int(at)}^{{date_short_pretty}} at {{time}}|{written}>"


def lasted(seconds: float) -> str:
    """A time span for people: its two largest units, such as ``1h 5m``; empty where it is none."""
    if not 0 <= seconds <= _LAST_SECOND:
        return ""
    rest = int(seconds)
    parts: list[tuple[str, int]] = []
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        if rest >= length or (unit == "s" and not parts):
            parts.append((unit, rest // length))
            rest %= length
        elif parts:
            parts.append((unit, 0))
    return " ".join(f"{count}{unit}" for unit, count in parts[:2] if count or len(parts) == 1)


def address(url: str, most: int = _LONGEST_LINK) -> str:
    """`url` as it may stand in a link; empty where it is none of the web's, or too long."""
    url = _SURROGATE.sub("\ufffd", _INVISIBLE.sub("", url[: most + 1].strip()))
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    if parts.scheme not in ("http", "https") or not parts.netloc:
        return ""
    safe = quote(url, safe="%/:=&?~#+!$,;'@()*[]")
    return safe if len(safe) + 4 * safe.count("&") <= most else ""


def link(url: str, label: str, most: int = _LONGEST_LINK) -> str:
    """A link with a label of ours; empty where the address cannot be one."""
    safe = address(url, most)
    return f"<{safe.replace('&', '&amp;')}|{label}>" if safe else ""


def person(who: str, call: bool = False, most: int = 80) -> str:
    """Who did it, by name. `who` is as the trail has it: ``slack:U0ABC (alice)`` for a Slack user, who is notified
    with `call`, and has to be where no name is known."""
    found = _PERSON.fullmatch(who)
    if found is None:
        return literal(who, most) or "somebody"
    known = literal(found.group(2) or "", most)
    return known if known and not call else f"<@{found.group(1)}>"


def called(mentions: Iterable[str], most: int = 20) -> str:
    """The mentions that are Slack's, in their order, each once: the one place from which people are called."""
    kept = dict.fromkeys(mention for mention in mentions if _MENTION.fullmatch(mention))
    return " ".join(list(kept)[:most])


def calls(text: str) -> list[str]:
    """The mentions in a drawn text."""
    return list(dict.fromkeys(_MENTION.findall(text)))


def _unmarked(found: re.Match[str]) -> str:
    return _NOTHING + found.group() + _NOTHING


def _isolated(text: str, most: int, entities: dict[str, str] | None = None) -> str:
    """Cut and escaped; a text with letters that run to the left keeps that to itself."""
    entities = _ENTITIES if entities is None else entities
    if text.isascii() or most < _ROOM or not any(unicodedata.bidirectional(char) in _RIGHT_TO_LEFT for char in text):
        return cut(text, most, entities)
    return f"\u2068{cut(text, most - 2, entities)}\u2069"
