"""One suite that the fake Alertmanager and the real one both pass, through our client and by hand."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, Protocol, TypeVar

import httpx
import pytest

from autoheal.clients.alertmanager import AlertmanagerCluster
from autoheal.clients.rfc3339 import to_text
from autoheal.core.errors import Invalid, NotFound, Permanent
from autoheal.engine.ports import Active, OutgoingAlert, Seen
from autoheal.testing.alertmanager import FakeAlertmanager
from tests.servers import alertmanager, receiver_config, wait_until

T = TypeVar("T")
RECEIVER = "auto.heal+1"
"""Its name in a webhook is another: `auto\\.heal\\+1`."""


class Server(Protocol):
    @property
    def url(self) -> str: ...


@pytest.fixture(scope="module", params=["fake", "real"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    if request.param == "fake":
        with FakeAlertmanager(time.time, receiver=RECEIVER) as fake:
            yield fake
        return
    config = receiver_config("http://127.0.0.1:9/")
    config["route"]["receiver"] = config["receivers"][0]["name"] = RECEIVER
    with alertmanager(tmp_path_factory.mktemp("am"), "", config=config) as real:
        yield real


def ask(server: Server, work: str, *args: Any, **named: Any) -> Any:
    """Call a method of a fresh client."""
    settled_after = named.pop("settled_after", None)

    async def inner() -> Any:
        cluster = AlertmanagerCluster([server.url], settled_after=settled_after)
        try:
            return await getattr(cluster, work)(*args, **named)
        finally:
            await cluster.aclose()

    return run(inner())


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


def fire(server: Server, name: str, lasts: float = 300.0, **labels: str) -> float:
    start = round(time.time() - 10, 3)
    alert = OutgoingAlert({"alertname": name, **labels}, {"summary": "s"}, start, time.time() + lasts, "http://x/")
    ask(server, "post_alerts", server.url, [alert])
    return start


def seen(server: Server, name: str) -> list[Seen]:
    active: Active = ask(server, "alerts", [f'alertname="{name}"'])
    return active.alerts


def silence(server: Server, name: str, lasts: float = 600.0) -> str:
    now = time.time()
    made: str = ask(server, "create_silence", {"alertname": name}, now, now + lasts, "autoheal:ann", "on it")
    return made


def test_an_alert_is_seen_with_its_identity(server: Server) -> None:
    start = fire(server, "Seen", service="a")
    (alert,) = wait_until(lambda: seen(server, "Seen"))
    assert alert.labels == {"alertname": "Seen", "service": "a"}
    assert alert.starts_at == start
    assert (alert.silenced_by, alert.inhibited_by, alert.silenced_until) == ((), (), None)
    assert len(alert.fingerprint) == 16
    assert alert.annotations == {"summary": "s"}
    assert alert.receivers == (RECEIVER,)


def test_an_end_in_the_past_resolves(server: Server) -> None:
    start = fire(server, "Resolves")
    wait_until(lambda: seen(server, "Resolves"))
    over = OutgoingAlert({"alertname": "Resolves"}, {}, start, time.time() - 0.001)
    ask(server, "post_alerts", server.url, [over])
    wait_until(lambda: not seen(server, "Resolves"))


def test_filters_choose(server: Server) -> None:
    fire(server, "Filtered", service="a")
    fire(server, "Filtered", service="b")
    wait_until(lambda: len(seen(server, "Filtered")) == 2)
    only = ask(server, "alerts", ['alertname="Filtered"', 'service=~"a|c"'])
    assert [alert.labels["service"] for alert in only.alerts] == ["a"]
    assert ask(server, "alerts", ['alertname="Filtered"', 'service!~"a|b"']).alerts == []


@pytest.mark.parametrize("bad", ["{", 'alertname=~"("'])
def test_a_bad_filter_is_permanent(server: Server, bad: str) -> None:
    with pytest.raises(Permanent):
        ask(server, "alerts", [bad])


def test_a_silence_hides_until_it_is_ended(server: Server) -> None:
    fire(server, "Hidden")
    wait_until(lambda: seen(server, "Hidden"))
    before = time.time()
    name = silence(server, "Hidden")

    def hidden() -> Seen | None:
        (alert,) = seen(server, "Hidden")
        return alert if alert.silenced_by else None

    alert = wait_until(hidden)
    assert alert is not None
    assert alert.silenced_by == (name,)
    assert alert.silenced_until is not None and 599 < alert.silenced_until - before < 602
    ask(server, "expire_silence", name)
    wait_until(lambda: seen(server, "Hidden")[0].silenced_by == ())
    (ended,) = [s for s in ask(server, "silences") if s.id == name]
    assert ended.state == "expired"


def test_a_silence_keeps_what_it_was_given(server: Server) -> None:
    name = silence(server, "Kept", 60)
    (found,) = [s for s in ask(server, "silences") if s.id == name]
    assert found.matchers == ({"name": "alertname", "value": "Kept", "isRegex": False, "isEqual": True},)
    assert (found.created_by, found.comment, found.state) == ("autoheal:ann", "on it", "active")
    assert 59 < found.ends_at - found.starts_at < 61


def test_a_silence_is_exact(server: Server) -> None:
    """A value that reads like a regular expression hides nothing else."""
    fire(server, "Exact", service="ab")
    wait_until(lambda: seen(server, "Exact"))
    now = time.time()
    ask(server, "create_silence", {"alertname": "Exact", "service": "a."}, now, now + 60, "autoheal", "c")
    assert seen(server, "Exact")[0].silenced_by == ()


def test_the_same_silence_twice_is_two(server: Server) -> None:
    assert silence(server, "Twice") != silence(server, "Twice")


def found_silence(server: Server, name: str) -> Any:
    (found,) = [one for one in ask(server, "silences") if one.id == name]
    return found


def test_a_silence_is_extended_and_shortened_under_its_id(server: Server) -> None:
    name = silence(server, "Longer", 60)
    before = found_silence(server, name)
    for lasts in (7200.0, 7200.0, 30.0):
        ends_at = round(before.starts_at + lasts, 3)
        assert ask(server, "extend_silence", name, ends_at, "autoheal:bob", "still on it") == name
        after = found_silence(server, name)
        assert (after.ends_at, after.starts_at, after.matchers) == (ends_at, before.starts_at, before.matchers)
        assert (after.state, after.created_by, after.comment) == ("active", "autoheal:bob", "still on it")
    of_it = [one for one in ask(server, "silences") if one.matchers == before.matchers]
    assert [one.id for one in of_it] == [name], "no second one"


def test_a_silence_of_many_labels_is_extended_under_its_id(server: Server) -> None:
    now = time.time()
    labels = {name: f"{name} ä" for name in ("zone", "alertname", "job", "a", "instance")}
    name = ask(server, "create_silence", labels, now, now + 60, "autoheal:ann", "c")
    assert ask(server, "extend_silence", name, now + 600, "autoheal:ann", "c") == name


def test_what_is_over_or_never_was_is_not_extended(server: Server) -> None:
    name = silence(server, "Over")
    ask(server, "expire_silence", name)
    for one in (name, "00000000-0000-0000-0000-000000000000", "no-uuid"):
        with pytest.raises(NotFound):
            ask(server, "extend_silence", one, time.time() + 60, "autoheal:ann", "c")
    with pytest.raises(Invalid):
        ask(server, "extend_silence", "../alerts", time.time() + 60, "autoheal:ann", "c")
    with pytest.raises(Permanent, match="400"):
        ask(server, "extend_silence", silence(server, "Over"), time.time() - 60, "autoheal:ann", "c")


def post_silence(server: Server, **body: Any) -> str:
    answer = httpx.post(f"{server.url}/api/v2/silences", json=body, timeout=5)
    assert answer.status_code == 200, answer.text
    found: str = answer.json()["silenceID"]
    return found


@pytest.mark.parametrize("how", ["other matchers", "another order", "another start", "over"])
def test_a_silence_that_cannot_stay_the_same_is_ended_and_a_new_one_made(server: Server, how: str) -> None:
    """What `extend_silence` must not run into, and what it answers with where somebody else does."""
    matchers = [dict(MATCHER, name="alertname", value=how), MATCHER]
    now = time.time()
    body = {"startsAt": to_text(now), "endsAt": to_text(now + 60), "createdBy": "x", "comment": "c"}
    name = post_silence(server, matchers=matchers, **body)
    if how == "over":
        ask(server, "expire_silence", name)
    elif how == "another start":
        body["startsAt"] = to_text(now - 60)
    elif how == "another order":
        matchers = matchers[::-1]
    else:
        matchers = [*matchers, dict(MATCHER, name="more")]
    other = post_silence(server, id=name, matchers=matchers, **body)
    assert other != name
    wait_until(lambda: found_silence(server, name).state == "expired")
    assert found_silence(server, other).state == "active"


def test_ending_what_has_ended_or_never_was_is_fine(server: Server) -> None:
    name = silence(server, "Ended")
    ask(server, "expire_silence", name)
    ask(server, "expire_silence", name)
    ask(server, "expire_silence", "00000000-0000-0000-0000-000000000000")
    ask(server, "expire_silence", "no-uuid")
    with pytest.raises(Invalid):
        ask(server, "expire_silence", "../alerts")


def test_a_silence_in_the_past_is_refused(server: Server) -> None:
    with pytest.raises(Permanent, match="past"):
        ask(server, "create_silence", {"a": "b"}, time.time() - 20, time.time() - 10, "autoheal", "c")


def test_a_silence_of_everything_is_refused(server: Server) -> None:
    with pytest.raises(Permanent, match="matchers in body"):
        ask(server, "create_silence", {}, time.time(), time.time() + 60, "autoheal", "c")
    with pytest.raises(Permanent, match="empty string"):
        ask(server, "create_silence", {"a": ""}, time.time(), time.time() + 60, "autoheal", "c")


def test_bad_labels_are_refused(server: Server) -> None:
    for labels in ({"a-b": "c"}, {}, {"a": ""}):
        with pytest.raises(Permanent):
            ask(server, "post_alerts", server.url, [OutgoingAlert(labels, {}, time.time(), time.time() + 60)])


ENDS, STARTS = to_text(4_000_000_000), to_text(1_700_000_000)
MATCHER = {"name": "a", "value": "b", "isRegex": False, "isEqual": True}
WHOLE = {"matchers": [MATCHER], "startsAt": STARTS, "endsAt": ENDS, "createdBy": "x", "comment": "c"}
RAW = [
    ("POST", "alerts", [{}], 422),
    ("POST", "alerts", [{"labels": {"alertname": "x"}, "startsAt": "zz"}], 400),
    ("POST", "alerts", [{"labels": {"alertname": "x"}, "startsAt": ENDS, "endsAt": STARTS}], 400),
    ("POST", "alerts", {}, 400),
    ("POST", "alerts", [], 200),
    ("POST", "silences", {**WHOLE, "matchers": [{"name": "a", "value": "b"}]}, 422),
    ("POST", "silences", {**WHOLE, "matchers": [{**MATCHER, "name": "a-b"}]}, 400),
    ("POST", "silences", {**WHOLE, "matchers": [{**MATCHER, "value": "(", "isRegex": True}]}, 400),
    ("POST", "silences", {k: v for k, v in WHOLE.items() if k != "comment"}, 422),
    ("POST", "silences", {k: v for k, v in WHOLE.items() if k != "startsAt"}, 422),
    ("POST", "silences", {**WHOLE, "startsAt": to_text(4_100_000_000)}, 400),
    ("POST", "silences", {**WHOLE, "matchers": [{"name": "a", "value": "b", "isRegex": False}]}, 200),
    ("POST", "silences", {**WHOLE, "comment": "", "createdBy": ""}, 200),
    ("DELETE", "silence/nope", None, 422),
    ("DELETE", "silence/00000000-0000-0000-0000-000000000000", None, 500),
    ("GET", "silence/00000000-0000-0000-0000-000000000000", None, 404),
    ("GET", "nothing", None, 404),
    ("PUT", "alerts", [], 405),
]


@pytest.mark.parametrize(("method", "path", "body", "status"), RAW)
def test_the_server_is_as_strict_as_0_25(server: Server, method: str, path: str, body: Any, status: int) -> None:
    sent = {} if body is None else {"json": body}
    answer = httpx.request(method, f"{server.url}/api/v2/{path}", timeout=5, **sent)
    assert answer.status_code == status, answer.text


def test_good_alerts_of_a_mixed_batch_are_taken(server: Server) -> None:
    batch = [{"labels": {"alertname": "Mixed"}}, {"labels": {"a-b": "c"}}]
    answer = httpx.post(f"{server.url}/api/v2/alerts", json=batch, timeout=5)
    assert answer.status_code == 400
    wait_until(lambda: seen(server, "Mixed"))


def test_what_is_no_json_is_refused(server: Server) -> None:
    for content, kind, status in (("nope", "application/json", 400), ("[]", "text/plain", 415)):
        headers = {"Content-Type": kind}
        answer = httpx.post(f"{server.url}/api/v2/alerts", content=content, headers=headers, timeout=5)
        assert answer.status_code == status


# ---- what a restart leaves -------------------------------------------------------------------------------------------


@pytest.fixture(params=["fake", "real"])
def restarts(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Server, Callable[[], object]]]:
    """A server of the test's own, and what restarts it in an orderly way."""
    if request.param == "fake":
        with FakeAlertmanager(time.time) as fake:
            yield fake, fake.restart
        return
    with alertmanager(tmp_path / "am", "http://127.0.0.1:9/") as real:

        def restart() -> None:
            real.process.terminate()
            real.again()

        yield real, restart


def test_a_young_one_is_not_complete_and_what_it_has_counts(server: Server) -> None:
    fire(server, "Young")
    wait_until(lambda: seen(server, "Young"))
    found = ask(server, "alerts", settled_after=3600.0)
    assert not found.complete and "Young" in {alert.labels["alertname"] for alert in found.alerts}
    wait_until(lambda: ask(server, "alerts", settled_after=0.5).complete)


def test_a_restart_loses_alerts_keeps_silences_and_begins_a_new_age(
    restarts: tuple[Server, Callable[[], object]],
) -> None:
    server, restart = restarts
    fire(server, "Lost")
    wait_until(lambda: seen(server, "Lost"))
    name = silence(server, "Lost")

    def uptime() -> Any:
        return httpx.get(f"{server.url}/api/v2/status", timeout=5).json()["uptime"]

    before = uptime()
    restart()
    assert ask(server, "alerts") == Active([], complete=False)
    assert [found.state for found in ask(server, "silences") if found.id == name] == ["active"]
    assert uptime() > before
