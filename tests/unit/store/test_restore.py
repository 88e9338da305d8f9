"""A copy that was restored by hand becomes a ledger again, or says why not."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

import pytest

from autoheal.engine.ports import Fact, RemediationRow
from autoheal.store.copy import AuditCopy
from autoheal.store.restore import CopyDamaged, restore
from autoheal.store.verify import verify_pair
from tests.unit.store.trail import Trail


@pytest.fixture
def saved(tmp_path: Path) -> list[str]:
    """The lines of a ledger that was lost; the clock went back in it."""
    lost = Trail(tmp_path / "lost")
    lost.add(*[{"ts": float(n % 5), "rule": "r", "alertname": "A", "remediation_id": f"r{n}"} for n in range(2300)])
    lines = lost.lines
    lost.close()
    return lines


def put(path: Path, lines: list[str]) -> Path:
    text = "".join(line + "\n" for line in lines)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)
    return path


def test_lines_columns_head_and_steps_come_back(trail: Trail, saved: list[str]) -> None:
    put(trail.copy, saved)
    restored = restore(trail.copy, trail.ledger)
    assert restored is not None and restored.first == 1 and restored.head.id == 2300
    assert trail.lines == saved and len(trail.reader.clock_steps(1000)) == 459
    assert len(trail.reader.query(n=5, remediation_id="r7").lines) == 1
    assert all(report.ok for report in verify_pair([trail.copy], trail.url))
    trail.add(count=1)
    copy = AuditCopy(trail.copy, trail.reader)
    assert copy.catch_up() and all(report.ok for report in verify_pair([trail.copy], trail.url))
    copy.close()


def test_state_is_folded_from_the_lines_in_the_same_transaction(trail: Trail, saved: list[str]) -> None:
    put(trail.copy, saved)
    seen: list[str] = []

    def fold(lines: Iterator[str]) -> tuple[list[Fact], list[RemediationRow]]:
        seen.extend(lines)
        return [Fact("mode", "mode", "{}")], [RemediationRow("r3", "held", "r", "A", 1.0, None, "{}")]

    def fails(lines: Iterator[str]) -> tuple[list[Fact], list[RemediationRow]]:
        raise RuntimeError("killed here")

    with pytest.raises(RuntimeError):
        restore(trail.copy, trail.ledger, fails)
    assert trail.reader.head().id == 0 and trail.lines == []
    assert restore(trail.copy, trail.ledger, fold) is not None
    assert seen == saved
    snapshot = trail.ledger.load()
    assert snapshot.facts == [Fact("mode", "mode", "{}")] and [r.id for r in snapshot.remediations] == ["r3"]


def test_segments_and_gzip_beside_it_come_first(trail: Trail, saved: list[str]) -> None:
    put(trail.directory / "audit-1-1000.jsonl", saved[:1000])
    put(trail.directory / "audit.jsonl.1.gz", saved[1000:2000])
    put(trail.copy, saved[2000:])
    restored = restore(trail.copy, trail.ledger)
    assert restored is not None and len(restored.paths) == 3 and trail.lines == saved


def test_a_copy_whose_beginning_retention_took(trail: Trail, saved: list[str]) -> None:
    put(trail.copy, saved[100:])
    restored = restore(trail.copy, trail.ledger)
    assert restored is not None and restored.first == 101
    assert trail.lines == saved[100:]
    assert trail.add(count=1)[0].id == 2301
    assert verify_pair([trail.copy], trail.url)[0].ok


def test_a_half_written_last_line_is_left_out(trail: Trail, saved: list[str]) -> None:
    put(trail.copy, saved[:50])
    with trail.copy.open("a") as file:
        file.write(saved[50][:30])
    restored = restore(trail.copy, trail.ledger)
    assert restored is not None and trail.lines == saved[:50]


def test_a_damaged_copy_is_not_imported_and_the_damage_is_named(trail: Trail, saved: list[str]) -> None:
    put(trail.copy, [*saved[:6], saved[6].replace('"A"', '"B"'), *saved[7:20]])
    with pytest.raises(CopyDamaged, match=r"audit.jsonl:7: edited"):
        restore(trail.copy, trail.ledger)
    assert trail.reader.head().id == 0
    put(trail.copy, [saved[0], *["x"] * 20])
    with pytest.raises(CopyDamaged, match="15 more"):
        restore(trail.copy, trail.ledger)


def test_nothing_to_do(trail: Trail, saved: list[str]) -> None:
    assert restore(trail.copy, trail.ledger) is None
    put(trail.copy, [])
    assert restore(trail.copy, trail.ledger) is None
    trail.add(count=1)
    put(trail.copy, saved)
    assert restore(trail.copy, trail.ledger) is None
    assert len(trail.lines) == 1
