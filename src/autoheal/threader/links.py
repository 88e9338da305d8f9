"""`/slack/ack`: the links that we sign. A GET shows, whoever sends it; a person's typed digits act, once."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Coroutine, Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode

import structlog
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from autoheal.core.errors import AutohealError, Conflict, Unknown
from autoheal.core.threads import ThreadPolicy
from autoheal.engine.ports import StoreUnavailable
from autoheal.threader import acknowledge, pages
from autoheal.threader.acknowledge import Hidden, Refused, Turns, Wish
from autoheal.threader.conversation import Conversation, Member, covers
from autoheal.threader.mrkdwn import clean
from autoheal.threader.service import Threader
from autoheal.threader.tokens import Claim, Tokens
from autoheal.web.body import read_body
from autoheal.web.problems import answers, public

log = structlog.get_logger("links")

PATH = "/slack/ack"
SAID = "acknowledged by a link"
ACTOR = "link"
"""Who acknowledges here: the link proves that somebody saw the message, and no more."""
MAX_FORM = 16 * 1024
STATUS = {
    "forged": 403,
    "late": 410,
    "gone": 410,
    "used": 409,
    "using": 409,
    "busy": 409,
    "changed": 409,
    "resolved": 409,
    "broad": 409,
    "unnamed": 403,
}
PAGES: dict[int | str, str] = {
    403: "Not a link of ours, or not a person",
    409: "The alerts are not what they were, or the link was used",
    410: "Too old",
    502: "Alertmanager did not take it",
    503: "The store is away",
}
FORM: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/x-www-form-urlencoded": {
                "schema": {
                    "type": "object",
                    "required": ["t", "code"],
                    "properties": {name: {"type": "string"} for name in ("t", "code", "shown", "comment")},
                }
            }
        },
    }
}
TITLES = {
    "forged": "Not a link of ours",
    "late": "This link is too old",
    "gone": "This link is too old",
    "used": "This link was used already",
    "using": "This link is being used",
    "busy": "Somebody else is busy with it",
    "changed": "The group has changed",
    "resolved": "Already resolved",
}
NOTHING = "Nothing was changed"
NOTHING_SURE = "That did not work"
UNSURE = "Nobody can tell whether that worked"
LOST = (
    "Alertmanager was asked, and then something failed: the silence may be in place or not. Look at Alertmanager or at "
    "the thread before you ask again. This link is used up."
)
WRONG = "These were not the digits. Nothing was changed."
AWAY = "Alertmanager did not take it, or does not answer: nothing was silenced. Try again later."
OTHERS = "What it would hide is not the same any more as when you were shown it. Nothing was changed."


def signed(
    tokens: Tokens, public_url: str, policy: Callable[[], ThreadPolicy] = ThreadPolicy
) -> Callable[[Conversation, str, str], str]:
    """What makes the links of messages (`look.Look.link`): empty where there is nothing to acknowledge, and where only
    named people may, whom a link cannot tell."""
    base = public_url.rstrip("/")

    def link(c: Conversation, scope: str, duration: str) -> str:
        token = tokens.make("link", c, scope, duration) if base and policy().operators is None else ""
        return f"{base}{PATH}?{urlencode({'t': token})}" if token else ""

    return link


def install(app: FastAPI, threader: Threader, turns: Turns) -> None:
    """`GET`, `HEAD` and `POST` of `/slack/ack`; nobody has to sign in, for the link itself is signed."""

    async def show(request: Request, t: str = "") -> Response:
        """What the link would silence; changes nothing."""
        return await _answered(threader, _shown(threader, t))

    async def act(request: Request) -> Response:
        """The page's form, with the digits that a person has typed."""
        form = _form(await read_body(request, MAX_FORM, threader.body_timeout))
        return await _answered(threader, _acted(threader, turns, form))

    codes: dict[int | str, dict[str, Any]] = {
        code: {"description": text, "content": {"text/html": {}}} for code, text in PAGES.items()
    }
    app.get(PATH, tags=["slack"], responses={**codes, **answers(400)}, response_class=HTMLResponse)(show)
    app.head(PATH, include_in_schema=False, response_class=HTMLResponse)(show)
    posted = {**codes, **answers(400, 408, 413)}
    app.post(PATH, tags=["slack"], responses=posted, response_class=HTMLResponse, openapi_extra=FORM)(act)


