"""What every `engine.ports.Claims` must do; each runs this suite against itself, shared ones the second part too."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from autoheal.engine.ports import Claims
from tests.servers import wait_until

LONG = 60.0


class ClaimsContract:
    """Subclasses give the fixture `process`: each call is another process, by its name."""

    @pytest.fixture
    def ours(self, process: Callable[[str], Claims]) -> Claims:
        return process("a")

    def test_its_name_is_its_own(self, ours: Claims) -> None:
        assert ours.instance == "a"

    def test_what_is_free_is_taken_and_taken_again(self, ours: Claims) -> None:
        assert ours.take([], LONG) == set()
        assert ours.take(["x", "y", "x"], LONG) == {"x", "y"}
        assert ours.take(["y", "z"], LONG) == {"y", "z"}
        ours.release(["y", "never taken"])
        ours.release([])
        assert ours.take(["y"], LONG) == {"y"}

    def test_presence_tells_the_time_and_what_was_said(self, ours: Claims) -> None:
        before = time.time()
        now = ours.present(LONG, {"role": "worker", "queues": ["a", "b"], "name": "Ünï"})
        assert before - 5 < now < time.time() + 5
        (found,) = ours.processes()
        assert found.instance == "a" and found.alive and 0 < found.left <= LONG
        assert found.data == {"role": "worker", "queues": ["a", "b"], "name": "Ünï"}
        assert ours.present(LONG, {"role": "other"}) >= now
        assert [found.data for found in ours.processes()] == [{"role": "other"}]

    def test_once_is_once(self, ours: Claims) -> None:
        assert [ours.once("a", LONG), ours.once("a", LONG), ours.once("b", LONG)] == [True, False, True]
        assert ours.take(["a"], LONG) == {"a"}
        assert ours.once("c", 0.05)
        wait_until(lambda: ours.once("c", LONG), 5, "its end")


class SharedClaimsContract(ClaimsContract):
    """For those that other processes share."""

    @pytest.fixture
    def theirs(self, process: Callable[[str], Claims]) -> Claims:
        return process("b")

    def test_nobody_takes_what_another_has(self, ours: Claims, theirs: Claims) -> None:
        assert ours.take(["x", "y"], LONG) == {"x", "y"}
        assert theirs.take(["x", "y", "z"], LONG) == {"z"}
        theirs.release(["x"])
        assert theirs.take(["x"], LONG) == set()
        ours.release(["x", "z"])
        assert theirs.take(["x", "z"], LONG) == {"x", "z"}
        assert ours.take(["z"], LONG) == set()

    def test_what_ran_out_is_free(self, ours: Claims, theirs: Claims) -> None:
        assert ours.take(["x"], 0.05) == {"x"}
        wait_until(lambda: theirs.take(["x"], LONG) == {"x"}, 5, "the end of the lease")
        assert ours.take(["x"], LONG) == set()

    def test_a_lease_is_renewed_from_now_on(self, ours: Claims, theirs: Claims) -> None:
        assert ours.take(["x"], LONG) == {"x"} == ours.take(["x"], 0.0)
        assert theirs.take(["x"], LONG) == {"x"}

    def test_presence_and_duty_do_not_meet(self, ours: Claims, theirs: Claims) -> None:
        ours.present(LONG, {})
        assert theirs.take(["a", "b"], LONG) == {"a", "b"}
        assert [found.instance for found in theirs.processes()] == ["a"]

    def test_everybody_sees_who_is_there_and_who_was(self, ours: Claims, theirs: Claims) -> None:
        ours.present(LONG, {"n": 1})
        theirs.present(0.0, {"n": 2})
        alive, gone = ours.processes()
        assert (alive.instance, alive.alive, gone.instance, gone.alive) == ("a", True, "b", False)
        assert -5 < gone.left <= 0 and gone.data == {"n": 2}
        assert [found.instance for found in theirs.processes()] == ["a", "b"]

    def test_once_is_once_for_all_and_outlives_who_asked(self, ours: Claims, theirs: Claims) -> None:
        assert ours.once("a", LONG)
        ours.leave()
        assert not theirs.once("a", LONG)
        assert theirs.once("b", LONG)
        assert not ours.once("b", LONG)

    def test_who_leaves_gives_up_all_and_only_its_own(self, ours: Claims, theirs: Claims) -> None:
        for claims, key in ((ours, "x"), (theirs, "y")):
            claims.present(LONG, {})
            claims.take([key], LONG)
        ours.leave()
        assert [found.instance for found in theirs.processes()] == ["b"]
        assert theirs.take(["x"], LONG) == {"x"} and ours.take(["y"], LONG) == set()

    def test_many_at_once_never_share_and_never_wait_for_each_other(self, process: Callable[[str], Claims]) -> None:
        keys = [f"k{n}" for n in range(50)]
        processes = [process(f"p{n}") for n in range(4)]
        barrier = threading.Barrier(len(processes), timeout=30)
        taken: list[list[set[str]]] = [[] for _ in processes]
        errors: list[BaseException] = []

        def hammer(index: int) -> None:
            turned = keys[index * 7 :] + keys[: index * 7]
            try:
                for _ in range(25):
                    barrier.wait()
                    taken[index].append(processes[index].take(turned, LONG))
                    barrier.wait()
                    processes[index].release(turned[::-1])
            except BaseException as error:
                errors.append(error)
                barrier.abort()

        threads = [threading.Thread(target=hammer, args=(index,)) for index in range(len(processes))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert errors == []
        for round_ in zip(*taken, strict=True):
            assert sum(map(len, round_)) == len(set().union(*round_)) <= 50
            assert set().union(*round_) <= set(keys)
