"""What nobody should send: a clear answer, a record of the refusal, and never a 5xx of our own making."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from autoheal.app import server as own_server
from autoheal.remediator import alert as alerts_route
from autoheal.web import protocol
from tests.integration.http.live import Server, alert, body_timeout, dumps, is_problem, read_all, request, server
from tests.servers import wait_until

JSON = {"content-type": "application/json"}


@pytest.fixture(autouse=True)
def nothing_added_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each refusal is recorded at once, except where a test says otherwise."""
    monkeypatch.setattr(alerts_route, "TOGETHER", -1.0)


def new_events(live: Server, last: int, **query: Any) -> list[dict[str, Any]]:
    return [event for event in live.events(**query) if event["id"] > last]


def status(answer: bytes) -> int:
    assert answer.startswith(b"HTTP/1.1 "), answer
    return int(answer.split(b" ")[1])


# ---- bodies ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", "body"),
        (b"not json", "body"),
        (b"\xff\xfe", "body"),
        (b'{"alerts":[NaN]}', "body"),
        (b'{"alerts":' + b"[" * 50_000, "body"),
        (b"[]", "body"),
        (b"{}", "alerts"),
        (b'{"alerts":[]}', "alerts"),
        (b'{"alerts":{}}', "alerts"),
        (dumps({"version": "3", "alerts": [alert("A")]}), "version"),
        (dumps({"version": "5", "alerts": [alert("A")]}), "version"),
        (dumps({"alerts": [{"status": "firing", "labels": {}}]}), "alerts[0].labels"),
        (dumps({"alerts": [{"labels": {"a": 1}}]}), "alerts[0].labels.a"),
        (dumps({"alerts": [{"labels": {"a": "b"}, "startsAt": "yesterday"}]}), "alerts[0].startsAt"),
        (dumps({"alerts": [{"labels": {"a": "x" * 1_000_000}}]}), "alerts[0].labels"),
    ],
)
def test_what_is_of_no_use_is_a_400_that_names_the_field_and_is_recorded(live: Server, body: bytes, field: str) -> None:
    last = live.last_id
    is_problem(live.post("/alert", content=body, headers=JSON), 400, field)
    [event] = new_events(live, last)
    assert event["kind"] == "webhook_rejected"
    assert event["problems"][0]["field"] == field
    assert event["count"] == 1


@pytest.mark.parametrize("kind", ["text/plain", "application/xml", "application/x-www-form-urlencoded", "json", "é"])
def test_the_wrong_content_type_is_a_415(live: Server, kind: str) -> None:
    last = live.last_id
    answer = live.post("/alert", content=dumps({"alerts": [alert("A")]}), headers={"content-type": kind.encode()})  # type: ignore[dict-item]
    is_problem(answer, 415, "content-type")
    assert [event["reason"] for event in new_events(live, last)] == ["wrong_type"]


@pytest.mark.parametrize(
    "kind", ["application/json; charset=utf-8", "APPLICATION/JSON", "application/vnd.x+json", None]
)
def test_every_json_type_is_right_and_so_is_none(live: Server, kind: str | None) -> None:
    headers = {} if kind is None else {"content-type": kind}
    assert live.post("/alert", content=dumps({"alerts": [alert("A")]}), headers=headers).status_code == 200


def test_one_bad_alert_among_ninety_nine_good_ones(live: Server) -> None:
    last = live.last_id
    bad = {"status": "firing", "labels": {"alertname": "Mixed", "port": 80}}
    data = live.alert(
        *[alert("Mixed", n=str(n)) for n in range(50)], bad, *[alert("Mixed", n=f"x{n}") for n in range(49)]
    )
    assert data.status_code == 200
    results = data.json()["results"]
    assert len(results) == 100
    assert [index for index, result in enumerate(results) if result["result"] == "rejected"] == [50]
    assert results[50]["reason"] == "labels.port: must be a string, not a number"
    assert {r["result"] for r in results} == {"skip", "rejected"}
    [rejected] = new_events(live, last, kind="webhook_rejected")
    assert (rejected["reason"], rejected["count"], rejected["problems"][0]["index"]) == ("alert", 1, 50)
    assert len(new_events(live, last, kind="decision_skip")) == 99


def test_a_hundred_thousand_alerts_are_answered(live: Server) -> None:
    body = dumps({"alerts": [{"labels": {"alertname": f"Many{number}"}} for number in range(100_000)]})
    assert len(body) < 10 * 1024 * 1024
    answer = live.post("/alert", content=body, headers=JSON, timeout=60)
    assert answer.status_code == 200
    assert answer.json()["received"] == 100_000
    assert len(answer.json()["results"]) == 100_000
    assert live.get("/healthz").status_code == 200