def _claim(threader: Threader, token: str) -> Claim:
    claim = acknowledge.claim_of(threader, "link", token)
    if threader.policy().operators is not None:
        raise Refused("unnamed")
    return claim


async def _shown(threader: Threader, token: str, note: str = "", status: int = 200) -> Response:
    wish = await acknowledge.wish_of(threader, _claim(threader, token))
    hidden = await acknowledge.preview(threader, wish)
    return _asked(threader, token, wish, hidden, note, status)


def _asked(threader: Threader, token: str, wish: Wish, hidden: Hidden, note: str = "", status: int = 200) -> Response:
    text = pages.ask(
        wish.labels,
        wish.claim.duration,
        [_named(member) for member in wish.c.firing if covers(wish.labels, member)],
        [one.labels for one in hidden.others],
        token,
        threader.tokens.code(token),
        hidden.digest(ACTOR),
        note,
    )
    return HTMLResponse(text, status, pages.HEADERS)


async def _acted(threader: Threader, turns: Turns, form: Mapping[str, str]) -> Response:
    token = form.get("t", "")
    claim = _claim(threader, token)
    if not _same_digits(form.get("code", ""), threader.tokens.code(token)):
        return await _shown(threader, token, WRONG, 403)
    comment = clean(form.get("comment", ""), 200)[:200]
    async with acknowledge.once(threader, claim) as use, turns.of(threader, claim.key):
        wish = await acknowledge.wish_of(threader, claim)
        hidden = await acknowledge.preview(threader, wish)
        if hidden.others and hidden.digest(ACTOR) != form.get("shown", ""):
            return _asked(threader, token, wish, hidden, OTHERS, 409)
        await acknowledge.acknowledge(threader, wish, ACTOR, comment or SAID)
        use.acted = True
    log.info("acknowledged", actor=ACTOR, conversation=wish.c.key, scope=claim.scope)
    text = f"A silence for {claim.duration} is in place. If the alert resolves, that is told and the silence ends."
    return HTMLResponse(pages.told("Acknowledged", text), headers=pages.HEADERS)


async def _answered(threader: Threader, work: Coroutine[Any, Any, Response]) -> Response:
    """What comes of it; every refusal is a page, too."""
    try:
        return await work
    except Refused as error:
        threader.metrics.errors.labels(f"refused_{error.reason}").inc()
        return _told(threader, STATUS.get(error.reason, 409), TITLES.get(error.reason, NOTHING), str(error))
    except Conflict as error:
        return _told(threader, 409, NOTHING, str(error))
    except AutohealError as error:
        threader.metrics.errors.labels("link").inc()
        log.warning("link_failed", error=str(error))
        if isinstance(error, Unknown):
            return _told(threader, 502, UNSURE, LOST)
        return _told(threader, 502, NOTHING_SURE, AWAY)
    except StoreUnavailable as error:
        threader.metrics.errors.labels("store").inc()
        return _told(threader, 503, NOTHING_SURE, f"Nothing was silenced. Try again in a moment: {public(str(error))}.")


def _told(threader: Threader, status: int, title: str, text: str) -> Response:
    return HTMLResponse(pages.told(title, text, threader.console_url), status, pages.HEADERS)


def _form(body: bytes) -> dict[str, str]:
    """The fields of a form; what is none has no fields."""
    try:
        return dict(parse_qsl(body.decode("utf-8"), keep_blank_values=True, max_num_fields=10))
    except ValueError:
        return {}


def _same_digits(given: str, known: str) -> bool:
    """As a person types them, with or without spaces."""
    digits = "".join(given.split())
    return hmac.compare_digest(digits.encode("utf-8", "replace"), known.encode())


def _named(member: Member) -> str:
    return member.summary or acknowledge.braces(member.labels)
