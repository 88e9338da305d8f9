"""No alert's text becomes part of a script, however the interpreter is reached."""

from __future__ import annotations

import pytest

from autoheal.actions import KINDS
from autoheal.core.errors import Invalid

X = "{labels.x}"


@pytest.mark.parametrize(
    "argv",
    [
        ["sh", "-c", f"echo {X}"],
        ["/bin/bash", "-ec", f"echo {X}"],
        ["env", "bash", "-c", f"echo {X}"],
        ["timeout", "5", "sh", "-c", f"echo {X}"],
        ["python3", "-c", f"print('{X}')"],
        ["perl", "-e", f"print '{X}'"],
        ["node", "--eval", X],
        ["ssh", "host", f"restart {X}"],
    ],
)
def test_a_placeholder_in_a_script_is_refused(argv: list[str]) -> None:
    with pytest.raises(Invalid, match="inside a script"):
        KINDS["command"].check(argv)


@pytest.mark.parametrize(
    "argv",
    [
        ["sh", "-c", 'restart "$1"', "-", X],
        ["python3", "tool.py", "--name", X],
        ["ssh", "host", "restart", X],
        ["logger", "-t", "autoheal", f"about {X}"],
        ["curl", "-e", X],
    ],
)
def test_a_placeholder_in_an_argument_is_taken(argv: list[str]) -> None:
    assert KINDS["command"].check(argv).words == tuple(argv)
