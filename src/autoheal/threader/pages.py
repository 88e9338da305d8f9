"""The page behind an acknowledgement's link: plain HTML, no script, nothing from outside, nothing kept."""

from __future__ import annotations

import base64
import hashlib
import html
import re
from collections.abc import Mapping, Sequence

from autoheal.threader.acknowledge import braces

SHOWN = 20
_STYLE = (
    ":root{color-scheme:light dark;--line:color-mix(in srgb,CanvasText 18%,Canvas)}"
    "body{font:16px/1.5 system-ui,sans-serif;margin:0;background:Canvas;color:CanvasText}"
    "main{max-width:60rem;margin:0 auto;padding:1.5rem 1rem}"
    "h1{font-size:1.4rem;margin:0 0 .5rem;overflow-wrap:anywhere}"
    "table{border-collapse:collapse;width:100%;margin:.5rem 0 1rem}"
    "th,td{text-align:left;padding:.3rem .6rem .3rem 0;border-bottom:1px solid var(--line);vertical-align:top;"
    "overflow-wrap:anywhere}th{width:12rem}"
    "code{overflow-wrap:anywhere}"
    "label{display:block;margin:.8rem 0 .2rem}"
    "input{font:inherit;padding:.5rem;border:1px solid var(--line);border-radius:.4rem;max-width:100%}"
    "button{font:inherit;margin-top:1rem;padding:.6rem 1.2rem;border:0;border-radius:.4rem;background:#0b6e4f;"
    "color:#fff;cursor:pointer}"
    "button:focus-visible,input:focus-visible{outline:3px solid Highlight;outline-offset:2px}"
    ".code b{font-size:1.6rem;margin-right:.5rem}.note{opacity:.75}.wrong{font-weight:600}"
)
_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
HEADERS = {
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_HASH}'; img-src data:; form-action 'self'; frame-ancestors 'none'; "
        "base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-Robots-Tag": "noindex, nofollow, noarchive",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_HIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


def show(text: object) -> str:
    """Text for a page: escaped, and what would hide or turn it written out."""
    return html.escape(_HIDDEN.sub(lambda found: f"\\u{ord(found.group()):04x}", str(text)))


def page(title: str, body: str) -> str:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="robots" content="noindex">'
        f'<title>{show(title)} · Autoheal</title><link rel="icon" href="data:,"><style>{_STYLE}</style></head>'
        f"<body><main>{body}</main></body></html>"
    )


def told(title: str, text: str, console: str = "") -> str:
    way = f'<p><a href="{html.escape(console)}" rel="noreferrer">Open the console</a></p>' if console else ""
    return page(title, f"<h1>{show(title)}</h1><p>{show(text)}</p>{way}")


def ask(
    labels: Mapping[str, str],
    duration: str,
    ours: Sequence[str],
    others: Sequence[Mapping[str, str]],
    token: str,
    code: str,
    shown: str,
    note: str = "",
) -> str:
    """What would be silenced, what that hides, and a form that needs a person: the digits are typed by hand.

    `ours`: the conversation's alerts in a few words; `others`: labels of what else would be hidden; `shown` stands for
    those; `note` says why the page is shown again.
    """
    rows = "".join(f"<tr><th>{show(name)}</th><td>{show(value)}</td></tr>" for name, value in sorted(labels.items()))
    again = f'<p class="wrong" role="alert">{show(note)}</p>' if note else ""
    digits = "".join(f"<b>{digit}</b>" for digit in code)
    fields = "".join(
        f'<input type="hidden" name="{name}" value="{html.escape(value)}">'
        for name, value in (("t", token), ("shown", shown))
    )
    return page(
        "Acknowledge",
        f"<h1>Acknowledge for {show(duration)}?</h1>{again}"
        f"<p>A silence for alerts with exactly these labels:</p><table>{rows}</table>"
        f"{_listed('It hides', ours, 'alert that fires now', 'alerts that fire now')}"
        f"{_listed('It also hides', [braces(one) for one in others], 'other alert', 'other alerts')}"
        f'<form method="post" action="ack" autocomplete="off">{fields}'
        '<p class="code">To show that you are a person, type these four digits: ' + digits + "</p>"
        '<label for="code">The four digits</label>'
        '<input id="code" name="code" inputmode="numeric" autocomplete="off" maxlength="12" size="8">'
        '<label for="comment">Comment (optional)</label>'
        '<input id="comment" name="comment" maxlength="200" size="40" autocomplete="off">'
        f"<div><button>Silence for {show(duration)}</button></div></form>"
        '<p class="note">Nothing has been changed yet. If the alert resolves, that is told and the silence ends.</p>',
    )


def _listed(verb: str, lines: Sequence[str], one: str, many: str) -> str:
    if not lines:
        return ""
    items = "".join(f"<li><code>{show(line)}</code></li>" for line in lines[:SHOWN])
    more = f"<p>and {len(lines) - SHOWN} more</p>" if len(lines) > SHOWN else ""
    return f"<p>{verb} {len(lines)} {one if len(lines) == 1 else many}:</p><ul>{items}</ul>{more}"
