"""Our silences: made, extended, watched while they last and for a while after, ended (safety rule 7)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from autoheal.core.alert import FIRING, Alert
from autoheal.core.events import SILENCE_WATCH
from autoheal.core.fold_silences import forget
from autoheal.core.moves.intake import AlertsArrived, contained, in_parts, seen_of
from autoheal.core.state import Ack, Behind, Former, State
from autoheal.core.turn import Turn

Hides = Mapping[str, Mapping[str, Any]]
"""Alerts behind a silence, by fingerprint: `labels`, `starts_at`."""
_QUOTED = frozenset("\\.+*?()|[]{}^$")


@dataclass(frozen=True, slots=True)
class Acked:
    """A silence of ours exists; from now on it is watched. `starts_at`: when it began, None for just now; `hides`: what
    is known to be behind it already."""

    silence_id: str
    labels: dict[str, str]
    ends_at: float
    actor: str
    duration: str = ""
    comment: str = ""
    reason: str | None = None
    starts_at: float | None = None
    hides: Hides = field(default_factory=dict)

    def play(self, turn: Turn) -> None:
        if self.silence_id in turn.state.acks or self.silence_id in turn.state.former:
            return
        known = in_parts([_alert(name, was) for name, was in self.hides.items()])
        first = {alert.fingerprint for alert in next(known, [])}
        hides = {name: dict(was) for name, was in self.hides.items() if name in first}
        turn.emit(
            "ack",
            {
                "alertname": self.labels.get("alertname"),
                "labels": self.labels,
                "duration": self.duration or None,
                "silence_id": self.silence_id,
                "starts_at": self.starts_at,
                "ends_at": self.ends_at,
                "actor": self.actor,
                "comment": self.comment or None,
                "reason": self.reason,
                "hides": hides or None,
            },
        )


@dataclass(frozen=True, slots=True)
class Extended:
    """A silence of ours lasts until another time, under `new_id`. `changed`: nobody here did that, it was seen."""

    silence_id: str
    new_id: str
    labels: dict[str, str]
    ends_at: float
    actor: str
    duration: str = ""
    changed: bool = False

    def play(self, turn: Turn) -> None:
        known = turn.state.acks.get(self.silence_id)
        if known is None and self.changed:
            return
        if known is not None and self.new_id == self.silence_id and abs(known.ends_at - self.ends_at) < 1.0:
            return  # it is on record already
        earlier = known is not None and self.ends_at < known.ends_at
        turn.emit(
            "ack",
            {
                "alertname": self.labels.get("alertname"),
                "labels": self.labels,
                "duration": self.duration or None,
                "silence_id": self.new_id,
                "replaces": self.silence_id if self.new_id != self.silence_id else None,
                "ends_at": self.ends_at,
                "actor": self.actor,
                "reason": "shortened" if earlier else "extended",
            },
        )


@dataclass(frozen=True, slots=True)
class AckEnded:
    """A silence has ended. `watch`: seconds for which its alerts are watched on, where it was one of ours."""

    silence_id: str
    reason: Literal["expired", "resolved", "by_hand"]
    actor: str = ""
    watch: float = 0.0

    def play(self, turn: Turn) -> bool:
        known = turn.state.acks.get(self.silence_id)
        if known is None and self.reason != "by_hand":
            return False
        turn.emit(
            "ack_ended",
            {
                "alertname": known.labels.get("alertname") if known else None,
                "labels": known.labels if known else None,
                "silence_id": self.silence_id,
                "reason": self.reason,
                "actor": self.actor or None,
                "watched_until": turn.now + self.watch if known and self.watch else None,
            },
        )
        return known is not None


# ---- what the watch sees --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AckHides:
    """What is behind a silence of ours now; see `core.state.Behind`. What has come is put on record: no webhook tells
    of it. `alerts`: the same ones as far as their annotations are known."""

    silence_id: str
    hides: Hides
    alerts: Mapping[str, Alert] = field(default_factory=dict)

    def play(self, turn: Turn) -> None:
        ack = turn.state.acks.get(self.silence_id)
        if ack is None:
            return
        known = turn.state.behind.get(ack.key, Behind())
        news = [(name, was) for name, was in self.hides.items() if _new(known, name, was)]
        came = [self.alerts.get(name) or _alert(name, was) for name, was in news]
        for part in in_parts(came):
            about = {"alerts": len(part), "source": SILENCE_WATCH, "silence_id": self.silence_id}
            seen = [seen_of(alert) | {"behind": self.silence_id} for alert in part]
            turn.emit("webhook_received", about | {"seen": seen})
        remember(turn.state, ack, self.hides, known.seen or bool(self.hides))


def _new(known: Behind, name: str, was: Mapping[str, Any]) -> bool:
    before = known.hides.get(name)
    return before is None or before["starts_at"] != was["starts_at"]


def _alert(name: str, was: Mapping[str, Any]) -> Alert:
    return Alert(FIRING, was["labels"], {}, was["starts_at"], name)


def remember(state: State, ack: Ack, hides: Hides, seen: bool) -> None:
    """Keep what is behind it, where that is not known yet."""
    found = Behind({name: dict(was) for name, was in hides.items()}, seen)
    if state.behind.get(ack.key, Behind()) != found:
        state.behind[ack.key] = found
        state.touch("behind", ack.key)


@dataclass(frozen=True, slots=True)
class Recalled:
    """What another process that watched before us saw last, by the acknowledgements' keys; nothing is told."""

    behind: Mapping[str, Behind]

    def play(self, turn: Turn) -> None:
        state = turn.state
        just_made = {ack.key for ack in state.acks.values()} - self.behind.keys()
        state.behind = {key: was for key, was in state.behind.items() if key in just_made} | dict(self.behind)


