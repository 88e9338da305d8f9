"""Small builders for the core's tests, and a head without threads or disk that keeps what a real one would."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any

import orjson

from autoheal.core.alert import FIRING, RESOLVED, Alert, fingerprint
from autoheal.core.errors import AutohealError
from autoheal.core.events import Event
from autoheal.core.fold import fold
from autoheal.core.gates import Silenced
from autoheal.core.matcher import parse_matcher
from autoheal.core.moves.acting import MayStart, Outcome, Start, Verified
from autoheal.core.moves.intake import AlertsArrived, Recheck
from autoheal.core.moves.people import SetMode
from autoheal.core.moves.service import Wake
from autoheal.core.policy import ActionSpec, Limits, Policy, Rule, Step, VerifySpec
from autoheal.core.remediation import Remediation
from autoheal.core.state import Deferred, Mode, State
from autoheal.core.turn import Move, Turn
from autoheal.engine.head import changes, restore
from autoheal.engine.ports import Fact, Head, RemediationRow, Snapshot

T0 = 1_699_833_600.0
"""Monday, 13 November 2023, 00:00 UTC."""


def step(*words: str, verify: VerifySpec | None = None, timeout: float = 60.0, kind: str = "fake") -> Step:
    words = words or ("do", "it")
    return Step(ActionSpec(kind, {"do": " ".join(words[1:])}, words), timeout, verify)


def http(within: float = 60.0) -> VerifySpec:
    return VerifySpec("http", "http://svc/health", within)


def rule(name: str = "r", alertname: str = "A", **values: Any) -> Rule:
    given: dict[str, Any] = {"steps": (step(verify=http()),), "opt_in": False, "cooldown": 60.0, "digest": f"{name}-1"}
    return Rule(name, (parse_matcher(f'alertname="{alertname}"'),), **given | values)


def policy(*rules: Rule, limits: Limits | None = None, digest: str = "p1") -> Policy:
    return Policy(rules or (rule(),), limits or Limits(), digest, "policy.yaml")


def alert(
    name: str = "A",
    instance: str = "i1",
    status: str = FIRING,
    starts_at: float = T0,
    annotations: Mapping[str, str] | None = None,
    **labels: str,
) -> Alert:
    every = {"alertname": name, "instance": instance} | labels
    return Alert(status, every, dict(annotations or {}), starts_at, fingerprint(every))


def resolved(name: str = "A", instance: str = "i1", starts_at: float = T0, **labels: str) -> Alert:
    return alert(name, instance, RESOLVED, starts_at, **labels)


def live() -> Mode:
    return Mode(enabled=True, dry_run=False)


def remediation(rid: str = "r1", state: str = "reserved", of: Rule | None = None, **values: Any) -> Remediation:
    """One that the rule `of` has made for `alert()`."""
    by, about = of or rule(), alert()
    known: dict[str, Any] = {
        "rule": by.name,
        "rule_digest": by.digest,
        "key": by.key(about.labels),
        "alertname": about.alertname,
        "fingerprint": about.fingerprint,
        "episode": about.episode,
        "labels": dict(about.labels),
        "annotations": {},
        "starts_at": about.starts_at,
        "received_at": T0,
        "created_at": T0,
        "ladder": len(by.steps),
    }
    return Remediation(rid, state, **known | values)


def plain(value: Any) -> Any:
    """A state as comparable data: what is derived for speed or for the next commit only is left out."""
    if is_dataclass(value) and not isinstance(value, type):
        names = [f.name for f in fields(value) if f.name not in ("touched", "ended", "alarms")]
        return {name: plain(getattr(value, name)) for name in names}
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, set):
        return sorted(value)
    return [plain(item) for item in value] if isinstance(value, list | tuple | deque) else value


@dataclass
class Play:
    """The core played by hand: one move a turn, everything saved and written as the head does, through JSON."""

    policy: Policy = field(default_factory=policy)
    now: float = T0
    state: State = field(default_factory=State)
    lines: list[bytes] = field(default_factory=list)
    facts: dict[tuple[str, str], str] = field(default_factory=dict)
    rows: dict[str, RemediationRow] = field(default_factory=dict)
    script: list[tuple[float, Move]] = field(default_factory=list)
    watch: Callable[[Event], None] = lambda event: None

    @classmethod
    def live(cls, *rules: Rule, limits: Limits | None = None) -> Play:
        played = cls(policy(*rules, limits=limits))
        played.mode(True, False)
        return played

    # ---- turns -----------------------------------------------------------------------------------------------

    def play(self, move: Move) -> Any:
        """Play one move; an error of ours may only come before its first event."""
        self.script.append((self.now, move))
        turn = Turn(self.state, self.policy, self.now)
        try:
            answer = move.play(turn)
        except AutohealError:
            assert not turn.events, f"{move} failed after {[e['kind'] for e in turn.events]}"
            raise
        self.policy = turn.policy
        for event in turn.events:
            self.lines.append(orjson.dumps(event))
            self.watch(event)
        self._save(*changes(self.state))
        return answer

    def _save(self, facts: list[Fact], rows: list[RemediationRow]) -> None:
        for fact in facts:
            if fact.data is None:
                self.facts.pop((fact.space, fact.key), None)
            else:
                self.facts[(fact.space, fact.key)] = fact.data
        self.rows |= {row.id: row for row in rows}

    def restored(self) -> State:
        """What the next process reads from its snapshot."""
        last = self.events[-1] if self.lines else {"id": 0, "ts": 0.0}
        open_rows = [row for row in self.rows.values() if row.state in UNFINISHED]
        facts = [Fact(space, key, data) for (space, key), data in self.facts.items()]
        return restore(Snapshot(Head(last["id"], "", last["ts"]), facts, open_rows))

    def folded(self) -> State:
        """What somebody comes to who has only the lines."""
        state = State()
        for line in self.lines:
            fold(state, orjson.loads(line))
        return state

    # ---- shorter words ---------------------------------------------------------------------------------------

    @property
    def events(self) -> list[Event]:
        return [orjson.loads(line) for line in self.lines]

    def kinds(self, since: int = 0) -> list[str]:
        return [event["kind"] for event in self.events[since:]]

    def of_kind(self, kind: str) -> list[Event]:
        return [event for event in self.events if event["kind"] == kind]

    def mode(self, enabled: bool, dry_run: bool) -> Any:
        return self.play(SetMode(enabled, dry_run, "ann"))

    def hear(self, *alerts: Alert, origin: str = "") -> list[dict[str, Any]]:
        answer: list[dict[str, Any]] = self.play(AlertsArrived(alerts, origin=origin))
        return answer

    def accepted(self, *alerts: Alert) -> list[str]:
        """Hear alerts of which each must be accepted; the remediations' ids."""
        answers = self.hear(*alerts)
        assert [a["result"] for a in answers] == ["accepted"] * len(alerts), answers
        return [a["remediation_id"] for a in answers]

    def may_start(self, rid: str, silenced: Silenced | None = None) -> Start | None:
        """Leave to start; None where it may not, or not yet."""
        found: Start | str | None = self.play(MayStart(rid, silenced, "here"))
        return found if isinstance(found, Start) else None

    def start(self, rid: str) -> Start:
        found = self.may_start(rid)
        assert found is not None, self.events[-1]
        return found

    def outcome(self, start: Start, status: Any = "ok", **values: Any) -> bool:
        counted: bool = self.play(Outcome(start.remediation_id, start.token, status, **values))
        return counted

    def verdict(self, start: Start, verdict: Any, detail: str = "") -> bool:
        counted: bool = self.play(Verified(start.remediation_id, start.token, verdict, detail))
        return counted

    def act(self, *alerts: Alert, verdict: Any = "healed") -> list[str]:
        """From alert to verdict; the remediations' ids."""
        ids = self.accepted(*(alerts or (alert(),)))
        for rid in ids:
            start = self.start(rid)
            self.outcome(start, "ok")
            self.verdict(start, verdict)
        return ids

    def due(self, firing: bool | None = None, stale_after: float = 14_700.0) -> list[Any]:
        """Decide again what is due now, as the scheduler does."""
        entries = [replace(entry) for entry in self.state.due(self.now)]
        return [self.play(Recheck(entry, firing, stale_after)) for entry in entries]

    def wake(self) -> int:
        found: int = self.play(Wake())
        return found

    def row(self, rid: str) -> Remediation:
        """The remediation as saved."""
        return Remediation.from_dict(orjson.loads(self.rows[rid].data))

    def deferred(self, of: Alert) -> Deferred | None:
        return self.state.deferred.get(of.fingerprint)


UNFINISHED = frozenset({"held", "reserved", "running", "verifying", "unknown"})
