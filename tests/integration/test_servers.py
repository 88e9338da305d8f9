"""The tests' own ground: real Alertmanagers and a real Prometheus start, talk and end."""

from __future__ import annotations

import sys
from pathlib import Path

import httpx
import pytest

from tests.databases import postgres, redis
from tests.needs import needs
from tests.servers import (
    ExitedEarly,
    Process,
    alertmanager,
    alertmanager_pair,
    free_port,
    prometheus,
    receiver,
    wait_until,
)


def test_an_alertmanager_tells_its_receiver_what_fires_and_what_ends(tmp_path: Path) -> None:
    with receiver() as ours, alertmanager(tmp_path, ours.url, token="t0ken") as one:
        assert one.peers() == 0
        one.fire(alertname="TcpEndpointDownFast", service="crm-api")
        wait_until(lambda: ours.alerts("firing"), what="the webhook")
        assert ours.headers[0]["Authorization"] == "Bearer t0ken"
        assert ours.bodies[0]["version"] == "4"
        assert ours.bodies[0]["externalURL"] == one.url
        one.resolve(alertname="TcpEndpointDownFast", service="crm-api")
        wait_until(lambda: ours.alerts("resolved"), what="the resolve")


def test_an_alertmanager_comes_back_with_its_silences(tmp_path: Path) -> None:
    with receiver() as ours, alertmanager(tmp_path, ours.url) as one:
        made = httpx.post(f"{one.url}/api/v2/silences", json=silence("Quiet"), timeout=5).json()["silenceID"]
        one.process.terminate()
        assert not one.process.alive
        one.again()
        assert [found["id"] for found in one.silences()] == [made]


def test_a_pair_gossips_and_sends_an_alert_once(tmp_path: Path) -> None:
    with receiver() as ours, alertmanager_pair(tmp_path, ours.url, peer_timeout="2s") as pair:
        httpx.post(f"{pair[0].url}/api/v2/silences", json=silence("Quiet"), timeout=5).raise_for_status()
        wait_until(lambda: len(pair[1].silences()) == 1, what="the silence on the other one")
        for one in pair:
            one.fire(alertname="Quiet")
            one.fire(alertname="Loud")
        wait_until(lambda: ours.alerts("firing"), what="the webhook")
        assert {alert["labels"]["alertname"] for alert in ours.alerts()} == {"Loud"}


def test_a_prometheus_scrapes_itself(tmp_path: Path) -> None:
    port = free_port()
    config = {
        "global": {"scrape_interval": "1s"},
        "scrape_configs": [{"job_name": "nobody", "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}],
    }
    with prometheus(tmp_path, config) as found:
        down = wait_until(lambda: found.query("up"), 20, "the first scrape")
        assert down[0]["value"][1] == "0"


def test_a_program_that_ends_early_is_told_with_its_log(tmp_path: Path) -> None:
    process = Process([sys.executable, "-c", "print('no port for me'); raise SystemExit(3)"], tmp_path / "log")
    with process, pytest.raises(ExitedEarly, match=r"(?s)ended with 3.*no port for me"):
        process.until(lambda: False)


def test_a_program_is_gone_with_its_children_when_the_test_leaves_it(tmp_path: Path) -> None:
    child = tmp_path / "child"
    script = f"trap '' TERM; sleep 600 & echo $! > {child}; while true; do wait; done"
    with Process([needs("bash"), "-c", script], tmp_path / "log") as process:
        pid = int(wait_until(lambda: child.exists() and child.read_text().strip(), what="the child"))
    assert not process.alive
    wait_until(lambda: gone(pid), what="the end of the child")


def test_waiting_ends_with_the_last_answer() -> None:
    with pytest.raises(AssertionError, match=r"rain did not come within 0.05 s; the last answer: 0"):
        wait_until(lambda: 0, 0.05, "rain")


def test_what_is_missing_skips_and_fails_on_a_build_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="apt-get install unobtainium-tools"):
        needs("unobtainium", "unobtainium-tools")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="unobtainium is not installed"):
        needs("unobtainium")


def gone(pid: int) -> bool:
    """Whether a process has ended (a zombie that nobody has waited for counts)."""
    status = Path(f"/proc/{pid}/stat")
    return not status.exists() or status.read_text().rpartition(")")[2].split()[0] == "Z"


def silence(alertname: str) -> dict[str, object]:
    matcher = {"name": "alertname", "value": alertname, "isRegex": False, "isEqual": True}
    when = {"startsAt": "2020-01-01T00:00:00Z", "endsAt": "2099-01-01T00:00:00Z"}
    return {"matchers": [matcher], **when, "createdBy": "test", "comment": "test"}


def test_a_postgres_outlives_its_deaths(tmp_path: Path) -> None:
    with postgres(tmp_path, work_mem="5MB") as found:
        assert found.execute("SHOW work_mem") == [("5MB",)] and found.execute("SHOW fsync") == [("off",)]
        url = found.create_database("ours")
        assert url == found.of("ours") and url.endswith("/ours") and "@127.0.0.1:" in url
        found.execute("CREATE TABLE t AS SELECT %s::int AS n", 7, database="ours")
        copy = found.create_database(template="ours")
        for end in (found.kill, found.stop, lambda: found.stop(immediate=True)):
            end()
            assert not found.process.alive
            end()
            found.again()
            assert found.execute("SELECT n FROM t", database="ours") == [(7,)]
        found.drop_database(copy)
        assert found.execute("SELECT count(*) FROM pg_database WHERE datname = %s", copy.rpartition("/")[2]) == [(0,)]
        home = found.data.parent
    assert not found.process.alive and not home.exists()
    with postgres(tmp_path, durable=True) as found:
        assert found.execute("SHOW fsync") == [("on",)]


def test_a_redis_forgets(tmp_path: Path) -> None:
    with redis(tmp_path, policy="allkeys-lru", maxmemory="10mb") as found:
        assert found.command("CONFIG", "GET", "maxmemory-policy") == {"maxmemory-policy": "allkeys-lru"}
        assert found.command("CONFIG", "GET", "maxmemory") == {"maxmemory": str(10 * 2**20)}
        for forget in (found.flush, lambda: (found.kill(), found.again())):
            found.command("SET", "a", "1")
            forget()
            assert found.command("DBSIZE") == 0
    assert not found.process.alive
    with redis(tmp_path) as found:
        assert found.command("CONFIG", "GET", "maxmemory-policy") == {"maxmemory-policy": "noeviction"}
