"""The Alertmanager client when members are down, lose answers, or ask for a password; and the action `silence`."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from autoheal.actions.silence import SilenceAction
from autoheal.clients.alertmanager import AlertmanagerCluster
from autoheal.clients.outside import Outside
from autoheal.clients.process import Processes
from autoheal.core.errors import NotFound, Permanent, Temporary, Unknown
from autoheal.engine.clock import SystemClock
from autoheal.engine.ports import NotStarted, OutgoingAlert
from autoheal.testing.alertmanager import FakeAlertmanager
from autoheal.testing.http_fake import Answer, Fault, as_json
from tests.integration.begin import Begin


@pytest.fixture
def first() -> Iterator[FakeAlertmanager]:
    with FakeAlertmanager(time.time) as fake:
        yield fake


@pytest.fixture
def second() -> Iterator[FakeAlertmanager]:
    with FakeAlertmanager(time.time) as fake:
        yield fake


@pytest.fixture
def dead() -> Iterator[str]:
    """A URL where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


def ask(urls: list[str], work: str, *args: Any, timeout: float = 2.0, **named: Any) -> Any:
    async def inner() -> Any:
        cluster = AlertmanagerCluster(urls, timeout)
        try:
            return await getattr(cluster, work)(*args, **named)
        finally:
            await cluster.aclose()

    return asyncio.run(inner())


def silence(urls: list[str], **named: Any) -> Any:
    now = time.time()
    return ask(urls, "create_silence", {"alertname": "A"}, now, now + 60, "autoheal:ann", "c", **named)


def made(server: FakeAlertmanager) -> int:
    return len(ask([server.url], "silences"))


# ---- which member ---------------------------------------------------------------------------------------------------


def test_the_next_member_answers_when_one_is_down(dead: str, first: FakeAlertmanager) -> None:
    name = silence([dead, first.url])
    assert [found.id for found in ask([dead, first.url], "silences")] == [name]
    ask([dead, first.url], "expire_silence", name)
    assert ask([dead, first.url], "silences")[0].state == "expired"


def test_only_the_first_that_answers_is_given_a_silence(first: FakeAlertmanager, second: FakeAlertmanager) -> None:
    silence([first.url, second.url])
    assert (made(first), made(second)) == (1, 0)


def test_nobody_answers(dead: str) -> None:
    for work, args in (("alerts", ()), ("silences", ()), ("expire_silence", ("a-1",))):
        with pytest.raises(Temporary, match="cannot be reached"):
            ask([dead], work, *args)
    with pytest.raises(Temporary):
        silence([dead])


@pytest.mark.parametrize("kind", ["hang", "drop", "lose"])
def test_reading_passes_over_one_that_gives_no_answer(
    kind: Any, first: FakeAlertmanager, second: FakeAlertmanager
) -> None:
    first.faults.append(Fault(kind, times=9))
    assert ask([first.url, second.url], "alerts", timeout=0.3).alerts == []
    assert second.asked("GET /api/v2/alerts")


def test_reading_passes_over_one_that_is_broken(first: FakeAlertmanager, second: FakeAlertmanager) -> None:
    first.faults.append(Fault("refuse"))
    assert ask([first.url, second.url], "silences") == []
    first.faults.append(Fault("refuse"))
    with pytest.raises(Temporary, match="answered 500: server error"):
        ask([first.url], "silences")


@pytest.mark.parametrize("body", [b"<html>", b"{}", b'[{"labels": {}}]', b"[1]"])
def test_an_answer_of_somebody_else_is_temporary(first: FakeAlertmanager, body: bytes) -> None:
    first.faults.append(Fault("refuse", answer=Answer(200, body)))
    with pytest.raises(Temporary):
        ask([first.url], "alerts")


def test_an_alert_is_posted_to_the_member_that_is_named(first: FakeAlertmanager, second: FakeAlertmanager) -> None:
    alert = OutgoingAlert({"alertname": "A"}, {}, time.time(), time.time() + 60)
    ask([first.url, second.url], "post_alerts", second.url, [alert])
    assert (len(first.requests), len(second.requests)) == (0, 1)
    with pytest.raises(Permanent, match="none of the configured"):
        ask([first.url], "post_alerts", second.url, [alert])
    first.faults.append(Fault("lose"))
    with pytest.raises(Temporary):
        ask([first.url], "post_alerts", first.url, [alert])


# ---- whether absence counts ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("age", "complete"), [(0, False), (148, False), (151, True), (86400, True), (-60, False)])
@pytest.mark.parametrize("wrong", [-1e8, 0, 1e8])
def test_the_age_is_by_the_members_own_clock(age: float, complete: bool, wrong: float) -> None:
    now = round(time.time()) + wrong
    with FakeAlertmanager(lambda: now, started_at=now - age) as server:
        assert ask([server.url], "alerts").complete is complete


STATUS = "GET /api/v2/status"
OLD = {"uptime": "2020-01-01T00:00:00.000Z"}
UNCLEAR = {
    "refused": as_json(403, "no"),
    "broken": as_json(500, "no"),
    "no JSON": Answer(200, b"<html>"),
    "a list": as_json(200, []),
    "no uptime": as_json(200, {}),
    "no time": as_json(200, {"uptime": "yesterday"}),
    "null": as_json(200, {"uptime": None}),
    "no date": as_json(200, OLD, Date="yesterday"),
}


@pytest.mark.parametrize("answer", UNCLEAR.values(), ids=UNCLEAR)
def test_where_the_age_cannot_be_told_absence_does_not_count(answer: Answer, first: FakeAlertmanager) -> None:
    first.started_at -= 3600
    assert ask([first.url], "alerts").complete
    first.faults.append(Fault("refuse", STATUS, answer=answer))
    assert not ask([first.url], "alerts").complete


