"""Signed links: whoever opens them changes nothing; a person's typed digits act, once, on exactly what was signed."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog

from autoheal.core.errors import Permanent, Temporary, Unknown
from autoheal.engine.claims import LocalClaims
from autoheal.engine.ports import StoreUnavailable
from autoheal.store.claims import PostgresClaims
from autoheal.testing.http_fake import Fault
from autoheal.testing.memory_claims import MemoryClaims
from autoheal.threader import links, uses
from autoheal.threader.acknowledge import REASONS
from tests.integration.threader.front import Front, down
from tests.integration.threader.front import front as made

pytestmark = pytest.mark.anyio


@pytest.fixture
async def front(tmp_path: Path) -> AsyncIterator[Front]:
    async with made(tmp_path) as found:
        yield found


def fields(page: str) -> dict[str, str]:
    """The form as a browser sends it when nobody has typed anything."""
    found = re.findall(r'<input[^>]*name="([^"]+)"(?:[^>]*value="([^"]*)")?', page)
    return {name: unescape(value) for name, value in found}


def digits(page: str) -> str:
    """What a person reads."""
    return "".join(re.findall(r"<b>(\d)</b>", page))


async def typed(front: Front, link: str, **more: str) -> httpx.Response:
    """Open the page and do as it says."""
    page = (await front.web.get(link)).text
    return await front.web.post(links.PATH, data={**fields(page), "code": digits(page), **more})


def said(answer: httpx.Response) -> str:
    page = re.sub(r"<p><a .*?</a></p>", "", answer.text)
    found = re.findall(r"<(?:p|h1)[^>]*>(.*?)</(?:p|h1)>", page)
    return " | ".join(unescape(re.sub("<[^>]+>", "", one)) for one in found)


# ---- what a person does ---------------------------------------------------------------------------------------------


async def test_a_person_sees_exactly_what_would_be_silenced_and_does_it(front: Front) -> None:
    key = await front.fire(down("web-1"), down("web-2"))
    await front.raise_(down("db-1", team="db"))
    link = await front.link(key, "30m")
    page = await front.web.get(link)
    text = unescape(re.sub("<[^>]+>", " ", page.text))
    assert page.status_code == 200
    assert "Acknowledge for 30m?" in text and "alertname Down" in " ".join(text.split())
    assert "It hides 2 alerts that fire now" in text and 'instance="web-2"' in text
    assert "It also hides 1 other alert" in text and 'instance="db-1"' in text
    done = await typed(front, link, comment="on it <b>")
    assert (done.status_code, "Acknowledged" in done.text) == (200, True)
    [silence] = await front.silences()
    assert [(one["name"], one["value"]) for one in silence.matchers] == [("alertname", "Down")]
    assert (silence.created_by, silence.comment) == ("autoheal:link", "on it <b>")
    assert silence.ends_at == front.clock.now() + 1800
    assert [event["actor"] for event in front.events()] == ["link"]


async def test_a_second_use_changes_nothing_and_says_so(front: Front) -> None:
    key = await front.fire(down())
    link = await front.link(key)
    page = (await front.web.get(link)).text
    form = {**fields(page), "code": digits(page)}
    assert (await front.web.post(links.PATH, data=form)).status_code == 200
    [silence] = await front.silences()
    await front.watch.expire(silence.id, "bob")
    again = await front.web.post(links.PATH, data=form)
    assert (again.status_code, said(again)) == (409, f"This link was used already | {REASONS['used']}")
    assert await front.silences() == []
    assert len(front.events()) == 1


async def test_it_is_used_in_every_process(front: Front) -> None:
    link = await front.link(await front.fire(down()))
    assert (await typed(front, link)).status_code == 200
    front.threader.claims = MemoryClaims(front.table, "two")
    assert (await typed(front, link)).status_code == 409
    assert len(front.events()) == 1


async def test_it_stays_used_after_a_restart_of_one_that_is_alone(front: Front) -> None:
    front.threader.claims = LocalClaims("alone", front.clock)
    link = await front.link(await front.fire(down()))
    assert (await typed(front, link)).status_code == 200
    front.threader.claims = LocalClaims("alone again", front.clock)
    assert (await typed(front, link)).status_code == 409
    assert len(front.events()) == 1


async def test_each_message_has_links_of_its_own(front: Front) -> None:
    key = await front.fire(down("web-1"))
    first = await front.link(key)
    assert first == await front.link(key)
    await typed(front, first)
    [silence] = await front.silences()
    await front.follow()
    await front.watch.expire(silence.id, "bob")
    await front.follow()
    second = await front.link(key)
    assert second != first
    assert (await typed(front, second)).status_code == 200


async def test_digits_may_be_typed_with_spaces(front: Front) -> None:
    link = await front.link(await front.fire(down()))
    page = (await front.web.get(link)).text
    answer = await front.web.post(links.PATH, data={**fields(page), "code": f" {' '.join(digits(page))} "})
    assert answer.status_code == 200
    assert len(await front.silences()) == 1


# ---- what machines do -----------------------------------------------------------------------------------------------


async def test_scanners_change_nothing_however_they_look(front: Front) -> None:
    """Every link of a message: GET, HEAD, prefetch, and the form sent off as it is, or filled in by guessing."""
    key = await front.fire(down("web-1"), down("web-2"))
    for duration in ("30m", "2h", "24h"):
        link = await front.link(key, duration)
        for headers in ({}, {"purpose": "prefetch", "sec-purpose": "prefetch;prerender"}, {"x-moz": "prefetch"}):
            for method in ("GET", "HEAD", "OPTIONS"):
                answer = await front.web.request(method, link, headers=headers)
                assert answer.status_code in (200, 405)
                assert method != "HEAD" or answer.content == b""
        page = (await front.web.get(link)).text
        form = fields(page)
        assert form["code"] == "" and digits(page) not in form.values()
        guesses = [
            "",
            "0",
            "1",
            "1234",
            "0000",
            "1111",
            "4321",
            "test",
            "code",
            form["t"][:4],
            "12345678",
            "٣٤٥٦",
            "x" * 99,
        ]
        for guess in guesses:
            if guess != digits(page):
                answer = await front.web.post(links.PATH, data={**form, "code": guess})
                assert answer.status_code == 403 and links.WRONG in answer.text
        assert (await front.web.post(links.PATH, data={k: v or k for k, v in form.items()})).status_code == 403
        assert (await front.web.post(links.PATH, params={"t": form["t"], "code": digits(page)})).status_code == 403
        assert (await front.web.post(links.PATH, json={**form, "code": digits(page)})).status_code == 403
        query = {"t": form["t"], "code": digits(page), "comment": "x"}
        assert (await front.web.get(links.PATH, params=query)).status_code == 200  # shown, not done
    assert (await front.silences(), front.events()) == ([], [])
    assert (await typed(front, await front.link(key))).status_code == 200  # nothing of all this has used it up


async def test_the_page_is_shut_to_scripts_frames_caches_and_searchers(front: Front) -> None:
    link = await front.link(await front.fire(down()))
    for answer in (await front.web.get(link), await front.web.get(links.PATH), await typed(front, link)):
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy and "form-action 'self'" in policy
        assert "unsafe" not in policy and "script" not in policy
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert "noindex" in answer.headers["x-robots-tag"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "<script" not in answer.text and "http://" not in re.sub('href="[^"]*"', "", answer.text)


async def test_labels_cannot_break_out_of_the_page(front: Front) -> None:
    evil = {"alertname": "Down", "instance": "\"><script>alert(1)</script><b>1</b>\u202e' onfocus=x autofocus="}
    link = await front.link(await front.fire(evil))
    page = (await front.web.get(link)).text
    assert "<script" not in page and "\u202e" not in page and "\\u202e" in page
    assert len(digits(page)) == 4
    assert (await typed(front, link)).status_code == 200
    [silence] = await front.silences()
    assert {one["name"]: one["value"] for one in silence.matchers} == evil


# ---- what is refused ------------------------------------------------------------------------------------------------


async def test_what_we_did_not_sign_is_refused(front: Front) -> None:
    key = await front.fire(down())
    good = (await front.link(key)).partition("t=")[2]
    c = await front.talk(key)
    parts = good.split(".")
    swapped = ".".join([*parts[:2], "24h", *parts[3:]])
    strange = ["", "x", "." * 7, "ä", "a" * 9999]
    others = [front.tokens.make("button", c, "group", "2h"), front.tokens.make("confirm", c, "group", "2h")]
    bad = [*strange, *others, swapped, good[:-1], good + "A", good.upper(), good.replace(key, "0" * 32)]
    for token in bad:
        for answer in (
            await front.web.get(links.PATH, params={"t": token}),
            await front.web.post(links.PATH, data={"t": token, "code": front.tokens.code(token)}),
        ):
            assert (answer.status_code, said(answer)) == (403, f"Not a link of ours | {REASONS['forged']}")
    assert front.events() == []


async def test_labels_that_are_others_now_are_refused(front: Front) -> None:
    key = await front.fire(down("web-1"))
    link = await front.link(key)
    page = (await front.web.get(link)).text
    await front.fire(down("web-2"))
    for answer in (
        await front.web.get(link),
        await front.web.post(links.PATH, data={**fields(page), "code": digits(page)}),
    ):
        assert (answer.status_code, said(answer)) == (409, f"The group has changed | {REASONS['changed']}")
    assert front.events() == []


async def test_what_would_be_hidden_must_be_what_was_shown(front: Front) -> None:
    key = await front.fire(down("web-1"), down("web-2"))
    link = await front.link(key)
    page = (await front.web.get(link)).text
    await front.raise_(down("db-1", team="db"))
    answer = await front.web.post(links.PATH, data={**fields(page), "code": digits(page)})
    assert answer.status_code == 409 and links.OTHERS in answer.text and "db-1" in answer.text
    assert front.events() == []
    done = await front.web.post(links.PATH, data={**fields(answer.text), "code": digits(answer.text)})
    assert done.status_code == 200
    assert len(front.events()) == 1


async def test_an_old_link_is_explained(front: Front) -> None:
    link = await front.link(await front.fire(down()))
    front.clock.advance(9 * 86400)
    answer = await front.web.get(link)
    assert (answer.status_code, said(answer).split(" | ")[0]) == (410, "This link is too old")
    assert 'href="http://localhost:9009/console"' in answer.text


async def test_what_has_resolved_is_not_silenced(front: Front) -> None:
    link = await front.link(await front.fire(down()))
    page = (await front.web.get(link)).text
    await front.raise_(down(), ends_in=-1.0)
    beaten = await front.web.post(links.PATH, data={**fields(page), "code": digits(page)})
    assert (beaten.status_code, "already resolved" in beaten.text) == (409, True)
    await front.resolve(down())
    answer = await front.web.get(link)
    assert (answer.status_code, said(answer)) == (409, f"Already resolved | {REASONS['resolved']}")
    assert await front.silences() == []


async def test_where_operators_are_named_a_link_is_not_enough(front: Front) -> None:
    link = await front.link(await front.fire(down()))
    page = (await front.web.get(link)).text
    front.policy = replace(front.policy, operators=frozenset({"U0ANN"}))
    for answer in (
        await front.web.get(link),
        await front.web.post(links.PATH, data={**fields(page), "code": digits(page)}),
    ):
        assert (answer.status_code, REASONS["unnamed"] in unescape(answer.text)) == (403, True)
    assert front.events() == []


async def test_neighbours_that_are_away_are_told_without_detail(front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    link = await front.link(await front.fire(down()))
    front.am.faults.append(Fault("drop", "GET /api/v2/alerts"))
    answer = await front.web.get(link)
    assert answer.status_code == 502 and "127.0.0.1" not in answer.text

    def away(key: str) -> None:
        raise StoreUnavailable("the database cannot be reached: admin@db.internal")

    with monkeypatch.context() as patch:
        patch.setattr(front.threads, "get", away)
        answer = await front.web.get(link)
        assert answer.status_code == 503 and "db.internal" not in answer.text
    front.threader.acks = None
    answer = await front.web.get(link)
    assert answer.status_code == 409 and "ALERTMANAGER_URL" in answer.text


async def test_a_failure_after_the_digits_uses_the_link_up_rather_than_acting_twice(
    front: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = await front.link(await front.fire(down()))

    async def lost(*given: object, **more: object) -> None:
        raise Unknown("sent, but the answer was lost")

    with monkeypatch.context() as patch:
        patch.setattr(front.watch, "acknowledge", lost)
        answer = await typed(front, link)
        assert (answer.status_code, said(answer)) == (502, f"{links.UNSURE} | {links.LOST}")
    assert (await typed(front, link)).status_code == 409
    assert await front.silences() == []


async def test_a_form_that_is_none_is_refused(front: Front) -> None:
    for body in (b"", b"\xff\xfe", b"t=%ff%fe&code=%00", b"&".join(b"a=b" for _ in range(30))):
        assert (await front.web.post(links.PATH, content=body)).status_code == 403
    assert (await front.web.post(links.PATH, content=b"t=" + b"x" * 20_000)).status_code == 413


async def test_no_link_reaches_the_log(front: Front) -> None:
    link = await front.link(await front.fire(down()))
    with structlog.testing.capture_logs() as logs:
        await front.web.get(link)
        await front.web.get(link[:-1])
        await typed(front, link)
        await typed(front, link)
    assert link.partition("t=")[2] not in repr(logs)


async def test_nothing_is_linked_where_there_is_no_address(front: Front) -> None:
    key = await front.fire(down())
    assert links.signed(front.tokens, "")(await front.talk(key), "group", "2h") == ""


async def test_nothing_is_linked_where_only_named_people_may(front: Front) -> None:
    talk = await front.talk(await front.fire(down()))
    link = links.signed(front.tokens, "http://localhost:9009", lambda: front.policy)
    assert link(talk, "group", "2h")
    front.policy = replace(front.policy, operators=frozenset())
    assert link(talk, "group", "2h") == ""


# ---- used up with the effect, and not without -----------------------------------------------------------------------


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("error", [Temporary("no answer"), Permanent("bad"), StoreUnavailable("away")], ids=repr)
async def test_what_came_to_nothing_has_not_used_the_link_up(
    front: Front, monkeypatch: pytest.MonkeyPatch, alone: bool, error: Exception
) -> None:
    def restarted() -> None:
        front.threader.claims = LocalClaims("alone", front.clock) if alone else MemoryClaims(front.table, "two")

    restarted()
    link = await front.link(await front.fire(down()))

    async def refused(*given: object, **more: object) -> None:
        raise error

    for _ in range(2):
        with monkeypatch.context() as patch:
            patch.setattr(front.watch, "acknowledge", refused)
            answer = await typed(front, link)
        assert answer.status_code in (502, 503) and "othing was silenced" in said(answer)
        restarted()
    assert (await typed(front, link)).status_code == 200
    restarted()
    assert said(await typed(front, link)).endswith(REASONS["used"])
    assert len(front.events()) == 1


async def test_while_it_is_used_a_second_use_is_refused(front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    link = await front.link(await front.fire(down()))
    page = (await front.web.get(link)).text
    form = {**fields(page), "code": digits(page)}
    begun, may, acknowledge = asyncio.Event(), asyncio.Event(), front.watch.acknowledge

    async def slow(*given: Any, **more: Any) -> tuple[str, float]:
        begun.set()
        await may.wait()
        return await acknowledge(*given, **more)

    monkeypatch.setattr(front.watch, "acknowledge", slow)
    first = asyncio.create_task(front.web.post(links.PATH, data=form))
    await begun.wait()
    second = await front.web.post(links.PATH, data=form)
    may.set()
    assert (second.status_code, said(second)) == (409, f"This link is being used | {REASONS['using']}")
    assert (await first).status_code == 200
    assert len(front.events()) == 1


async def test_a_crash_while_it_is_used_uses_it_up(front: Front) -> None:
    assert isinstance(uses.reserve(front.threader, "n", 3600.0), uses.Use)
    assert uses.reserve(front.threader, "n", 3600.0) == "using"
    front.clock.advance(uses.BUSY + 1)
    assert uses.reserve(front.threader, "n", 3600.0) == "used"


async def test_a_use_is_not_given_back_for_ever(front: Front) -> None:
    for _ in range(uses.MOST):
        use = uses.reserve(front.threader, "n", 3600.0)
        assert isinstance(use, uses.Use)
        use.give_back()
    assert uses.reserve(front.threader, "n", 3600.0) == "used"


async def test_processes_on_one_database_know_of_each_others_uses(front: Front, postgres_url: str) -> None:
    one, two = PostgresClaims(postgres_url, "one"), PostgresClaims(postgres_url, "two")
    try:
        front.threader.claims = one
        use = uses.reserve(front.threader, "n", 3600.0)
        assert isinstance(use, uses.Use)
        other = replace(front.threader, claims=two)
        assert uses.reserve(other, "n", 3600.0) == "using"
        use.give_back()
        again = uses.reserve(other, "n", 3600.0)
        assert isinstance(again, uses.Use)
        again.keep()
        assert uses.reserve(front.threader, "n", 3600.0) == uses.reserve(other, "n", 3600.0) == "used"
    finally:
        one.close()
        two.close()


async def test_no_page_leads_to_a_console_that_is_not_served(front: Front) -> None:
    assert "Open the console" in (await front.web.get(links.PATH)).text
    front.threader.console = False
    assert "console" not in (await front.web.get(links.PATH)).text


async def test_a_preview_that_fails_says_that_nothing_was_silenced(front: Front) -> None:
    link = await front.link(await front.fire(down()))
    front.am.faults.append(Fault("drop", "GET /api/v2/alerts"))
    assert "nothing was silenced" in said(await front.web.get(link))


async def test_a_refusal_speaks_of_no_button(front: Front) -> None:
    link = await front.link(await front.fire(down()))
    front.policy = replace(front.policy, operators=frozenset({"U0ANN"}))
    assert "button" not in said(await front.web.get(link))
