"""JSON Schema (draft 2020-12) of the policy file, for editors; `policy_file` checks more than it can say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autoheal.config.policy_file import VERSION
from autoheal.config.reading import LABEL, NAME
from autoheal.config.rules import CHECKS, MAX_STEPS, SEVERITIES
from autoheal.config.threader import MAX_CHANGES, MAX_EDITS, MAX_MENTIONS, MAX_PEOPLE, MAX_POSTS, MAX_ROUTES
from autoheal.core.policy import ActionKind
from autoheal.core.state import MAX_STARTS
from autoheal.core.threads import CHANNELS, NOWHERE, SEVERITY_RANKS

Schema = dict[str, Any]

_VARIABLE: Schema = {"type": "string", "pattern": r"\$\{"}
"""Whatever comes out of a variable is checked when the file is read."""
_QUEUE_TEXT = r"^([a-z0-9_.-]|\{labels\.[a-zA-Z_][a-zA-Z0-9_]*\})+$"
_ID = r"([A-Z]*[0-9][A-Z0-9]*|[A-Z]{8,10})"
_CHANNEL_TEXT = rf"^#[^\s\x00-,./:-@A-Z\[-^`{{-\x7f]{{1,80}}$|^[CG]{_ID}$"
_PERSON_TEXT = rf"^@?[UW]{_ID}$|^<@[UW]{_ID}(\|[^<>]*)?>$"
_MENTION_TEXT = (
    rf"^@(here|channel|everyone)$|^<!(here|channel|everyone)(\|[^<>]*)?>$|{_PERSON_TEXT}"
    rf"|^S{_ID}$|^<!subteam\^S{_ID}(\|[^<>]*)?>$"
)
_DURATION_TEXT = (
    r"^(?=.)([0-9]+y)?([0-9]+w)?([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$|^[0-9]+(\.[0-9]*)?$|^\.[0-9]+$"
)


def policy_schema(kinds: Mapping[str, ActionKind]) -> Schema:
    """The schema, with the options of every kind of action as the kinds themselves describe them."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Autoheal policy",
        "description": "Which alert is healed how. See `autoheal policy check`.",
        **_table(
            {
                "version": {"const": VERSION},
                "defaults": _table({"cooldown": _duration("At least 30s."), "timeout": _duration("Of one step.")}),
                "limits": _limits(),
                "rules": {"type": "array", "items": {"$ref": "#/$defs/rule"}},
                "probes": {"type": "array", "items": {"$ref": "#/$defs/probe"}},
                "threader": _threader(),
            },
            "version",
            "rules",
        ),
        "$defs": {"rule": _rule(), "step": _step(), "verify": _verify(), "action": _action(kinds), "probe": _probe()},
    }


def _table(properties: Mapping[str, Schema], *required: str) -> Schema:
    found: Schema = {"type": "object", "properties": dict(properties), "additionalProperties": False}
    return {**found, "required": list(required)} if required else found


def _duration(description: str) -> Schema:
    kinds = [{"type": "number", "minimum": 0}, {"type": "string", "pattern": _DURATION_TEXT}, _VARIABLE]
    return {"description": f"{description} Such as 90s, 10m, 4h5m; a plain number counts as seconds.", "anyOf": kinds}


def _count(description: str, most: int, least: int = 1) -> Schema:
    number = {"type": "integer", "minimum": least, "maximum": most}
    return {"description": description, "anyOf": [number, _VARIABLE]}


def _boolean(description: str, default: bool) -> Schema:
    return {"description": description, "default": default, "anyOf": [{"type": "boolean"}, _VARIABLE]}


def _text(description: str, **more: Any) -> Schema:
    return {"description": description, "type": "string", "minLength": 1, **more}


def _name(description: str) -> Schema:
    return {"description": description, "anyOf": [{"type": "string", "pattern": f"^{NAME.pattern}$"}, _VARIABLE]}


def _labels(description: str) -> Schema:
    label = {"anyOf": [{"type": "string", "pattern": f"^{LABEL.pattern}$"}, _VARIABLE]}
    return {"description": description, "type": "array", "items": label, "uniqueItems": True}


def _limits() -> Schema:
    radius = _table({"actions": _count("Starts.", MAX_STARTS), "per": _duration("In this time.")}, "actions", "per")
    breaker = _table(
        {"failures": _count("Failures in a row.", 1_000_000), "open_for": _duration("How long it stays open.")},
        "failures",
        "open_for",
    )
    return _table(
        {
            "concurrent": _count("Actions running at once.", 1000),
            "blast_radius": {"description": "Starts over all rules; beyond, alerts are held.", **radius},
            "breaker": {"description": "For each rule: pause it after failures in a row.", **breaker},
        }
    )


def _rule() -> Schema:
    match = _text('In Alertmanager\'s syntax, such as service=~"crm-.*".')
    window = _text("A weekly span, such as Sat 00:00-Mon 00:00 Europe/Berlin.")
    steps = {"type": "array", "items": {"$ref": "#/$defs/step"}, "minItems": 1, "maxItems": MAX_STEPS}
    budget = {"count": _count("Attempts.", 1000), "per": _duration("In this time."), "by": _labels("Counted by.")}
    escalate = {"anyOf": [{"enum": list(SEVERITIES)}, _VARIABLE]}
    return _table(
        {
            "name": _name("Unique; the cooldown key and the trail use it."),
            "match": {"description": "All must hold.", "type": "array", "items": match, "minItems": 1},
            "opt_in": _boolean('Whether the alert must carry the annotation autoheal: "true".', True),
            "allow": _text("What a placeholder's value must fit as a whole (RE2)."),
            "cooldown": _duration("Between two starts for one key; at least 30s."),
            "cooldown_by": _labels("Labels whose values make the cooldown key; alertname if not given."),
            "max_attempts": _table(budget, "count", "per"),
            "approval": _table({"timeout": _duration("How long somebody may take.")}, "timeout"),
            "never_during": {"type": "array", "items": window},
            "queue": _queue(),
            "cancel_on_resolve": _boolean("Whether a resolve ends what has not started.", True),
            "steps": {"description": "A ladder: the next one where one did not help.", **steps},
            "on_exhausted": _table({"escalate": escalate}, "escalate"),
        },
        "name",
        "match",
        "steps",
    )


