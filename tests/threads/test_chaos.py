"""Two threaders on one PostgreSQL, killed again and again; a Slack that fails: nothing is missing, nothing doubled."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from tests.databases import Postgres
from tests.threads.chaos import Chaos
from tests.threads.groups import Group
from tests.threads.proof import table
from tests.threads.talker import Haste

FAULTS = {"rate_429": 0.20, "lost": 0.05, "server_error": 0.02}
LAG = 1.5 * Haste.settle
"""Seconds until Slack shows in a channel's history what it has taken: more than one look."""


def test_two_die_while_slack_fails(
    tmp_path: Path, postgres_server: Postgres, capsys: pytest.CaptureFixture[str]
) -> None:
    """Slack's limits pass 100 times as fast."""
    haste = Haste(share=0.25, burst=10)
    groups = [Group(number, seed=20261121) for number in range(30)]
    with haste.slack(time.time) as slack, Chaos(tmp_path, postgres_server, slack, haste, groups, 1) as stage:
        slack.chaos(**FAULTS, seed=7)
        slack.history_lag = LAG
        dying = threading.Thread(target=stage.each_dies_once, daemon=True)
        dying.start()
        stage.deliver(8, senders=3, every=0.02)
        dying.join()
        stage.settle(60)
        figures = stage.assert_true()
    with capsys.disabled():
        print(table(figures))


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_five_hundred_groups(tmp_path: Path, postgres_server: Postgres, capsys: pytest.CaptureFixture[str]) -> None:
    """Slack's limits pass 100 times as fast; both die all the time."""
    haste = Haste(share=0.4, burst=10)
    groups = [Group(number, seed=20261122) for number in range(500)]
    with haste.slack(time.time) as slack, Chaos(tmp_path, postgres_server, slack, haste, groups, 2) as stage:
        slack.chaos(**FAULTS, seed=8)
        slack.history_lag = LAG
        sent = threading.Event()
        dying = threading.Thread(target=stage.die_at_random, args=(sent, 5.0), daemon=True)
        dying.start()
        stage.deliver(20, senders=4)
        sent.set()
        dying.join()
        stage.settle(600)
        figures = stage.assert_true()
    with capsys.disabled():
        print(table(figures))


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_groups_that_flap(tmp_path: Path, postgres_server: Postgres, capsys: pytest.CaptureFixture[str]) -> None:
    """What is put aside for a digest is told in the end, and once, whoever dies meanwhile."""
    haste = Haste(share=0.4, burst=10)
    groups = [Group(number, seed=20261123) for number in range(60)]
    often = {"changes": 3, "per": "1m"}
    with haste.slack(time.time) as slack, Chaos(tmp_path, postgres_server, slack, haste, groups, 3, often) as stage:
        slack.chaos(**FAULTS, seed=9)
        slack.history_lag = LAG
        over = threading.Event()
        dying = threading.Thread(target=stage.die_at_random, args=(over, 8.0), daemon=True)
        dying.start()
        stage.deliver(20, senders=3, every=0.1)
        over.wait(30)  # the first digests, and more deaths
        over.set()
        dying.join()
        stage.settle(600)
        figures = stage.assert_true()
    with capsys.disabled():
        print(table(figures))
