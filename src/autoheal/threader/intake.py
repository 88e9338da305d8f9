"""Deliveries become conversations: on disk, with what Slack has to be told, before anybody is answered."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import orjson

from autoheal.core.alert import Alert
from autoheal.core.threads import NOWHERE, ThreadPolicy, channel_for
from autoheal.engine.crash import crash_point
from autoheal.engine.ports import StoreUnavailable
from autoheal.sources.alertmanager import Delivery
from autoheal.store.threads import Book, Threads
from autoheal.threader import talk as talks
from autoheal.threader.conversation import Conversation, heal, hear
from autoheal.threader.talk import Place, Talk, conversation_key

REMEMBER = 600.0
"""Seconds within which a repeated delivery that brings nothing new is not noted again."""

PATIENCE = 5.0
"""Seconds from its arrival within which a delivery is written, or is not any more and is to come again."""
MAX_WAITING, MAX_ALERTS = 2000, 50_000
"""Deliveries that wait to be written, and their alerts, at most; who comes then is to come again."""
TOGETHER, ALERTS_TOGETHER = 32, 1000
"""Deliveries that are written in one transaction, and their alerts, at most."""


class Intake:
    """`policy` gives the one in force; `wake` is called when there is something to post.

    `plain`: Slack is reached by an incoming webhook only.
    """

    def __init__(
        self,
        threads: Threads,
        policy: Callable[[], ThreadPolicy],
        stale_after: float,
        plain: bool = False,
        wake: Callable[[], object] = lambda: None,
        archive: Callable[[Place], str] = lambda place: "",
        cluster: Sequence[str] = (),
    ) -> None:
        """`archive` gives the link to a thread that a new one takes the place of; `cluster`: the addresses of
        Alertmanagers that speak for each other, so that what any of them sends is one conversation."""
        self.threads, self.policy, self.stale_after, self.plain = threads, policy, stale_after, plain
        self.wake, self._archive = wake, archive
        self._cluster = {urlsplit(url).netloc for url in cluster}
        self._waiting: OrderedDict[asyncio.Future[None], dict[str, Delivery]] = OrderedDict()
        self._alerts = 0
        self._hand = ThreadPoolExecutor(1, "intake")  # a store that hangs may hold no thread of anybody else
        self._taking: asyncio.Task[None] | None = None

    async def hear(self, delivery: Delivery) -> list[str]:
        """Take a webhook's alerts in: the keys of their conversations. StoreUnavailable: nothing was taken, or the
        store was too slow to say, and the alerts are to come again, which harms nothing.

        What comes while the store writes is written together afterwards: a storm costs few commits.
        """
        groups = grouped(delivery, self._source(delivery.origin))
        if groups:
            await self._written(groups, _size(groups))
        return list(groups)

    async def _written(self, groups: dict[str, Delivery], size: int) -> None:
        full = len(self._waiting) >= MAX_WAITING or self._alerts + size > MAX_ALERTS
        if self._waiting and full:
            raise StoreUnavailable("too much is waiting to be written")
        taken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[taken] = groups
        self._alerts += size
        if self._taking is None or self._taking.done():
            self._taking = asyncio.create_task(self._take_waiting(), name="intake")
        try:
            async with asyncio.timeout(PATIENCE):
                await taken
        except TimeoutError as error:
            raise StoreUnavailable(f"the store did not take it within {PATIENCE:g} s") from error
        finally:
            self._no_more(taken)

    def _source(self, origin: str) -> str:
        return "cluster" if urlsplit(origin).netloc in self._cluster else origin

    def _no_more(self, taken: asyncio.Future[None]) -> dict[str, Delivery]:
        """It does not wait any more; what it was."""
        groups = self._waiting.pop(taken, {})
        self._alerts -= _size(groups)
        return groups

    async def _take_waiting(self) -> None:
        while self._waiting:
            batch = self._batch()
            try:
                await self._take(batch)
            except StoreUnavailable as error:
                # the store is away: the others would find that out one after the other, each for as long
                for taken in [*batch, *self._waiting]:
                    self._no_more(taken)
                    _tell(taken, StoreUnavailable(str(error)))

    def _batch(self) -> dict[asyncio.Future[None], dict[str, Delivery]]:
        """What is written together, as it came; who has gone is passed over."""
        batch: dict[asyncio.Future[None], dict[str, Delivery]] = {}
        room = ALERTS_TOGETHER
        while self._waiting and len(batch) < TOGETHER:
            taken, groups = next(iter(self._waiting.items()))
            if not taken.done():
                room -= _size(groups)
                if room < 0 and batch:
                    break
                batch[taken] = groups
            self._no_more(taken)
        return batch

    async def _take(self, batch: Mapping[asyncio.Future[None], dict[str, Delivery]]) -> None:
        """Write it and tell each how it went; StoreUnavailable: those whom nobody told are not written."""
        batch = {taken: groups for taken, groups in batch.items() if not taken.done()}
        if not batch:
            return
        try:
            await asyncio.get_running_loop().run_in_executor(self._hand, self.take_groups, *batch.values())
        except StoreUnavailable:
            raise
        except Exception as error:
            if len(batch) == 1:
                _tell(next(iter(batch)), error)
                return
            for taken, groups in batch.items():  # one of them may stand in the others' way: each for itself
                await self._take({taken: groups})
        else:
            for taken in batch:
                _tell(taken)

    def take_groups(self, *deliveries: dict[str, Delivery]) -> None:
        """Deliveries, grouped already, in one transaction; blocks. StoreUnavailable: nothing was taken."""
        with self.threads.transaction() as book:
            changed = self.write(book, *deliveries)
        crash_point("threader.heard")
        if changed:
            self.wake()

    def write(self, book: Book, *deliveries: dict[str, Delivery]) -> bool:
        """In the caller's transaction; whether anything changed. By key, as rows are locked, and then as they came."""
        changed = False
        parts = [(key, delivery) for groups in deliveries for key, delivery in groups.items()]
        for key, delivery in sorted(parts, key=lambda part: part[0]):
            stored = book.create(key) if self._is_news(delivery) else book.lock([key]).get(key)
            if stored is None:
                continue  # nobody is to be told, or nothing that anybody was told of has ended
            known = talks.load(stored)
            talk = known or Talk(stored, self._opened(key, delivery, book.now))
            changed |= self._heard(book, talk, delivery)
        return changed

    def _is_news(self, delivery: Delivery) -> bool:
        """Whether something fires that somebody is to be told of."""
        firing = [alert.labels for alert in delivery.alerts if isinstance(alert, Alert) and not alert.resolved]
        return bool(firing) and channel_for(self.policy(), firing).channel != NOWHERE

    def _opened(self, key: str, delivery: Delivery, now: float) -> Conversation:
        firing = [alert for alert in delivery.alerts if isinstance(alert, Alert) and not alert.resolved]
        routed = channel_for(self.policy(), [alert.labels for alert in firing])
        c = Conversation(
            key,
            delivery.origin,
            delivery.receiver,
            delivery.group_key,
            dict(delivery.group_labels),
            routed.channel,
            now,
            mentions=list(routed.mentions),
        )
        return c

    def _heard(self, book: Book, talk: Talk, delivery: Delivery) -> bool:
        now, policy = book.now, self.policy()
        alerts = [alert for alert in delivery.alerts if isinstance(alert, Alert)]
        quiet_since = talk.c.resolved_at
        begins = any(not alert.resolved for alert in alerts) and not talk.c.open
        if begins and quiet_since is not None and now - quiet_since >= policy.new_thread_after and not talk.unsaid:
            if not self._is_news(delivery):
                return False
            earlier = self._archive(talk.place)
            talk = Talk(talk.stored, self._opened(talk.key, delivery, now))
            talk.c.earlier = earlier
        before, heard_at = set(talk.c.members), talk.c.heard_at
        talk.say(hear(talk.c, alerts, now, policy, delivery.truncated, delivery.urls))
        if now - heard_at < REMEMBER:
            talk.c.heard_at = heard_at
        self.adopt(book, talk, set(talk.c.members) - before)
        return talks.save(book, talk, policy, self.stale_after, self.plain)

    def adopt(self, book: Book, talk: Talk, fingerprints: Iterable[str]) -> None:
        """What the ledger told of these alerts before their conversation was there."""
        names = sorted(fingerprints)
        if names:
            for stray in book.strays(names):
                routed = channel_for(self.policy(), [member.labels for member in talk.c.firing])
                talk.say(heal(talk.c, orjson.loads(stray.data), routed))

    async def find(self, key: str) -> Conversation | None:
        """The conversation as it is now."""
        stored = await asyncio.to_thread(self.threads.get, key)
        talk = talks.load(stored) if stored is not None else None
        return talk.c if talk is not None else None


def _size(groups: Mapping[str, Delivery]) -> int:
    return sum(len(delivery.alerts) for delivery in groups.values())


def _tell(taken: asyncio.Future[None], error: Exception | None = None) -> None:
    """Whoever waited may have gone."""
    if taken.done():
        return
    if error is None:
        taken.set_result(None)
    else:
        taken.set_exception(error)


def grouped(delivery: Delivery, source: str) -> dict[str, Delivery]:
    """The delivery by the keys of its conversations: one, or where the sender does not group one for each alert."""
    alerts: Sequence[Alert] = [alert for alert in delivery.alerts if isinstance(alert, Alert)]
    if not alerts:
        return {}
    if delivery.group_key:
        return {conversation_key(source, delivery.receiver, delivery.group_key): delivery}
    found: dict[str, Delivery] = {}
    for alert in alerts:
        key = conversation_key(source, delivery.receiver, f"alert:{alert.fingerprint}")
        part = found.setdefault(key, Delivery([], delivery.origin, delivery.receiver))
        part.alerts.append(alert)
    return found
