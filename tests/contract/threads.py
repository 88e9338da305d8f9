"""What `store.threads.Threads` must do on either database; shared ones run the second part too."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable

import pytest

from autoheal.core.errors import Permanent
from autoheal.engine.ports import StoreUnavailable
from autoheal.store.book import MOST_AHEAD, Book, Channel, NotHeld, Stored, Stray, Work
from autoheal.store.threads import Figures, Threads
from tests.servers import wait_until

LONG = 60.0
SLOW = 1000.0
"""Seconds between two of a bucket: none comes while a test runs."""

Connect = Callable[[], Threads]


def write(
    threads: Threads, key: str, data: str = "{}", members: dict[str, str] | None = None, **more: object
) -> Stored:
    """Make or change a conversation as a whole."""
    with threads.transaction() as book:
        stored = book.create(key)
        stored.data, stored.open = data, True
        for name, value in more.items():
            setattr(stored, name, value)
        book.save(stored, members)
    return stored


def want(threads: Threads, key: str, kind: str = "post", bucket: str = "#a", rank: int = 0, late: float = 0.0) -> None:
    with threads.transaction() as book:
        book.want(key, kind, bucket, rank, book.now + late)


def work(threads: Threads, key: str, kind: str = "post") -> Work | None:
    with threads.transaction() as book:
        return book.work(key, kind)


def claim(threads: Threads, owner: str, lease: float = LONG, limit: int = 100, skip: tuple[str, ...] = ()) -> list[str]:
    with threads.transaction() as book:
        return [work.key for work in book.claim(owner, lease, limit, skip)]


def take(threads: Threads, name: str, interval: float, burst: float) -> float | None:
    """None, or how long to wait; a bucket that another transaction has at this moment is asked again."""
    while True:
        with threads.transaction() as book:
            at = book.take(name, interval, burst)
            if at is None or at - book.now > 0.06:
                return None if at is None else at - book.now


def together(*parts: Callable[[], object]) -> None:
    """Run each in a thread of its own; the first error is raised."""
    errors: list[BaseException] = []

    def run(part: Callable[[], object]) -> None:
        try:
            part()
        except BaseException as error:
            errors.append(error)

    running = [threading.Thread(target=run, args=(part,)) for part in parts]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join(90)
        assert not thread.is_alive()
    if errors:
        raise errors[0]


class ThreadsContract:
    """Subclasses give the fixture `connect`: each call is another one on the same conversations."""

    @pytest.fixture
    def threads(self, connect: Connect) -> Threads:
        return connect()

    # ---- conversations ---------------------------------------------------------------------------------------------

    def test_what_is_saved_is_there(self, threads: Threads, connect: Connect) -> None:
        before = time.time()
        with threads.transaction() as book:
            assert book.lock(["k"]) == {} == book.lock([])
            stored = book.create("k")
            assert (stored.found, stored.data, stored.unsaid, stored.open, stored.due) == (False, "", "[]", False, None)
            stored.data, stored.unsaid, stored.lines = '{"ü":"🜁"}', '["a","b"]', 2
            stored.place, stored.open, stored.due = '{"ts":"1.2"}', True, 5.25
            book.save(stored)
            assert book.lock(["k"])["k"].data == stored.data
        assert before - 5 < stored.updated < time.time() + 5
        expected = Stored("k", '{"ü":"🜁"}', '["a","b"]', 2, '{"ts":"1.2"}', True, 5.25, stored.updated, True)
        with connect().transaction() as book:
            assert book.lock(["none", "k"]) == {"k": expected}
            assert book.create("k") == expected
        assert threads.get("k") == expected and threads.get("none") is None

    def test_a_transaction_that_fails_leaves_nothing(self, threads: Threads) -> None:
        write(threads, "k", "before", {"f": "A"})
        with pytest.raises(ZeroDivisionError), threads.transaction() as book:
            stored = book.lock(["k"])["k"]
            stored.data = "after"
            book.save(stored, {"g": "B"})
            book.create("other")
            book.want("k", "post", "#a", 0, book.now)
            assert book.keys_of(["f", "g"]) == {"g": ["k"]}
            assert book.take("#a", SLOW, 1) is None
            1 / 0  # noqa: B018
        with threads.transaction() as book:
            assert book.lock(["k", "other"])["k"].data == "before"
            assert book.keys_of(["f", "g"]) == {"f": ["k"]}
            assert book.claim("a", LONG, 9) == [] and book.take("#a", SLOW, 1) is None

    def test_only_who_holds_a_row_writes_it(self, threads: Threads) -> None:
        stored = write(threads, "k")
        for act in (
            lambda book: book.save(stored),
            lambda book: book.delete("k"),
            lambda book: book.lock(["none"]) and book.save(stored),
            lambda book: book.advance(1),
        ):
            with pytest.raises(NotHeld), threads.transaction() as book:
                act(book)
                book.save(stored)

    def test_members_lead_to_open_conversations(self, threads: Threads) -> None:
        write(threads, "one", members={"f1": "A", "f2": "B"})
        write(threads, "two", members={"f2": "B", "f3": "A"})
        write(threads, "shut", members={"f1": "A"}, open=False)
        with threads.transaction() as book:
            assert book.keys_of(["f1", "f2", "f2", "f9"]) == {"f1": ["one"], "f2": ["one", "two"]}
            assert book.keys_of([]) == {}
            assert book.keys_named("A") == ["one", "two"] and book.keys_named("B") == ["one", "two"]
            assert book.keys_named("C") == [] and book.keys_named(None) == ["one", "two"]
            assert book.keys_named(None, 1) == ["one"] == book.keys_named("A", limit=1)
            stored = book.lock(["one"])["one"]
            book.save(stored, {"f2": "Renamed", "f4": "C"})
            assert book.keys_of(["f1", "f2", "f4"]) == {"f2": ["one", "two"], "f4": ["one"]}
            assert book.keys_named("Renamed") == ["one"]
            book.save(stored)
            assert book.keys_of(["f4"]) == {"f4": ["one"]}
            book.save(stored, {})
            assert book.keys_of(["f2", "f4"]) == {"f2": ["two"]}

    def test_a_group_of_many_is_kept(self, threads: Threads) -> None:
        members = {f"{n:016x}": f"Alert {n % 7} 'ü' \"x\"" for n in range(1500)}
        write(threads, "k", members=members)
        with threads.transaction() as book:
            assert book.keys_of(members) == {name: ["k"] for name in members}
            assert book.keys_named("Alert 3 'ü' \"x\"") == ["k"]

    def test_what_is_deleted_is_gone_with_all_that_hangs_on_it(self, threads: Threads) -> None:
        write(threads, "k", members={"f": "A"})
        want(threads, "k", "post")
        with threads.transaction() as book:
            stored = book.lock(["k"])["k"]
            book.save(stored, {"g": "A"})
            book.want("k", "edit", "#a", 0, book.now)
            book.want("other", "edit", "#a", 0, book.now)
            book.delete("k")
        assert threads.get("k") is None and claim(threads, "a") == ["other"]
        assert not write(threads, "k").found
        with threads.transaction() as book:
            assert book.keys_of(["f", "g"]) == {}

    def test_what_is_made_anew_after_a_deletion_stays(self, threads: Threads) -> None:
        write(threads, "k", "old")
        want(threads, "k", "edit")
        with threads.transaction() as book:
            book.lock(["k"])
            book.delete("k")
            stored = book.create("k")
            assert not stored.found
            stored.data = "new"
            book.save(stored)
            book.want("k", "post", "#a", 0, book.now)
        assert threads.get("k").data == "new"  # type: ignore[union-attr]
        assert work(threads, "k") is not None and work(threads, "k", "edit") is None

    def test_what_is_due_comes_longest_first(self, threads: Threads) -> None:
        for key, due in (("a", 30.0), ("b", 10.0), ("c", 20.0), ("never", None), ("later", time.time() + LONG)):
            write(threads, key, due=due)
        with threads.transaction() as book:
            assert list(book.due(2)) == ["b", "c"]
            found = book.due(9)
            assert list(found) == ["b", "c", "a"]
            found["c"].due = None
            book.save(found["c"])
            assert list(book.due(9)) == ["b", "a"]

    def test_what_is_over_is_found_to_be_tidied_up(self, threads: Threads) -> None:
        write(threads, "open")
        write(threads, "waits", open=False, due=1.0)
        over = write(threads, "over", open=False)
        with threads.transaction() as book:
            assert book.quiet(over.updated, 9) == {} and list(book.quiet(book.now + 1, 9)) == ["over"]

    def test_the_newest_are_listed_first_page_by_page(self, threads: Threads) -> None:
        with threads.transaction() as book:
            for key in "abcd":
                stored = book.create(key)
                stored.data, stored.open = "{}", key != "b"
                book.save(stored)
        write(threads, "e")
        assert [one.key for one in threads.list(None, 9)] == ["e", "d", "c", "b", "a"]
        assert [one.key for one in threads.list(True, 2)] == ["e", "d"]
        assert [one.key for one in threads.list(False, 9)] == ["b"]
        page = threads.list(True, 2)
        assert [one.key for one in threads.list(True, 2, (page[-1].updated, page[-1].key))] == ["c", "a"]

    # ---- work ------------------------------------------------------------------------------------------------------

    def test_work_is_claimed_best_first(self, threads: Threads) -> None:
        for key, rank, late in (("low", 5, 0.0), ("first", 1, 0.0), ("second", 1, 0.0), ("later", 0, LONG)):
            want(threads, key, rank=rank, late=late)
        want(threads, "other", bucket="#b", rank=0)
        assert claim(threads, "a", limit=2, skip=("#b", "#c")) == ["first", "second"]
        assert claim(threads, "b") == ["other", "low"]
        assert claim(threads, "b") == []
        found = work(threads, "first")
        assert found is not None and (found.owner, found.bucket, found.tries, found.job) == ("a", "#a", 0, None)
        assert found.until is not None and LONG - 5 < found.until - time.time() <= LONG + 5

    def test_what_is_wanted_again_keeps_its_place_and_the_better_of_each(self, threads: Threads) -> None:
        want(threads, "k", rank=3, late=LONG)
        before = work(threads, "k")
        want(threads, "k", rank=5, late=2 * LONG, bucket="#b")
        after = work(threads, "k")
        assert before is not None and after is not None
        assert after == Work("k", "post", "#b", 3, before.at, None, None, None, 0, before.since)
        want(threads, "k", rank=1)
        assert claim(threads, "a") == ["k"]

    @pytest.mark.parametrize(("job", "tries"), [(None, 2), ("{}", 0)])
    def test_what_failed_or_is_in_doubt_keeps_its_time(self, threads: Threads, job: str | None, tries: int) -> None:
        with threads.transaction() as book:
            at = book.now + LONG
            book.put(Work("k", "post", "#a", 3, at, None, None, job, tries, 7.5))
        want(threads, "k", rank=1)
        assert work(threads, "k") == Work("k", "post", "#a", 1, at, None, None, job, tries, 7.5)

    def test_what_is_claimed_is_not_touched(self, threads: Threads, connect: Connect) -> None:
        want(threads, "k", rank=3)
        assert claim(threads, "a") == ["k"]
        before = work(threads, "k")
        want(connect(), "k", rank=0, bucket="#b")
        assert work(threads, "k") == before
        with threads.transaction() as book:
            held = book.work("k", "post")
            assert held is not None and book.holds(held)
            book.done("k", "post")
            assert book.work("k", "post") is None and not book.holds(held)
            book.want("k", "post", "#b", 0, book.now)
        assert claim(threads, "b") == ["k"]

    def test_a_frozen_owner_loses_its_lease(self, threads: Threads, connect: Connect) -> None:
        want(threads, "k")
        with threads.transaction() as book:
            (mine,) = book.claim("a", 0.05, 9)
            assert book.holds(mine)
            mine.job = '{"nonce":"1"}'
            book.put(mine)
        wait_until(lambda: claim(connect(), "b") == ["k"], 5, "the end of the lease")
        with threads.transaction() as book:
            assert not book.holds(mine)
            theirs = book.work("k", "post")
        assert theirs is not None and (theirs.owner, theirs.job) == ("b", '{"nonce":"1"}')

    def test_one_that_claims_again_is_another(self, threads: Threads) -> None:
        """Two hands of one process, by the same name: the first came too late."""
        want(threads, "k")
        with threads.transaction() as book:
            (first,) = book.claim("a", 0.0, 9)
        with threads.transaction() as book:
            (second,) = book.claim("a", LONG, 9)
        with threads.transaction() as book:
            assert book.holds(second) and not book.holds(first)
            second.until = book.now + 2 * LONG
            book.put(second)
            assert book.holds(second)
        with threads.transaction() as book:
            assert book.holds(second)

    def test_two_claim_disjoint_work(self, connect: Connect) -> None:
        two = [connect(), connect()]
        keys = [f"k{n}" for n in range(200)]
        with two[0].transaction() as book:
            for key in keys:
                book.want(key, "post", "#a", 0, book.now)
        taken: list[list[str]] = [[] for _ in range(4)]

        def hand(n: int) -> None:
            while found := claim(two[n % 2], f"owner {n}", limit=7):
                taken[n].extend(found)

        together(*(lambda n=n: hand(n) for n in range(4)))  # type: ignore[misc]
        assert sorted(key for part in taken for key in part) == sorted(keys)

    # ---- rates -----------------------------------------------------------------------------------------------------

    def test_a_bucket_gives_its_burst_and_says_when_to_ask_again(self, threads: Threads) -> None:
        assert [take(threads, "b", SLOW, 3) for _ in range(3)] == [None] * 3
        left = take(threads, "b", SLOW, 3)
        assert left is not None and SLOW - 10 < left <= SLOW
        assert take(threads, "other", SLOW, 1) is None

    def test_one_transaction_may_take_several(self, threads: Threads) -> None:
        with threads.transaction() as book:
            assert [book.take("b", SLOW, 2) for _ in range(2)] == [None, None]
            assert book.take("a", SLOW, 1) is None
            at = book.take("b", SLOW, 2)
            assert at is not None and at > book.now

    def test_what_will_be_there_soon_may_be_reserved(self, threads: Threads) -> None:
        with threads.transaction() as book:
            assert book.reserve("b", 4.0, 1, 9.0) == (True, pytest.approx(book.now, abs=1))
            assert book.reserve("b", 4.0, 1, 9.0) == (True, pytest.approx(book.now + 4, abs=1))
            assert book.reserve("b", 4.0, 1, 99.0) == (True, pytest.approx(book.now + 8, abs=1))
            assert book.reserve("b", 4.0, 1, 99.0) == (False, pytest.approx(book.now + 12 - MOST_AHEAD, abs=1))
            assert book.take("b", 4.0, 1) == pytest.approx(book.now + 12, abs=1)

    def test_a_bucket_fills_again(self, threads: Threads) -> None:
        assert take(threads, "b", 0.1, 1) is None
        with threads.transaction() as book:
            at = book.take("b", 0.1, 1)
            assert at is not None and 0 < at - book.now <= 0.1
        wait_until(lambda: take(threads, "b", 0.1, 1) is None, 5, "the next one")

    def test_a_blocked_bucket_gives_nothing_and_then_one(self, threads: Threads, connect: Connect) -> None:
        with threads.transaction() as book:
            until = book.now + 300
            book.block("b", until)
            book.block("b", until - 100)
            assert book.take("b", SLOW, 5) == until
        with connect().transaction() as book:
            assert book.take("b", SLOW, 5) == until
            assert book.reserve("b", SLOW, 5, 9.0) == (False, until - 9)

    def test_a_block_is_forgotten_with_its_transaction(self, threads: Threads) -> None:
        with pytest.raises(ZeroDivisionError), threads.transaction() as book:
            book.block("b", book.now + LONG)
            1 / 0  # noqa: B018
        assert take(threads, "b", SLOW, 1) is None

    def test_a_clock_that_was_set_back_does_not_close_a_bucket(self, threads: Threads) -> None:
        with threads.transaction() as book:
            for _ in range(9):
                assert book.take("b", SLOW, 9) is None
        left = take(threads, "b", 1.0, 2)
        assert left is not None and 0 < left <= 1.0 + MOST_AHEAD

    def test_eight_at_once_take_exactly_what_there_is(self, connect: Connect) -> None:
        two = [connect(), connect()]
        got: list[int] = []

        def hammer(n: int) -> None:
            got.append(sum(take(two[n % 2], "b", SLOW, 50) is None for _ in range(15)))

        together(*(lambda n=n: hammer(n) for n in range(8)))  # type: ignore[misc]
        assert sum(got) == 50

    def test_eight_at_once_never_take_more_than_the_rate(self, connect: Connect) -> None:
        two = [connect(), connect()]
        interval, burst = 0.02, 4
        times: list[float] = []
        end = time.monotonic() + 1.0

        def hammer(n: int) -> None:
            while time.monotonic() < end:
                with two[n % 2].transaction() as book:
                    taken, at = book.reserve("b", interval, burst, 0.0)
                    if taken:
                        times.append(at)

        together(*(lambda n=n: hammer(n) for n in range(8)))  # type: ignore[misc]
        times.sort()
        assert len(times) > burst
        for first in range(len(times)):
            for last in range(first, len(times)):
                assert last - first + 1 <= burst + (times[last] - times[first]) / interval + 1e-4

    # ---- channels, strays, cursor ----------------------------------------------------------------------------------

    def test_buckets_that_are_over_are_forgotten(self, threads: Threads) -> None:
        with threads.transaction() as book:
            past = book.now - 5
            book.block("once:shut", past + LONG)
            for name in ("once:now", "once:shut", "once:past", "other"):
                book.take(name, 0.0 if name in ("once:past", "other") else LONG, 1)
        with threads.transaction() as book:
            assert book.forget("once:", 0) == 0
            assert book.forget("once:") == 1
            assert book.forget("once:") == 0
        assert take(threads, "once:now", LONG, 1) is not None and take(threads, "once:shut", LONG, 1) is not None

    def test_whether_anything_can_be_written(self, threads: Threads) -> None:
        threads.writable()
        threads.writable()
        threads.close()
        with pytest.raises(StoreUnavailable):
            threads.writable()

    def test_channels_are_known_by_name(self, threads: Threads) -> None:
        with threads.transaction() as book:
            assert book.channel("#a") is None
            book.put_channel(Channel("#a", "C1", "ok", "", 1.5, 2.5))
            book.put_channel(Channel("#a", "C2", "archived", "say so", 3.5, 4.5))
            assert book.channel("#a") == Channel("#a", "C2", "archived", "say so", 3.5, 4.5)
            book.put_channel(Channel("#0", "", "unknown", "", 0.0, 0.0))
        assert [channel.name for channel in threads.channels()] == ["#0", "#a"]

    def test_strays_are_handed_over_once_and_in_order(self, threads: Threads) -> None:
        with threads.transaction() as book:
            for id, name in ((7, "f"), (5, "f"), (6, "g"), (8, "h")):
                book.stray(name, id, f'"{id}"', float(id))
                book.stray(name, id, "again", 0.0)
            assert [stray.id for stray in book.strays(["f", "g", "f", "none"])] == [5, 6, 7]
            assert book.strays(["f", "g"]) == [] == book.strays([])
        with threads.transaction() as book:
            book.stray("f", 9, "{}", 9.0)
            assert book.prune(9.0) == 1 and book.prune(9.0) == 0
            assert book.strays(["f", "h"]) == [Stray("f", 9, "{}", 9.0)]

    def test_the_cursor_stays_where_it_was_put(self, threads: Threads, connect: Connect) -> None:
        with threads.transaction() as book:
            assert book.cursor() == -1
            book.advance(5)
            book.advance(2**40)
            assert book.cursor() == 2**40
        with connect().transaction() as book:
            assert book.cursor() == 2**40
        with pytest.raises(ZeroDivisionError), threads.transaction() as book:
            book.cursor()
            book.advance(1)
            1 / 0  # noqa: B018
        with threads.transaction() as book:
            assert book.cursor() == 2**40

    # ---- all together ----------------------------------------------------------------------------------------------

    def test_the_figures(self, threads: Threads) -> None:
        assert threads.figures() == Figures({}, None, 0, 0)
        write(threads, "a", lines=3, unsaid='["x","y","z"]')
        write(threads, "b", lines=2, open=False)
        for key, kind in (("a", "post"), ("a", "edit"), ("b", "edit")):
            want(threads, key, kind)
        first = work(threads, "a")
        assert first is not None and threads.figures() == Figures({"post": 1, "edit": 2}, first.since, 1, 5)

    def test_no_update_is_lost(self, connect: Connect) -> None:
        two = [connect(), connect()]
        write(two[0], "k", "0")

        def count(n: int) -> None:
            for _ in range(25):
                with two[n % 2].transaction() as book:
                    stored = book.lock(["k"])["k"]
                    stored.data = str(int(stored.data) + 1)
                    book.save(stored)

        together(*(lambda n=n: count(n) for n in range(4)))  # type: ignore[misc]
        assert two[0].get("k").data == "100"  # type: ignore[union-attr]

    def test_many_that_make_the_same_one_make_one(self, connect: Connect) -> None:
        two = [connect(), connect()]
        barrier = threading.Barrier(4, timeout=30)
        made: list[bool] = []

        def make(n: int) -> None:
            for round_ in range(15):
                barrier.wait()
                made.append(not write(two[n % 2], f"k{round_}", members={"f": "A"}).found)

        together(*(lambda n=n: make(n) for n in range(4)))  # type: ignore[misc]
        assert made.count(True) == 15

    def test_whatever_they_do_they_never_wait_for_each_other_in_a_ring(self, connect: Connect) -> None:
        two = [connect(), connect()]
        keys = [f"k{n}" for n in range(8)]
        for key in keys:
            write(two[0], key, "0", due=1.0)
        done = [0] * 4

        def act(n: int, dice: random.Random, book: Book) -> int:
            chosen = dice.sample(keys, dice.randint(1, 3))
            if dice.random() < 0.3:
                for work in book.claim(f"owner {n}", dice.choice([0.0, LONG]), 3):
                    book.take(work.bucket, 0.001, 2)
                    book.put(work)
                return 0
            book.cursor()
            if dice.random() < 0.2:
                book.due(2)
                return 0
            found = book.lock(chosen)
            for name in dice.sample("fgh", 2):
                book.stray(name, dice.randrange(10**9), "{}", 1.0)
            book.strays(dice.sample("fgh", 2))
            for key, stored in dice.sample(list(found.items()), len(found)):
                stored.data = str(int(stored.data) + 1)
                book.want(key, "edit", dice.choice("xyz"), 1, book.now)
                book.save(stored, dict.fromkeys(dice.sample("abcdefgh", 4), "A"))
                book.want(key, "post", dice.choice("xyz"), 1, book.now)
                book.put_channel(Channel(dice.choice(["#a", "#b", "#c"]), "", "ok", "", 1.0, book.now))
                for name in dice.sample("xyz", 2):
                    book.take(name, 0.001, 2)
                if dice.random() < 0.2:
                    book.block(dice.choice("xyz"), book.now + 0.01)
            for key in dice.sample(list(found), dice.randint(0, 1)):
                book.work(key, "post")
                book.done(key, "edit")
            return len(found)

        def hammer(n: int) -> None:
            dice = random.Random(n)
            for _ in range(500):
                with two[n % 2].transaction() as book:
                    count = act(n, dice, book)
                done[n] += count

        together(*(lambda n=n: hammer(n) for n in range(4)))  # type: ignore[misc]
        assert sum(int(threads.data) for threads in two[0].list(None, 99)) == sum(done)

    def test_closed_is_closed_and_reopened_is_open(self, threads: Threads, connect: Connect) -> None:
        write(threads, "k")
        threads.reopen()
        assert threads.get("k") is not None and claim(threads, "a") == []
        other = connect()
        other.close()
        with pytest.raises(StoreUnavailable), other.transaction() as book:
            book.lock(["k"])

    def test_what_the_database_refuses_for_what_it_says_is_permanent(self, threads: Threads) -> None:
        with pytest.raises(Permanent), threads.transaction() as book:
            book.put(Work("k", None, "#a", 0, 0.0))  # type: ignore[arg-type]
        assert claim(threads, "a") == []


class SharedThreadsContract(ThreadsContract):
    """For those that several processes share, and whose rows are locked one by one."""

    def test_one_waits_for_the_other_on_the_same_conversation_only(self, threads: Threads, connect: Connect) -> None:
        other = connect()
        write(threads, "a", "1")
        write(threads, "b")
        seen: list[str] = []

        def late() -> None:
            with other.transaction() as book:
                seen.append(book.lock(["a"])["a"].data)

        with threads.transaction() as book:
            stored = book.lock(["a"])["a"]
            with other.transaction() as beside:
                assert beside.lock(["b"]) and list(beside.due(9)) == []
            thread = threading.Thread(target=late)
            thread.start()
            thread.join(0.1)
            assert seen == [] and thread.is_alive()
            stored.data = "2"
            book.save(stored)
        thread.join(10)
        assert seen == ["2"]

    def test_what_another_holds_is_passed_over(self, threads: Threads, connect: Connect) -> None:
        other = connect()
        for key in "ab":
            write(threads, key, due=1.0)
            want(threads, key)
        with threads.transaction() as book:
            book.lock(["a"])
            book.work("a", "post")
            book.stray("f", 1, "{}", 1.0)
            assert book.cursor() == -1 and book.take("#a", SLOW, 3) is None
            with other.transaction() as beside:
                assert list(beside.due(9)) == ["b"]
                assert [work.key for work in beside.claim("b", LONG, 9)] == ["b"]
                assert beside.cursor() is None and beside.strays(["f"]) == []
                at = beside.take("#a", SLOW, 3)
                assert at is not None and at - beside.now < 1
        with other.transaction() as beside:
            assert beside.cursor() == -1 and len(beside.strays(["f"])) == 1
            assert beside.take("#a", SLOW, 3) is None

    def test_whoever_locks_against_the_order_does_not_wait(self, threads: Threads, connect: Connect) -> None:
        other = connect()
        for key in "abc":
            write(threads, key)
        with threads.transaction() as book:
            book.lock(["a"])
            with other.transaction() as beside:
                assert list(beside.lock(["c"])) == ["c"] and list(beside.lock(["b", "c"])) == ["b", "c"]
            with pytest.raises(StoreUnavailable, match="lock timeout"), other.transaction() as beside:
                beside.lock(["b"])
                beside.lock(["a"])
            with pytest.raises(StoreUnavailable, match="lock timeout"), other.transaction() as beside:
                beside.want("z", "post", "#a", 0, 0.0)
                assert beside.work("z", "post") is not None
                beside.create("a")
        with other.transaction() as beside:
            beside.lock(["b"])
            assert list(beside.lock(["a"])) == ["a"]

    def test_two_against_the_order_are_over_soon(self, connect: Connect) -> None:
        two = [connect(), connect()]
        keys = [f"k{n}" for n in range(4)]
        for key in keys:
            write(two[0], key, "0")
        done = [0] * 4

        def hammer(n: int) -> None:
            dice = random.Random(n)
            for _ in range(30):
                try:
                    with two[n % 2].transaction() as book:
                        for key in dice.sample(keys, 2):
                            stored = book.lock([key])[key]
                            stored.data = str(int(stored.data) + 1)
                            book.save(stored)
                    done[n] += 2
                except StoreUnavailable as error:
                    assert "lock timeout" in str(error)

        together(*(lambda n=n: hammer(n) for n in range(4)))  # type: ignore[misc]
        assert sum(int(stored.data) for stored in two[0].list(None, 9)) == sum(done)
