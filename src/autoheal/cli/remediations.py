"""`autoheal remediations`: what is being healed, how it went, and the word of a person where one is needed."""

from __future__ import annotations

import time
from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from autoheal.cli import event_rows, render
from autoheal.cli.client import Json, Token, Url, connect
from autoheal.core.errors import Invalid

if TYPE_CHECKING:
    from rich.text import Text

app = typer.Typer(help="What is being healed and how it went.", invoke_without_command=True, rich_markup_mode=None)

Id = Annotated[str, typer.Argument(metavar="ID", help="Such as r17.")]
Note = Annotated[str, typer.Option("--note", metavar="TEXT", help="Goes into the trail with your word.")]
State = Annotated[str | None, typer.Option("--state", metavar="STATE", help="Such as running, held, unknown, healed.")]
Rule = Annotated[str | None, typer.Option("--rule", metavar="NAME", help="Of this rule.")]
Count = Annotated[int, typer.Option("-n", min=1, max=10_000, help="How many, the newest.")]


class Outcome(StrEnum):
    healed = "healed"
    failed = "failed"


_STYLES = {
    "healed": "green",
    "failed": "red",
    "exhausted": "red",
    "unknown": "bold magenta",
    "held": "yellow",
    "rejected": "yellow",
    "cancelled": "dim",
    "expired": "dim",
    "running": "bold blue",
    "reserved": "blue",
    "verifying": "blue",
}


@app.callback()
def remediations(context: typer.Context, as_json: Json = False, url: Url = None, token: Token = None) -> None:
    """Without a verb: list them."""
    if context.invoked_subcommand is None:
        _list(None, None, 50, as_json, url, token)


@app.command("list")
def list_(
    state: State = None, rule: Rule = None, n: Count = 50, as_json: Json = False, url: Url = None, token: Token = None
) -> None:
    """The newest first."""
    _list(state, rule, n, as_json, url, token)


def _list(state: str | None, rule: str | None, n: int, as_json: bool, url: str | None, token: str | None) -> None:
    from autoheal.config.mistakes import did_you_mean
    from autoheal.core.remediation import FINAL, OPEN, UNKNOWN

    states = {*OPEN, *FINAL, UNKNOWN}
    if state is not None and state not in states:
        raise Invalid(f"there is no state {state!r}{did_you_mean(state, states)}", "--state")
    with connect(url, token) as client:
        found = client.get("/remediations", {"state": state, "rule": rule, "n": n})
    if as_json:
        render.as_json(found)
        return
    items: list[dict[str, Any]] = found.get("remediations", [])
    if not items:
        render.note("no remediation matches")
        return
    now = time.time()
    render.table(("ID", "STATE", "SINCE", "WHAT"), [_row(item, now) for item in items])


def _row(item: Mapping[str, Any], now: float) -> tuple[Text | str, ...]:
    state = _state(item)
    since = render.age(item.get("ended_at") or item.get("started_at") or item.get("created_at"), now)
    labels = item.get("labels")
    instance = labels.get("instance") if isinstance(labels, Mapping) else None
    what = render.joined(
        [
            render.text(item.get("alertname", ""), "bold"),
            f"on {instance}" if instance else "",
            str(item.get("cmd") or ""),
            render.text(f"({item['rule']})" if item.get("rule") else "", "dim"),
            render.text(_why(item), "yellow"),
        ]
    )
    return str(item.get("id", "?")), state, since, what


def _state(item: Mapping[str, Any]) -> Text:
    state = str(item.get("state", "?"))
    return render.text(state, _STYLES.get(state, ""))


def _why(item: Mapping[str, Any]) -> str:
    if item.get("state") == "held":
        return f"waits: {item.get('hold')}"
    if item.get("state") == "unknown":
        return "a person must settle it"
    if item.get("state") == "verifying" and item.get("inconclusive"):
        return "no data to judge by: a person must settle it"
    return str(item.get("reason") or "")


@app.command()
def show(remediation_id: Id, as_json: Json = False, url: Url = None, token: Token = None) -> None:
    """One of them: its steps, the gates that it passed, its events."""
    with connect(url, token) as client:
        found = client.get(f"/remediations/{quote(remediation_id, safe='')}")
    if as_json:
        render.as_json(found)
    else:
        _show(found, time.time())


