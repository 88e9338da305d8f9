"""`autoheal policy`: check the file, explain a decision, print the schema."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autoheal.cli import render
from autoheal.cli.client import Json, Token, Url, connect
from autoheal.cli.exits import NO, WRONG_USE, complain
from autoheal.cli.given import ManyEach, label_set
from autoheal.core.errors import Invalid

if TYPE_CHECKING:
    from autoheal.config.mistakes import Mistake
    from autoheal.config.settings import Settings
    from autoheal.core.alert import Alert
    from autoheal.core.policy import Policy, Rule

app = typer.Typer(help="Which alert is healed how.", no_args_is_help=True, rich_markup_mode=None)

STDIN = Path("-")
_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
"""Where a line ends for those who counted the mistakes' lines."""
_AROUND = 90
"""Characters of a long line that are shown around a mistake."""


# ---- check ------------------------------------------------------------------------------------------------------


@app.command()
def check(
    file: Annotated[
        Path | None,
        typer.Argument(metavar="[FILE]", help="- is stdin. Default: AUTOHEAL_POLICY_FILE, else the example."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Read a policy and tell every mistake with its line. Exit code 1 where there is one."""
    from autoheal.config.mistakes import PolicyErrors

    settings = _settings()
    path = file if file is not None else settings.policy_file
    data = sys.stdin.buffer.read() if path == STDIN else None
    try:
        policy = _load(path, settings, data)
    except PolicyErrors as error:
        if as_json:
            render.as_json({"ok": False, "mistakes": [_mistake(one) for one in error.mistakes]})
        else:
            _show_mistakes(error.mistakes, _source(path, data))
        raise typer.Exit(NO) from None
    if as_json:
        rules = [
            {"name": rule.name, "match": [str(m) for m in rule.match]} | ({"queue": rule.queue} if rule.queue else {})
            for rule in policy.rules
        ]
        render.as_json({"ok": True, "source": policy.source, "digest": policy.digest, "rules": rules, "mistakes": []})
    else:
        _show_rules(policy)


def _settings() -> Settings:
    """The settings; every mistake in the environment ends the command."""
    from autoheal.config.mistakes import SettingsErrors
    from autoheal.config.settings import Settings

    try:
        return Settings.from_env(os.environ)
    except SettingsErrors as error:
        complain(str(error))
        raise typer.Exit(WRONG_USE) from None


def _load(path: Path | None, settings: Settings, data: bytes | None = None) -> Policy:
    from autoheal import actions
    from autoheal.config.policy_file import load_policy, parse_policy

    if data is not None:
        return parse_policy(data, "stdin", os.environ, actions.KINDS, settings.policy_defaults)
    return load_policy(path, os.environ, actions.KINDS, settings.policy_defaults)


def _source(path: Path | None, data: bytes | None) -> list[str]:
    """The lines that were read, for showing; none where they cannot be."""
    from autoheal.config.policy_file import example_policy

    try:
        raw = data if data is not None else example_policy() if path is None else path.read_bytes()
    except OSError:
        return []
    return _BREAK.split(raw.decode("utf-8-sig", "replace"))


def _mistake(one: Mistake) -> dict[str, Any]:
    return {"file": one.file, "line": one.line, "column": one.column, "message": one.message}


def _show_mistakes(mistakes: Sequence[Mistake], source: Sequence[str]) -> None:
    for one in mistakes:
        place = render.text(f"{one.file}:{one.line}:{one.column}:", "bold")
        render.say(place, render.text(one.message, "red"))
        if one.line <= len(source) and source[one.line - 1].strip():
            for line in pointed(source[one.line - 1], one.line, one.column):
                render.say(render.text(line, "dim"))
    render.say(render.counted(len(mistakes), "mistake"))


def pointed(line: str, number: int, column: int) -> tuple[str, str]:
    """A line of the file with its number, and a caret below the column; of a long one, what is around it."""
    from rich.cells import cell_len

    start = max(0, column - 1 - _AROUND // 2) if len(line) > _AROUND else 0
    before = render.clean(line[start : column - 1].replace("\t", " "))
    shown = before + render.clean(line[column - 1 : start + _AROUND].replace("\t", " "))
    dots = "..." if start else ""
    lead = f"{number:>6} | {dots}"
    return lead + shown, f"{'':>6} | {' ' * (len(dots) + cell_len(before))}^"


def _show_rules(policy: Policy) -> None:
    told = render.counted(len(policy.rules), "rule")
    if policy.probes:
        told += ", " + render.counted(len(policy.probes), "probe")
    render.say(render.text("fine:", "bold green"), policy.source, f"({told}, digest {policy.digest[:12]})")
    if policy.rules:
        render.table(("RULE", "COOLDOWN", "STEPS", "MATCH"), [_rule(rule) for rule in policy.rules])


def _rule(rule: Rule) -> tuple[str, ...]:
    from autoheal.core.duration import format_duration

    steps = ", ".join(step.action.kind + ("" if step.verify else " (unverified)") for step in rule.steps)
    asks = "" if rule.approval_timeout is None else "approval, "
    where = f" in queue {rule.queue}" if rule.queue else ""
    return rule.name, format_duration(rule.cooldown), asks + steps + where, ", ".join(map(str, rule.match))


# ---- explain ----------------------------------------------------------------------------------------------------


@app.command(cls=ManyEach)
def explain(
    labels: Annotated[
        list[str] | None, typer.Option("--labels", metavar="NAME=VALUE...", help="The alert's labels.")
    ] = None,
    annotations: Annotated[
        list[str] | None, typer.Option("--annotations", metavar="NAME=VALUE...", help="Its annotations.")
    ] = None,
    alert: Annotated[
        Path | None, typer.Option("--alert", metavar="FILE", help="An alert or a webhook as JSON; - is stdin.")
    ] = None,
    policy: Annotated[
        Path | None, typer.Option("--policy", metavar="FILE", help="Offline. Default: AUTOHEAL_POLICY_FILE.")
    ] = None,
    as_json: Json = False,
    url: Url = None,
    token: Token = None,
) -> None:
    """What would be decided now, and every gate's verdict. Asks a running Autoheal only where --url is given."""
    now = time.time()
    alerts = _alerts(labels or [], annotations or [], alert, now)
    if url is not None and policy is not None:
        raise Invalid("a running Autoheal has its own policy; leave --policy or --url out", "--policy")
    loaded = None if url is not None else _policy_for(policy)
    found = _ask(alerts, url, token) if loaded is None else _offline(alerts, loaded, now)
    if as_json:
        render.as_json(found[0] if len(found) == 1 else {"count": len(found), "alerts": found})
        return
    for index, (one, explained) in enumerate(zip(alerts, found, strict=True)):
        if index:
            render.say("")
        from autoheal.cli.explain import show

        show(explained, one.labels, now, loaded)


def _alerts(labels: list[str], annotations: list[str], file: Path | None, now: float) -> list[Alert]:
    from autoheal.core.alert import FIRING, Alert, fingerprint

    if (file is None) == (not labels):
        raise Invalid("give either --labels or --alert")
    if file is not None:
        if annotations:
            raise Invalid("belongs to --labels; an alert's file holds its own", "--annotations")
        return _read_alerts(sys.stdin.buffer.read() if file == STDIN else file.read_bytes(), now)
    names = label_set(labels, "--labels")
    return [Alert(FIRING, names, label_set(annotations, "--annotations"), now, fingerprint(names))]


def _read_alerts(data: bytes, now: float) -> list[Alert]:
    """Alerts of a webhook's body, or the one that stands alone; the first that cannot be read ends it."""
    import json

    from autoheal.core.alert import Alert
    from autoheal.sources.alertmanager import parse

    try:
        given = json.loads(data)
    except ValueError as error:
        raise Invalid(f"is not JSON: {error}", "--alert") from None
    if isinstance(given, dict) and "alerts" not in given and "labels" in given:
        data = json.dumps({"alerts": [given]}).encode()
    elif isinstance(given, list):
        data = json.dumps({"alerts": given}).encode()
    found: list[Alert] = []
    for item in parse(data, now).alerts:
        if not isinstance(item, Alert):
            raise Invalid(f"alerts[{item.index}].{item.field}: {item.problem}", "--alert")
        found.append(item)
    return found


def _ask(alerts: Sequence[Alert], url: str | None, token: str | None) -> list[Mapping[str, Any]]:
    import json

    with connect(url, token) as client:
        return [
            client.get(
                "/explain", {"labels": json.dumps(dict(a.labels)), "annotations": json.dumps(dict(a.annotations))}
            )
            for a in alerts
        ]


def _policy_for(file: Path | None) -> Policy:
    settings = _settings()
    policy = _load(file if file is not None else settings.policy_file, settings)
    mode = "dry run" if settings.dry_run else "live" if settings.enabled else "off"
    render.note(
        f"offline: {policy.source}, {mode} as the environment says, nothing in progress and no cooldown; "
        "--url asks a running Autoheal"
    )
    return policy


def _offline(alerts: Sequence[Alert], policy: Policy, now: float) -> list[Mapping[str, Any]]:
    from autoheal.core.decision import explain as explain_case
    from autoheal.core.gates import Case
    from autoheal.core.state import Mode, State

    settings = _settings()
    mode = Mode(settings.enabled, settings.dry_run, "environment")
    return [explain_case(Case(alert, now, policy, State(mode=mode))) for alert in alerts]


# ---- schema -----------------------------------------------------------------------------------------------------


@app.command()
def schema(as_json: Json = False) -> None:
    """Print the policy file's JSON Schema (draft 2020-12), for editors. It is JSON with and without --json."""
    from autoheal import actions
    from autoheal.config.schema import policy_schema

    render.as_json(policy_schema(actions.KINDS))
