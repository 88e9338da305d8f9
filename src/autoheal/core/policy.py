"""The policy as the core sees it: frozen, complete, already checked. `config.policy_file` builds it from YAML."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from autoheal.core.alert import Alert
from autoheal.core.matcher import Matcher
from autoheal.core.template import Allowed, default_allowed, render
from autoheal.core.threads import ThreadPolicy

WEEK_MINUTES = 7 * 24 * 60
MIN_COOLDOWN = 30.0
"""Seconds: twice the delay with which an Alertmanager pair's second copy arrives."""
DEFAULT_QUEUE = "autoheal"
"""Where what names no queue waits, and what a worker serves that names none."""
QUEUE = r"[a-z0-9_.-]{1,64}"
"""What the name of a queue looks like, placeholders filled in."""
_QUEUE = default_allowed(QUEUE)
MIN_VERIFY = 10.0
"""Seconds that good answers must span before something counts as healed; a shorter check can only fail."""


@dataclass(frozen=True, slots=True)
class Window:
    """A weekly span in one time zone; minutes count from Monday 00:00. `end` may be before `start`: it wraps."""

    text: str
    start: int
    end: int
    zone: ZoneInfo

    def until(self, now: float) -> float | None:
        """When the window that `now` lies in ends (Unix seconds), or None outside of it."""
        local = datetime.fromtimestamp(now, self.zone)
        left = self._left(local)
        if left is None:
            return None
        wall = local.replace(second=0, microsecond=0, tzinfo=None) + timedelta(minutes=left)
        # a wall time comes twice when the clock is set back; when it is set forward over it, it comes never
        ends = [wall.replace(tzinfo=self.zone, fold=fold).timestamp() for fold in (0, 1)]
        real = [at for at in ends if at > now and datetime.fromtimestamp(at, self.zone).replace(tzinfo=None) == wall]
        end = min(real, default=max(ends[0], now + 1))
        while end - 60 > now and self._left(datetime.fromtimestamp(end - 60, self.zone)) is None:
            end -= 60
        return end

    def _left(self, local: datetime) -> int | None:
        """Minutes of wall time from the minute of `local` to the window's end; None outside of it."""
        minute = local.weekday() * 1440 + local.hour * 60 + local.minute
        length = (self.end - self.start) % WEEK_MINUTES or WEEK_MINUTES
        inside = (minute - self.start) % WEEK_MINUTES
        return length - inside if inside < length else None


@dataclass(frozen=True, slots=True)
class ActionSpec:
    """What to do: a kind from the registry, its options (strings may hold placeholders), its command line in words."""

    kind: str
    options: Mapping[str, Any]
    words: tuple[str, ...]
    _fixed: str | None = field(init=False, repr=False, compare=False, default=None)

    def __post_init__(self) -> None:
        if not any("{" in word for word in self.words):
            object.__setattr__(self, "_fixed", " ".join(self.words))

    def line(self, alert: Alert, allowed: Allowed) -> str:
        """The rendered command line that people see and an ``autoheal_action`` annotation may name."""
        return self._fixed if self._fixed is not None else " ".join(render(self.words, alert, allowed))


class ActionKind(Protocol):
    """What the policy needs of a kind of action; the registry in `autoheal.actions` fulfils it."""

    @property
    def schema(self) -> Mapping[str, Any]:
        """JSON Schema (draft 2020-12) of the options."""

    def check(self, options: Any) -> ActionSpec:
        """The action for options as written in the policy file.

        Invalid where they cannot be used; its `field` is the place inside of them, such as ``restart`` or ``argv[0]``.
        """


@dataclass(frozen=True, slots=True)
class VerifySpec:
    """How to see that it helped. `kind` is http | tcp | promql | resolved; `within` and `every` are seconds."""

    kind: str
    target: str
    within: float
    every: float = 5.0


@dataclass(frozen=True, slots=True)
class Step:
    action: ActionSpec
    timeout: float
    verify: VerifySpec | None = None


@dataclass(frozen=True, slots=True)
class AttemptBudget:
    count: int
    per: float
    by: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BlastRadius:
    actions: int
    per: float


@dataclass(frozen=True, slots=True)
class BreakerLimit:
    failures: int
    open_for: float


