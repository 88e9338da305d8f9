"""What must be true of a trail that several processes wrote, some of which died, froze or were cut off meanwhile."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.acceptance.service import policy, rule
from tests.crash.storm import BY, RUN
from tests.scale.cluster import Cluster, Senders, pid_of
from tests.servers import wait_until

Event = dict[str, Any]
MOVING = ("reserved", "running", "verifying", "held")

WAITING = """#!/bin/sh
# As run.sh, and then it waits for somebody to open the gate.
echo "$1 $2 waiting" >> "$RUNS"
while [ ! -e "$GATE" ]; do sleep 0.05; done
"""


def scale_policy(folder: Path, healthy: str, **limits: Any) -> dict[str, Any]:
    """The crash tests' three rules (nothing to verify, healthy, sick in two steps), and two whose action waits."""
    script, waiting = folder / "run.sh", folder / "waiting.sh"
    folder.mkdir(parents=True, exist_ok=True)
    script.write_text(RUN)
    waiting.write_text(WAITING)

    def step(number: int, file: Path = script, **verify: Any) -> dict[str, Any]:
        variables = {"RUNS": str(folder / "runs"), "GATE": str(folder / "gate")}
        command = {"run": ["sh", str(file), "{fingerprint}", str(number)], "env": variables}
        check = {"verify": {"within": "1s", "every": "100ms", **verify}} if verify else {}
        return {"action": {"command": command}, **check}

    sick = {"tcp": "127.0.0.1:1"}
    more = {"cooldown": "4h", "cooldown_by": BY, "on_exhausted": {"escalate": "warning"}}
    return policy(
        rule("plain", "Plain", step(1), **more),
        rule("checked", "Checked", step(1, http=healthy), **more),
        rule("sick", "Sick", step(1, **sick), step(2, **sick), **more),
        rule("waiting", "Waiting", step(1, waiting), **more),
        rule("waiting-checked", "WaitingChecked", step(1, waiting, http=healthy), **more),
        limits={"concurrent": 8, **limits},
    )


CHECKED = ("checked", "waiting-checked")
"""Rules whose verification, run as a probe, says healthy."""


@dataclass
class Standing:
    """What the trail says has not come to rest."""

    moving: dict[str, str]
    untold: set[str]
    unmet: set[str]

    def __bool__(self) -> bool:
        return bool(self.moving or self.untold or self.unmet)


def standing(trail: Sequence[Event], causes: Collection[str]) -> Standing:
    """Remediations that move, unknown ends that no person was told of, causes that nothing was done about."""
    states: dict[str, str] = {}
    told: set[str] = set()
    met: set[str] = set()
    for event in trail:
        name = event.get("remediation_id")
        if event["kind"] == "escalated":
            told.add(name or "")
        elif name and event.get("state"):
            states[name] = event["state"]
        if event["kind"] == "action_started":
            met.add(event["fingerprint"])
        elif event.get("not_started") and event["step"] == 0:
            met.discard(event["fingerprint"])
    moving = {name: state for name, state in states.items() if state in MOVING}
    untold = {name for name, state in states.items() if state == "unknown" and name not in told}
    return Standing(moving, untold, set(causes) - met)


def settled(cluster: Cluster, senders: Senders, timeout: float = 60.0) -> None:
    """Wait until every cause was acted on and nothing moves any more."""

    def at_rest() -> bool:
        left = standing(cluster.seen(), senders.causes)
        assert not left, left
        return True

    wait_until(at_rest, timeout, "rest", 0.2)


class Proof:
    """The trail of a cluster that has stopped, against what was promised and what ran."""

    def __init__(self, cluster: Cluster, senders: Senders, runs: Path) -> None:
        self.trail = cluster.trail()
        self.promised, self.causes = senders.promised, senders.causes
        self.runs = [line.split() for line in runs.read_text().splitlines()] if runs.exists() else []
        self.harmed = cluster.harmed
        self.found: Counter[str] = Counter()
        self.found["unanswered"], self.found["refused"] = senders.unanswered, senders.refused

    def check(self, *, anybody: bool = False) -> Counter[str]:
        """AssertionError for what may never be; counts of what was. `anybody`: each process may have lost its lease,
        because the database was away."""
        self.found |= Counter(promised=len(self.promised), causes=len(self.causes), runs=len(self.runs))
        self.found["events"] = len(self.trail)
        left = standing(self.trail, self.causes)
        assert not left, left
        self._nothing_promised_is_missing()
        self._each_cause_once()
        self._every_attempt_ended_as_designed(anybody)
        return self.found

    def _nothing_promised_is_missing(self) -> None:
        decided = {e["fingerprint"] for e in self.trail if e["kind"].startswith("decision_")}
        acts = {e["remediation_id"] for e in self.trail if e["kind"] == "decision_act"}
        for result in self.promised:
            assert result["fingerprint"] in decided, result
            assert result["result"] in ("accepted", "skip"), result
            if result["result"] == "accepted":
                assert result["remediation_id"] in acts, result

    def _each_cause_once(self) -> None:
        """One start of each step, and one run of it at most: none where the hands died before it began."""
        refused = {e["token"] for e in self.trail if e.get("not_started")}
        attempts = [e for e in self.trail if e["kind"] == "action_started" and e["token"] not in refused]
        started = Counter((e["fingerprint"], str(e["step"] + 1)) for e in attempts)
        ran = Counter((run[0], run[1]) for run in self.runs)
        assert [what for what, times in ran.items() if times > 1] == []
        assert [what for what, times in started.items() if times > 1] == []
        assert set(ran) <= set(started), set(ran) - set(started)
        assert {(name, "1") for name in self.causes} == {what for what in started if what[1] == "1"}
        known = {(e["fingerprint"], str(e["step"] + 1)) for e in self.trail if e["kind"] == "action_ok"}
        assert known <= set(ran), known - set(ran)
        self.found["not started"] = len(refused)
        self.found["never ran"] = len(set(started) - set(ran))

    def _every_attempt_ended_as_designed(self, anybody: bool) -> None:
        attempts: dict[str, list[Event]] = {}
        last: dict[str, str] = {}
        for event in self.trail:
            name = event.get("remediation_id")
            if event["kind"] == "action_started":
                last[name or ""] = event["token"]
                attempts[event["token"]] = [event]
            elif name in last and (event.get("state") or event["kind"] in ("escalated", "settled")):
                attempts[last[name or ""]].append(event)
        for events in attempts.values():
            if self._ended(events) and not anybody:
                start = events[0]
                assert pid_of(start["instance"]) in self.harmed, start

    def _ended(self, events: Sequence[Event]) -> bool:
        """Whether nobody told the end of this attempt in time; AssertionError where it ended as nothing may."""
        start, rest = events[0], events[1:]
        kinds = [e["kind"] for e in rest if e["kind"] not in ("settled", "verify_inconclusive")]
        assert rest, start
        first = rest[0]
        if first["kind"] == "verify_ok":
            assert (first["reason"], first["rule"] in CHECKED, kinds) == ("probe", True, ["verify_ok"]), events
            self.found["healed by probe"] += 1
            return True
        if first["kind"] != "action_unknown":
            assert first["token"] == start["token"], events
            assert first["kind"] in ("action_ok", "cancelled"), events
            return False
        assert (first["reason"], first["token"]) == ("interrupted", start["token"]), events
        assert first["rule"] not in CHECKED, events
        assert kinds[1] == "escalated", events
        late = kinds[2:3]
        assert late in ([], ["action_ok"], ["cancelled"]), events
        self.found["unknown, settled late" if late else "unknown"] += 1
        return True


def counted(found: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {number}" for name, number in sorted(found.items()))
