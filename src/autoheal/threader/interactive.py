"""`POST /slack/interactive`: clicks and slash commands, proved to come from Slack, answered in 3 s, explained."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

import orjson
import structlog
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from autoheal.core.errors import AutohealError, Unknown
from autoheal.engine.ports import StoreUnavailable
from autoheal.threader import acknowledge, commands
from autoheal.threader.acknowledge import Hidden, Refused, Turns, Wish
from autoheal.threader.blocks import actions, button, section
from autoheal.threader.mrkdwn import clean, code, literal, when
from autoheal.threader.service import Threader
from autoheal.threader.signature import verify_signature
from autoheal.threader.tokens import UNDO, Claim
from autoheal.threader.uses import first
from autoheal.web.body import read_body
from autoheal.web.problems import Problem, answers, problem, public, unavailable

log = structlog.get_logger("slack")

PATHS = ("/slack/interactive", "/slack/commands")
MAX_BODY = 1024 * 1024
PATIENCE = 2.0
"""Seconds in which Slack is answered; what takes longer is told afterwards."""
REMEMBERED = 660.0
"""Seconds for which a signature is remembered: twice what its age may be, and a little."""
_ID = re.compile("[A-Z0-9]{2,30}")
SHOWN = 10
"""Alerts that are named one by one before somebody confirms."""
OURS = (
    "That did not work because of an error of Autoheal's own making; its log tells more. Look at the thread before you "
    "try again."
)
NOTHING = "Nothing was changed."
LOST = "Look at the thread or at Alertmanager before you try again."
NOT_YOU = (
    "Only operators may do this: somebody with access to Autoheal's policy can add you (your Slack id is {user}) to "
    "`threader.operators`. Nothing was changed."
)
STRANGER = "This Autoheal belongs to another workspace, and only its people may do this. Nothing was changed."
UNKNOWN = "Autoheal does not know this button; the message may be of another version. Nothing was changed."
FORM: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/x-www-form-urlencoded": {"schema": {"type": "object"}}},
    }
}
Data = Mapping[str, Any]
Answer = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Person:
    """Who asks, as Slack's signature proves."""

    user: str
    name: str
    team: str
    home: str
    """The workspace that the person belongs to."""

    @property
    def actor(self) -> str:
        return f"slack:{self.user} ({self.name})" if self.name else f"slack:{self.user}"


@dataclass(frozen=True, slots=True)
class Click:
    """What was clicked: the action's id, and the signed value of the button or of the chosen line."""

    person: Person
    action: str
    value: str
    respond: str
    ephemeral: bool
    """Whether it was in a message that only this person sees, and that may therefore be replaced."""


