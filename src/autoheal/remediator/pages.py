"""The plain HTML pages, such as the one to acknowledge. No outside request, no script."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping, Sequence

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src data:; form-action 'self'; frame-ancestors 'none'; "
        "base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # with no referrer at all, a browser says "Origin: null" of our own form, too
    "Cache-Control": "no-store",
}

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff]")


def show(text: object) -> str:
    """Text for a page: escaped, and what would hide or turn it written out."""
    return html.escape(_CONTROL.sub(lambda m: f"\\u{ord(m.group()):04x}", str(text)))


def page(title: str, body: str) -> str:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{show(title)} · Autoheal</title><link rel="icon" href="data:,">'
        '<link rel="stylesheet" href="/static/autoheal.css"></head>'
        f"<body><main>{body}</main></body></html>"
    )


def ack_page(
    labels: Mapping[str, str],
    duration: str,
    comment: str,
    token: str,
    hidden: Sequence[Mapping[str, str]] | None,
) -> str:
    """What would be silenced, and one button. `hidden`: the labels of alerts that match now, None where unknown."""
    rows = "".join(f"<tr><th>{show(k)}</th><td>{show(v)}</td></tr>" for k, v in sorted(labels.items()))
    if hidden is None:
        matches = "<p>Alertmanager cannot be asked which alerts match now.</p>"
    else:
        items = "".join(f"<li><code>{show(_braces(one))}</code></li>" for one in hidden[:20])
        more = f"<p>and {len(hidden) - 20} more</p>" if len(hidden) > 20 else ""
        count = f"{len(hidden)} alert" + "s" * (len(hidden) != 1)
        matches = f"<p>It would hide {count} that fire now:</p><ul>{items}</ul>{more}"
    said = f"<p>Comment: {show(comment)}</p>" if comment else ""
    fields = "".join(
        f'<input type="hidden" name="{name}" value="{html.escape(value)}">'
        for name, value in (("labels", _json(labels)), ("duration", duration), ("comment", comment), ("token", token))
    )
    return page(
        "Acknowledge",
        f"<h1>Acknowledge for {show(duration)}?</h1><p>A silence for alerts with exactly these labels:</p>"
        f"<table>{rows}</table>{said}{matches}"
        f'<form method="post" action="/ack">{fields}<button>Silence for {show(duration)}</button></form>'
        "<p class=note>Nothing has been changed yet. If the alert resolves, it is told and the silence ends.</p>",
    )


def _json(labels: Mapping[str, str]) -> str:
    """ASCII only, so that a browser gives back exactly what was signed."""
    return json.dumps(dict(labels))


def _braces(labels: Mapping[str, str]) -> str:
    return "{" + ", ".join(f'{k}="{v}"' for k, v in sorted(labels.items())) + "}"


def done_page(title: str, text: str) -> str:
    return page(title, f"<h1>{show(title)}</h1><p>{show(text)}</p>")
