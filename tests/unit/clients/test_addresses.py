"""Addresses: what may be shown, what leads into the machine's own surroundings, and Alertmanager's times."""

from __future__ import annotations

import pytest

from autoheal.clients.exchange import link_local, place
from autoheal.clients.rfc3339 import to_seconds, to_text
from autoheal.core.errors import Temporary


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "169.254.0.1",
        "fe80::1",
        "[fe80::1%eth0]",
        "::ffff:169.254.1.1",
        "fd00:ec2::254",
        "100.100.100.200",
        "Metadata.Google.Internal.",
        "metadata",
    ],
)
def test_surroundings(host: str) -> None:
    assert link_local(host)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "10.0.0.1", "::1", "localhost", "metadata.example.org", "170.254.1.1", ""]
)
def test_elsewhere(host: str) -> None:
    assert not link_local(host)


def test_a_place_hides_its_secrets() -> None:
    found = place("https://ann:p%2Fw@am.example:9093/prefix/?x=1#y")
    assert found.url == "https://am.example:9093/prefix"
    assert found.auth == ("ann", "p/w")
    assert place("http://[::1]:9093/").url == "http://[::1]:9093"
    assert place("http://x").auth is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2026-11-21T03:06:04.119Z", 1795230364.119),
        ("2026-11-21T03:06:04.119999999Z", 1795230364.119999),
        ("2026-11-21T05:06:04+02:00", 1795230364.0),
        ("0001-01-01T00:00:00Z", -62135596800.0),
    ],
)
def test_times(text: str, seconds: float) -> None:
    assert to_seconds(text) == pytest.approx(seconds, abs=1e-5)


def test_times_go_round() -> None:
    assert to_text(1795230364.119) == "2026-11-21T03:06:04.119Z"
    assert to_seconds(to_text(1795230364.119)) == 1795230364.119
    for text in ("soon", "", None):
        with pytest.raises(Temporary):
            to_seconds(text)  # type: ignore[arg-type]
