"""The page behind a link: whatever an alert says is text, and only the page's own style is let in."""

from __future__ import annotations

import base64
import hashlib
import re
from html import unescape
from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from autoheal.threader import pages

KNOWN = set(
    "html head meta title link style body main h1 p table tr th td ul li code form input label b div button a".split()
)
VOID = {"meta", "link", "input"}


class Elements(HTMLParser):
    """What a browser would make of it."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def asked(labels: dict[str, str], text: str = "x", others: list[dict[str, str]] | None = None) -> str:
    return pages.ask(labels, text, [text], others or [], "t.o-k_en", "4711", "seen", f"Why: {text}")


def test_the_style_is_let_in_by_its_digest_and_nothing_else_is() -> None:
    page = asked({"a": "b"})
    [style] = re.findall("<style>(.*?)</style>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}';" in pages.HEADERS["Content-Security-Policy"]
    assert "style=" not in page


hostile = st.text(max_size=30) | st.sampled_from(
    ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "' autofocus onfocus=x ", "</style><b>9</b>",
     "</textarea></form><form action=//evil>", "\u202e", "\x00", "&lt;b&gt;", "javascript:alert(1)", "\ud800"]
)  # fmt: skip


@given(st.dictionaries(hostile, hostile, max_size=4), hostile, st.lists(st.dictionaries(hostile, hostile, max_size=2)))
def test_what_an_alert_says_is_text(labels: dict[str, str], text: str, others: list[dict[str, str]]) -> None:
    page = asked(labels, text, others)
    seen, plain = Elements(page), Elements(asked(dict.fromkeys(labels, "v"), "x", [{} for _ in others]))
    assert set(seen.tags) <= KNOWN
    assert seen.tags == plain.tags
    assert [name for name, _ in seen.attributes] == [name for name, _ in plain.attributes]
    assert dict(seen.attributes)["action"] == "ack"
    assert not re.search("[\x00-\x08\u200b-\u200f\u202a-\u202e]", page)
    page.encode()


def test_what_is_many_is_counted() -> None:
    page = unescape(pages.ask({"a": "b"}, "2h", [f"one {n}" for n in range(25)], [{"a": "b"}], "t", "4711", "s"))
    assert "It hides 25 alerts that fire now" in page and "and 5 more" in page and "1 other alert:" in page


def test_a_refusal_can_lead_to_the_console() -> None:
    page = pages.told("Too old <x>", "It is & was", 'https://heal.example/console"onclick="x')
    assert "Too old &lt;x&gt;" in page and "It is &amp; was" in page
    assert set(Elements(page).tags) <= KNOWN and "onclick" not in [name for name, _ in Elements(page).attributes]
    assert "<a " not in pages.told("a", "b")
