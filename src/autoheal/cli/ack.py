"""`autoheal ack` and `autoheal silence`: acknowledge an alert, see the silences, end one."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from autoheal.cli import render
from autoheal.cli.client import Json, Token, Url, connect
from autoheal.cli.given import label_set

if TYPE_CHECKING:
    from rich.text import Text

silence = typer.Typer(help="The silences in Alertmanager.", no_args_is_help=True, rich_markup_mode=None)

_STYLES = {"active": "green", "pending": "yellow", "expired": "dim"}


def ack(
    labels: Annotated[list[str], typer.Argument(metavar="LABEL=VALUE...", help="What the alert has; all must match.")],
    duration: Annotated[
        str, typer.Option("--for", metavar="DURATION", help="Such as 30m, 2h, 1d; 7d at most.")
    ] = "30m",
    comment: Annotated[str, typer.Option("--comment", metavar="TEXT", help="Why; others will read it.")] = "",
    as_json: Json = False,
    url: Url = None,
    token: Token = None,
) -> None:
    """Silence the alerts with exactly these labels. If they resolve, that is told, and the silence ends by itself."""
    from autoheal.core.duration import parse_duration
    from autoheal.core.errors import Invalid

    wanted = label_set(labels, "LABEL=VALUE")
    try:
        if parse_duration(duration) <= 0:
            raise Invalid("must be longer than nothing")
    except Invalid as error:
        raise Invalid(error.detail, "--for") from None
    with connect(url, token) as client:
        found = client.post("/ack", {"labels": wanted, "duration": duration, "comment": comment})
    if as_json:
        render.as_json(found)
        return
    ends = render.when_and_age(render.seconds_of(found.get("ends_at")), time.time())
    render.say(render.text("silenced", "bold green"), f"{{{render.labels(wanted)}}}", f"until {ends}")
    render.say(render.text(f"undo: autoheal silence expire {found.get('silence_id')}", "dim"))


@silence.command("list")
def list_(
    everything: Annotated[bool, typer.Option("--all", help="Expired ones too.")] = False,
    as_json: Json = False,
    url: Url = None,
    token: Token = None,
) -> None:
    """The silences that hold now or will; those of Autoheal are watched and end by themselves."""
    with connect(url, token) as client:
        found = client.get("/silences")
    items = [s for s in found.get("silences", []) if everything or s.get("state") != "expired"]
    if as_json:
        render.as_json({"silences": items})
    elif items:
        now = time.time()
        render.table(("ID", "STATE", "UNTIL", "WHAT"), [_row(item, now) for item in items])
    else:
        render.note("no silence")


def _row(item: Mapping[str, Any], now: float) -> tuple[Text | str, ...]:
    state = str(item.get("state", "?"))
    ends = render.seconds_of(item.get("endsAt"))
    what = render.joined(
        [
            ", ".join(_matcher(one) for one in item.get("matchers", ()) if isinstance(one, Mapping)),
            render.text(f"by {item['createdBy']}" if item.get("createdBy") else "", "dim"),
            f'"{item["comment"]}"' if item.get("comment") else "",
            render.text("(watched)" if item.get("ours") else "", "cyan"),
        ]
    )
    until = render.age(ends, now) or str(item.get("endsAt", ""))
    return str(item.get("id", "?")), render.text(state, _STYLES.get(state, "")), until, what


def _matcher(one: Mapping[str, Any]) -> str:
    equal = one.get("isEqual", True)
    op = ("=~" if equal else "!~") if one.get("isRegex") else ("=" if equal else "!=")
    return f'{one.get("name")}{op}"{one.get("value")}"'


@silence.command()
def expire(
    silence_id: Annotated[str, typer.Argument(metavar="ID")],
    as_json: Json = False,
    url: Url = None,
    token: Token = None,
) -> None:
    """End a silence now."""
    with connect(url, token) as client:
        found = client.post(f"/silences/{quote(silence_id, safe='')}/expire")
    if as_json:
        render.as_json(found)
    else:
        render.say(render.text("ended", "bold green"), silence_id)