@dataclass(frozen=True, slots=True)
class ResolvedBehind:
    """What was behind our silences and fires no more: it is decided, once, as if a webhook had told. `over`: the keys
    of former silences of which nothing of the kind is to be told any more."""

    alerts: Sequence[Alert]
    over: Sequence[str] = ()

    def play(self, turn: Turn) -> int:
        state = turn.state
        behind = [was.hides for was in state.behind.values()]
        told = [one for one in self.alerts if any(_hidden(hides, one) for hides in behind)]
        gone = {one.fingerprint: one.starts_at for one in told}
        for key, was in list(state.behind.items()):
            left = {name: item for name, item in was.hides.items() if gone.get(name) != item["starts_at"]}
            if len(left) != len(was.hides):
                state.behind[key] = Behind(left, was.seen)
                state.touch("behind", key)
        for key in self.over:
            if key not in {ack.key for ack in state.acks.values()}:
                forget(state, key)
        for part in in_parts(told):
            AlertsArrived(part, source=SILENCE_WATCH).play(turn)
        return len(told)


def _hidden(hides: Hides, alert: Alert) -> bool:
    was = hides.get(alert.fingerprint)
    return was is not None and was["starts_at"] == alert.starts_at


@dataclass(frozen=True, slots=True)
class Refired:
    """Alerts that fire, seen by everybody, after a silence of ours has ended. Alertmanager sends nothing where one of
    them had resolved behind it and fires again; so each episode is put on record once. Those that it would send to us
    are decided, too: `receivers` are the names of where it sends each to, by fingerprint."""

    alerts: Sequence[Alert]
    receivers: Mapping[str, Sequence[str]]
    origin: str = ""

    def play(self, turn: Turn) -> int:
        news = [alert for alert in self.alerts if refired(turn.state.former.values(), alert, turn.now)]
        for part in in_parts(news):
            self._tell(turn, part)
        return len(news)

    def _tell(self, turn: Turn, news: Sequence[Alert]) -> None:
        seen = [seen_of(one) | {"receivers": list(self.receivers.get(one.fingerprint, ()))} for one in news]
        about = {"alerts": len(news), "source": SILENCE_WATCH, "origin": self.origin or None, "seen": seen}
        turn.emit("webhook_received", about)
        delivery = AlertsArrived(news, SILENCE_WATCH, self.origin)
        for index, alert in enumerate(news):
            if any(_is_us(turn.state, name) for name in self.receivers.get(alert.fingerprint, ())):
                contained(turn, index, alert, delivery)


def refired(former: Iterable[Former], alert: Alert, now: float) -> bool:
    """Whether it began after a silence that covered it, which has ended lately, and was not told yet."""
    covering = [one for one in former if now <= one.watched_until and one.covers(alert.labels)]
    began = any(alert.starts_at > one.since for one in covering)
    return began and all(one.told.get(alert.fingerprint, 0.0) < alert.starts_at for one in covering)


def _is_us(state: State, receiver: str) -> bool:
    """Whether Alertmanager has sent to us under this name, which it writes as a quoted pattern (Go's QuoteMeta)."""
    return receiver in state.receivers or _quoted(receiver) in state.receivers


def _quoted(name: str) -> str:
    return "".join(f"\\{char}" if char in _QUOTED else char for char in name)
