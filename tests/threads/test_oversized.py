"""What is too large for a message is shortened so that a person still reads it, and posted all the same."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from autoheal.core.alert import fingerprint
from autoheal.testing.slack import FakeSlack, Message
from autoheal.testing.slack_blocks import TOTAL as SLACK_TAKES
from autoheal.testing.slack_blocks import size
from tests.servers import wait_until
from tests.threads.proof import threads
from tests.threads.talker import Haste, Talker

HASTE = Haste(burst=10)
SAYS = "The disk of the machine is full, and nothing can be written any more"
LONG = f"{SAYS}; this is what it says: {'x' * 102_400}"


@pytest.fixture(scope="module")
def slack() -> Iterator[FakeSlack]:
    with HASTE.slack(time.time) as fake:
        yield fake


@pytest.fixture(scope="module")
def talker(tmp_path_factory: pytest.TempPathFactory, slack: FakeSlack) -> Iterator[Talker]:
    with Talker(tmp_path_factory.mktemp("oversized"), slack, HASTE) as made:
        made.start()
        yield made


def alert(group: str, number: int, labels: int = 0, **annotations: str) -> dict[str, Any]:
    """An alert with so many further labels."""
    named = {"alertname": "DiskFull", "group": group, "instance": f"db-{number:03}", "severity": "warning"}
    named |= {f"label_{place:03}": f"value {place} of alert {number}" for place in range(labels)}
    return {
        "status": "firing",
        "labels": named,
        "annotations": {"summary": f"db-{number:03} has no room left", **annotations},
        "startsAt": "2026-11-21T03:06:04.119Z",
        "fingerprint": fingerprint(named),
    }


def told(talker: Talker, slack: FakeSlack, alerts: Sequence[dict[str, Any]], status: str = "firing") -> Message:
    """Deliver the group; its parent when all is quiet."""
    group = alerts[0]["labels"]["group"]
    body = {
        "version": "4",
        "receiver": "slack",
        "groupKey": f'{{}}:{{group="{group}"}}',
        "groupLabels": {"group": group},
        "externalURL": "http://alertmanager:9093",
        "alerts": [{**one, "status": status} for one in alerts],
    }
    talker.send(body)
    wait_until(talker.idle, 60, "rest")
    for message in slack.every():
        assert size(message.blocks) <= SLACK_TAKES
        assert len(message.text) <= 4000
    assert slack.refusals == {}
    assert slack.violations == []
    return threads(slack)[group].parent


def test_three_hundred_labels(talker: Talker, slack: FakeSlack) -> None:
    parent = told(talker, slack, [alert("group-0001", 1, labels=300)])
    assert "— 1 firing" in parent.shown
    assert "db-001 has no room left" in parent.shown
    assert "instance=db-001" in parent.shown
    assert len(parent.shown) < 3000


def test_an_annotation_of_100_kb(talker: Talker, slack: FakeSlack) -> None:
    parent = told(talker, slack, [alert("group-0002", 1, summary=LONG, description=LONG)])
    assert SAYS in parent.shown
    assert "…" in parent.shown
    assert len(parent.shown) < 3000
    assert SAYS in parent.text
    assert len(parent.text) < 1000


def test_five_hundred_alerts(talker: Talker, slack: FakeSlack) -> None:
    """They fire, one resolves, all resolve: what is listed is the beginning, and how many more there are."""
    alerts = [alert("group-0003", number) for number in range(500)]
    parent = told(talker, slack, alerts)
    assert "— 500 firing" in parent.shown
    assert "… and 490 more" in parent.shown
    told(talker, slack, alerts[:1], "resolved")
    assert "499 firing, 1 resolved" in parent.shown
    assert "1 alert resolved" in parent.replies[0].shown
    told(talker, slack, alerts, "resolved")
    assert "— resolved" in parent.shown
    assert "nothing fires any more" in parent.replies[-1].shown


def test_all_of_it_at_once(talker: Talker, slack: FakeSlack, capsys: pytest.CaptureFixture[str]) -> None:
    """500 alerts with 304 labels each, one of them with 100 KB to say: 5 MB, of the 10 that a delivery may have."""
    alerts = [alert("group-0004", number, labels=300) for number in range(499)]
    alerts.append(alert("group-0004", 499, labels=300, summary=LONG))
    began = time.monotonic()
    parent = told(talker, slack, alerts)
    took = time.monotonic() - began
    assert "— 500 firing" in parent.shown
    assert "… and 490 more" in parent.shown
    told(talker, slack, alerts[:250], "resolved")
    assert "250 firing, 250 resolved" in parent.shown
    with capsys.disabled():
        print(f"\n500 alerts with 304 labels each: posted after {took:.1f} s")
