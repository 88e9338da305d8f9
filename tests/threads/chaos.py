"""Groups that come and go, two threaders on one database that die and come back, and a Slack that fails at random."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import httpx

from autoheal.engine.crash import THREADER_POINTS
from autoheal.testing.slack import FakeSlack
from tests.databases import Postgres
from tests.servers import wait_until
from tests.threads.groups import Group
from tests.threads.proof import calm, percentile, problems, storms, threads
from tests.threads.talker import Haste, Talker, counted

COPIES = 0.1
"""The part of deliveries after which an older one comes again, as from a cluster's second."""
NEVER = {"changes": 1000, "per": "1h"}
"""Nothing counts as flapping: each transition is told."""


class Chaos:
    """The stage. `deliver` plays all groups, meanwhile others let threaders die, `settle` waits for rest."""

    def __init__(
        self,
        folder: Path,
        postgres: Postgres,
        slack: FakeSlack,
        haste: Haste,
        groups: Sequence[Group],
        seed: int,
        flapping: Mapping[str, Any] = NEVER,
    ) -> None:
        self.slack, self.groups, self.chance = slack, groups, random.Random(seed)
        self._database = postgres
        self._url = postgres.create_database()
        env = {"DATABASE_URL": self._url}
        self._lease = haste.lease
        self._flapping = flapping is not NEVER
        told = {"flapping": flapping}
        self.talkers = [Talker(folder / name, slack, haste, told, env) for name in ("first", "second")]
        self.counts: Counter[str] = Counter()
        self.took: list[float] = []
        """Seconds that each answer of ours took."""
        self.over = threading.Event()
        self.began = time.time()
        self._stack = ExitStack()

    def __enter__(self) -> Chaos:
        for talker in self.talkers:
            self._stack.enter_context(talker)
            talker.start()
        self.began = time.time()
        return self

    def __exit__(self, *error: object) -> None:
        self.over.set()
        self._stack.close()
        self._database.drop_database(self._url)

    # ---- alerts ------------------------------------------------------------------------------------------------

    def deliver(self, transitions: int, senders: int = 4, every: float = 0.0) -> None:
        """So many deliveries for each group, each until it is taken; those of one group in order. `every`: seconds
        that a sender takes for one."""
        errors: list[BaseException] = []

        def send(mine: Sequence[Group], chance: random.Random) -> None:
            try:
                with httpx.Client(timeout=10) as web:
                    for _ in range(transitions):
                        for group in chance.sample(mine, len(mine)):
                            self._one(web, group, chance)
                            self.over.wait(every)
            except BaseException as error:
                errors.append(error)

        parts = [self.groups[first::senders] for first in range(senders)]
        running = [
            threading.Thread(target=send, args=(part, random.Random(self.chance.random())), daemon=True)
            for part in parts
            if part
        ]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()
        if errors:
            raise errors[0]

    def _one(self, web: httpx.Client, group: Group, chance: random.Random) -> None:
        self._until_taken(web, group.step(), chance)
        group.answered = time.time()
        if chance.random() < COPIES:
            self.counts["copies"] += 1
            self._until_taken(web, chance.choice(group.sent), chance)

    def _until_taken(self, web: httpx.Client, body: dict[str, Any], chance: random.Random) -> None:
        while not self.over.is_set():
            began = time.monotonic()
            try:
                answer = web.post(f"{chance.choice(self.talkers).url}/alert", json=body)
            except httpx.TransportError:
                answer = None
            else:
                self.took.append(time.monotonic() - began)
            if answer is not None and answer.status_code == 200:
                return
            assert answer is None or answer.status_code == 503, (answer.text, self.mistakes())
            self.counts["unanswered"] += answer is None
            self.counts["refused"] += answer is not None
            self.over.wait(0.05)

    # ---- death -------------------------------------------------------------------------------------------------

    def each_dies_once(self) -> None:
        """By SIGKILL, one after the other, in the middle of it."""
        for talker in self.talkers:
            enough = self.slack.calls["chat.postMessage"] + 20
            wait_until(lambda enough=enough: self.slack.calls["chat.postMessage"] >= enough, 60, "posts")
            self._kill(talker)
            talker.start()

    def die_at_random(self, until: threading.Event, pause: float) -> None:
        """One or both of them, by SIGKILL or at a point of the code, every `pause` seconds or so; or one stands still
        for longer than its claims last, and goes on as if nothing had been."""
        while not until.is_set():
            until.wait(self.chance.uniform(0.2, 2) * pause)
            victim = self.chance.choice(self.talkers)
            if victim.process.alive and self.chance.random() < 0.15:
                self._freeze(victim)
                continue
            for talker in self.talkers if self.chance.random() < 0.2 else [victim]:
                if talker.process.alive:
                    self._kill(talker)
                else:
                    self.counts["crashes"] += 1
            until.wait(self.chance.uniform(0, pause / 2))
            for talker in self.talkers:
                if not talker.process.alive:
                    point, after = self.chance.choice(THREADER_POINTS), self.chance.randint(1, 200)
                    talker.launch(*(["--crash", f"{point}:{after}"] if self.chance.random() < 0.5 else []))
            until.wait(1.0)
        for talker in self.talkers:  # whoever still has an armed point goes on without it
            with suppress(AssertionError):
                talker.process.until(talker.ready, 40)
            if talker.process.alive:
                self._kill(talker)
            talker.start()

    def _kill(self, talker: Talker) -> None:
        talker.kill()
        self.counts["kills"] += 1

    def _freeze(self, talker: Talker) -> None:
        self.counts["freezes"] += 1
        talker.process.send(signal.SIGSTOP)
        self.over.wait(self.chance.uniform(0, 1.5) * self._lease)
        talker.process.send(signal.SIGCONT)

    # ---- rest --------------------------------------------------------------------------------------------------

    def settle(self, timeout: float) -> None:
        """Until nothing is to be done any more, and both have ended in order."""
        wait_until(lambda: self.talkers[0].idle() and calm(self.slack), timeout, "rest", 0.5)
        for talker in self.talkers:
            health = talker.health()
            assert health["slack"]["state"] != "down", health
            self.counts["dropped"] += health["dropped"]
            assert talker.stop() == 0, talker.process.text()[-5000:]

    def mistakes(self) -> list[str]:
        return [line for talker in self.talkers for line in talker.mistakes()]

    def assert_true(self) -> dict[str, object]:
        """Check everything; the figures."""
        found = problems(self.slack, self.groups, self._flapping)
        assert found == [], "\n".join(found[:50])
        assert self.mistakes() == []
        assert self.counts["dropped"] == counted(self.talkers, "threader_dropped_total") == 0
        assert self.slack.violations == []
        return self._figures()

    def _figures(self) -> dict[str, object]:
        shown, counts = threads(self.slack), self.counts
        late = [max(0.0, shown[group.name].told_at - group.answered) for group in self.groups]
        looks = [
            counted(self.talkers, "threader_slack_calls_total", f"method=look,result={result}")
            for result in ("posted", "absent")
        ]
        return {
            "groups": f"{len(self.groups)}, {sum(len(group.told) for group in self.groups)} transitions",
            "duration": f"{time.time() - self.began:.1f} s",
            "deaths": f"{counts['kills']} by SIGKILL, {counts['crashes']} at a point of the code; "
            f"{counts['freezes']} times frozen",
            "deliveries again": f"{counts['unanswered']} not answered, {counts['refused']} refused, "
            f"{counts['copies']} older copies",
            "answers to Alertmanager": f"half within {1000 * percentile(self.took, 0.5):.0f} ms, 99 % within "
            f"{1000 * percentile(self.took, 0.99):.0f} ms",
            "calls": _listed(self.slack.calls),
            "turned away": _listed(self.slack.refusals),
            "looked for": f"{looks[0]} found, {looks[1]} times not there",
            "edits coalesced": counted(self.talkers, "threader_edits_coalesced_total"),
            "storms told of": len(storms(self.slack)),
            "true after its last delivery": f"half of them {percentile(late, 0.5):.1f} s, the last {max(late):.1f} s",
            "violations, drops, doubles, holes": 0,
        }


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
