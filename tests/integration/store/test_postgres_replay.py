"""A real head on PostgreSQL: its working state is what the events add up to; what in it is not, is named."""

from __future__ import annotations

from typing import Any

import pytest

from autoheal.core.moves.service import Stopped
from autoheal.core.turn import Move
from autoheal.store.replay import verify_state
from autoheal.store.retention import prune
from autoheal.store.verify import verify_database
from tests.databases import Postgres
from tests.unit.core.auditor import FIRST
from tests.unit.store.test_replay import Headed, named, story


@pytest.fixture(scope="module")
def told(postgres_server: Postgres, postgres_template: str) -> str:
    """The name of a database that the story was written into."""
    url = postgres_server.create_database("told", postgres_template)
    it = Headed(FIRST, url=url)
    story(it)
    it.play(Stopped("test"))
    it.stop()
    return "told"


@pytest.fixture
def url(postgres_server: Postgres, told: str) -> Any:
    """One's own copy of it."""
    made = postgres_server.create_database(template=told)
    yield made
    postgres_server.drop_database(made)


def test_what_a_head_wrote_is_whole(url: str) -> None:
    assert verify_database(url).ok
    report = verify_state(url)
    assert report.ok and report.done and report.checked == report.last_id, report.problems


@pytest.mark.parametrize(
    ("statement", "wrong"),
    [
        ("DELETE FROM facts WHERE space = 'slot'", "missing"),
        ("UPDATE remediations SET state = 'healed' WHERE state = 'failed'", "differs"),
        ("INSERT INTO facts VALUES ('slot', 'x', '{}', NULL)", "extra"),
        ("DELETE FROM remediations WHERE state = 'healed'", "missing"),
    ],
)
def test_what_the_events_do_not_make_is_named(url: str, postgres_server: Postgres, statement: str, wrong: str) -> None:
    postgres_server.execute(statement, database=url.rpartition("/")[2])
    report = verify_state(url)
    assert not report.ok and wrong in {kind for _, kind in named(report)}


def test_it_is_whole_at_any_moment_beside_the_one_who_writes(postgres_url: str) -> None:
    it = Headed(FIRST, url=postgres_url)
    play, reports = it.play, []

    def and_verify(move: Move) -> Any:
        answer = play(move)
        reports.append(verify_state(postgres_url))
        return answer

    it.play = and_verify  # type: ignore[method-assign]
    story(it)
    it.stop()
    assert len(reports) > 20 and all(report.ok for report in reports)


def test_after_retention_the_chain_is_whole_and_the_state_still_there(url: str) -> None:
    last = verify_database(url).last_id
    assert prune(url, 1e12, below=10, pause=lambda seconds: None).first == 10
    report = verify_database(url)
    assert report.ok and report.first_id == 10 and report.last_id == last
    state = verify_state(url)
    assert state.ok and not state.done and "the events up to 9 are not there" in state.note
