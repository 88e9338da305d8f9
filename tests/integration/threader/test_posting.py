"""From a delivery to what stands in Slack, and back to the truth whatever Slack or its people do."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from autoheal.config.regex import compile_regex
from autoheal.core.matcher import parse_matchers
from autoheal.core.threads import NOWHERE, Route
from autoheal.testing.http_fake import Fault
from autoheal.testing.slack import FakeSlack, Message
from autoheal.threader.storm import MANY, StormWatch
from tests.integration.threader.desk import QUICK, Desk, alert, delivery, desk, fake, resolved

CRITICAL = "#alerts-critical"


def parents(slack: FakeSlack, channel: str = CRITICAL) -> list[Message]:
    return slack.channel(channel).messages


def the_parent(slack: FakeSlack, channel: str = CRITICAL) -> Message:
    (found,) = parents(slack, channel)
    return found


def replies(slack: FakeSlack, channel: str = CRITICAL) -> list[str]:
    return [one.text for one in the_parent(slack, channel).replies if not one.deleted]


async def told(it: Desk, *, channel: str = CRITICAL) -> None:
    """Fire, join, resolve: one thread with everything in it."""
    await it.hear(alert("a"))
    await it.quiet()
    await it.hear(alert("a"), alert("b"))
    await it.quiet()
    await it.hear(resolved("a"), resolved("b"))
    await it.quiet()


def test_one_thread_from_fire_to_resolve(tmp_path: Path) -> None:
    async def play() -> None:
        with fake() as slack:
            async with desk(slack, tmp_path) as it:
                await told(it)
                parent = the_parent(slack)
                assert "resolved" in parent.text.lower()
                first, second = replies(slack)
                assert "1 more alert" in first and "esolved" in second
                assert not slack.violations and not slack.twice()
                assert it.metrics.dropped._value.get() == 0

    asyncio.run(play())


def test_a_repeat_that_brings_nothing_new_calls_nobody(tmp_path: Path) -> None:
    async def play() -> None:
        with fake() as slack:
            async with desk(slack, tmp_path) as it:
                await it.hear(alert("a"))
                await it.quiet()
                before = sum(slack.calls.values())
                for _ in range(5):
                    await it.hear(alert("a"))
                await it.quiet()
                assert sum(slack.calls.values()) == before

    asyncio.run(play())


def test_edits_coalesce_and_the_latest_wins(tmp_path: Path) -> None:
    async def play() -> None:
        with fake() as slack:
            async with desk(slack, tmp_path) as it:
                await it.hear(alert("a"))
                await it.quiet()
                slack.limit(60.0, method="chat.update")
                for n in range(20):
                    await it.hear(alert(f"n{n}"))
                await it.quiet()
                assert "21 firing" in the_parent(slack).text
                assert len(the_parent(slack).edits) <= 5
                assert it.metrics.coalesced._value.get() >= 10

    asyncio.run(play())


@pytest.mark.parametrize("what", ["lose", "fatal"])
@pytest.mark.parametrize("which", [1, 2])
def test_a_lost_answer_gives_neither_a_double_nor_a_hole(tmp_path: Path, what: str, which: int) -> None:
    """`which`: the parent's answer, or the reply's."""

    async def play() -> None:
        with fake() as slack:
            async with desk(slack, tmp_path) as it:
                if which == 2:
                    await it.hear(alert("a"))
                    await it.quiet()
                if what == "lose":
                    slack.faults.append(Fault("lose", "POST /api/chat.postMessage"))
                else:
                    slack.chaos(lost=1.0, seed=1)
                await it.hear(alert("a"), alert("b"))
                await it.until(lambda: it.metrics.calls.labels("post", "doubt")._value.get() >= 1)
                slack.chaos()
                await it.quiet()
                assert len(parents(slack)) == 1 and not slack.twice()
                assert len(replies(slack)) == which - 1

    asyncio.run(play())


def test_what_was_never_done_is_done_again(tmp_path: Path) -> None:
    async def play() -> None:
        with fake() as slack:
            async with desk(slack, tmp_path) as it:
                slack.faults.append(Fault("hang", "POST /api/chat.postMessage"))
                await it.hear(alert("a"))
                await it.until(lambda: bool(parents(slack)))
                await it.quiet()
                assert len(parents(slack)) == 1 and not slack.twice()

    asyncio.run(play())


def test_a_process_that_died_with_a_message_in_its_hands(tmp_path: Path) -> None:
    """Its claim runs out; who takes it up finds the message by its nonce and posts no second one."""

    async def play() -> None:
        with fake() as slack:
            first = Desk(slack, tmp_path, owner="dead", pace=QUICK)
            await first.hear(alert("a"))
            (work,) = first.poster._claim(5, [])
            step = first.poster._begin(work)
            assert step is not None
            await first.poster.sender.do(step.job, float("inf"))
            await first.close()
            async with desk(slack, tmp_path, owner="alive") as it:
                await it.quiet()
                assert len(parents(slack)) == 1 and not slack.twice()
                assert it.metrics.calls.labels("look", "posted")._value.get() == 1
                await it.hear(alert("a"), alert("b"))
                await it.quiet()
                assert len(replies(slack)) == 1

    asyncio.run(play())


def test_a_process_that_was_frozen_while_another_took_over_takes_its_own_back(tmp_path: Path) -> None:
    async def play() -> None:
        with fake() as slack:
            frozen = Desk(slack, tmp_path, owner="frozen", pace=QUICK)
            await frozen.hear(alert("a"))
            (work,) = frozen.poster._claim(5, [])
            step = frozen.poster._begin(work)
            assert step is not None
            with frozen.threads.transaction() as book:  # its lease is over, and another one has it
                held = book.work(work.key, work.kind)
                assert held is not None
                held.until = book.now - 1
                book.put(held)
            async with desk(slack, tmp_path, owner="other") as it:
                await it.quiet()
                outcome = await frozen.poster.sender.do(step.job, float("inf"))
                assert len(parents(slack)) == 2
                following, double = frozen.poster._end(step, outcome)
                assert following is None and double is not None
                await frozen.poster.sender.remove(*double)
                assert len(parents(slack)) == 1
            await frozen.close()

    asyncio.run(play())


def test_nothing_is_sent_when_it_has_become_too_late(tmp_path: Path) -> None:
    async def play() -> None:
        with fake() as slack:
            it = Desk(slack, tmp_path)
            await it.hear(alert("a"))
            (work,) = it.poster._claim(5, [])
            step = it.poster._begin(work)
            assert step is not None
            outcome = await it.poster.sender.do(step.job, it.clock.monotonic() - 1)
            assert outcome.kind == "later" and not parents(slack)
            await it.close()

    asyncio.run(play())


# ---- what people and administrators do ------------------------------------------------------------------------------


def test_a_deleted_parent_is_posted_again_and_the_thread_goes_on(tmp_path: Path) -> None:
    async def play() -> None:
        with fake() as slack:
            async with desk(slack, tmp_path) as it:
                await it.hear(alert("a"))
                await it.quiet()
                slack.remove(the_parent(slack))
                await it.hear(alert("a"), alert("b"))
                await it.quiet()
                await it.hear(resolved("a"))
                await it.quiet()
                parent = the_parent(slack)
                assert "deleted" in parent.shown
                assert len(parent.replies) >= 1
                assert all(one.thread_ts == parent.ts for one in slack.channel(CRITICAL).replies)

    asyncio.run(play())


def test_an_archived_channel_moves_the_conversation_and_health_says_so(tmp_path: Path) -> None:
    async def play() -> None:
        with fake() as slack:
            async with desk(slack, tmp_path) as it:
                await it.hear(alert("a"))
                await it.quiet()
                slack.archive(CRITICAL)
                await it.hear(alert("a"), alert("b"))
                await it.quiet()
                moved = the_parent(slack, "#alerts-info")
                assert "cannot be written to" in moved.shown and CRITICAL[1:] in moved.shown
                assert "archived" in it.state.notes[CRITICAL]
                await it.hear(alert("x"), group="other")
                await it.quiet()
                assert len(parents(slack, "#alerts-info")) == 2

    asyncio.run(play())


def test_a_renamed_channel_is_still_the_same(tmp_path: Path) -> None:
    async def play() -> None:
        with fake() as slack:
            async with desk(slack, tmp_path) as it:
                await it.hear(alert("a"))
                await it.quiet()
                slack.rename(CRITICAL, "alerts-very-critical")
                await it.hear(alert("a"), alert("b"))
                await it.hear(alert("x"), group="other")
                await it.quiet()
                assert len(parents(slack, "#alerts-very-critical")) == 2
                assert not it.state.notes
            async with desk(slack, tmp_path) as it:  # a restart remembers
                await it.hear(alert("y"), group="third")
                await it.quiet()
                assert len(parents(slack, "#alerts-very-critical")) == 3

    asyncio.run(play())


def test_a_bot_that_was_removed_joins_again(tmp_path: Path) -> None:
    async def play() -> None:
        with fake() as slack:
            async with desk(slack, tmp_path) as it:
                slack.app.scopes.discard("chat:write.public")
                slack.kick(CRITICAL)
                await told(it)
                assert len(replies(slack)) == 2

    asyncio.run(play())


def test_a_private_channel_that_we_are_not_in_falls_back(tmp_path: Path) -> None:
    async def play() -> None:
        with fake(channels=("alerts-info",)) as slack:
            slack.add_channel("alerts-critical", private=True, member=False)
            async with desk(slack, tmp_path) as it:
                await told(it, channel="#alerts-info")
                assert len(replies(slack, "#alerts-info")) == 2
                assert CRITICAL in it.state.notes

    asyncio.run(play())


def test_a_revoked_token_holds_everything_and_nothing_is_lost(tmp_path: Path) -> None:
    async def play() -> None:
        with fake() as slack:
            async with desk(slack, tmp_path) as it:
                slack.revoke()
                await it.hear(alert("a"))
                await it.until(lambda: it.state.state == "down")
                assert "token_revoked" in it.state.detail
                slack.revoke("")
                it.poster._paused_until = 0.0
                with it.threads.transaction() as book:
                    for key in book.keys_named(None):
                        held = book.work(key, "post")
                        if held is not None:
                            held.at = book.now
                            book.put(held)
                await it.hear(alert("a"), alert("b"))
                await it.quiet()
                assert "2 firing" in the_parent(slack).text and it.state.state == "ok"

    asyncio.run(play())


def test_without_history_a_lost_answer_is_said_to_be_doubtful(tmp_path: Path) -> None:
    async def play() -> None:
        with fake() as slack:
            slack.app.scopes -= {"channels:history", "groups:history"}
            async with desk(slack, tmp_path) as it:
                slack.faults.append(Fault("lose", "POST /api/chat.postMessage"))
                await it.hear(alert("a"))
                await it.until(lambda: len(parents(slack)) == 2)  # nobody could look
                await it.quiet()
                assert "history" in it.state.notes

    asyncio.run(play())


def test_a_lost_message_in_a_channel_that_we_are_not_in_is_found_by_joining(tmp_path: Path) -> None:
    async def play() -> None:
        with fake() as slack:
            slack.kick(CRITICAL)
            async with desk(slack, tmp_path) as it:
                slack.faults.append(Fault("lose", "POST /api/chat.postMessage"))
                await told(it)
                assert len(parents(slack)) == 1 and not slack.twice() and not it.state.notes

    asyncio.run(play())


def test_a_channel_list_that_may_not_be_read_is_no_hindrance(tmp_path: Path) -> None:
    async def play() -> None:
        with fake() as slack:
            slack.app.scopes -= {"channels:read", "groups:read"}
            async with desk(slack, tmp_path) as it:
                await told(it)
                assert len(replies(slack)) == 2
                assert "channels:read" in it.state.notes

    asyncio.run(play())


def test_a_rise_in_severity_is_told_in_the_other_channel_too(tmp_path: Path) -> None:
    async def play() -> None:
        with fake() as slack:
            async with desk(slack, tmp_path) as it:
                await it.hear(alert("a", severity="warning"))
                await it.quiet()
                await it.hear(alert("b", severity="critical"))
                await it.quiet()
                parent = the_parent(slack, "#alerts-warning")
                pointer = the_parent(slack, CRITICAL)
                assert f"/archives/{parent.channel}/p{parent.ts.replace('.', '')}" in pointer.shown
                assert any(one.broadcast for one in parent.replies)

    asyncio.run(play())


def test_long_quiet_begins_a_new_thread_that_names_the_old_one(tmp_path: Path) -> None:
    async def play() -> None:
        with fake() as slack:
            async with desk(slack, tmp_path) as it:
                await told(it)
                it.set(new_thread_after=0.0)
                await it.hear(alert("a", starts=1_795_900_000.0))
                await it.quiet()
                old, new = parents(slack)
                assert f"p{old.ts.replace('.', '')}" in new.shown
                assert "resolved" in old.text.lower() and not new.replies

    asyncio.run(play())


# ---- an incoming webhook alone --------------------------------------------------------------------------------------


def test_an_incoming_webhook_alone_tells_everything_in_messages(tmp_path: Path) -> None:
    async def play() -> None:
        with fake() as slack:
            async with desk(slack, tmp_path, webhook=slack.webhook_url(CRITICAL)) as it:
                await told(it)
                texts = [one.text for one in parents(slack)]
                assert len(texts) == 3
                assert "1 more alert" in texts[1] and "esolved" in texts[2]
                assert set(slack.calls) == {"webhook"}

    asyncio.run(play())


def test_a_webhook_that_is_gone_holds_everything(tmp_path: Path) -> None:
    async def play() -> None:
        with fake() as slack:
            async with desk(slack, tmp_path, webhook=f"{slack.url}/services/T0/B0/none") as it:
                await it.hear(alert("a"))
                await it.until(lambda: it.state.state == "down")
                assert it.threads.figures().depth["post"] == 1

    asyncio.run(play())


# ---- a storm ---------------------------------------------------------------------------------------------------------


def test_a_storm_is_told_in_one_message_and_the_worst_come_first(tmp_path: Path) -> None:
    async def play() -> None:
        with fake() as slack:
            it = Desk(slack, tmp_path)
            storm = StormWatch(lambda: it.policy)

            def look() -> None:
                with it.threads.transaction() as book:
                    storm.look(book)

            it.set(channels={"critical": CRITICAL, "warning": CRITICAL})
            for n in range(MANY + 10):
                severity = "critical" if n % 3 == 0 else "warning"
                await it.hear(alert(f"n{n}", severity=severity), group=f"g{n}")
            look()
            it.channels.load()
            it.poster.start()
            await it.quiet()
            first, *rest = parents(slack)
            assert "Storm: 30 messages" in first.text and len(rest) == MANY + 10
            assert [("critical" in one.text) for one in rest] == [True] * 10 + [False] * 20
            look()
            await it.quiet()
            assert "is over" in parents(slack)[0].text
            await it.close()

    asyncio.run(play())


# ---- what is not told, and what counts as one -----------------------------------------------------------------------


def test_what_is_for_machines_is_told_to_nobody_unless_a_route_says_so(tmp_path: Path) -> None:
    async def play() -> None:
        with fake() as slack:
            async with desk(slack, tmp_path) as it:
                quiet = tuple(parse_matchers('team="lab"', compile_regex))
                it.set(routes=(Route(quiet, NOWHERE),))
                await it.hear(alert("a", alertname="Watchdog"), group="w")
                await it.hear(alert("a", team="lab"), group="l")
                await it.quiet()
                assert not slack.calls["chat.postMessage"]
                await it.hear(alert("a", team="lab"), alert("b"), group="l")  # with somebody else's it is told
                watched = tuple(parse_matchers('alertname="Watchdog"', compile_regex))
                it.set(routes=(Route(watched, "#alerts-info"),))
                await it.hear(alert("a", alertname="Watchdog"), group="w")
                await it.quiet()
                assert len(parents(slack)) == len(parents(slack, "#alerts-info")) == 1

    asyncio.run(play())


def test_the_members_of_a_pair_hold_one_conversation(tmp_path: Path) -> None:
    async def play() -> None:
        with fake() as slack:
            async with desk(slack, tmp_path, cluster=("http://am-1:9093", "http://am-2:9093")) as it:
                for origin in ("http://am-1:9093", "http://am-2:9093", "http://elsewhere:9093"):
                    await it.intake.hear(replace(delivery(alert("a")), origin=origin))
                await it.quiet()
                assert len(parents(slack)) == 2

    asyncio.run(play())


def test_a_line_that_got_lost_would_be_counted(tmp_path: Path) -> None:
    async def play() -> None:
        with fake() as slack:
            async with desk(slack, tmp_path) as it:
                await told(it)
                assert it.metrics.dropped._value.get() == 0
                with it.threads.transaction() as book:  # a mistake of ours: two transitions that nobody is told of
                    (stored,) = book.lock(book.keys_named("Down")).values()
                    stored.data = stored.data.replace('"number":3', '"number":5')
                    book.save(stored)
                await it.hear(alert("a", starts=1_795_900_000.0))
                await it.quiet()
                assert it.metrics.dropped._value.get() == 2

    asyncio.run(play())
