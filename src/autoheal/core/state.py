"""What the decision looks at: the sum of all events so far. `fold` is the only writer."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from autoheal.core.alert import FIRING, Alert
from autoheal.core.remediation import OPEN, RESERVED, RUNNING, UNKNOWN, Remediation

LIVE = "live"
DRY = "dry"

MAX_STARTS = 1000
"""Process starts remembered for the blast radius, at most."""


@dataclass(slots=True)
class Mode:
    """`env` is the environment's setting that this mode was set under; a run-time mode is bound to it."""

    enabled: bool = False
    dry_run: bool = True
    source: str = "default"
    env: str = ""
    since: float = 0.0
    by: str = ""

    @property
    def acts(self) -> bool:
        return self.enabled and not self.dry_run

    @property
    def off(self) -> bool:
        return not self.enabled and not self.dry_run

    @property
    def lane(self) -> str:
        """Dry run has cooldown slots and counters of its own."""
        return DRY if self.dry_run else LIVE


@dataclass(slots=True)
class Slot:
    """The last start for one cooldown key."""

    started_at: float
    alertname: str
    rule: str
    episode: str
    attempt: int = 1
    remediation_id: str | None = None


@dataclass(slots=True)
class Budget:
    """First process starts for one budget key, oldest first; `told`: the escalation was made."""

    times: list[float] = field(default_factory=list)
    told: bool = False


@dataclass(slots=True)
class Breaker:
    failures: int = 0
    open_until: float = 0.0


@dataclass(slots=True)
class Deferred:
    """A skip that will be decided again: at `until`, or when what holds `wait_key` ends."""

    fingerprint: str
    labels: dict[str, str]
    annotations: dict[str, str]
    starts_at: float
    seen_at: float
    reason: str
    origin: str = ""
    until: float | None = None
    wait_key: str | None = None

    @property
    def alert(self) -> Alert:
        return Alert(FIRING, self.labels, self.annotations, self.starts_at, self.fingerprint)


@dataclass(slots=True)
class Ack:
    """A silence that we made and watch: what the trail says of it.

    `starts_at`: when the silence began; `first`: the id that it had at first, for Alertmanager may give another one to
    a silence that is extended.
    """

    silence_id: str
    labels: dict[str, str]
    ends_at: float
    actor: str
    comment: str = ""
    created_at: float = 0.0
    starts_at: float = 0.0
    first: str = ""

    @property
    def key(self) -> str:
        """What stays the same however often it is extended."""
        return self.first or self.silence_id

    @property
    def since(self) -> float:
        return self.starts_at or self.created_at


@dataclass(slots=True)
class Behind:
    """What the watch last saw behind one of our silences, by the acknowledgement's `key`.

    `hides`: the alerts by fingerprint (`labels`, `starts_at`), replaced as a whole, never changed in place; `seen`:
    whether there ever was one. Kept, so that a resolve while we were away is told. It is outside of the trail, and only
    the process that watches has it right: who takes over reads it from the ledger.
    """

    hides: dict[str, dict[str, Any]] = field(default_factory=dict)
    seen: bool = False


@dataclass(slots=True)
class Former:
    """A silence of ours that has ended. Until `watched_until` its alerts are watched on, for Alertmanager says nothing
    of one that resolved behind it and fires again.

    `since`: when the silence began; `told`: by fingerprint, the start of the latest episode that was told.
    """

    silence_id: str
    labels: dict[str, str]
    since: float
    watched_until: float
    key: str = ""
    told: dict[str, float] = field(default_factory=dict)

    def covers(self, labels: Mapping[str, str]) -> bool:
        return all(labels.get(name, "") == value for name, value in self.labels.items())


@dataclass(slots=True)
class Override:
    """A rule's cooldown (seconds) as a person has set it; it holds while the rule's digest is this one."""

    cooldown: float
    rule_digest: str
    since: float = 0.0
    by: str = ""


@dataclass(slots=True)
class Escalation:
    """Something a person must know; sent to every Alertmanager until it is settled."""

    key: str
    severity: str
    reason: str
    summary: str
    since: float
    rule: str = ""
    alertname: str = ""
    remediation_id: str = ""
    fingerprint: str = ""
    starts_at: float = 0.0