@pytest.mark.parametrize("extra", [1, 5 * 1024 * 1024])
def test_a_body_beyond_ten_mebibytes_is_a_413(live: Server, extra: int) -> None:
    last = live.last_id
    is_problem(live.post("/alert", content=b" " * (10 * 1024 * 1024 + extra), headers=JSON), 413, "body")
    assert [event["reason"] for event in new_events(live, last)] == ["too_large"]
    chunks = (b" " * 65536 for _ in range(170))
    is_problem(live.post("/alert", content=chunks, headers=JSON), 413, "body")
    assert live.alert(alert("After")).status_code == 200


def test_other_bodies_are_bounded_too(live: Server) -> None:
    for path in ("/mode", "/remediations/r1/mark", "/events/ticket", "/nothing"):
        is_problem(live.post(path, content=b" " * 300_000, headers=JSON), 413, "body")


@pytest.mark.parametrize(
    "text",
    [
        "$(reboot)",
        "; rm -rf /",
        "--help",
        "-rf",
        "`id`",
        "$(IFS=;x)",
        "{labels.instance}",
        "{{.Labels}}",
        "\u202egnp.exe",
        "a\u2066b\u2069",
        "\x00nul",
        "\x1b[31mred\x07",
        "line\nbreak\r\n",
        "😀" * 1000,
        "../../etc/passwd",
        "' OR 1=1; DROP TABLE events; --",
    ],
)
def test_strange_text_is_kept_as_text(live: Server, text: str) -> None:
    last = live.last_id
    answer = live.alert(
        {"status": "firing", "labels": {"alertname": text, "x": text}, "annotations": {"autoheal": text}}
    )
    assert answer.status_code == 200
    kept = text.replace("\0", r"\u0000")
    assert answer.json()["results"][0]["alertname"] == kept
    [event] = new_events(live, last, alertname=kept)
    assert event["labels"] == {"alertname": kept, "x": kept}


@pytest.mark.parametrize("escape", [r"\ud800", r"\udc00\ud800", r"\u0000", r"\uDFFFx"])
def test_lone_surrogates_are_written_out(live: Server, escape: str) -> None:
    body = f'{{"alerts":[{{"labels":{{"alertname":"S{escape}"}}}}]}}'.encode()
    [result] = live.post("/alert", content=body, headers=JSON).json()["results"]
    assert result["alertname"].lower() == f"S{escape}".lower()
    assert live.events(alertname=result["alertname"])


@pytest.mark.parametrize("starts", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "1970-01-01T00:00:00Z", ""])
@pytest.mark.parametrize("name", ["Restart", "Strange"])
def test_clocks_far_away_are_taken(live: Server, name: str, starts: str) -> None:
    for state in ("firing", "resolved", "firing"):
        answer = live.alert(alert(name, state, starts, instance=f"clock{starts}"))
        assert answer.status_code == 200
        assert answer.json()["results"][0]["result"] in ("dry_run", "skip")


# ---- a flood ---------------------------------------------------------------------------------------------------------


def test_many_refusals_are_added_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alerts_route, "TOGETHER", 3600.0)
    with server(tmp_path) as own:
        for _ in range(60):
            is_problem(own.post("/alert", content=b"x", headers=JSON), 400)
        is_problem(own.post("/alert", content=b"x", headers={"content-type": "text/plain"}), 415)

        def told() -> dict[str, int]:
            found = own.events(kind="webhook_rejected")
            assert len(found) <= 4
            return {r: sum(e["count"] for e in found if e["reason"] == r) for r in ("unreadable", "wrong_type")}

        wait_until(lambda: told() == {"unreadable": 60, "wrong_type": 1}, what="the sum")
        assert own.events(kind="webhook_rejected")[0]["count"] == 1
        assert "autoheal_rejected_total 61.0" in own.get("/metrics").text


# ---- connections -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that waits half a second for bodies and heads."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(protocol, "HEAD_TIMEOUT", 0.5)
        with server(tmp_path_factory.mktemp("hasty"), prepare=body_timeout(0.5)) as found:
            yield found


@pytest.mark.parametrize("path", ["/alert", "/mode", "/ack"])
def test_a_half_sent_body_is_a_408(hasty: Server, path: str) -> None:
    whole = request("POST", path, b"x" * 100, Content_Type="application/json")
    assert status(hasty.raw(whole[:-50])) == 408
    assert hasty.get("/healthz").status_code == 200


