"""`autoheal cooldown`: how long each rule's cooldown is, and setting one without a new policy."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autoheal.cli import render
from autoheal.cli.client import Json, Token, Url, connect

if TYPE_CHECKING:
    from rich.text import Text

RESET = "reset"


def cooldown(
    rule: Annotated[str | None, typer.Argument(metavar="[RULE]", help="Without: show all rules.")] = None,
    wanted: Annotated[
        str | None,
        typer.Argument(metavar="[DURATION|reset]", help="Such as 5m, 30s at least; reset: what the policy says."),
    ] = None,
    as_json: Json = False,
    url: Url = None,
    token: Token = None,
) -> None:
    """Show the cooldowns, or set one. It holds until the rule is written anew, over restarts and on every replica.

    Example: autoheal cooldown crm-api-tcp-down 5m
    """
    seconds = _read(wanted)
    with connect(url, token) as client:
        if rule is None or wanted is None:
            found = client.get("/cooldown")
            rows = [row for row in found.get("cooldowns", []) if rule in (None, row.get("rule"))]
            if rule is not None and not rows:
                _nowhere(rule, found)
        else:
            rows = [client.post("/cooldown", {"rule": rule, "cooldown": seconds})]
    if as_json:
        render.as_json({"cooldowns": rows} if rule is None else rows[0])
    elif rows:
        now = time.time()
        render.table(("RULE", "COOLDOWN", "POLICY", "SET"), [_row(row, now) for row in rows])
    else:
        render.note("no rule")


def _read(wanted: str | None) -> str | None:
    """What is sent: a duration, or None for what the policy says. Invalid where it is neither."""
    from autoheal.core.duration import parse_seconds
    from autoheal.core.errors import Invalid

    if wanted is None or wanted == RESET:
        return None
    try:
        parse_seconds(wanted)
    except Invalid as error:
        raise Invalid(f"{error.detail}, or write reset", "DURATION") from None
    return wanted


def _nowhere(rule: str, found: Mapping[str, Any]) -> None:
    from autoheal.core.errors import NotFound
    from autoheal.core.nearest import did_you_mean

    near = did_you_mean(rule, [str(row.get("rule")) for row in found.get("cooldowns", [])])
    raise NotFound(f"there is no rule {rule!r}{near}")


def _row(row: Mapping[str, Any], now: float) -> tuple[Text | str, ...]:
    from autoheal.core.duration import format_duration

    by = row.get("by")
    said = f"by {by}, {render.when_and_age(row.get('since'), now)}" if by is not None else ""
    shown = render.text(format_duration(float(row["cooldown"])), "bold yellow" if by is not None else "")
    return str(row["rule"]), shown, format_duration(float(row["policy"])), render.text(said, "dim")
