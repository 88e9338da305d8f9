"""Slack conversations in a storm: how soon Alertmanager has its answer, and how soon Slack has the truth."""

from __future__ import annotations

import math
import sys
import time
from pathlib import Path

from autoheal.testing.slack import FakeSlack
from bench.rig import console, free_port, percentile, server, table
from tests.servers import wait_until
from tests.threads.proof import calm, threads
from tests.threads.storm import Sent, Storm, send
from tests.threads.talker import REAL, REAL_AT_ONCE, REAL_EDITS, Haste, Talker


def main(folder: Path, quick: bool) -> None:
    """In full with Slack's own limits, by the clock; quickly with a small storm, and limits that pass faster."""
    storm = Storm(groups=60, alerts=25, deliveries=5, seconds=3.0) if quick else Storm()
    haste = Haste(speed=20.0, share=0.9, burst=10) if quick else REAL
    schedule = storm.schedule()
    port = free_port()
    argv = [sys.executable, "-m", "bench.floor", str(port), str(folder / "threads-floor.db")]
    with server(argv, port, "/") as floor:
        least = send(floor.url, schedule)
    with haste.slack(time.time) as slack, Talker(folder / "threads", slack, haste) as talker:
        talker.start()
        ours = send(talker.url, schedule)
        wait_until(lambda: talker.idle() and calm(slack), 3600, "rest", 0.2)
        duration = time.time() - ours.began
        assert storm.untold(slack) == [], storm.untold(slack)
        _answers(storm, {"autoheal": ours, "floor": least})
        _told(storm, haste, slack, ours.began, duration)


def _answers(storm: Storm, rows: dict[str, Sent]) -> None:
    rate = storm.groups * storm.deliveries / storm.seconds
    shown = table(
        f"Intake: {storm.groups * storm.alerts:,} alerts in {storm.groups} groups, {rate:.0f} deliveries/s for "
        f"{storm.seconds:g} s, by the clock (floor: parse, serialise, one group commit; same server)",
        "",
        "p50 ms",
        "p99 ms",
        "worst ms",
        "sent late p99 ms",
        "bad",
    )
    for name, sent in rows.items():
        figures = (percentile(sent.took, 0.5), percentile(sent.took, 0.99), max(sent.took), percentile(sent.late, 0.99))
        shown.add_row(name, *(f"{1000 * seconds:.1f}" for seconds in figures), str(sent.bad))
    console.print(shown)


def _told(storm: Storm, haste: Haste, slack: FakeSlack, began: float, duration: float) -> None:
    firsts = sorted(thread.parent.at - began for thread in threads(slack).values())
    truths = sorted(at - began for at in storm.true_at(slack).values())
    busiest = max(sum(one.thread_ts is None for one in channel.all.values()) for channel in slack.channels.values())
    pace = "as they are" if haste.speed == 1 else f"{haste.speed:g} times as fast as they are"
    shown = table(
        f"Slack, its limits {pace}, used to {haste.share:.0%}: seconds after the first alert", "", "50 %", "all"
    )
    shown.add_row("a parent is there", f"{percentile(firsts, 0.5):.1f}", f"{firsts[-1]:.1f}")
    shown.add_row("the parent is true", f"{percentile(truths, 0.5):.1f}", f"{truths[-1]:.1f}")
    shown.add_row("floor: one message a group", "-", f"{busiest / haste.speed:.1f}")
    shown.add_row("everything told", "-", f"{duration:.1f}")
    console.print(shown)
    posts = math.floor(len(slack.channels) * duration * haste.speed)
    edits = math.floor(REAL_EDITS / 60 * duration * haste.speed) + REAL_AT_ONCE
    console.print(
        f"calls made of those allowed in that time: {slack.calls['chat.postMessage']} of {posts} messages, "
        f"{slack.calls['chat.update']} of {edits} edits; "
        f"{sum(slack.refusals.values())} turned away, {len(slack.violations)} too early\n"
    )
