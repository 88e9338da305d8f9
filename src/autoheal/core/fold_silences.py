"""The fold of what concerns our silences: acknowledgements, what is behind them, and what is watched on afterwards."""

from __future__ import annotations

from autoheal.core.alert import FIRING
from autoheal.core.events import SILENCE_WATCH, Event
from autoheal.core.state import Ack, Behind, Former, State

MAX_RECEIVERS = 1000
MAX_RECEIVER = 200
"""Characters of a receiver's name that is remembered."""


def fold_ack(state: State, event: Event) -> None:
    silence_id = event["silence_id"]
    known = state.acks.get(event.get("replaces") or silence_id)
    if known is not None:
        _extended(state, known, event)
        return
    made = Ack(
        silence_id,
        event["labels"],
        event["ends_at"],
        event.get("actor", ""),
        event.get("comment", ""),
        event["ts"],
        event["starts_at"] if "starts_at" in event else event["ts"],
        silence_id,
    )
    state.acks[silence_id] = made
    state.touch("ack", silence_id)
    hides = event.get("hides")
    if hides:
        state.behind[made.key] = Behind(hides, seen=True)
        state.touch("behind", made.key)


def _extended(state: State, known: Ack, event: Event) -> None:
    """It lasts until another time, perhaps under another id. What the watch saw behind it stays where it is."""
    silence_id = event["silence_id"]
    known.ends_at = event["ends_at"]
    if silence_id != known.silence_id:
        adopted = state.acks.get(silence_id)
        if adopted is not None:
            forget(state, adopted.key)
        del state.acks[known.silence_id]
        state.touch("ack", known.silence_id)
        known.silence_id = silence_id
        state.acks[silence_id] = known
    state.touch("ack", silence_id)


def fold_ack_ended(state: State, event: Event) -> None:
    silence_id = event["silence_id"]
    known = state.acks.pop(silence_id, None)
    if known is None:
        return
    state.touch("ack", silence_id)
    until = event.get("watched_until")
    if until is None:
        forget(state, known.key)
        return
    state.former[silence_id] = Former(silence_id, known.labels, known.since, until, known.key)
    state.touch("former", silence_id)


def fold_received(state: State, event: Event) -> None:
    """Who Alertmanager thinks that we are; and what the watch of our silences told, which is told once."""
    receiver = event.get("receiver")
    if receiver is not None and receiver not in state.receivers and _kept(state, receiver):
        state.receivers[receiver] = event["ts"]
        state.touch("receiver", receiver)
    if not state.former or event.get("source") != SILENCE_WATCH:
        return
    for one in event.get("seen", ()):
        if one["status"] != FIRING or "behind" in one:
            continue
        for key, former in state.former.items():
            if former.covers(one["labels"]):
                former.told[one["fingerprint"]] = one["starts_at"]
                state.touch("former", key)


def _kept(state: State, receiver: str) -> bool:
    return len(receiver) <= MAX_RECEIVER and receiver.isprintable() and len(state.receivers) < MAX_RECEIVERS


def forget(state: State, key: str) -> None:
    """Nothing needs what was seen behind it any more; it may be on the disk even where it is not in this memory."""
    state.behind.pop(key, None)
    state.touch("behind", key)


def drop_old(state: State, ts: float) -> None:
    """Former silences whose alerts need not be watched any more."""
    for silence_id in [key for key, former in state.former.items() if former.watched_until < ts]:
        forget(state, state.former.pop(silence_id).key)
        state.touch("former", silence_id)