def _show(item: Mapping[str, Any], now: float) -> None:
    def at(name: str) -> str | None:
        return render.when_and_age(item[name], now) if item.get(name) else None

    render.say(render.text(item.get("id", "?"), "bold"), _state(item), render.text(_why(item), "yellow"))
    render.pairs(
        [
            ("alert", render.labels(item.get("labels"))),
            ("rule", str(item.get("rule") or "")),
            ("key", str(item.get("key") or "")),
            ("command", str(item.get("cmd") or "")),
            ("attempt", f"{item.get('attempt', 1)}, step {int(item.get('step', 0)) + 1} of {item.get('ladder', 1)}"),
            ("firing since", at("starts_at")),
            ("decided", at("created_at")),
            ("held until", at("hold_until")),
            ("approved by", str(item.get("approved_by") or "")),
            ("started", at("started_at")),
            ("verified until", at("verify_until")),
            ("ended", at("ended_at")),
            ("effect", str(item.get("effect") or "")),
            ("marked", str(item.get("marked") or "")),
        ]
    )
    if item.get("steps"):
        render.heading("Steps")
        headers = ("STEP", "STARTED", "TOOK", "RESULT", "WHAT")
        render.table(headers, [_step(number, step, now) for number, step in enumerate(item["steps"], 1)])
    trace = item.get("trace")
    if isinstance(trace, Mapping) and trace:
        render.heading("Gates")
        render.table(("GATE", "WHY"), [(str(gate), str(why)) for gate, why in trace.items()])
    if item.get("events"):
        render.heading("Events")
        render.table(event_rows.HEADERS, [event_rows.row(event, now) for event in item["events"]])


def _step(number: int, step: Mapping[str, Any], now: float) -> tuple[Text | str, ...]:
    result, verdict = str(step.get("result") or "runs"), str(step.get("verdict") or "")
    bad = result in ("fail", "unknown") or verdict == "fail"
    good = verdict == "ok" or (result == "ok" and not verdict)
    shown = render.text(
        result + (f", verified {verdict}" if verdict else ""), "red" if bad else "green" if good else ""
    )
    took = step.get("duration_seconds")
    code = f"rc={step['rc']}" if step.get("rc") else ""
    what = render.joined(
        [str(step.get("cmd") or ""), code, render.text(step.get("error") or "", "red"), str(step.get("detail") or "")]
    )
    started = render.when(step["started_at"], now) if step.get("started_at") else ""
    return str(number), started, f"{took:.3g}s" if isinstance(took, int | float) else "", shown, what


# ---- the word of a person ---------------------------------------------------------------------------------------


@app.command()
def approve(remediation_id: Id, note: Note = "", as_json: Json = False, url: Url = None, token: Token = None) -> None:
    """Let a held one go on; it walks all gates again with fresh facts."""
    _tell(remediation_id, "approve", {"note": note}, as_json, url, token)


@app.command()
def reject(remediation_id: Id, note: Note = "", as_json: Json = False, url: Url = None, token: Token = None) -> None:
    """End a held one; nothing is done."""
    _tell(remediation_id, "reject", {"note": note}, as_json, url, token)


@app.command()
def cancel(remediation_id: Id, note: Note = "", as_json: Json = False, url: Url = None, token: Token = None) -> None:
    """End one that has not started, or stop waiting for its verification. What runs, ends by itself."""
    _tell(remediation_id, "cancel", {"note": note}, as_json, url, token)


@app.command()
def settle(
    remediation_id: Id,
    outcome: Annotated[Outcome, typer.Option("--outcome", help="How it really ended.")],
    note: Note = "",
    as_json: Json = False,
    url: Url = None,
    token: Token = None,
) -> None:
    """Say how one really ended that Autoheal cannot know about; its key is free again then."""
    _tell(remediation_id, "settle", {"outcome": outcome.value, "note": note}, as_json, url, token)


@app.command()
def mark(remediation_id: Id, note: Note = "", as_json: Json = False, url: Url = None, token: Token = None) -> None:
    """Mark one as a false positive: nothing had to be healed."""
    _tell(remediation_id, "mark", {"note": note}, as_json, url, token)


def _tell(
    remediation_id: str, verb: str, body: dict[str, Any], as_json: bool, url: str | None, token: str | None
) -> None:
    with connect(url, token) as client:
        found = client.post(f"/remediations/{quote(remediation_id, safe='')}/{verb}", body)
    if as_json:
        render.as_json(found)
    else:
        render.say(render.text(remediation_id, "bold"), "is", _state(found))
