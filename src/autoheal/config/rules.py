"""One rule of the policy file, and the canonical content that its digest is made of."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from autoheal.config.mistakes import did_you_mean
from autoheal.config.nodes import Broken, Node, Scalar, Table, plain
from autoheal.config.reading import DAY, Reader, broken, place, texts, unquoted
from autoheal.config.regex import compile_regex
from autoheal.config.windows import parse_window
from autoheal.core.errors import Invalid
from autoheal.core.matcher import Matcher, parse_matchers
from autoheal.core.policy import (
    MIN_COOLDOWN,
    MIN_VERIFY,
    QUEUE,
    ActionKind,
    ActionSpec,
    AttemptBudget,
    Rule,
    Step,
    VerifySpec,
    Window,
)
from autoheal.core.template import ALERT_PLACEHOLDER, DEFAULT_ALLOW, Allowed, placeholders

SEVERITIES = ("critical", "warning", "info")
RULE_KEYS = (
    "name",
    "match",
    "opt_in",
    "allow",
    "cooldown",
    "cooldown_by",
    "max_attempts",
    "approval",
    "never_during",
    "cancel_on_resolve",
    "queue",
    "steps",
    "on_exhausted",
)
STEP_KEYS = ("action", "timeout", "verify")
CHECKS = ("http", "tcp", "promql", "resolved")
VERIFY_KEYS = ("within", "every", *CHECKS)
MIN_EVERY = 0.1
"""Seconds between two looks."""
MAX_STEPS = 20
COOLDOWN_WHY = "a second copy of an alert from a pair of Alertmanagers may come this late"


@dataclass(frozen=True, slots=True)
class Defaults:
    """What holds where neither rule nor policy says otherwise; seconds."""

    cooldown: float = 600.0
    timeout: float = 60.0


def digest_of(content: Any) -> str:
    """SHA-256 of the canonical JSON."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def read_matchers(read: Reader, node: Node) -> tuple[list[Matcher], bool]:
    """The matchers of a list ``match``, and whether all of them could be read; those that could not are told."""
    found: list[Matcher] = []
    whole = True
    for item in read.items(node, "match", 1):
        text = read.text(item, "match")
        try:
            here = parse_matchers(text, compile_regex) if text is not None else []
        except Invalid as error:
            read.wrong(item, f"match: {error.detail}")
            here = []
        else:
            if text is not None and not here:
                read.wrong(item, f'match: "{text}" holds no matcher')
        whole = whole and bool(here)
        found += here
    return found, whole


