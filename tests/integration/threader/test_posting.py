"""From a delivery to what stands in Slack, and back to the truth whatever Slack or its people do."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import orjson
import pytest

from autoheal.app import conversing
from autoheal.config.regex import compile_regex
from autoheal.core.matcher import parse_matchers
from autoheal.core.threads import NOWHERE, Route
from autoheal.testing.http_fake import Fault, as_json
from autoheal.testing.slack import FakeSlack, Message
from autoheal.threader import talk as talks
from autoheal.threader.follow import Follower
from autoheal.threader.poster import MOST_REMOVED
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
                assert frozen.poster._end(step, outcome) is None
                await it.quiet()
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


# ---- what is one too many, and what stands elsewhere -----------------------------------------------------------------


def test_one_too_many_is_taken_back_when_that_is_allowed_again_and_by_whoever_is_there(tmp_path: Path) -> None:
    async def play() -> None:
        with fake() as slack:
            first = Desk(slack, tmp_path, owner="dead", pace=replace(QUICK, lease=0.2))
            await first.hear(alert("a"))
            (work,) = first.poster._claim(5, [])
            step = first.poster._begin(work)
            assert step is not None
            for _ in range(2):
                await first.poster.sender.do(step.job, float("inf"))
            await first.close()
            slack.limit(200.0, method="chat.delete")
            async with desk(slack, tmp_path, owner="found") as it:
                limited = it.metrics.calls.labels("remove", "limited")
                await it.until(lambda: limited._value.get() >= 1)
                assert len(parents(slack)) == 2
            async with desk(slack, tmp_path, owner="later") as it:
                await it.quiet()
                assert len(parents(slack)) == 1
                (stored,) = it.threads.list(None, 5)
                assert '"remove":[]' in stored.place

    asyncio.run(play())


def test_what_cannot_be_taken_back_is_left(tmp_path: Path) -> None:
    async def play() -> None:
        with fake() as slack:
            async with desk(slack, tmp_path) as it:
                await it.hear(alert("a"))
                await it.quiet()
                refused = Fault("refuse", "POST /api/chat.delete", answer=as_json(200, {"ok": False, "error": "x"}))
                slack.faults.append(refused)
                with it.threads.transaction() as book:
                    (stored,) = book.lock(book.keys_named("Down")).values()
                    talk = talks.load(stored)
                    assert talk is not None
                    it.poster._too_many(book, talk, [("C1", f"{n}.0") for n in range(99)])
                    assert len(talk.place.remove) == MOST_REMOVED
                    talk.place.remove = talk.place.remove[:1]
                    talks.save(book, talk, it.policy, 9.0, False)
                await it.quiet()
                assert it.metrics.calls.labels("remove", "large")._value.get() == 1

    asyncio.run(play())


def test_the_pointer_elsewhere_tells_when_it_is_over(tmp_path: Path) -> None:
    async def play() -> None:
        with fake() as slack:
            async with desk(slack, tmp_path) as it:
                it.set(mention={"critical": ["<!here>"]})
                await it.hear(alert("a", severity="warning"))
                await it.quiet()
                await it.hear(alert("b", severity="critical"))
                await it.quiet()
                pointer = the_parent(slack, CRITICAL)
                assert "<!here>" in pointer.shown and not pointer.edits
                await it.hear(resolved("a", severity="warning"), resolved("b", severity="critical"))
                await it.quiet()
                assert len(pointer.edits) == 1 and "esolved" in pointer.shown and "<!here>" not in pointer.shown
                await it.hear(alert("a", severity="warning", starts=1_795_900_000.0))
                await it.quiet()
                assert len(pointer.edits) == 2 and "1 firing" in pointer.shown

    asyncio.run(play())


def test_a_pointer_that_cannot_be_edited_is_given_up(tmp_path: Path) -> None:
    async def play() -> None:
        with fake() as slack:
            async with desk(slack, tmp_path) as it:
                await it.hear(alert("a", severity="warning"))
                await it.quiet()
                await it.hear(alert("b", severity="critical"))
                await it.quiet()
                slack.remove(the_parent(slack, CRITICAL))
                await it.hear(resolved("a", severity="warning"), resolved("b", severity="critical"))
                await it.quiet()
                (stored,) = it.threads.list(None, 5)
                assert '"others":[]' in stored.place and len(parents(slack, "#alerts-warning")) == 1

    asyncio.run(play())


def test_a_channel_that_is_back_is_found_and_what_was_left_there_says_where_it_goes_on(tmp_path: Path) -> None:
    async def play() -> None:
        with fake() as slack:
            async with desk(slack, tmp_path, pace=replace(QUICK, recheck=0.05)) as it:
                await it.hear(alert("a"))
                await it.quiet()
                slack.archive(CRITICAL)
                await it.hear(alert("a"), alert("b"))
                await it.quiet()
                moved = the_parent(slack, "#alerts-info")
                assert CRITICAL in it.state.notes
                slack.archive(CRITICAL, archived=False)
                slack.invite(CRITICAL)
                await it.until(lambda: CRITICAL not in it.state.notes)
                await it.until(lambda: "goes on in" in the_parent(slack).shown)
                await it.quiet()
                assert "#alerts-info" in the_parent(slack).text
                assert f"p{moved.ts.replace('.', '')}" in the_parent(slack).shown
                await it.hear(alert("x"), group="other")
                await it.quiet()
                assert len(parents(slack)) == 2

    asyncio.run(play())


def test_a_note_on_a_channel_that_nobody_wants_any_more_goes(tmp_path: Path) -> None:
    async def play() -> None:
        with fake() as slack:
            async with desk(slack, tmp_path, pace=replace(QUICK, recheck=0.05)) as it:
                with it.threads.transaction() as book:
                    it.channels.learn(book, "#old", "C0OLD", "is_archived")
                    it.channels.learn(book, CRITICAL, "", "restricted_action")
                await it.until(lambda: "#old" not in it.state.notes)
                assert CRITICAL in it.state.notes  # only a message would show
                await it.hear(alert("a"))
                with it.threads.transaction() as book:
                    it.channels.learn(book, CRITICAL, "", "ok")
                await it.quiet()

    asyncio.run(play())


def test_history_that_can_be_read_again_is_no_note_any_more(tmp_path: Path) -> None:
    async def play() -> None:
        with fake() as slack:
            slack.app.scopes -= {"channels:history", "groups:history"}
            async with desk(slack, tmp_path) as it:
                slack.faults.append(Fault("lose", "POST /api/chat.postMessage"))
                await it.hear(alert("a"))
                await it.until(lambda: "history" in it.state.notes)
                await it.quiet()
                slack.app.scopes |= {"channels:history", "groups:history"}
                slack.faults.append(Fault("lose", "POST /api/chat.postMessage"))
                await it.hear(alert("a"), alert("b"))
                await it.quiet()
                assert not it.state.notes
                it.state.notes["history"] = "it could not be read"
                await it.channels.recheck({CRITICAL})
                assert not it.state.notes

    asyncio.run(play())


def test_what_is_over_before_anybody_was_told_calls_nobody(tmp_path: Path) -> None:
    async def play() -> None:
        with fake() as slack:
            it = Desk(slack, tmp_path)
            it.set(mention={"critical": ["<!here>"]})
            await it.hear(alert("a", severity="warning"))
            await it.hear(alert("a", severity="warning"), alert("b"))
            await it.hear(resolved("a", severity="warning"), resolved("b"))
            await it.hear(alert("c"), group="fires")
            it.poster.start()
            await it.quiet()
            for channel in (CRITICAL, "#alerts-warning"):
                for parent in parents(slack, channel):
                    whole = [parent.shown, *(one.shown for one in parent.replies)]
                    assert any("<!here>" in text for text in whole) == ("c is down" in parent.shown)
            assert len(parents(slack)) >= 1
            await it.close()

    asyncio.run(play())


# ---- when nothing goes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["chat.postMessage", "chat.update"])
@pytest.mark.parametrize("kind", ["refuse", "drop"])
def test_an_outage_is_seen_and_seen_to_be_over(tmp_path: Path, method: str, kind: str) -> None:
    async def play() -> None:
        with fake() as slack:
            async with desk(slack, tmp_path) as it:
                if method == "chat.update":
                    await it.hear(alert("a"))
                    await it.quiet()
                fault = Fault(kind, f"POST /api/{method}", times=1_000_000)
                slack.faults.append(fault)
                await it.hear(alert("a"), alert("b"))
                await it.until(lambda: it.state.state == "down", 30)
                assert "does not answer" in it.state.detail and it.poster.trouble and it.state.since
                assert not await it.poster.settled()
                slack.faults.clear()
                await it.until(lambda: it.state.state == "ok", 60)
                assert not it.poster.trouble and await it.poster.settled()

    asyncio.run(play())


def test_one_failure_is_no_outage_and_our_own_delay_none_of_slacks(tmp_path: Path) -> None:
    async def play() -> None:
        with fake() as slack:
            it = Desk(slack, tmp_path)
            await it.hear(alert("a"))
            (work,) = it.poster._claim(5, [])
            step = it.poster._begin(work)
            assert step is not None
            outcome = await it.poster.sender.do(step.job, it.clock.monotonic() - 1)
            assert outcome.kind == "later" and not outcome.outage
            slack.faults.append(Fault("refuse", "POST /api/chat.postMessage"))
            outcome = await it.poster.sender.do(step.job, float("inf"))
            assert outcome.outage
            it.poster._end(step, outcome)
            assert it.state.state == "unknown"
            await it.close()

    asyncio.run(play())


def test_down_stays_down_until_a_message_goes_through(tmp_path: Path) -> None:
    async def play() -> None:
        with fake() as slack:
            async with desk(slack, tmp_path) as it:
                for name in ("#alerts-critical", "#alerts-warning", "#alerts-info"):
                    slack.archive(name)
                it.set(routes=(Route(tuple(parse_matchers('team="db"', compile_regex)), "#db"),))
                slack.add_channel("db")
                await it.hear(alert("a"))
                await it.until(lambda: it.state.state == "down")
                since = it.state.since
                await it.hear(alert("d", team="db"), group="db")  # that this one goes through helps the other one not
                await it.until(lambda: bool(parents(slack, "#db")))
                assert not await it.poster.settled()
                assert (it.state.state, it.state.since) == ("down", since)
                with it.threads.transaction() as book:  # another instance finds a way
                    for key in book.keys_named(None):
                        book.lock([key])
                        book.delete(key)
                assert await it.poster.settled() and it.state.state == "ok"

    asyncio.run(play())


@pytest.mark.parametrize("what", ["scope", "channels"])
def test_that_slack_knows_us_does_not_mean_that_it_takes_what_we_post(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setattr(conversing, "ASK_EVERY", 0.01)
    monkeypatch.setattr(conversing, "ASK_AGAIN", 0.01)
    names = ("#alerts-critical", "#alerts-warning", "#alerts-info")

    async def play() -> None:
        with fake() as slack:
            async with desk(slack, tmp_path) as it:
                asking = conversing.Conversing.__new__(conversing.Conversing)
                asking.state, asking.client, asking.poster = it.state, it.client, it.poster
                asking.ground = SimpleNamespace(clock=it.clock)
                asked = asyncio.create_task(asking._ask())
                await it.until(lambda: it.state.state == "ok")
                if what == "scope":
                    slack.app.scopes.discard("chat:write")
                else:
                    for name in names:
                        slack.archive(name)
                await it.hear(alert("a"))
                await it.until(lambda: it.state.state == "down")
                detail, since, calls = it.state.detail, it.state.since, slack.calls["auth.test"]
                await it.until(lambda: slack.calls["auth.test"] >= calls + 5)
                assert (it.state.state, it.state.detail, it.state.since) == ("down", detail, since)
                assert asking._slack_up() is False
                slack.app.scopes.add("chat:write")
                for name in names:
                    slack.archive(name, archived=False)
                    slack.invite(name)
                it.poster._paused_until = 0.0
                with it.threads.transaction() as book:
                    (key,) = book.keys_named(None)
                    held = book.work(key, "post")
                    assert held is not None
                    held.at = book.now
                    book.put(held)
                await it.quiet()
                assert it.state.state == "ok" and asking._slack_up() is True
                it.state.state = "down"  # auth.test itself found that, and finds that it is over
                await it.until(lambda: it.state.state == "ok")
                asked.cancel()

    asyncio.run(play())


def test_what_was_used_once_is_forgotten_when_that_is_over(tmp_path: Path) -> None:
    async def play() -> None:
        with fake() as slack:
            it = Desk(slack, tmp_path)
            follower = Follower.__new__(Follower)
            follower.intake = it.intake
            with it.threads.transaction() as book:
                book.take("once:over", 0.0, 1)
                book.take("once:not", 3600.0, 1)
            follower._tidy()
            with it.threads.transaction() as book:
                assert book.forget("once:") == 0
                assert book.take("once:not", 3600.0, 1) is not None
            await it.close()

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
            worst = [n for n, one in enumerate(rest) if "critical" in one.text]
            assert len(worst) == 10 and worst[-1] < 10 + QUICK.hands  # so many are on their way at once
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


def test_an_event_that_cannot_be_understood_does_not_stand_before_those_that_follow(tmp_path: Path) -> None:
    async def play() -> None:
        with fake() as slack:
            async with desk(slack, tmp_path) as it:
                await it.hear(alert("a"))
                name = alert("a").fingerprint
                strange = {"id": 1, "ts": 1.0, "kind": "ack", "labels": {"alertname": "Down"}}
                started = {"id": 2, "ts": 2.0, "kind": "action_started", "state": "running", "cmd": "restart it"}
                events = [strange, started | {"fingerprint": name, "remediation_id": "r1", "rule": "r"}]
                lines = [(0, "{}"), *((one["id"], orjson.dumps(one).decode()) for one in events)]
                with it.threads.transaction() as book:
                    assert book.cursor() == -1
                    book.advance(0)
                follower = Follower(
                    it.intake,
                    lambda after, limit: [line for line in lines if line[0] > after],
                    lambda: 2,
                    lambda: 2,
                    dict,
                    lambda names: {},
                    it.clock.monotonic,
                )
                await asyncio.to_thread(follower.step)
                await it.quiet()
                assert "restart it" in replies(slack)[0]
                with it.threads.transaction() as book:
                    assert book.cursor() == 2

    asyncio.run(play())
