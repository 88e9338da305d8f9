"""A restored trail comes to the same state, also where a remediation was marked after its end."""

from __future__ import annotations

import orjson

from autoheal.app.serve import _state_of
from autoheal.core.moves.people import Cancel, Mark
from tests.unit.core.make import Play, alert


def test_a_mark_after_the_end_is_kept() -> None:
    it = Play.live()
    [rid] = it.accepted(alert())
    it.play(Cancel(rid, "ann"))
    it.play(Mark(rid, "ann", known=it.row(rid).as_dict()))
    _, rows = _state_of(iter([orjson.dumps(event).decode() for event in it.events]))
    [row] = [row for row in rows if row.id == rid]
    assert row.state == "cancelled"
    assert orjson.loads(row.data)["marked"] == "false_positive"