@dataclass(slots=True)
class State:
    last_id: int = 0
    last_ts: float = 0.0
    mode: Mode = field(default_factory=Mode)
    remediations: dict[str, Remediation] = field(default_factory=dict)
    slots: dict[str, Slot] = field(default_factory=dict)
    budgets: dict[str, Budget] = field(default_factory=dict)
    breakers: dict[str, Breaker] = field(default_factory=dict)
    deferred: dict[str, Deferred] = field(default_factory=dict)
    acks: dict[str, Ack] = field(default_factory=dict)
    behind: dict[str, Behind] = field(default_factory=dict)
    former: dict[str, Former] = field(default_factory=dict)
    receivers: dict[str, float] = field(default_factory=dict)
    """The receivers that Alertmanager named when it sent to us, and when each was heard of first."""
    cooldowns: dict[str, Override] = field(default_factory=dict)
    escalations: dict[str, Escalation] = field(default_factory=dict)
    resolved: dict[str, dict[str, float]] = field(default_factory=dict)
    starts: dict[str, deque[tuple[str, float]]] = field(default_factory=lambda: {LIVE: deque(), DRY: deque()})
    policy: dict[str, Any] = field(default_factory=dict)
    # indexes, derived
    active: dict[str, str] = field(default_factory=dict)
    unsettled: dict[str, str] = field(default_factory=dict)
    reserved: dict[str, None] = field(default_factory=dict)
    running: dict[str, float] = field(default_factory=dict)
    lingering: dict[str, float] = field(default_factory=dict)
    waiting: dict[str, set[str]] = field(default_factory=dict)
    by_fingerprint: dict[str, set[str]] = field(default_factory=dict)
    alarms: list[tuple[float, str]] = field(default_factory=list)
    # what the next commit must save
    touched: dict[tuple[str, str], None] = field(default_factory=dict)
    ended: dict[str, Remediation] = field(default_factory=dict)

    def touch(self, space: str, key: str) -> None:
        self.touched[(space, key)] = None

    # ---- remediations ----------------------------------------------------------------------------------------

    def index(self, remediation: Remediation) -> None:
        """Bring the indexes up to a remediation's state; one that has ended for good leaves the memory."""
        rid, key, state = remediation.id, remediation.key, remediation.state
        self.reserved.pop(rid, None)
        self.running.pop(rid, None)
        self.lingering.pop(rid, None)
        if self.active.get(key) == rid:
            del self.active[key]
        if self.unsettled.get(key) == rid:
            del self.unsettled[key]
        if state in OPEN:
            self.active[key] = rid
            if state == RESERVED:
                self.reserved[rid] = None
            elif state == RUNNING:
                self.running[rid] = remediation.run_until or 0.0
        elif state == UNKNOWN:
            self.unsettled[key] = rid
            self.lingering[rid] = remediation.run_until or 0.0
        names = self.by_fingerprint.setdefault(remediation.fingerprint, set())
        if state in OPEN or state == UNKNOWN:
            self.remediations[rid] = remediation
            names.add(rid)
            return
        self.remediations.pop(rid, None)
        names.discard(rid)
        if not names:
            del self.by_fingerprint[remediation.fingerprint]

    def busy(self, now: float) -> int:
        """How many actions run now, as far as is known: those whose end is unknown may, too, until their time is
        over. Hands look at this while the head writes it: each copy is taken in one step."""
        places = list(self.running.values()) + list(self.lingering.values())
        return sum(1 for until in places if until > now)

    def of_alert(self, fingerprint: str, until: float) -> list[Remediation]:
        """Remediations in memory for this alert whose episode began no later than `until`."""
        ids = self.by_fingerprint.get(fingerprint, ())
        return [r for r in (self.remediations[i] for i in sorted(ids)) if r.starts_at <= until]

    # ---- deferred --------------------------------------------------------------------------------------------

    def defer(self, entry: Deferred) -> None:
        self.undefer(entry.fingerprint)
        self.deferred[entry.fingerprint] = entry
        if entry.wait_key is not None:
            self.waiting.setdefault(entry.wait_key, set()).add(entry.fingerprint)
        if entry.until is not None:
            heapq.heappush(self.alarms, (entry.until, entry.fingerprint))
        self.touch("deferred", entry.fingerprint)

    def undefer(self, fingerprint: str) -> Deferred | None:
        entry = self.deferred.pop(fingerprint, None)
        if entry is None:
            return None
        if entry.wait_key is not None:
            group = self.waiting.get(entry.wait_key)
            if group is not None:
                group.discard(fingerprint)
                if not group:
                    del self.waiting[entry.wait_key]
        self.touch("deferred", fingerprint)
        return entry

    def due(self, now: float, limit: int = 1000) -> list[Deferred]:
        """Deferred entries whose time has come, oldest first; they stay until they are decided again."""
        found: dict[str, Deferred] = {}
        while self.alarms and self.alarms[0][0] <= now and len(found) < limit:
            until, fingerprint = heapq.heappop(self.alarms)
            entry = self.deferred.get(fingerprint)
            if entry is not None and entry.until == until:
                found[fingerprint] = entry
        for entry in found.values():
            heapq.heappush(self.alarms, (entry.until or now, entry.fingerprint))
        return list(found.values())

    # ---- snapshot --------------------------------------------------------------------------------------------

    def fact(self, space: str, key: str) -> tuple[Any, float | None]:
        """What is to be saved for one touched fact (a dataclass, a dict or a number), and when the scheduler must
        look at it; None: delete."""
        if space == "mode":
            return self.mode, None
        if space == "policy":
            return self.policy, None
        if space.startswith("start:"):
            lane = self.starts[space.partition(":")[2]]
            return next(((at) for name, at in reversed(lane) if name == key), None), None
        if space == "resolved":
            return self.resolved.get(key), None
        if space == "receiver":
            return self.receivers.get(key), None
        item = self._spaces()[space].get(key)
        return (None, None) if item is None else (item, getattr(item, "until", None))

    def _spaces(self) -> dict[str, dict[str, Any]]:
        return {
            "slot": self.slots,
            "budget": self.budgets,
            "breaker": self.breakers,
            "deferred": self.deferred,
            "ack": self.acks,
            "behind": self.behind,
            "former": self.former,
            "cooldown": self.cooldowns,
            "escalation": self.escalations,
        }

    def load_fact(self, space: str, key: str, data: Any) -> None:
        """Take one saved fact back in; spaces of other products are passed over."""
        if space == "mode":
            self.mode = Mode(**data)
        elif space == "policy":
            self.policy = data
        elif space.startswith("start:"):
            self.starts[space.partition(":")[2]].append((key, data))
        elif space == "resolved":
            self.resolved[key] = data
        elif space == "receiver":
            self.receivers[key] = data
        elif space == "deferred":
            self.defer(Deferred(**data))
        elif space == "ack":
            self._load_ack(key, data)
        elif space in _TYPES:
            self._spaces()[space][key] = _TYPES[space](**data)

    def _load_ack(self, key: str, data: Mapping[str, Any]) -> None:
        """An acknowledgement; an older version kept what is behind it in the same fact."""
        known = {"starts_at": data.get("created_at", 0.0), "first": key, **data}
        hides, seen = known.pop("hides", None), known.pop("seen", None)
        self.acks[key] = Ack(**known)
        if hides is not None or seen is not None:
            self.behind.setdefault(self.acks[key].key, Behind(hides or {}, bool(seen)))

    @classmethod
    def load(
        cls,
        last_id: int,
        last_ts: float,
        facts: Iterable[tuple[str, str, Any]],
        remediations: Iterable[dict[str, Any]],
    ) -> State:
        """The state from its snapshot: facts as (space, key, data), and every remediation that is not final."""
        state = cls(last_id=last_id, last_ts=last_ts)
        for space, key, data in facts:
            state.load_fact(space, key, data)
        for name, lane in state.starts.items():
            state.starts[name] = deque(sorted(lane, key=lambda start: int(start[0])))
        for item in sorted((Remediation.from_dict(data) for data in remediations), key=lambda r: int(r.id[1:])):
            state.index(item)
        state.touched.clear()
        return state

    def snapshot(self) -> Iterator[tuple[str, str, Any]]:
        """Every fact, for tests and for a state that was folded from a restored file."""
        yield "mode", "mode", asdict(self.mode)
        yield "policy", "policy", self.policy
        for lane, starts in self.starts.items():
            for key, at in starts:
                yield f"start:{lane}", key, at
        for key, mark in self.resolved.items():
            yield "resolved", key, mark
        for key, at in self.receivers.items():
            yield "receiver", key, at
        for space, items in self._spaces().items():
            for key, item in items.items():
                yield space, key, asdict(item)


_TYPES: dict[str, Any] = {
    "slot": Slot,
    "budget": Budget,
    "breaker": Breaker,
    "behind": Behind,
    "former": Former,
    "cooldown": Override,
    "escalation": Escalation,
}