def _queue() -> Schema:
    described = "The workers that act: a queue's name, in which {labels.NAME} may stand; all workers' if not given."
    return {"description": described, "anyOf": [{"type": "string", "pattern": _QUEUE_TEXT}, _VARIABLE]}


def _step() -> Schema:
    return _table(
        {
            "action": {"$ref": "#/$defs/action"},
            "timeout": _duration("Of the action."),
            "verify": {"$ref": "#/$defs/verify"},
        },
        "action",
    )


def _verify() -> Schema:
    checks: dict[str, Schema] = {
        "http": _text("A URL that answers 2xx when it is well."),
        "tcp": _text("host:port that accepts a connection when it is well."),
        "promql": _text("A query that gives a result when it is well."),
        "resolved": {"description": "The alert has gone from Alertmanager.", "const": True},
    }
    times = {"within": _duration("At least 10s."), "every": _duration("Between two looks; 5s if not given.")}
    one = [{"required": [check]} for check in CHECKS]
    return {**_table({**times, **checks}, "within"), "oneOf": one}


def _action(kinds: Mapping[str, ActionKind]) -> Schema:
    properties = {name: dict(kind.schema) for name, kind in sorted(kinds.items())}
    return {**_table(properties), "minProperties": 1, "maxProperties": 1}


def _probe() -> Schema:
    texts = {"type": "object", "propertyNames": {"pattern": f"^{LABEL.pattern}$"}, "additionalProperties": _text("")}
    properties: dict[str, Schema] = {
        "name": _name("Unique."),
        "http": _text("A URL that answers 2xx when it is well."),
        "tcp": _text("host:port that accepts a connection when it is well."),
        "alertname": _text("Of the alert that is raised; ServiceDown if not given."),
        "every": _duration("Between two looks; 5s if not given."),
        "timeout": _duration("Of one look, at most `every`; 2s if not given."),
        "down_after": _count("Bad answers in a row that raise the alert; 3 if not given.", 100),
        "up_after": _count("Good answers in a row that resolve it; 2 if not given.", 100),
        "labels": texts,
        "annotations": texts,
    }
    return {**_table(properties, "name"), "oneOf": [{"required": ["http"]}, {"required": ["tcp"]}]}


def _threader() -> Schema:
    channel: Schema = {"anyOf": [{"type": "string", "pattern": _CHANNEL_TEXT}, _VARIABLE]}
    who = _names(_MENTION_TEXT, MAX_MENTIONS)
    people = _names(_PERSON_TEXT, MAX_PEOPLE)
    match = _text('In Alertmanager\'s syntax, such as team="db".')
    route = _table(
        {
            "match": {"description": "All must hold.", "type": "array", "items": match, "minItems": 1},
            "channel": {
                "description": "By severity if not given; none: nobody is told.",
                "anyOf": [{"const": NOWHERE}, *channel["anyOf"]],
            },
            "mention": {"description": "By severity if not given; an empty list: nobody.", **who},
        },
        "match",
    )
    routes = {"type": "array", "maxItems": MAX_ROUTES, "items": {**route, "minProperties": 2}}
    usual = ", ".join(f"{severity} {name}" for severity, name in CHANNELS.items())
    flapping = {"changes": _count("6 if not given.", MAX_CHANGES, 2), "per": _duration("10m if not given.")}
    properties: dict[str, Schema] = {
        "channels": {"description": f"By severity; {usual} where not given.", **_by_severity(channel)},
        "fallback": {"description": "For other severities; the channel of info if not given.", **channel},
        "routes": {"description": "The first that matches, before `channels`.", **routes},
        "mention": {"description": "Who is mentioned, by severity.", **_by_severity(who)},
        "operators": {"description": "Who may acknowledge; everyone if not given.", **people},
        "admins": {"description": "Who may change cooldowns and the mode; nobody if not given.", **people},
        "new_thread_after": _duration("Quiet since the resolve, then a new thread; 24h if not given."),
        "news_after": _duration("Quiet, then a reply is shown in the channel, too; 1h if not given."),
        "remind_before": _duration("Before an acknowledgement ends; 10m if not given, 0 for never."),
        "flapping": {"description": "More changes than this: one digest each `per`.", **_table(flapping)},
        "limits": _table(
            {
                "posts_per_second": _number("In one channel; 1 if not given.", 0.01, MAX_POSTS),
                "edits_per_minute": _number("In the workspace; 50 if not given.", 1.0, MAX_EDITS),
            }
        ),
    }
    return {"description": "What is told in Slack.", **_table(properties)}


def _names(pattern: str, most: int) -> Schema:
    item = {"anyOf": [{"type": "string", "pattern": pattern}, _VARIABLE]}
    return {"type": "array", "items": item, "maxItems": most, "uniqueItems": True}


def _by_severity(value: Schema) -> Schema:
    names = {"enum": list(SEVERITY_RANKS)}
    return {"type": "object", "propertyNames": names, "additionalProperties": value}


def _number(description: str, low: float, high: float) -> Schema:
    return {"description": description, "anyOf": [{"type": "number", "minimum": low, "maximum": high}, _VARIABLE]}
