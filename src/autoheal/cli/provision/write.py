"""What `autoheal provision` writes: planned as a whole, then carried out."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from autoheal import __version__
from autoheal.cli import stack
from autoheal.cli.provision import slack
from autoheal.cli.provision.env import SOCKET, Addresses, client_env, env_file, values
from autoheal.cli.provision.lines import LINES
from autoheal.cli.provision.manifest import Manifest, Step, current, folders, write
from autoheal.cli.provision.secrets import SLACK, STACK, TOKENS, Made, Secrets
from autoheal.core.errors import Invalid

ENV = ".env"
POLICY = "policy/policy.yaml"
URL_TEMPLATE = "autoheal-url.tmpl"


@dataclass(slots=True)
class Done:
    """What a run is to do. `settings`: changes of `.env`. `lines`: by part, what to add elsewhere. `todo`: what only
    a person can do. `build`: how to make the image."""

    folder: Path
    steps: list[Step] = field(default_factory=list)
    secrets: list[Made] = field(default_factory=list)
    settings: list[str] = field(default_factory=list)
    env: str | None = None
    gone: list[str] = field(default_factory=list)
    lines: dict[str, str] = field(default_factory=dict)
    todo: list[str] = field(default_factory=list)
    build: str | None = None
    started: bool = False
    reloaded: list[str] = field(default_factory=list)

    @property
    def changes(self) -> bool:
        written = any(step.writes for step in self.steps) or any(one.changed for one in self.secrets)
        return written or self.env is not None

    @property
    def differs(self) -> bool:
        return self.changes or any(step.verb == "kept" for step in self.steps)


class Provision:
    """One run for one folder."""

    def __init__(
        self, folder: Path, addresses: Addresses, environ: Mapping[str, str], *, force: bool, stamp: str
    ) -> None:
        self._source = stack.source()
        self._folder = Path(folder).expanduser().resolve()
        if self._folder == self._source.resolve():
            raise Invalid(f"{folder} is where these files come from; name another folder", "DIR")
        if self._folder.exists() and not self._folder.is_dir():
            raise Invalid(f"{folder} is no folder", "DIR")
        for name in ("secrets", "policy"):
            if (self._folder / name).is_symlink():
                raise Invalid(f"{self._folder / name} is a link: what is behind it would be changed", "DIR")
        self._addresses, self._environ, self._force, self._stamp = addresses, environ, force, stamp
        self._manifest = Manifest(self._folder)
        self._there = values(self._env_text() or "")

    def _env_text(self) -> str | None:
        data = current(self._folder / ENV)
        return None if data is None else data.decode("utf-8", "replace")

    # ---- the whole stack -------------------------------------------------------------------------------------

    def stack(self) -> Done:
        from autoheal.config.policy_file import example_policy

        there = self._env_text()
        text, settings = env_file(there, self._addresses)
        wanted = stack.shipped(self._source)
        wanted |= {
            POLICY: current(self._folder / POLICY) or example_policy(),  # a beginning: from then on it is theirs
            "client.env": client_env(self._folder, self._addresses, values(text)).encode(),
        }
        done = Done(self._folder, settings=settings, env=None if text == there else text)
        done.steps = self._manifest.plan(wanted, force=self._force, stamp=self._stamp)
        done.secrets = Secrets(self._folder, shared=True).plan(STACK, self._environ)
        done.gone = [path for path in self._manifest.gone(wanted) if path not in _OF_PARTS]
        done.todo = list(self._todo(done, values(text)))
        done.build = None if "AUTOHEAL_IMAGE" in values(text) else self._to_build()
        return done

    def _to_build(self) -> str:
        """How to make the image that compose looks for."""
        checkout = self._source.parent
        if not (checkout / "Dockerfile").exists():
            return f"name an image with --image, or build autoheal:{__version__} in a checkout of Autoheal"
        return f"docker build --tag autoheal:{__version__} {shlex.quote(str(checkout))}    (or name an image: --image)"

    def _todo(self, done: Done, env: Mapping[str, str]) -> list[str]:
        found = []
        if any(one.path.endswith(SLACK) and one.state == "empty" for one in done.secrets):
            found.append(f"put Slack's incoming webhook URL into secrets/{SLACK}: until then nobody is told")
        if "DOCKER_GID" not in env:
            found.append(f"run this again where {SOCKET} is, or set DOCKER_GID in .env: the docker action needs it")
        return found

    # ---- parts of it -----------------------------------------------------------------------------------------

    def parts(self, names: Sequence[str]) -> Done:
        done = Done(self._folder)
        wanted: dict[str, bytes] = {}
        url = self._addresses.of("AUTOHEAL_PUBLIC_URL", self._there)
        tokens = dict.fromkeys(one for name in names for one in _TOKENS_OF.get(name, ()))
        for name in dict.fromkeys(names):
            wanted |= stack.shipped(self._source, _PATTERNS.get(name, ()))
            done.lines[name] = LINES[name](self._source, self._folder, url)
        if "receiver" in names:
            wanted[URL_TEMPLATE] = f'{{{{ define "autoheal.url" }}}}{url}{{{{ end }}}}\n'.encode()
        if "slack" in names:
            wanted[slack.FILE] = slack.manifest(url).encode()
            done.todo = list(slack.steps(self._folder, url))
        done.steps = self._manifest.plan(wanted, force=self._force, stamp=self._stamp)
        done.secrets = Secrets(self._folder, shared=False).plan(list(tokens), self._environ)
        return done

    # ---- writing ---------------------------------------------------------------------------------------------

    def carry_out(self, done: Done) -> None:
        folders(self._folder)
        if done.secrets:
            shared = len(done.secrets) == len(STACK)
            Secrets(self._folder, shared).carry_out(done.secrets, self._environ)
        if done.env is not None:
            path = self._folder / ENV
            write(path, done.env.encode(), path.stat().st_mode & 0o777 if path.exists() else 0o600)
        self._manifest.carry_out(done.steps, __version__)


_OF_PARTS = (URL_TEMPLATE, slack.FILE)
"""Written by `--only`, and never shipped."""
_PATTERNS = {"rules": stack.RULES, "dashboards": stack.DASHBOARDS[:1], "receiver": stack.RECEIVER}
_TOKENS_OF = {"tokens": TOKENS, "receiver": TOKENS[:1]}
