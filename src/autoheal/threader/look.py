"""How messages look here: what they may hold, and where their links and buttons lead."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from autoheal.threader.conversation import Conversation

GROUP = "group"
"""The scope of everything in a conversation: all its alerts, or all its acknowledgements."""

Sign = Callable[[Conversation, str, str], str]
"""Conversation, scope and what for → what a click is worth.

The scope is `GROUP`, the fingerprint of one alert, or, for `extend` and `undo`, the id of one silence. What for: a
duration such as ``2h``, or ``undo``.
"""


def unsigned(conversation: Conversation, scope: str, duration: str) -> str:
    """Nothing can be signed: no button, no link."""
    return ""


@dataclass(frozen=True, slots=True)
class Look:
    """`buttons`: clicks come back to us (a Slack app with a signing secret); otherwise links stand in their place.

    `token` makes a button's value (at most 2,000 characters, 150 for one alert), `link` the address of the page that
    acknowledges. What either leaves empty, or makes too long, is not drawn.
    """

    public_url: str = ""
    """Where people reach the console; empty where none is served, and nothing leads there."""
    buttons: bool = True
    token: Sign = unsigned
    link: Sign = unsigned
    alertmanager_url: str = ""
    """Where people reach Alertmanager; empty: what it says of itself, the conversation's source."""

    def console(self, **values: str) -> str:
        """A view of the console, such as ``view="remediation", id=…``."""
        return f"{self.public_url.rstrip('/')}/console?{urlencode(values, errors='replace')}" if self.public_url else ""

    def remediation(self, remediation_id: str) -> str:
        return self.console(view="remediation", id=remediation_id) if remediation_id else ""

    def alerts(self, conversation: Conversation) -> str:
        """The group's alerts in Alertmanager, the silenced ones too."""
        wanted = ",".join(f'{name}="{_quoted(value)}"' for name, value in sorted(conversation.group_labels.items()))
        query = urlencode({"silenced": "true", "inhibited": "true", "active": "true"})
        found = f"&filter={quote('{' + wanted + '}', safe='', errors='replace')}" if wanted else ""
        return self._alertmanager(conversation, f"#/alerts?{query}{found}")

    def silence(self, conversation: Conversation, silence_id: str) -> str:
        return (
            self._alertmanager(conversation, f"#/silences/{quote(silence_id, safe='', errors='replace')}")
            if silence_id
            else ""
        )

    def _alertmanager(self, conversation: Conversation, place: str) -> str:
        base = self.alertmanager_url or conversation.source
        return f"{base.rstrip('/')}/{place}" if base.startswith(("http://", "https://")) else ""


def _quoted(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
