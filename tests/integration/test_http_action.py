"""The action `http` against a server that answers, lies, hangs and hangs up."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from autoheal.actions.http import HttpAction
from autoheal.core.alert import Alert, fingerprint
from autoheal.core.template import default_allowed, render
from autoheal.engine.ports import ActionResult, NotStarted
from autoheal.testing.http_fake import Answer, FakeServer, Fault, Request
from tests.integration.begin import Begin


class Echo(FakeServer):
    """Answers `answer` to everything."""

    answer = Answer(200, b"done")

    def handle(self, request: Request) -> Answer:
        return self.answer


@pytest.fixture
def echo() -> Iterator[Echo]:
    with Echo() as server:
        yield server


def act(url: str, begin: Begin | None = None, timeout: float = 5.0, **options: Any) -> ActionResult:
    labels = {"alertname": "A", **options.pop("labels", {})}
    spec = HttpAction.check({"url": url, **options})
    alert = Alert("firing", labels, {}, 0.0, fingerprint(labels))
    rendered = render(spec.options, alert, default_allowed(r"[ -~]{1,300}"))
    return HttpAction().run(rendered, timeout, begin or Begin())


def test_a_post_with_json(echo: Echo) -> None:
    begin = Begin()
    url, body = f"{echo.url}/fail/{{labels.service}}?to=b&why=a+b", {"service": "{labels.service}", "n": [1]}
    result = act(url, begin, labels={"service": "crm"}, headers={"Authorization": "Bearer t"}, body=body)
    assert result == ActionResult("ok", output="done")
    (request,) = echo.requests
    assert (request.method, request.path) == ("POST", "/fail/crm")
    assert request.query == {"to": ["b"], "why": ["a b"]}
    assert request.body == b'{"service": "crm", "n": [1]}'
    assert request.headers["Authorization"] == "Bearer t"
    assert request.headers["Content-Type"] == "application/json"
    assert begin.calls == 1


def test_text_is_sent_as_it_is(echo: Echo) -> None:
    act(f"{echo.url}/x", body="a=1", headers={"content-type": "application/x-www-form-urlencoded"})
    assert echo.requests[0].body == b"a=1"
    assert echo.requests[0].headers["content-type"] == "application/x-www-form-urlencoded"


def test_user_and_password_are_sent_and_not_shown(echo: Echo) -> None:
    url = echo.url.replace("://", "://ann:s%40crt@")
    assert act(url, method="GET").status == "ok"
    assert echo.requests[0].headers["Authorization"] == "Basic YW5uOnNAY3J0"


@pytest.mark.parametrize("status", [301, 302, 400, 404, 409, 500, 503])
def test_what_is_not_success_fails(echo: Echo, status: int) -> None:
    echo.answer = Answer(status, b"why", {"Location": f"{echo.url}/elsewhere"})
    result = act(f"{echo.url}/x")
    assert result.status == "fail" and result.error.startswith(f"answered {status} ") and "why" in result.error
    assert len(echo.requests) == 1, "a redirect is not followed"


def test_what_is_expected_decides(echo: Echo) -> None:
    echo.answer = Answer(409, b"already so")
    assert act(f"{echo.url}/x", expect=[200, 409]) == ActionResult("ok", output="already so")
    echo.answer = Answer(202)
    assert act(f"{echo.url}/x", expect=[200]).status == "fail"


def test_only_the_answers_beginning_is_kept(echo: Echo) -> None:
    echo.answer = Answer(200, b"x" * 1_000_000)
    assert act(f"{echo.url}/x").output == "x" * 4096


def test_a_lost_answer_is_unknown(echo: Echo) -> None:
    echo.faults.append(Fault("lose"))
    assert act(f"{echo.url}/x").status == "unknown"


def test_no_answer_in_time_is_unknown(echo: Echo) -> None:
    echo.faults.append(Fault("hang"))
    result = act(f"{echo.url}/x", timeout=0.3)
    assert (result.status, result.error) == ("unknown", "sent, but the answer was lost: no answer within 0.3s")


def test_the_brake_comes_before_the_first_byte(echo: Echo) -> None:
    with pytest.raises(NotStarted):
        act(f"{echo.url}/x", Begin(allow=False))
    assert echo.requests == []


def test_refused_and_unresolved_are_plain_failures() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        for url in (f"http://127.0.0.1:{taken.getsockname()[1]}/", "http://no-such-host.invalid/"):
            begin = Begin()
            result = act(url, begin, timeout=5)
            assert result.status == "fail" and "cannot be reached" in result.error
            assert begin.calls == 0


def test_a_head_that_drips_ends_at_the_deadline() -> None:
    """No single read takes long, the whole does."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        over = threading.Event()

        def drip() -> None:
            talk, _ = server.accept()
            with talk:
                talk.sendall(b"HTTP/1.1 200 OK\r\n")
                try:
                    while not over.wait(0.05):
                        talk.sendall(b"X: y\r\n")
                except OSError:
                    return

        thread = threading.Thread(target=drip, daemon=True)
        thread.start()
        result = act(f"http://127.0.0.1:{server.getsockname()[1]}/", timeout=0.4)
        over.set()
        thread.join(5)
    assert result.status == "unknown"


def test_a_body_that_drips_changes_nothing_about_the_status(echo: Echo) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        over = threading.Event()

        def drip() -> None:
            talk, _ = server.accept()
            with talk:
                talk.recv(65536)
                talk.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart")
                over.wait(10)

        thread = threading.Thread(target=drip, daemon=True)
        thread.start()
        result = act(f"http://127.0.0.1:{server.getsockname()[1]}/", timeout=0.4)
        over.set()
        thread.join(5)
    assert result == ActionResult("ok", output="part")


def test_what_an_alert_fills_in_stays_in_its_place(echo: Echo) -> None:
    labels = {"a": "x/../y?z#w", "b": "1&admin=true"}
    assert act(f"{echo.url}/p/{{labels.a}}/q?b={{labels.b}}", labels=labels).status == "ok"
    (request,) = echo.requests
    assert request.path == "/p/x%2F..%2Fy%3Fz%23w/q"
    assert request.query == {"b": ["1&admin=true"]}


def test_an_alert_cannot_climb(echo: Echo) -> None:
    result = act(f"{echo.url}/p/{{labels.a}}/q", labels={"a": ".."})
    assert result.status == "fail" and "dots only" in result.error
    assert echo.requests == []


@pytest.mark.parametrize(
    "host", ["ann@evil", "evil/x", "evil:99", "evil?x", "evil#", "a b", "169.254.169.254", "[fe80::1]"]
)
def test_an_alert_cannot_leave_its_host(host: str) -> None:
    result = act("http://{labels.host}/", labels={"host": host})
    assert result.status == "fail" and ("is no host" in result.error or "link-local" in result.error)


def test_a_name_that_leads_to_link_local_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the name was, the address that was reached counts; nothing is sent."""
    from autoheal.clients import exchange

    monkeypatch.setattr(exchange, "link_local", lambda host: host == "127.0.0.1")
    with Echo() as server:
        url = server.url.replace("127.0.0.1", "localhost")
        begin = Begin()
        result = act(url, begin)
        assert result.status == "fail" and "link-local" in result.error
        assert server.requests == [] and begin.calls == 0
        assert act(url, allow_link_local=True).status == "ok"
