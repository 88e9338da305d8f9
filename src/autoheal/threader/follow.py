"""What the ledger tells of comes into the conversations: healing, acknowledgements, what a silence hides; and time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import orjson
import structlog

from autoheal.core.alert import FIRING, RESOLVED, Alert
from autoheal.core.threads import channel_for
from autoheal.engine.ports import News, StoreUnavailable
from autoheal.sources.alertmanager import Delivery
from autoheal.store.threads import Book
from autoheal.threader import talk as talks
from autoheal.threader.conversation import (
    ack_ended,
    acked,
    answered,
    behind,
    covers,
    doubtful,
    heal,
    hear,
    replaced,
    tick,
)
from autoheal.threader.intake import Intake, grouped
from autoheal.threader.storm import StormWatch
from autoheal.threader.talk import Talk

log = structlog.get_logger("threader")

BATCH = 500
"""Lines of the ledger that are read at a time."""
EVERY = 0.2
"""Seconds between two looks at the ledger."""
LOOK_EVERY = 5.0
"""Seconds between two looks at what our silences hide."""
TICK_EVERY = 1.0
STRAYS_LAST = 3600.0
"""Seconds for which what the ledger tells of an alert waits for its conversation."""

TIDY_EVERY = 600.0
KEEP = 30 * 86400.0
"""Seconds for which a conversation that is over is kept."""
_REMEDIATION = frozenset(
    """approval_requested decision_act decision_hold action_dry_run action_started action_ok action_fail action_unknown
    verify_ok verify_fail verify_inconclusive escalated cancelled approved rejected settled""".split()
)
_RELEVANT = _REMEDIATION | {"ack", "ack_ended", "webhook_received"}
_KIND = '"kind":"'


class Follower:
    """One instance at a time follows the ledger: the cursor is moved in the transaction that takes its lines in.

    `lines` reads the ledger; `last` gives its last id as far as this process knows it, `head` asks for it; `hidden`
    gives the acknowledgements by the id of their silence, each with its `labels`, `ends_at`, `actor`, `comment`, and
    the alerts that it `hides`; `fires` asks Alertmanager which of some alerts fire, None where it does not answer, and
    may block.
    """

    def __init__(
        self,
        intake: Intake,
        lines: News,
        last: Callable[[], int],
        head: Callable[[], int],
        hidden: Callable[[], Mapping[str, Mapping[str, Any]]],
        fires: Callable[[Sequence[str]], Mapping[str, bool] | None],
        monotonic: Callable[[], float],
    ) -> None:
        self.intake, self._lines, self._last, self._head, self._hidden = intake, lines, last, head, hidden
        self._fires, self._monotonic = fires, monotonic
        self._next_look = self._next_tick = self._next_tidy = float("-inf")
        self._shown: dict[str, dict[str, Any]] = {}
        self._seen = -1
        self._storm = StormWatch(intake.policy)
        self._tasks: list[asyncio.Task[None]] = []
        self._wake = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def start(self) -> None:
        self._tasks = [asyncio.create_task(self._run(), name="follower")]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def wake(self) -> None:
        """The ledger has news; from any thread."""
        self._loop.call_soon_threadsafe(self._wake.set)

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            more = False
            try:
                more = await asyncio.to_thread(self.step)
            except StoreUnavailable as error:
                log.debug("ledger_not_followed", error=str(error))
                await asyncio.sleep(1.0)
            except Exception:
                log.exception("follower_failed")
                await asyncio.sleep(1.0)
            if not more:
                try:
                    await asyncio.wait_for(self._wake.wait(), EVERY)
                    await asyncio.sleep(0.02)  # what belongs together is often written together
                except TimeoutError:
                    pass

    def step(self) -> bool:
        """Take in what is there; whether there is more."""
        changed, more = self._read()
        now = self._monotonic()
        if now >= self._next_look:
            self._next_look = now + LOOK_EVERY
            changed |= self._look()
        if now >= self._next_tick:
            self._next_tick = now + TICK_EVERY
            changed |= self._tick()
            changed |= not self.intake.plain and self._storms()
        if now >= self._next_tidy:
            self._next_tidy = now + TIDY_EVERY
            self._tidy()
        if changed:
            self.intake.wake()
        return more

    # ---- the ledger --------------------------------------------------------------------------------------------

    def _read(self) -> tuple[bool, bool]:
        if self._last() <= self._seen:
            return False, False
        try:
            return self._read_once(frozenset())
        except _Begun as begun:  # they are made before, for their rows come in no order beside those that are there
            self.intake.take_groups(begun.groups)
            return self._read_once(frozenset(begun.groups))

    def _read_once(self, begun: frozenset[str]) -> tuple[bool, bool]:
        with self.intake.threads.transaction() as book:
            cursor = book.cursor()
            if cursor is None:
                return False, False  # another instance follows
            if cursor < 0 or (cursor > self._last() and cursor > self._head()):
                book.advance(self._head())  # the first start, or the ledger is an older one, taken from a backup
                return False, False
            self._seen = cursor
            lines = self._lines(cursor, BATCH)
            if not lines:
                return False, False
            events = [orjson.loads(line) for _, line in lines if _relevant(line)]
            changed = bool(events) and self._take(book, events, begun)
            book.advance(lines[-1][0])
        self._seen = lines[-1][0]
        return changed, len(lines) == BATCH

    def _take(self, book: Book, events: Sequence[Mapping[str, Any]], begun: frozenset[str]) -> bool:
        """The events, each into every conversation that it concerns, in order; rows locked in the order of keys."""
        names = sorted({name for event in events for name in _fingerprints(event)})
        homes = book.keys_of(names) if names else {}
        concerned: dict[str, list[Mapping[str, Any]]] = {}
        for event in events:
            fresh = _probed(event, homes)
            if not fresh.keys() <= begun:
                raise _Begun(fresh)
            keys = self._concerned(book, event, homes)
            if not keys and event["kind"] in _REMEDIATION and event.get("fingerprint"):
                book.stray(event["fingerprint"], event["id"], orjson.dumps(event).decode(), book.now)
            for key in keys:
                concerned.setdefault(key, []).append(event)
        changed = False
        rows = book.lock(sorted(concerned))
        for key in sorted(rows):
            talk = talks.load(rows[key])
            if talk is not None:
                for event in concerned[key]:
                    try:
                        self._apply(talk, event, book.now)
                    except Exception:  # one that cannot be understood must not stand before all that follow
                        log.exception("event_not_taken_in", event_id=event.get("id"), conversation=key)
                changed |= self._save(book, talk)
        return changed

    def _concerned(self, book: Book, event: Mapping[str, Any], homes: Mapping[str, Sequence[str]]) -> list[str]:
        if event["kind"] in ("ack", "ack_ended"):
            return book.keys_named((event.get("labels") or {}).get("alertname"))
        return sorted({key for name in _fingerprints(event) for key in homes.get(name, ())})

    def _apply(self, talk: Talk, event: Mapping[str, Any], now: float) -> None:
        c, policy, kind = talk.c, self.intake.policy(), event["kind"]
        if kind == "ack":
            labels, silence_id = event.get("labels") or {}, event["silence_id"]
            replaced(c, event.get("replaces", ""), silence_id)
            said = event.get("comment", "")
            talk.say(acked(c, silence_id, labels, event["ends_at"], event["actor"], event["ts"], said))
        elif kind == "ack_ended":
            routed = channel_for(policy, [member.labels for member in c.firing])
            talk.say(ack_ended(c, event["silence_id"], event["reason"], event.get("actor", ""), event["ts"], routed))
        elif kind == "webhook_received":
            seen = event.get("seen") or ()
            ours = [_alert(item) for item in seen if item["fingerprint"] in c.members and "behind" not in item]
            talk.say(hear(c, ours, event["ts"], policy, watched=event.get("source") != "prober"))
            for silence_id in list(c.acks):
                hidden = {item["fingerprint"]: item for item in seen if item.get("behind") == silence_id}
                known = {name: item for name, item in hidden.items() if name in c.members}
                talk.say(behind(c, silence_id, known, event["ts"], policy))
        else:
            talk.say(heal(c, event, channel_for(policy, [member.labels for member in c.firing])))

    def _save(self, book: Book, talk: Talk) -> bool:
        intake = self.intake
        return talks.save(book, talk, intake.policy(), intake.stale_after, intake.plain)

    # ---- what our silences hide --------------------------------------------------------------------------------

    def _look(self) -> bool:
        found = {key: dict(ack) for key, ack in self._hidden().items()}
        news = {key: ack for key, ack in found.items() if self._shown.get(key) != ack}
        if not news:
            self._shown = found
            return False
        changed = False
        for silence_id, ack in news.items():
            with self.intake.threads.transaction() as book:
                changed |= self._shows(book, silence_id, ack)
        self._shown = found
        return changed

    def _shows(self, book: Book, silence_id: str, ack: Mapping[str, Any]) -> bool:
        """What one silence hides, for the conversations that it covers; an alert that is at home in one of them is no
        other's."""
        hides, labels = ack.get("hides") or {}, ack.get("labels") or {}
        homes = book.keys_of(sorted(hides))
        keys = {key for found in homes.values() for key in found} | set(book.keys_named(labels.get("alertname")))
        changed = False
        for _, stored in sorted(book.lock(sorted(keys)).items()):
            talk = talks.load(stored)
            if talk is None or not any(covers(labels, member) for member in talk.c.members.values()):
                continue
            now, policy, c = book.now, self.intake.policy(), talk.c
            if silence_id not in c.acks and c.open:
                who, until = ack.get("actor", ""), ack.get("ends_at", 0.0)
                talk.say(acked(c, silence_id, labels, until, who, now, ack.get("comment", "")))
            ours = {name: was for name, was in hides.items() if name in c.members or not homes.get(name)}
            talk.say(behind(c, silence_id, ours, now, policy))
            changed |= self._save(book, talk)
        return changed

    # ---- time --------------------------------------------------------------------------------------------------

    def _tick(self) -> bool:
        changed = False
        intake = self.intake
        doubts: dict[str, list[str]] = {}
        with intake.threads.transaction() as book:
            for key, stored in book.due(50).items():
                talk = talks.load(stored)
                if talk is not None:
                    talk.say(tick(talk.c, book.now, intake.policy(), intake.stale_after))
                    doubts[key] = doubtful(talk.c, book.now)
                    changed |= self._save(book, talk)
        return self._ask({key: names for key, names in doubts.items() if names}) or changed

    def _ask(self, doubts: Mapping[str, Sequence[str]]) -> bool:
        """Whether what was said to fire just after it resolved does; asked while no row is held."""
        fires = self._fires(sorted({name for names in doubts.values() for name in names})) if doubts else None
        if fires is None:
            return False
        changed = False
        with self.intake.threads.transaction() as book:
            for key, stored in sorted(book.lock(doubts).items()):
                talk = talks.load(stored)
                if talk is not None:
                    told = {name: fires[name] for name in doubts[key] if name in fires}
                    talk.say(answered(talk.c, told, book.now, self.intake.policy()))
                    changed |= self._save(book, talk)
        return changed

    def _storms(self) -> bool:
        with self.intake.threads.transaction() as book:
            return self._storm.look(book)

    def _tidy(self) -> None:
        """Old conversations, and news that found none, are let go of."""
        with self.intake.threads.transaction() as book:
            now = book.now
            book.prune(now - STRAYS_LAST)
            book.forget("once:")
            for key in book.quiet(now - KEEP, 200):
                book.delete(key)