class Desk:
    """Does what people ask for; `finish` waits for what is still being done."""

    def __init__(self, threader: Threader, turns: Turns) -> None:
        self._threader, self._turns = threader, turns
        self._busy: set[asyncio.Task[None]] = set()

    async def finish(self, timeout: float = 5.0) -> None:
        if self._busy:
            await asyncio.wait(tuple(self._busy), timeout=timeout)

    async def clicked(self, click: Click, deadline: float) -> None:
        """Do it; return when it is done or the time to answer Slack has come, whatever is earlier."""
        await self._within(self._tell(click.respond, self._answer(click)), deadline)

    async def _answer(self, click: Click) -> Answer:
        nothing = "Nothing was silenced." if click.action.startswith("ack") else NOTHING
        return await self._done(self._click(click), nothing, click.ephemeral)

    async def commanded(self, person: Person, text: str, respond: str, deadline: float) -> Answer | None:
        """The answer of a slash command; None where it is told later."""
        working = asyncio.ensure_future(self._done(commands.run(self._threader, person.user, person.actor, text)))
        await self._within(_ended(working), deadline)
        if working.done():
            return working.result()
        self._keep(self._tell(respond, working))
        return None

    async def _within(self, work: Awaitable[None], deadline: float) -> None:
        task = self._keep(work)
        await asyncio.wait({task}, timeout=max(0.0, deadline - asyncio.get_running_loop().time()))

    def _keep(self, work: Awaitable[None]) -> asyncio.Task[None]:
        async def run() -> None:
            await work

        task = asyncio.create_task(run(), name="slack")
        self._busy.add(task)
        task.add_done_callback(self._busy.discard)
        return task

    async def _done(self, work: Awaitable[Answer], nothing: str = NOTHING, question: bool = False) -> Answer:
        """What came of it, in words for a person; never an exception. It takes the place of a `question`, unless that
        may be answered again."""
        try:
            return _instead(await work, question)
        except Refused as error:
            self._threader.metrics.errors.labels(f"refused_{error.reason}").inc()
            return _instead(_said(literal(str(error), 1000)), question and error.reason not in ("busy", "using"))
        except AutohealError as error:
            self._threader.metrics.errors.labels("interaction").inc()
            log.info("interaction_refused", error=str(error))
            if isinstance(error, Unknown):
                return _instead(_said(f"That came to no clear end: {_sentence(str(error))} {LOST}"), question)
            return _said(f"That did not work: {_sentence(str(error))} {nothing}")
        except StoreUnavailable as error:
            self._threader.metrics.errors.labels("store").inc()
            return _said(f"That did not work, try again in a moment: {_sentence(public(str(error)))} {nothing}")
        except Exception:
            self._threader.metrics.errors.labels("internal").inc()
            log.exception("interaction_failed")
            return _instead(_said(OURS), question)

    async def _tell(self, respond: str, work: Awaitable[Answer]) -> None:
        """Only the person who asked is told; the address for it is a secret and appears in no log."""
        answer = await work
        if not answer or not respond or self._threader.respond is None:
            return
        try:
            await self._threader.respond(respond, answer)
        except AutohealError as error:
            self._threader.metrics.errors.labels("respond").inc()
            log.warning("person_not_told", error=type(error).__name__)
        except Exception:
            self._threader.metrics.errors.labels("respond").inc()
            log.exception("person_not_told")

    # ---- clicks ----------------------------------------------------------------------------------------------------

    async def _click(self, click: Click) -> Answer:
        stranger = _stranger(self._threader, click.person)
        if stranger:
            return stranger
        verb, _, duration = click.action.partition(":")
        if verb == "ack_cancel":
            return {"delete_original": True} if click.ephemeral else {}
        if verb not in ("ack", "ack_one", "ack_confirm", "extend", UNDO):
            log.info("unknown_action", action=clean(click.action, 100))
            return _said(UNKNOWN)
        if not self._threader.policy().may_acknowledge(click.person.user):
            return _said(NOT_YOU.format(user=click.person.user))
        if verb == "ack_confirm":
            return await self._confirmed(click)
        late = self._threader.tokens.signed("button", click.value)
        claim = self._threader.tokens.read("button", click.value)
        if claim == "late" and late is not None and verb in ("ack", "ack_one"):
            return await self._asked_anew(click, late)
        claim = acknowledge.claim_of(self._threader, "button", click.value)
        if (claim.duration == UNDO) != (verb == UNDO) or duration not in ("", claim.duration):
            raise Refused("forged")
        async with self._turns.of(self._threader, claim.key):
            if verb == UNDO:
                return await self._undo(click, claim)
            if verb == "extend":
                return await self._extend(click, claim)
            return await self._ack(click, claim)

    async def _ack(self, click: Click, claim: Claim) -> Answer:
        wish = await acknowledge.wish_of(self._threader, claim)
        hidden = await acknowledge.preview(self._threader, wish)
        if hidden.others:
            return self._question(click, wish, hidden, "")
        return await self._silence(click, wish)

    async def _silence(self, click: Click, wish: Wish) -> Answer:
        said = f"acknowledged in Slack by {click.person.name or click.person.user}"
        actor = click.person.actor
        until = await acknowledge.acknowledge(self._threader, wish, actor, said)
        log.info("acknowledged", actor=actor, conversation=wish.c.key, scope=wish.claim.scope)
        return _said(
            f"Acknowledged until {when(until)}. If it resolves before, the thread says so and the silence ends."
        )

    def _question(self, click: Click, wish: Wish, hidden: Hidden, why: str) -> Answer:
        """What else would be hidden, and a button for who wants that."""
        threader, claim = self._threader, wish.claim
        token = threader.tokens.make("confirm", wish.c, claim.scope, claim.duration, hidden.digest(click.person.user))
        count = len(hidden.others)
        lines = [why] if why else []
        if count:
            what = "another alert" if count == 1 else f"{count} other alerts"
            lines.append(f"Silencing {code(acknowledge.braces(wish.labels), 600)} hides {what}, too:")
            lines += [f"• {code(acknowledge.braces(one.labels), 150)}" for one in hidden.others[:SHOWN]]
            lines += [f"… and {count - SHOWN} more"] if count > SHOWN else []
        else:
            lines.append(f"Silence {code(acknowledge.braces(wish.labels), 600)} for {claim.duration}?")
        lines.append("Nothing has been changed yet.")
        text = "\n".join(lines)
        label = f"Silence all of it for {claim.duration}" if count else f"Silence for {claim.duration}"
        pair = (button(label, "ack_confirm", token, "danger" if count else ""), button("Cancel", "ack_cancel", "no"))
        return {**_said(text), "blocks": [section(text), actions([one for one in pair if one is not None])]}

    async def _asked_anew(self, click: Click, late: Claim) -> Answer:
        """The button is too old: it does nothing, but what it stood for can still be had."""
        wish = await acknowledge.wish_of(self._threader, late)
        hidden = await acknowledge.preview(self._threader, wish)
        return self._question(click, wish, hidden, "This button is too old to act by itself.")

    async def _confirmed(self, click: Click) -> Answer:
        claim = acknowledge.claim_of(self._threader, "confirm", click.value)
        threader = self._threader
        async with acknowledge.once(threader, claim) as use, self._turns.of(threader, claim.key):
            wish = await acknowledge.wish_of(self._threader, claim)
            hidden = await acknowledge.preview(self._threader, wish)
            if hidden.others and hidden.digest(click.person.user) != claim.shown:
                return self._question(click, wish, hidden, "It is not the same any more as when you were asked.")
            answer = await self._silence(click, wish)
            use.acted = True
            return answer

    async def _extend(self, click: Click, claim: Claim) -> Answer:
        c = await acknowledge.conversation_of(self._threader, claim)
        until = await acknowledge.extend(self._threader, claim, c, click.person.actor)
        return _said(f"Acknowledged until {when(until)}.")

    async def _undo(self, click: Click, claim: Claim) -> Answer:
        c = await acknowledge.conversation_of(self._threader, claim)
        count = await acknowledge.undo(self._threader, claim, c, click.person.actor)
        return _said("The acknowledgement is taken back." if count else "It had ended already.")