def test_a_body_by_drops_is_a_408(hasty: Server) -> None:
    last = hasty.last_id
    whole = request("POST", "/alert", b"x" * 10_000, Content_Type="application/json")
    with socket.create_connection((hasty.host, hasty.port), timeout=10) as connection:
        connection.sendall(whole[:-10_000])
        connection.settimeout(0.05)
        answer = b""
        for _ in range(200):
            connection.sendall(b"x")
            try:
                answer = connection.recv(65536)
                break
            except TimeoutError:
                continue
        assert status(answer) == 408
    assert [event["reason"] for event in new_events(hasty, last)] == ["too_slow"]


def test_a_body_cut_off_is_recorded(hasty: Server) -> None:
    last = hasty.last_id
    whole = request("POST", "/alert", b"x" * 100, Content_Type="application/json")
    with socket.create_connection((hasty.host, hasty.port), timeout=10) as connection:
        connection.sendall(whole[:-50])
    wait_until(lambda: [e["reason"] for e in new_events(hasty, last)] == ["cut_off"], what="the record")


@pytest.mark.parametrize("said", [b"", b"\r\n", b"POST /alert HT", b"GET / HTTP/1.1\r\nHost: x\r\nX: "])
def test_a_connection_that_does_not_finish_its_head_is_ended(hasty: Server, said: bytes) -> None:
    answer = hasty.raw(said, timeout=10)
    assert answer == b"" if not said else status(answer) == 408


def test_a_second_request_that_does_not_finish_its_head_is_ended(hasty: Server) -> None:
    answer = hasty.raw(request("GET", "/healthz"), b"GET /heal", timeout=10)
    assert answer.count(b"HTTP/1.1 200") == 1
    assert answer.count(b"HTTP/1.1 408") == 1


def test_an_endless_head_is_a_431(live: Server) -> None:
    with socket.create_connection((live.host, live.port), timeout=10) as connection:
        answer = b""
        try:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ")
            for _ in range(100):
                connection.sendall(b"x" * 65536)
        except OSError:
            answer = read_all(connection)
        assert not answer or status(answer) == 431
    assert live.get("/healthz").status_code == 200


@pytest.mark.parametrize(
    "data",
    [
        b"\x00\x01\x02\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /%ff%00 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"GET http://[ HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"POST /alert HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n",
        b"POST /alert HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST /alert HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        b"POST /alert HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
        b"POST /alert HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: a\x00b\r\nConnection: close\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
def test_what_is_no_http_gets_a_4xx_and_harms_nobody(hasty: Server, data: bytes) -> None:
    answer = hasty.raw(data, timeout=10)
    assert not answer or 400 <= status(answer) < 500
    assert hasty.get("/healthz").status_code == 200


def test_a_length_that_will_never_come_is_a_413_at_last(hasty: Server) -> None:
    answer = hasty.raw(request("POST", "/alert", Content_Length="99999999999", Content_Type="application/json"))
    assert status(answer) == 413


def test_pipelined_and_chunked_requests(live: Server) -> None:
    body = dumps({"alerts": [alert("Piped")]})
    chunked = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:7], body[7:20], body[20:])) + b"0\r\n\r\n"
    head = (
        b"POST /alert HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n"
    )
    last = live.last_id
    answer = live.raw(
        request("POST", "/alert", body, Content_Type="application/json")
        + head + b"\r\n" + chunked
        + request("POST", "/alert", b"x", Content_Type="application/json")
        + request("POST", "/alert", body, Content_Type="application/json", Connection="close")
    )  # fmt: skip
    assert [int(part[:3]) for part in answer.split(b"HTTP/1.1 ")[1:]] == [200, 200, 400, 200]
    assert len(new_events(live, last, alertname="Piped")) == 3


def test_expect_100_continue(live: Server) -> None:
    body = dumps({"alerts": [alert("Expected")]})
    whole = request("POST", "/alert", body, Expect="100-continue", Content_Type="application/json", Connection="close")
    with socket.create_connection((live.host, live.port), timeout=10) as connection:
        connection.sendall(whole[: -len(body)])
        assert b"100 Continue" in connection.recv(65536)
        connection.sendall(body)
        assert b"200 OK" in read_all(connection)


def test_too_many_connections_are_turned_away_and_the_server_lives_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_server, "CONNECTIONS", 20)
    monkeypatch.setattr(protocol, "HEAD_TIMEOUT", 2.0)
    with server(tmp_path) as own:
        idle = [socket.create_connection((own.host, own.port), timeout=10) for _ in range(40)]
        answer = own.raw(request("GET", "/healthz", Connection="close"))
        assert status(answer) == 503
        wait_until(
            lambda: own.get("/healthz").status_code == 200, timeout=15, what="room again, the idle ones being ended"
        )
        assert own.alert(alert("After")).status_code == 200
        for connection in idle:
            connection.close()
