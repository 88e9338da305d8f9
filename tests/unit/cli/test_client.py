"""The client: what each answer, and each lack of one, becomes."""

from __future__ import annotations

import json
from collections.abc import Callable

import httpx
import pytest

from autoheal.cli.exits import code_of
from autoheal.clients.autoheal import AutohealClient, NoStream, Told, read_stream
from autoheal.core.errors import AutohealError, Conflict, Invalid, NotFound, Permanent, Temporary, Unknown

URL = "http://autoheal.test:9009"


def client(answer: Callable[[httpx.Request], httpx.Response], token: str | None = None) -> AutohealClient:
    return AutohealClient(URL, token, transport=httpx.MockTransport(answer))


def always(status: int, **body: object) -> Callable[[httpx.Request], httpx.Response]:
    return lambda request: httpx.Response(status, json=body)


@pytest.mark.parametrize(
    ("status", "error", "code"),
    [
        (301, Permanent, 1),
        (400, Invalid, 2),
        (401, Permanent, 1),
        (403, Permanent, 1),
        (404, NotFound, 1),
        (409, Conflict, 1),
        (413, Invalid, 2),
        (418, Permanent, 1),
        (429, Temporary, 3),
        (500, Temporary, 3),
        (502, Temporary, 3),
        (503, Temporary, 3),
    ],
)
def test_a_refusal_becomes_the_error_that_it_means(status: int, error: type[AutohealError], code: int) -> None:
    for ask in (lambda c: c.get("/mode"), lambda c: c.post("/mode", {})):
        with client(always(status, detail="it is so")) as found, pytest.raises(AutohealError) as caught:
            ask(found)
        assert type(caught.value) is error
        assert code_of(caught.value) == code
        assert "it is so" in str(caught.value) or status == 301


def test_a_refusal_without_a_problem_shows_what_came() -> None:
    page = httpx.Response(502, text="<h1>Bad Gateway</h1>")
    with client(lambda request: page) as found, pytest.raises(Temporary, match="Bad Gateway"):
        found.get("/mode")


@pytest.mark.parametrize("text", ["<html>", "[]", "", "3"])
def test_what_is_no_object_is_not_autoheal(text: str) -> None:
    with (
        client(lambda request: httpx.Response(200, text=text)) as found,
        pytest.raises(Temporary, match="not Autoheal"),
    ):
        found.get("/mode")


def refused(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("[Errno 111] Connection refused")


def lost(request: httpx.Request) -> httpx.Response:
    raise httpx.ReadTimeout("too slow")


def test_what_was_not_sent_is_temporary_and_says_what_to_do() -> None:
    with client(refused) as found:
        for ask in (lambda: found.get("/mode"), lambda: found.post("/mode", {})):
            with pytest.raises(Temporary, match="autoheal serve"):
                ask()


def test_a_change_whose_answer_is_lost_is_unknown_but_a_question_is_not() -> None:
    with client(lost) as found:
        with pytest.raises(Unknown, match="look before you try again"):
            found.post("/mode", {})
        with pytest.raises(Temporary):
            found.get("/mode")


def test_the_token_is_sent_as_bearer_and_only_when_there_is_one() -> None:
    seen: list[str | None] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers.get("authorization"))
        return httpx.Response(200, json={})

    for token in ("s3cret", None):
        with client(answer, token) as found:
            found.get("/mode")
    assert seen == ["Bearer s3cret", None]


@pytest.mark.parametrize("token", ["a\nb", "schlüssel", "a\x00"])
def test_a_token_that_no_header_can_carry_is_refused_and_not_shown(token: str) -> None:
    with pytest.raises(Invalid) as caught:
        AutohealClient(URL, token)
    assert token not in str(caught.value)


def test_text_that_is_no_text_can_be_sent_in_a_body_and_is_refused_in_a_query() -> None:
    bodies: list[object] = []

    def answer(request: httpx.Request) -> httpx.Response:
        bodies.append(json.loads(request.content))
        return httpx.Response(200, json={})

    with client(answer) as found:
        found.post("/ack", {"comment": "\udcff"})
        assert bodies == [{"comment": "\udcff"}]
        with pytest.raises(Invalid):
            found.get("/audit", {"contains": "\udcff"})


def test_parameters_that_are_none_are_left_out() -> None:
    with client(lambda request: httpx.Response(200, json=dict(request.url.params))) as found:
        assert found.get("/audit", {"n": 3, "kind": None, "contains": "a&b"}) == {"n": "3", "contains": "a&b"}


# ---- the stream -------------------------------------------------------------------------------------------------


def stream(*chunks: bytes) -> list[Told]:
    return list(read_stream(chunks))


def test_events_are_read_however_the_bytes_are_cut() -> None:
    whole = ': hello\n\nid: 7\nevent: ack\ndata: {"a":"ü\u2028"}\n\nid: 9\r\ndata: x\r\n\r\n'.encode()
    expected = [Told(7, '{"a":"ü\u2028"}'), Told(9, "x")]
    assert stream(whole) == expected
    for cut in range(len(whole)):
        assert stream(whole[:cut], whole[cut:]) == expected


def test_an_event_that_is_not_whole_or_has_no_id_of_ours_is_left_out() -> None:
    assert stream(b"data: x\n\nid: abc\ndata: y\n\nid: 3\n\nid: 4\ndata: z") == []


def test_a_reset_is_no_event_and_only_its_own_frame_is_one() -> None:
    whole = b'id: 4\nevent: reset\ndata: {"first":5}\n\nid: 5\ndata: {}\n\n'
    assert stream(whole) == [Told(4, '{"first":5}', reset=True), Told(5, "{}")]


def test_a_stream_is_asked_for_from_the_last_id_and_its_end_is_temporary() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, headers={"content-type": "text/event-stream"}, content=b"id: 5\ndata: {}\n\n")

    with client(answer) as found:
        told = found.events(4, kind="ack")
        assert next(told) == Told(5, "{}")
        with pytest.raises(Temporary, match="closed the stream"):
            next(told)
    assert seen[0].headers["last-event-id"] == "4"
    assert dict(seen[0].url.params) == {"last_event_id": "4", "kind": "ack"}


@pytest.mark.parametrize(
    ("status", "kind", "error"),
    [(404, "application/json", NoStream), (200, "application/json", NoStream), (401, "application/json", Permanent)],
)
def test_no_stream_is_told_from_no_leave(status: int, kind: str, error: type[AutohealError]) -> None:
    answer = httpx.Response(status, json={}, headers={"content-type": kind})
    with client(lambda request: answer) as found, pytest.raises(error) as caught:
        next(found.events(0))
    assert type(caught.value) is error