@dataclass(frozen=True, slots=True)
class Limits:
    concurrent: int = 4
    blast_radius: BlastRadius | None = None
    breaker: BreakerLimit | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. `digest` changes with anything that was written for it; times are seconds."""

    name: str
    match: tuple[Matcher, ...]
    steps: tuple[Step, ...]
    cooldown: float = 600.0
    cooldown_by: tuple[str, ...] = ("alertname",)
    opt_in: bool = True
    max_attempts: AttemptBudget | None = None
    approval_timeout: float | None = None
    never_during: tuple[Window, ...] = ()
    cancel_on_resolve: bool = True
    escalate: str | None = None
    allowed: Allowed = field(default_factory=default_allowed)
    digest: str = ""
    queue: str = ""
    """Where it is acted: a queue of workers, placeholders allowed; empty for the one that all serve by default."""

    def matches(self, labels: Mapping[str, str]) -> bool:
        return all(matcher.matches(labels) for matcher in self.match)

    def key(self, labels: Mapping[str, str]) -> str:
        """The cooldown key: the rule and the values of `cooldown_by`."""
        return key_of(self.name, self.cooldown_by, labels)

    def queue_for(self, alert: Alert) -> str:
        """The queue that this alert's action goes to, empty for the default; Invalid where it cannot be filled in."""
        found: str = render(self.queue, alert, _QUEUE) if "{" in self.queue else self.queue
        return found

    @property
    def alertnames(self) -> tuple[str, ...]:
        """The names that this rule's ``alertname=`` matchers ask for."""
        return tuple(m.value for m in self.match if m.name == "alertname" and m.op == "=")


def key_of(rule: str, by: tuple[str, ...], labels: Mapping[str, str]) -> str:
    """``rule{a="x",b="y"}``; a label that is missing counts as empty. Quotes are escaped, so no two keys collide."""
    inner = ",".join([f'{name}="{_escape(labels.get(name, ""))}"' for name in by])
    return f"{rule}{{{inner}}}"


def _escape(value: str) -> str:
    if "\\" not in value and '"' not in value:
        return value
    return value.replace("\\", "\\\\").replace('"', '\\"')


@dataclass(frozen=True, slots=True)
class Probe:
    """One target of the built-in prober, and the alert that it raises. `kind` is http | tcp; times are seconds.

    `down_after` bad answers in a row raise the alert, `up_after` good ones resolve it.
    """

    name: str
    kind: str
    target: str
    alertname: str = "ServiceDown"
    every: float = 5.0
    timeout: float = 2.0
    down_after: int = 3
    up_after: int = 2
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Policy:
    rules: tuple[Rule, ...] = ()
    limits: Limits = field(default_factory=Limits)
    digest: str = ""
    source: str = ""
    probes: tuple[Probe, ...] = ()
    threader: ThreadPolicy = field(default_factory=ThreadPolicy)
    document: str = field(default="", repr=False, compare=False)
    """What it was read from, as JSON, so that another process can read the very same; empty where it cannot."""
    _by_name: dict[str, tuple[Rule, ...]] = field(init=False, repr=False, compare=False, default_factory=dict)
    _general: tuple[Rule, ...] = field(init=False, repr=False, compare=False, default=())

    def __post_init__(self) -> None:
        general = tuple(rule for rule in self.rules if not rule.alertnames)
        for name in {name for rule in self.rules for name in rule.alertnames}:
            self._by_name[name] = tuple(r for r in self.rules if name in r.alertnames or not r.alertnames)
        object.__setattr__(self, "_general", general)

    def rule_for(self, labels: Mapping[str, str]) -> Rule | None:
        """The first rule whose matchers all hold; alerts named ``Autoheal*`` have none."""
        name = labels.get("alertname", "")
        if name.startswith("Autoheal"):
            return None
        for rule in self._by_name.get(name, self._general):
            if rule.matches(labels):
                return rule
        return None

    def rule(self, name: str) -> Rule | None:
        return next((rule for rule in self.rules if rule.name == name), None)

    @property
    def alertnames(self) -> list[str]:
        """Sorted names from ``alertname=`` matchers: what ``GET /`` calls actions and metrics use as label values."""
        return sorted(self._by_name)