async def _ended(work: Awaitable[Any]) -> None:
    await work


def _said(text: str) -> Answer:
    """To one person, and never in place of the message that everybody sees."""
    return {"response_type": "ephemeral", "replace_original": False, "text": text}


def _instead(answer: Answer, question: bool) -> Answer:
    return {**answer, "replace_original": True} if question and "text" in answer else answer


def _sentence(text: str) -> str:
    """An error's text, with an end to it."""
    return f"{literal(text, 1000).rstrip('. ')}."


def _stranger(threader: Threader, person: Person) -> Answer | None:
    """The bot's own workspace only: a shared channel shows its messages to people of others."""
    ours = threader.slack.team_id
    if not ours:
        return _said("Autoheal does not know yet which workspace it belongs to; try again in a moment.")
    if person.team == ours and person.home == ours and person.user:
        return None
    threader.metrics.errors.labels("foreign_team").inc()
    log.warning("foreign_team", user=person.user, team=person.team, home=person.home)
    return _said(STRANGER)


# ---- the door ---------------------------------------------------------------------------------------------------


def install(app: FastAPI, threader: Threader, turns: Turns) -> Desk:
    """`POST /slack/interactive`, and `/slack/commands`, which is the same."""
    desk = Desk(threader, turns)

    async def interactive(request: Request) -> Response:
        """Slack's clicks and slash commands, signed by Slack."""
        return await receive(request, threader, desk)

    codes = answers(400, 401, 404, 408, 413, 503)
    app.post(PATHS[0], tags=["slack"], responses=codes, response_model=None, openapi_extra=FORM)(interactive)
    app.post(PATHS[1], include_in_schema=False)(interactive)
    return desk