class RuleReader:
    """Reads rules, one after the other; names are unique over all of them."""

    def __init__(self, reader: Reader, kinds: Mapping[str, ActionKind], defaults: Defaults) -> None:
        self.read, self.kinds, self.defaults = reader, kinds, defaults
        self.names: dict[str, Node] = {}

    def rule(self, node: Node) -> Rule:
        """The rule as far as it can be read; what cannot has been told."""
        keys = self.read.table(node, "rule", RULE_KEYS, ("name", "match", "steps"))
        name = (self.read.name(keys["name"], "name", self.names) if "name" in keys else None) or ""
        values: dict[str, Any] = {
            "match": self.matchers(keys["match"]) if "match" in keys else (),
            "cooldown": self._cooldown(keys.get("cooldown")),
            "cooldown_by": self._names(keys, "cooldown_by", ("alertname",)),
            "opt_in": self._boolean(keys, "opt_in"),
            "cancel_on_resolve": self._boolean(keys, "cancel_on_resolve"),
            "never_during": self.windows(keys["never_during"]) if "never_during" in keys else (),
            "approval_timeout": self._approval(keys.get("approval")),
            "escalate": self._escalate(keys.get("on_exhausted")),
            "queue": self._queue(keys["queue"]) if "queue" in keys else "",
        }
        values["max_attempts"] = self._budget(keys.get("max_attempts"), values["cooldown_by"])
        steps = self.read.items(keys["steps"], "steps", 1, MAX_STEPS) if "steps" in keys else []
        read = tuple(step for step in map(self.step, steps) if step is not None)
        pattern = (self.read.text(keys["allow"], "allow") if "allow" in keys else None) or DEFAULT_ALLOW
        written = [plain(step) for step in steps]
        digest = digest_of({"name": name, "allow": pattern, "steps": _canonical(read, written), **_shown(values)})
        return Rule(name, steps=read, allowed=self._allowed(pattern, keys.get("allow", node)), digest=digest, **values)

    # ---- matchers ----------------------------------------------------------------------------------------------

    def matchers(self, node: Node) -> tuple[Matcher, ...]:
        found, whole = read_matchers(self.read, node)
        if found and whole:
            self._reach(node, found)
        return tuple(found)

    def _reach(self, node: Node, found: list[Matcher]) -> None:
        if all(matcher.test("") for matcher in found):
            self.read.wrong(node, "match: every matcher fits the empty text, so the rule would match every alert")
        for matcher in found:
            if matcher.name == "alertname" and matcher.op == "=" and matcher.value.startswith("Autoheal"):
                self.read.wrong(node, f"match: {matcher} can never match; alerts about Autoheal itself match no rule")

    # ---- values of the rule ------------------------------------------------------------------------------------

    def _cooldown(self, node: Node | None) -> float:
        if node is None:
            return self.defaults.cooldown
        found = self.read.duration(node, "cooldown", MIN_COOLDOWN, why=COOLDOWN_WHY)
        return self.defaults.cooldown if found is None else found

    def _names(self, keys: Mapping[str, Node], key: str, default: tuple[str, ...]) -> tuple[str, ...]:
        return self.read.label_names(keys[key], key) if key in keys else default

    def _boolean(self, keys: Mapping[str, Node], key: str) -> bool:
        return self.read.boolean(keys[key], key) is not False if key in keys else True

    def _budget(self, node: Node | None, by: tuple[str, ...]) -> AttemptBudget | None:
        if node is None:
            return None
        keys = self.read.table(node, "max_attempts", ("count", "per", "by"), ("count", "per"))
        count = self.read.integer(keys["count"], "max_attempts.count", 1, 1000) if "count" in keys else None
        per = self.read.duration(keys["per"], "max_attempts.per", 1) if "per" in keys else None
        if "by" in keys:
            by = self.read.label_names(keys["by"], "max_attempts.by")
        return AttemptBudget(count or 1, per or DAY, by)

    def _approval(self, node: Node | None) -> float | None:
        if node is None:
            return None
        keys = self.read.table(node, "approval", ("timeout",), ("timeout",))
        return self.read.duration(keys["timeout"], "approval.timeout", 1) if "timeout" in keys else None

    def _escalate(self, node: Node | None) -> str | None:
        if node is None:
            return None
        keys = self.read.table(node, "on_exhausted", ("escalate",), ("escalate",))
        return self.read.choice(keys["escalate"], "on_exhausted.escalate", SEVERITIES) if "escalate" in keys else None

    def _queue(self, node: Node) -> str:
        """A name, or a text that comes to one when the alert's labels are filled in."""
        text = self.read.text(node, "queue")
        if text is None or not self.placeholders(node, "queue"):
            return ""
        if any(not name.startswith("labels.") for name in placeholders(text)):
            self.read.wrong(node, "queue: of placeholders only {labels.NAME} can stand here")
        elif not re.fullmatch(QUEUE, ALERT_PLACEHOLDER.sub("x", text)):
            self.read.wrong(node, f'queue: "{text}" is no name of a queue: 1 to 64 of a-z 0-9 _ . -')
        return text

    def _allowed(self, pattern: str, node: Node) -> Allowed:
        try:
            return compile_regex(pattern)
        except Invalid as error:
            self.read.wrong(node, f"allow: {error.detail}")
            return lambda value: False

    def windows(self, node: Node) -> tuple[Window, ...]:
        found: list[Window] = []
        for item in self.read.items(node, "never_during"):
            text = self.read.text(item, "never_during")
            try:
                found += [parse_window(text)] if text is not None else []
            except Invalid as error:
                self.read.wrong(item, f"never_during: {error.detail}")
        return tuple(found)

    # ---- steps -------------------------------------------------------------------------------------------------

    def step(self, node: Node) -> Step | None:
        keys = self.read.table(node, "step", STEP_KEYS, ("action",))
        action = self.action(keys["action"]) if "action" in keys else None
        timeout = self.read.duration(keys["timeout"], "timeout", MIN_EVERY, DAY) if "timeout" in keys else None
        verify = self.verify(keys["verify"]) if "verify" in keys else None
        if action is None:
            return None
        return Step(action, self.defaults.timeout if timeout is None else timeout, verify)

    def action(self, node: Node) -> ActionSpec | None:
        """The action by its kind, which checks its own options."""
        if not isinstance(node, Table):
            self.read.table(node, "action", ())
            return None
        if len(node.entries) != 1:
            self.read.wrong(node, f"action: expected one kind with its options, got {len(node.entries)}")
        spec = None
        for key, options in node.entries:
            kind = self.kinds.get(key.text)
            if kind is None:
                self.read.wrong(key, f'action: unknown kind "{key.text}"{did_you_mean(key.text, self.kinds)}')
            elif self.placeholders(options, key.text) and not broken(options):
                spec = self._checked(key, kind, options)
        return spec

    def _checked(self, key: Scalar, kind: ActionKind, options: Node) -> ActionSpec | None:
        try:
            return kind.check(plain(options))
        except Invalid as error:
            what = f"{key.text}.{error.field}" if error.field else key.text
            self.read.wrong(place(options, error.field), f"{what}: {error.detail}")
            return None

    def placeholders(self, node: Node, what: str) -> bool:
        """Whether every placeholder below `node` is one; those that are not are told."""
        bare = unquoted(node)
        for mapping, written in bare:
            self.read.wrong(mapping, f'{what}: put the placeholder in quotes: "{written}"')
        fine = not bare
        for text in texts(node):
            try:
                placeholders(text.text)
            except Invalid as error:
                self.read.wrong(text, f"{what}: {error.detail}")
                fine = False
        return fine

    def verify(self, node: Node) -> VerifySpec | None:
        keys = self.read.table(node, "verify", VERIFY_KEYS, ("within",))
        why = "healed takes good answers over 10s"
        within = self.read.duration(keys["within"], "verify.within", MIN_VERIFY, why=why) if "within" in keys else None
        every = self.read.duration(keys["every"], "verify.every", MIN_EVERY) if "every" in keys else 5.0
        if within is not None and every is not None and every * 2 > within:
            three = "verify: three looks do not fit; make `every` at most half of `within`"
            self.read.wrong(keys.get("every", node), three)
        kinds = [kind for kind in CHECKS if kind in keys]
        if len(kinds) != 1:
            named = f"both {' and '.join(kinds)}" if kinds else "none"
            if isinstance(node, Table):
                self.read.wrong(node, f"verify: expected exactly one of {', '.join(CHECKS)}, got {named}")
            return None
        target = self._target(kinds[0], keys[kinds[0]])
        return None if target is None else VerifySpec(kinds[0], target, within or MIN_VERIFY, every or 5.0)

    def _target(self, kind: str, node: Node) -> str | None:
        what = f"verify.{kind}"
        if kind == "resolved":
            if isinstance(node, Scalar) and node.value is True:
                return ""
            self.read.wrong(node, "verify.resolved: expected true; leave `verify` out for none")
            return None
        if isinstance(node, Broken) or not self.placeholders(node, what):
            return None
        read = {"http": self.read.url, "tcp": self.read.host_port, "promql": self.read.text}
        return read[kind](node, what)


def _canonical(steps: tuple[Step, ...], written: list[Any]) -> list[Any]:
    """Steps by what they come to: the timeout that holds, the check, the action's options as written."""
    if len(steps) != len(written):
        return written
    return [
        {"action": step["action"], "timeout": read.timeout, "verify": asdict(read.verify) if read.verify else None}
        for read, step in zip(steps, written, strict=True)
    ]


def _shown(values: Mapping[str, Any]) -> dict[str, Any]:
    shown = dict(values)
    shown["match"] = [str(matcher) for matcher in values["match"]]
    shown["never_during"] = [window.text for window in values["never_during"]]
    shown["max_attempts"] = asdict(values["max_attempts"]) if values["max_attempts"] else None
    if not values["queue"]:
        del shown["queue"]  # a rule's digest is what it was before there were queues
    return shown