@pytest.mark.parametrize(("ages", "complete"), [((3600, 0), False), ((0, 3600), True)])
def test_the_age_is_of_the_member_that_answered(
    ages: tuple[float, float], complete: bool, first: FakeAlertmanager, second: FakeAlertmanager
) -> None:
    for server, age in zip((first, second), ages, strict=True):
        server.started_at -= age
    first.faults.append(Fault("refuse"))
    assert ask([first.url, second.url], "alerts").complete is complete
    assert (len(first.asked(STATUS)), len(second.asked(STATUS))) == (0, 1)


def test_a_restart_right_after_the_answer_is_seen(first: FakeAlertmanager) -> None:
    """The age is asked after the alerts: asked before, an old age would vouch for an empty memory."""
    ask([first.url], "alerts")
    assert [request.path for request in first.requests] == ["/api/v2/alerts", "/api/v2/status"]


# ---- a lost answer ---------------------------------------------------------------------------------------------------


def test_a_silence_whose_answer_was_lost_is_found(first: FakeAlertmanager) -> None:
    first.faults.append(Fault("lose", "POST"))
    name = silence([first.url])
    assert [found.id for found in ask([first.url], "silences")] == [name]


def test_a_silence_that_cannot_be_seen_is_unknown(first: FakeAlertmanager, second: FakeAlertmanager) -> None:
    """It is not made a second time on the next member."""
    silence([second.url])
    first.faults.append(Fault("hang", "POST"))
    with pytest.raises(Unknown):
        silence([first.url, second.url], timeout=0.3)
    assert (made(first), made(second)) == (0, 1)


def test_a_refused_silence_is_permanent_and_the_next_is_not_asked(
    first: FakeAlertmanager, second: FakeAlertmanager
) -> None:
    now = time.time()
    with pytest.raises(Permanent, match="past"):
        ask([first.url, second.url], "create_silence", {"a": "b"}, now - 9, now - 5, "autoheal", "c")
    assert second.requests == []


def test_not_found_is_its_own_error(first: FakeAlertmanager) -> None:
    first.faults.append(Fault("refuse", answer=as_json(404, "not here")))
    with pytest.raises(NotFound):
        ask([first.url], "alerts")


# ---- secrets and addresses -------------------------------------------------------------------------------------------


def test_a_password_is_sent_and_shown_nowhere(
    first: FakeAlertmanager, dead: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    urls = [url.replace("://", "://ann:s%40crt@") for url in (dead, first.url)]
    assert ask(urls, "alerts").alerts == []
    assert first.requests[0].headers["Authorization"] == "Basic YW5uOnNAY3J0"
    cluster = AlertmanagerCluster(urls)
    assert cluster.urls == [dead, first.url]
    asyncio.run(cluster.aclose())
    with pytest.raises(Temporary) as caught:
        ask(urls[:1], "alerts")
    assert "s%40crt" not in caplog.text + str(caught.value) and "s@crt" not in caplog.text + str(caught.value)


def test_a_path_in_front_is_kept(first: FakeAlertmanager) -> None:
    with pytest.raises(NotFound):
        ask([f"{first.url}/alertmanager/"], "alerts")
    assert first.requests[0].path == "/alertmanager/api/v2/alerts"


@pytest.mark.parametrize("url", ["localhost:9093", "ftp://x", "http://", "http://h:99999", ""])
def test_what_is_no_url_is_told_at_once(url: str) -> None:
    with pytest.raises(Permanent):
        AlertmanagerCluster([url])


def test_none_configured() -> None:
    with pytest.raises(Permanent, match="no Alertmanager"):
        AlertmanagerCluster([])


# ---- the action ------------------------------------------------------------------------------------------------------

OPTIONS = SilenceAction.check({"labels": {"alertname": "A"}, "duration": "30m"}).options


def act(urls: list[str], begin: Begin, timeout: float = 2.0) -> Any:
    outside = Outside(SystemClock(), Processes({}), alertmanagers=tuple(urls))
    return SilenceAction.ready(outside).run(OPTIONS, timeout, begin)


def test_the_action_makes_an_exact_silence(dead: str, first: FakeAlertmanager) -> None:
    begin = Begin()
    result = act([dead, first.url], begin)
    (found,) = ask([first.url], "silences")
    assert result.status == "ok" and result.output == f"silence {found.id} for 30m"
    assert found.matchers == ({"name": "alertname", "value": "A", "isRegex": False, "isEqual": True},)
    assert 1790 < found.ends_at - time.time() < 1801
    assert begin.calls == 1


def test_the_action_heeds_the_brake(first: FakeAlertmanager) -> None:
    with pytest.raises(NotStarted):
        act([first.url], Begin(allow=False))
    assert made(first) == 0


def test_the_brake_is_asked_once_for_all_members(first: FakeAlertmanager, second: FakeAlertmanager) -> None:
    first.faults.append(Fault("refuse"))
    begin = Begin()
    assert act([first.url, second.url], begin).status == "ok"
    assert begin.calls == 1


def test_the_action_fails_and_is_unknown_as_it_should(dead: str, first: FakeAlertmanager) -> None:
    begin = Begin()
    assert act([dead], begin).status == "fail"
    assert act([], begin).error == "no Alertmanager is configured (ALERTMANAGER_URL)"
    assert begin.calls == 0
    first.faults.append(Fault("hang", "POST"))
    assert act([first.url], begin, timeout=0.4).status == "unknown"
