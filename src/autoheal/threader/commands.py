"""`/autoheal …` in Slack: the cooldown of a rule, the mode, how it stands."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import structlog

from autoheal.core.duration import format_duration, parse_seconds
from autoheal.core.errors import Conflict, Invalid
from autoheal.threader.mrkdwn import clean, code, literal, when
from autoheal.threader.service import Operations, Threader

log = structlog.get_logger("slack")

HELP = (
    "`/autoheal status`: how it stands\n"
    "`/autoheal cooldown RULE 5m`: another cooldown for a rule; `reset`: as the policy has it (admins)\n"
    "`/autoheal mode live|dry-run|off`: what Autoheal may do; `dry-run` is the brake (admins)"
)
MODES = {"live": (True, False), "dry-run": (True, True), "off": (False, False)}
MAX_TEXT = 1000
MAX_COOLDOWN = 365 * 86400.0
Answer = dict[str, Any]


async def run(threader: Threader, user: str, actor: str, text: str) -> Answer:
    """What the person is told. AutohealErrors say what was wrong with it."""
    verb, *rest = text[:MAX_TEXT].split() or ["help"]
    if verb == "help":
        return said(HELP)
    if verb == "status" and not rest:
        return said(await _status(threader))
    if verb == "mode" and not rest:
        return said(_mode_now(await asyncio.to_thread(_ops(threader).status)))
    if verb not in ("mode", "cooldown"):
        return said(f"I do not know {code(verb, 100)}.\n{HELP}")
    if not threader.policy().may_administer(user):
        log.info("not_an_admin", actor=actor, verb=verb)
        return said(
            "Only admins may do this: somebody with access to Autoheal's policy can add you "
            f"(your Slack id is {literal(user, 30)}) to `threader.admins`. Nothing was changed."
        )
    return said(await (_mode if verb == "mode" else _cooldown)(_ops(threader), rest, actor))


def said(text: str) -> Answer:
    return {"response_type": "ephemeral", "text": text}


def _ops(threader: Threader) -> Operations:
    if threader.ops is None:
        raise Conflict("no remediator is here: this threader only tells of alerts")
    return threader.ops


async def _mode(ops: Operations, words: list[str], actor: str) -> str:
    wanted = MODES.get(words[0].lower()) if len(words) == 1 else None
    if wanted is None:
        raise Invalid("say `/autoheal mode live`, `dry-run` or `off`")
    await ops.mode(*wanted, actor)
    log.info("mode_by_slack", actor=actor, mode=words[0].lower())
    return f"The mode is now *{words[0].lower()}*."


async def _cooldown(ops: Operations, words: list[str], actor: str) -> str:
    if len(words) != 2:
        raise Invalid("say `/autoheal cooldown RULE 5m`, or `reset` in place of the time")
    rule, given = clean(words[0], 200), words[1].lower()
    seconds = None if given == "reset" else parse_seconds(given)
    if seconds is not None and not 0 < seconds <= MAX_COOLDOWN:
        raise Invalid("must be more than 0 and at most 365d", "cooldown")
    await ops.cooldown(rule, seconds, actor)
    log.info("cooldown_by_slack", actor=actor, rule=rule, seconds=seconds)
    if seconds is None:
        return f"The cooldown of {code(rule, 200)} is again as the policy has it."
    return f"The cooldown of {code(rule, 200)} is now {format_duration(seconds)}."


async def _status(threader: Threader) -> str:
    lines = []
    if threader.ops is not None:
        found = await asyncio.to_thread(threader.ops.status)
        lines.append(_mode_now(found))
        told = {name: value for name, value in found.items() if name not in _MODE and _plain(value)}
        lines += [f"{literal(name.replace('_', ' '), 50)}: {literal(str(value), 200)}" for name, value in told.items()]
    figures = await asyncio.to_thread(threader.threads.figures)
    waiting = sum(figures.depth.values())
    lines.append(f"conversations open: {figures.open}")
    lines.append(f"waiting for Slack: {waiting}" + (f", since {when(figures.oldest)}" if figures.oldest else ""))
    slack = threader.slack
    if slack.state in ("limited", "down"):
        lines.append(f"Slack: {slack.state}, {literal(slack.detail, 300)}")
    lines += [f"{literal(name, 80)}: {literal(text, 300)}" for name, text in list(slack.notes.items())[:10]]
    return "\n".join(lines)


_MODE = ("enabled", "dry_run")


def _mode_now(found: Mapping[str, Any]) -> str:
    enabled, dry_run = bool(found.get("enabled")), bool(found.get("dry_run"))
    return f"mode: *{'dry run' if dry_run else 'live' if enabled else 'off'}*"


def _plain(value: object) -> bool:
    return isinstance(value, (str, int, float)) and value != ""