class _Begun(Exception):
    """Alerts of our own prober, by the conversations that they begin or go on with."""

    def __init__(self, groups: dict[str, Delivery]) -> None:
        super().__init__("conversations begin")
        self.groups = groups


def _probed(event: Mapping[str, Any], homes: Mapping[str, Sequence[str]]) -> dict[str, Delivery]:
    """Alerts of our own prober come by no webhook: each is a conversation of its own."""
    if event["kind"] != "webhook_received" or event.get("source") != "prober":
        return {}
    alerts = [_alert(item) for item in event.get("seen") or () if not homes.get(item["fingerprint"])]
    return grouped(Delivery(list(alerts), "prober", ""), "prober")


def _relevant(line: str) -> bool:
    """Whether a line may matter here, without reading all of it: most of a busy ledger does not."""
    at = line.find(_KIND)
    kind = line[at + len(_KIND) : line.find('"', at + len(_KIND))]
    return kind in _RELEVANT and (kind != "webhook_received" or '"seen":' in line)


def _fingerprints(event: Mapping[str, Any]) -> Iterable[str]:
    if event["kind"] == "webhook_received":
        return [item["fingerprint"] for item in event.get("seen") or ()]
    name = event.get("fingerprint")
    return [name] if name and event["kind"] in _REMEDIATION else []


def _alert(item: Mapping[str, Any]) -> Alert:
    status = RESOLVED if item.get("status") == RESOLVED else FIRING
    notes = item.get("annotations") or {}
    return Alert(status, item["labels"], notes, item["starts_at"], item["fingerprint"], item.get("ends_at"))
