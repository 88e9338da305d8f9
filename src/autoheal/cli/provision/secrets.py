"""The stack's secrets: made once, readable by whom they are for, never written over and never shown."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

FOLDER = "secrets"
TOKENS = ("autoheal_webhook_token", "autoheal_admin_token")
SLACK = "slack_webhook_url"
STACK = (*TOKENS, "grafana_admin_password", SLACK)
LENGTH = 32
"""Random bytes of a token."""

State = Literal["new", "there", "filled", "opened", "empty"]


@dataclass(frozen=True, slots=True)
class Made:
    """`new`: made now. `there`: kept. `filled`: it was empty. `opened`: kept, and made readable for the containers.
    `empty`: it is for somebody to fill in."""

    path: str
    state: State

    @property
    def changed(self) -> bool:
        return self.state in ("new", "filled", "opened")


class Secrets:
    """The secrets in `folder`, which nobody but its owner can enter.

    `shared`: containers, which run as users of their own, get each file mounted and must be able to read it. So the
    files are readable (0644), and the folder (0700) is what keeps others out. Else they are 0600 too.
    """

    def __init__(self, folder: Path, shared: bool) -> None:
        self._folder = folder / FOLDER
        self._mode = 0o644 if shared else 0o600
        self._shared = shared

    def plan(self, names: Sequence[str], environ: Mapping[str, str]) -> list[Made]:
        return [Made(f"{FOLDER}/{name}", self._state(name, environ)) for name in names]

    def _state(self, name: str, environ: Mapping[str, str]) -> State:
        path = self._folder / name
        known = bool(self._text(name, environ))
        if not path.exists():
            return "new" if known else "empty"
        if not path.read_text(errors="replace").strip():
            return "filled" if known else "empty"
        closed = os.name == "posix" and not path.stat().st_mode & stat.S_IROTH
        return "opened" if self._shared and closed else "there"

    def _text(self, name: str, environ: Mapping[str, str]) -> str:
        """What goes into a new file: a random token, or what only somebody else can know."""
        from autoheal.config.secrets import secret_text

        if name == SLACK:
            return secret_text("SLACK_WEBHOOK_URL", environ) or ""
        return secrets.token_urlsafe(LENGTH)

    def carry_out(self, made: Sequence[Made], environ: Mapping[str, str]) -> None:
        self._folder.mkdir(exist_ok=True)
        self._folder.chmod(0o700)
        for one in made:
            path = self._folder / Path(one.path).name
            if one.state in ("new", "filled") or (one.state == "empty" and not path.exists()):
                self._write(path, self._text(path.name, environ))
            elif one.state == "opened":
                path.chmod(self._mode)

    def _write(self, path: Path, text: str) -> None:
        """Never over a secret: a file that is there is only taken where it is empty."""
        handle = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
        with os.fdopen(handle, "r+") as file:
            if not file.read().strip():
                file.seek(0)
                file.write(f"{text}\n" if text else "")
        path.chmod(self._mode)
