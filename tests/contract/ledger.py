"""What every `engine.ports.Ledger` must do; each store runs this suite against itself."""

from __future__ import annotations

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
