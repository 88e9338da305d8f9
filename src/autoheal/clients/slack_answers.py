"""What Slack's answers mean: done, not done, perhaps done, or not yet."""

from __future__ import annotations

import json
import math
import re
from typing import Any

from autoheal.clients.exchange import Reply
from autoheal.core.errors import Permanent, Temporary, Unknown

RETRY_AFTER, SOON, LONGEST_WAIT = 30.0, 1.0, 600.0
"""Seconds to wait after a 429: where it does not say how long, where it says "at once", and at most."""
_TOKEN = re.compile(r"xox[a-z]-[\w-]+|xapp-[\w-]+")
MAYBE_DONE = frozenset(
    {"fatal_error", "internal_error", "service_unavailable", "request_timeout", "team_added_to_org", "rollup_error"}
)
"""Slack's own words for "some of it may have happened"."""
RATE = frozenset({"ratelimited", "rate_limited"})

Data = dict[str, Any]


class RateLimited(Temporary):
    """Nothing was done; ask again in `retry_after` seconds."""

    def __init__(self, retry_after: float, what: str = "Slack") -> None:
        super().__init__(f"{what}: rate limited for {retry_after:g}s")
        self.retry_after = retry_after


class SlackRefused(Permanent):
    """Nothing was done. `code` is Slack's word (`channel_not_found`), `needed` the scope that is missing, `details`
    what it says beside it, such as the block that is invalid."""

    def __init__(self, code: str, what: str = "Slack", needed: str = "", details: str = "") -> None:
        more = f" (needs the scope {needed})" if needed else f": {details}" if details else ""
        super().__init__(f"{what}: {code}{more}")
        self.code = code
        self.needed = needed
        self.details = details


def read(answer: Reply, what: str) -> Data:
    """The answer's body where it says ok."""
    if answer.status == 429:
        raise RateLimited(_wait(answer), what)
    data = _data(answer)
    code = data.get("error") if data is not None and data.get("ok") is False else None
    if answer.status >= 500 or answer.status == 408:
        raise Unknown(f"{what}: answered {answer.status}{f' {_short(code)}' if code else ''}")
    if code is not None:
        raise _complaint(str(code), data or {}, answer, what)
    if not answer.ok:
        raise SlackRefused(f"http_{answer.status}", what, details=_short(answer.text))
    if data is None or data.get("ok") is not True:
        raise Unknown(f"{what}: answered {answer.status} with something that is not Slack's: {_short(answer.text)}")
    return data


def read_word(answer: Reply, what: str) -> None:
    """Webhooks answer with a word, response URLs sometimes with JSON."""
    if answer.status == 429:
        raise RateLimited(_wait(answer), what)
    data = _data(answer) or {}
    word = str(data.get("error") or answer.text.strip())
    if answer.status >= 500 or answer.status == 408 or word in MAYBE_DONE:
        raise Unknown(f"{what}: answered {answer.status} {_short(word)}")
    if not answer.ok or data.get("ok") is False:
        if not re.fullmatch(r"[a-z_0-9]{1,100}", word):
            raise SlackRefused(f"http_{answer.status}", what, details=_short(word))
        raise _complaint(word, data, answer, what)
    if word != "ok" and data.get("ok") is not True:
        raise Unknown(f"{what}: answered {answer.status} with something that is not Slack's: {_short(word)}")


def _complaint(code: str, data: Data, answer: Reply, what: str) -> Exception:
    if code in RATE:
        return RateLimited(_wait(answer), what)
    if code in MAYBE_DONE:
        return Unknown(f"{what}: {code}")
    told = data.get("response_metadata")
    lists = [told.get("messages") if isinstance(told, dict) else None, data.get("errors")]
    found = dict.fromkeys(str(one).removeprefix("[ERROR] ") for some in lists if isinstance(some, list) for one in some)
    details = "; ".join(list(found)[:10])
    return SlackRefused(_short(code), what, _short(str(data.get("needed") or "")), _short(details, 1000))


def _data(answer: Reply) -> Data | None:
    """The body as a JSON object, None where it is cut or something else."""
    try:
        found = json.loads(answer.body) if answer.complete else None
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _wait(answer: Reply) -> float:
    """Retry-After in seconds. Slack's are whole; a fraction is taken as it is, but never so that we would spin."""
    try:
        seconds = float(answer.headers.get("Retry-After", ""))
    except ValueError:
        return RETRY_AFTER
    if not math.isfinite(seconds):
        return RETRY_AFTER
    return min(max(seconds, 0.05), LONGEST_WAIT) if seconds > 0 else SOON


def _short(text: object, length: int = 200) -> str:
    """One line of what was answered, without anything that looks like a token."""
    return _TOKEN.sub("xox…", " ".join(str(text).split()))[:length]
