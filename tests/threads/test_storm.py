"""Groups come faster than Slack takes messages: all are taken at once, and Slack has the truth as soon as it may."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.servers import wait_until
from tests.threads.proof import calm, percentile, storms, table, threads
from tests.threads.storm import Storm, send
from tests.threads.talker import Haste, Talker


def test_a_storm_is_taken_at_once_and_told_as_fast_as_slack_allows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Slack's limits pass 20 times as fast."""
    storm, haste = Storm(groups=90, alerts=12, deliveries=3, seconds=1.5), Haste(speed=20, share=0.8, burst=10)
    with haste.slack(time.time) as slack, Talker(tmp_path, slack, haste) as talker:
        talker.start()
        sent = send(talker.url, storm.schedule())
        assert sent.bad == 0
        wait_until(lambda: talker.idle() and calm(slack), 60, "rest")
        duration = time.time() - sent.began
        true_at = storm.true_at(slack)
        assert sorted(true_at) == storm.names()
        assert storm.untold(slack) == []
        assert slack.twice() == []
        assert slack.violations == []
        assert talker.health()["dropped"] == 0
        firsts = [thread.parent.at for thread in threads(slack).values()]
        assert len(storms(slack)) <= 3
    posts = 3 * haste.speed * duration
    with capsys.disabled():
        print(
            table(
                {
                    "alerts": f"{storm.groups * storm.alerts} in {storm.groups} groups, {storm.seconds:g} s",
                    "answers": f"50 % in {1000 * percentile(sent.took, 0.5):.0f} ms, "
                    f"99 % in {1000 * percentile(sent.took, 0.99):.0f} ms",
                    "all have a parent after": f"{max(firsts) - sent.began:.1f} s",
                    "all parents are true after": f"{max(true_at.values()) - sent.began:.1f} s",
                    "messages": f"{slack.calls['chat.postMessage']} of {posts:.0f} that were allowed",
                    "edits": f"{slack.calls['chat.update']} of {haste.speed * 50 / 60 * duration:.0f}",
                }
            )
        )