async def receive(request: Request, threader: Threader, desk: Desk) -> Response:
    """401 without a word where it is not surely Slack's; else 200, whatever comes of it."""
    secret = threader.signing_secret
    if not secret:
        return problem(404, "Not Found")
    body = await read_body(request, MAX_BODY, threader.body_timeout)
    deadline = asyncio.get_running_loop().time() + PATIENCE
    try:
        async with asyncio.timeout_at(deadline):
            proved = await _proved(request, threader, secret, body)
    except StoreUnavailable as error:
        return unavailable(error)
    except TimeoutError:
        return unavailable(StoreUnavailable("the store does not answer in time"))
    if not proved:
        threader.metrics.errors.labels("unauthorized").inc()
        return problem(401, "not authorised")
    try:
        form = dict(parse_qsl(body.decode("utf-8"), keep_blank_values=True, max_num_fields=50))
        payload = orjson.loads(form["payload"]) if "payload" in form else None
    except (UnicodeDecodeError, ValueError) as error:
        raise Problem(400, "this is not a form as Slack sends it", field="body") from error
    if threader.stopping:
        return unavailable(StoreUnavailable("autoheal is stopping"))
    click = _click_of(payload) if isinstance(payload, dict) else None
    if click is not None:
        await desk.clicked(click, deadline)
    elif "command" in form:
        return await _commanded(form, threader, desk, deadline)
    return Response()


async def _commanded(form: Mapping[str, str], threader: Threader, desk: Desk, deadline: float) -> Response:
    team = _id(form.get("team_id", ""))
    person = Person(_id(form.get("user_id", "")), _name(form.get("user_name", "")), team, team)
    answer = _stranger(threader, person)
    if answer is None:
        text = form.get("text", "")
        answer = await desk.commanded(person, text, form.get("response_url", ""), deadline)
    return Response() if answer is None else Response(orjson.dumps(answer), media_type="application/json")


async def _proved(request: Request, threader: Threader, secret: str, body: bytes) -> bool:
    """Signed with our secret, lately, and not seen before."""
    stamps = request.headers.getlist("x-slack-request-timestamp")
    signatures = request.headers.getlist("x-slack-signature")
    if len(stamps) != 1 or len(signatures) != 1:
        return False
    if not verify_signature(secret, stamps[0], body, signatures[0], threader.clock.now()):
        return False
    return await asyncio.to_thread(first, threader, f"slack:{signatures[0]}", REMEMBERED)


def _click_of(payload: Data) -> Click | None:
    """What was clicked; None for what asks for nothing, such as a button that only leads somewhere."""
    clicked = payload.get("actions")
    action = clicked[0] if isinstance(clicked, list) and clicked else None
    if payload.get("type") != "block_actions" or not isinstance(action, dict) or _text(action, "url"):
        return None
    user = _part(payload, "user")
    name = _text(user, "username") or _text(user, "name")
    team, home = _text(_part(payload, "team"), "id"), _text(user, "team_id")
    person = Person(_id(_text(user, "id")), _name(name), _id(team), _id(home))
    value = _text(action, "value") or _text(_part(action, "selected_option"), "value")
    alone = _part(payload, "container").get("is_ephemeral") is True
    return Click(person, _text(action, "action_id"), value, _text(payload, "response_url"), alone)


def _part(data: Data, name: str) -> Data:
    found = data.get(name)
    return found if isinstance(found, dict) else {}


def _text(data: Data, name: str) -> str:
    found = data.get(name)
    return found if isinstance(found, str) else ""


def _id(text: str) -> str:
    """Slack's id of a person or a workspace; empty where it is none."""
    return text if _ID.fullmatch(text) else ""


def _name(text: str) -> str:
    """A name as it may stand in a silence's author and in the trail: one short line."""
    return clean(text, 60)[:60].replace("(", "").replace(")", "")
