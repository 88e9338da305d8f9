"""What every `engine.ports.Ledger` must do; each store runs this suite against itself."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from autoheal.core.events import GENESIS, seal
from autoheal.engine.ports import Fact, Head, Ledger, RemediationRow, Row

STATES = ("held", "reserved", "running", "verifying", "healed", "failed", "exhausted", "unknown", "cancelled")
UNFINISHED = {"held", "reserved", "running", "verifying", "unknown"}


def rows_after(head: Head, count: int, kind: str = "heartbeat", alertname: str | None = None) -> tuple[list[Row], Head]:
    """The next `count` sealed rows and where they lead."""
    rows, at = [], head
    for _ in range(count):
        event_id, ts = at.id + 1, float(at.id + 1)
        name = f',"alertname":"{alertname}"' if alertname else ""
        line, digest = seal(f'{{"id":{event_id},"ts":{ts},"kind":"{kind}"{name}}}'.encode(), at.hash)
        rows.append(Row(event_id, ts, kind, alertname, None, None, line))
        at = Head(event_id, digest, ts)
    return rows, at


def remediation(number: int, state: str, ended_at: float | None = None) -> RemediationRow:
    return RemediationRow(f"r{number}", state, "rule", "Alert", float(number), ended_at, f'{{"n":{number}}}')


class LedgerContract:
    """Subclasses give the fixture `connect`: each call opens the same store anew, as another process would."""

    @pytest.fixture
    def ledger(self, connect: Callable[[], Ledger]) -> Ledger:
        return connect()

    def test_a_new_ledger_is_empty(self, ledger: Ledger) -> None:
        snapshot = ledger.load()
        assert snapshot.head == Head(0, GENESIS, 0.0)
        assert snapshot.facts == [] and snapshot.remediations == []

    def test_what_was_appended_is_read_back_byte_for_byte(self, ledger: Ledger) -> None:
        rows, head = rows_after(ledger.load().head, 3, alertname="Ünïcode \\u0000 \\ud800 ‮")
        with ledger.transaction() as transaction:
            transaction.append(rows, head)
            assert transaction.head == head
        with ledger.transaction() as transaction:
            assert transaction.head == head
            assert list(transaction.missed(0)) == [row.line for row in rows]
            assert list(transaction.missed(2)) == [rows[2].line]
            assert list(transaction.missed(3)) == []

    def test_missed_reads_on_over_thousands(self, ledger: Ledger) -> None:
        rows, head = rows_after(ledger.load().head, 2501)
        with ledger.transaction() as transaction:
            transaction.append(rows, head)
        with ledger.transaction() as transaction:
            assert list(transaction.missed(499)) == [row.line for row in rows[499:]]

    def test_two_appends_in_one_transaction_follow_each_other(self, ledger: Ledger) -> None:
        with ledger.transaction() as transaction:
            for _ in range(2):
                transaction.append(*rows_after(transaction.head, 2))
        assert ledger.load().head.id == 4

    def test_an_empty_batch_changes_nothing(self, ledger: Ledger) -> None:
        before = ledger.load()
        with ledger.transaction() as transaction:
            transaction.append([], transaction.head)
            transaction.save([], [])
        assert ledger.load() == before

    def test_ids_that_skip_or_repeat_are_refused(self, ledger: Ledger) -> None:
        rows, head = rows_after(ledger.load().head, 3)
        for wrong in (rows[1:], rows[:1], [rows[0], rows[2]]):
            with pytest.raises(ValueError), ledger.transaction() as transaction:
                transaction.append(wrong, head)
        assert ledger.load().head.id == 0

    def test_an_error_inside_leaves_nothing(self, ledger: Ledger) -> None:
        rows, head = rows_after(ledger.load().head, 2)
        with pytest.raises(RuntimeError), ledger.transaction() as transaction:
            transaction.append(rows, head)
            transaction.save([Fact("slot", "a", "{}")], [remediation(1, "held")])
            raise RuntimeError("the move failed")
        assert ledger.load().head.id == 0 and ledger.load().facts == []
        with ledger.transaction() as transaction:
            assert list(transaction.missed(0)) == []

    def test_facts_are_replaced_and_forgotten(self, ledger: Ledger) -> None:
        with ledger.transaction() as transaction:
            transaction.save([Fact("slot", "a", "1"), Fact("slot", "b", "2", 9.5), Fact("mode", "a", "3")], [])
        with ledger.transaction() as transaction:
            transaction.save([Fact("slot", "a", "4", 1.25), Fact("slot", "b", None), Fact("none", "x", None)], [])
        assert sorted(ledger.load().facts) == [Fact("mode", "a", "3", None), Fact("slot", "a", "4", 1.25)]

    def test_a_fact_saved_twice_in_one_batch_keeps_the_last(self, ledger: Ledger) -> None:
        with ledger.transaction() as transaction:
            twice = [Fact("slot", "a", "1"), Fact("slot", "a", "2")]
            back = [Fact("slot", "b", None), Fact("slot", "b", "3")]
            gone = [Fact("slot", "c", "4"), Fact("slot", "c", None)]
            transaction.save([*twice, *back, *gone], [])
        assert sorted(ledger.load().facts) == [Fact("slot", "a", "2"), Fact("slot", "b", "3")]

    def test_a_fact_is_read_as_it_is_now(self, ledger: Ledger) -> None:
        with ledger.transaction() as transaction:
            assert transaction.fact("slot", "a") is None
            transaction.save([Fact("slot", "a", '{"n":1}'), Fact("slot", "b", "2", 9.5)], [])
        with ledger.transaction() as transaction:
            assert transaction.fact("slot", "a") == '{"n":1}' and transaction.fact("slot", "b") == "2"
            assert transaction.fact("other", "b") is None
            transaction.save([Fact("slot", "b", None)], [])
        with ledger.transaction() as transaction:
            assert transaction.fact("slot", "b") is None

    def test_many_facts_and_remediations_at_once(self, ledger: Ledger) -> None:
        facts = [Fact("slot", f"k{n}", f'"{n}"', None if n % 3 else n / 7) for n in range(300)]
        entries = [remediation(n, "running", None if n % 2 else n / 3) for n in range(1, 300)]
        for _ in range(2):  # new, and again
            with ledger.transaction() as transaction:
                transaction.save(facts, entries)
        assert sorted(ledger.load().facts) == sorted(facts)
        assert ledger.load().remediations == entries
        with ledger.transaction() as transaction:
            transaction.save([fact._replace(data=None) for fact in facts[5:]], [])
        assert sorted(ledger.load().facts) == sorted(facts[:5])

    def test_only_unfinished_remediations_are_loaded_in_the_order_of_their_numbers(self, ledger: Ledger) -> None:
        entries = [remediation(number, state) for number, state in enumerate(STATES, 8)]
        with ledger.transaction() as transaction:
            transaction.save([], entries[::-1])
        assert ledger.load().remediations == [entry for entry in entries if entry.state in UNFINISHED]

    def test_a_remediation_moves_on(self, ledger: Ledger) -> None:
        for state, ended in (("running", None), ("verifying", None), ("healed", 12.0)):
            with ledger.transaction() as transaction:
                transaction.save([], [remediation(7, state, ended)])
            loaded = [entry.state for entry in ledger.load().remediations]
            assert loaded == ([] if state == "healed" else [state])

    def test_everything_is_there_after_reopening(self, ledger: Ledger) -> None:
        rows, head = rows_after(ledger.load().head, 5)
        with ledger.transaction() as transaction:
            transaction.append(rows, head)
            transaction.save([Fact("a", "b", "c")], [remediation(3, "unknown", 4.0)])
        before = ledger.load()
        ledger.reopen()
        assert ledger.load() == before
        assert before.head == head and before.remediations == [remediation(3, "unknown", 4.0)]


class SharedLedgerContract(LedgerContract):
    """For those that several processes write."""

    @pytest.fixture
    def other(self, connect: Callable[[], Ledger], ledger: Ledger) -> Ledger:
        return connect()

    def test_it_says_so(self, ledger: Ledger) -> None:
        assert ledger.shared

    def test_what_the_other_wrote_was_missed(self, ledger: Ledger, other: Ledger) -> None:
        ours, head = rows_after(ledger.load().head, 2)
        theirs, end = rows_after(head, 3, "decision_skip", "Theirs")
        with ledger.transaction() as transaction:
            transaction.append(ours, head)
        with other.transaction() as transaction:
            assert transaction.head == head
            transaction.append(theirs, end)
            transaction.save([Fact("slot", "a", "1")], [])
        with ledger.transaction() as transaction:
            assert transaction.head == end
            assert list(transaction.missed(head.id)) == [row.line for row in theirs]
            assert transaction.fact("slot", "a") == "1"
        assert ledger.load() == other.load()

    def test_one_waits_for_the_other(self, ledger: Ledger, other: Ledger) -> None:
        inside = threading.Event()
        seen: list[Head] = []

        def late() -> None:
            inside.wait(10)
            with other.transaction() as transaction:
                seen.append(transaction.head)

        thread = threading.Thread(target=late)
        thread.start()
        with ledger.transaction() as transaction:
            inside.set()
            thread.join(0.2)
            assert thread.is_alive() and seen == []
            rows, head = rows_after(transaction.head, 1)
            transaction.append(rows, head)
        thread.join(10)
        assert seen == [head]

    def test_an_event_of_the_past_is_refused(self, ledger: Ledger, other: Ledger) -> None:
        stale, stale_head = rows_after(ledger.load().head, 1)
        with other.transaction() as transaction:
            transaction.append(*rows_after(transaction.head, 1))
        with pytest.raises(ValueError), ledger.transaction() as transaction:
            transaction.append(stale, stale_head)

    def test_two_that_hammer_leave_one_chain_without_gaps(self, ledger: Ledger, other: Ledger) -> None:
        """Each counts its own in a fact that both change: nothing that one read was changed by the other meanwhile."""
        errors: list[BaseException] = []

        def hammer(mine: Ledger) -> None:
            try:
                for n in range(60):
                    with mine.transaction() as transaction:
                        rows, head = rows_after(transaction.head, 1 + n % 12)
                        count = int(transaction.fact("count", "all") or "0")
                        transaction.append(rows, head)
                        transaction.save([Fact("count", "all", str(count + len(rows)))], [])
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=hammer, args=(mine,)) for mine in (ledger, other)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert errors == []
        total = 2 * sum(1 + n % 12 for n in range(60))
        expected, head = rows_after(Head(0, GENESIS, 0.0), total)
        with ledger.transaction() as transaction:
            assert transaction.head == head and transaction.fact("count", "all") == str(total)
            assert list(transaction.missed(0)) == [row.line for row in expected]
