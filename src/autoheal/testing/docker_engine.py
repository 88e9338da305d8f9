"""A strict fake Docker Engine: the routes that Autoheal uses, with the engine's versions, checks and errors."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from pathlib import Path

from autoheal.testing.http_fake import Answer, FakeServer, Request, as_json

_PATH = re.compile(r"(?:/v(?P<version>[0-9.]+))?(?P<rest>/.*)")
_CHANGE = re.compile(r"/containers/(?P<name>[^/]+)/(?P<verb>start|stop|restart)")
_PARAMS = {"start": {"detachKeys"}, "stop": {"t", "signal"}, "restart": {"t", "signal"}}


@dataclass
class Container:
    """One container; `history` is what was done to it."""

    name: str
    running: bool = True
    labels: dict[str, str] = field(default_factory=dict)
    history: list[str] = field(default_factory=list)

    @property
    def id(self) -> str:
        return hashlib.sha256(self.name.encode()).hexdigest()


class FakeDockerEngine(FakeServer):
    """`version` and `oldest` are the API versions that it speaks; `socket_path` None: TCP on loopback."""

    def __init__(self, socket_path: Path | None = None, version: str = "1.47", oldest: str = "1.24") -> None:
        self.containers: dict[str, Container] = {}
        self.version = version
        self.oldest = oldest
        super().__init__(socket_path)

    @property
    def host(self) -> str:
        """As DOCKER_HOST names it."""
        return self.url.replace("http://", "tcp://")

    def add(self, name: str, running: bool = True, project: str = "", service: str = "") -> Container:
        labels = {"com.docker.compose.project": project, "com.docker.compose.service": service} if project else {}
        self.containers[name] = Container(name, running, labels)
        return self.containers[name]

    def handle(self, request: Request) -> Answer:
        found = _PATH.fullmatch(request.path)
        assert found is not None
        wrong = self._check_version(found["version"])
        if wrong:
            return _error(400, wrong)
        path = found["rest"]
        if path == "/_ping" and request.method in ("GET", "HEAD"):
            return Answer(200, b"OK", {"Api-Version": self.version, "Content-Type": "text/plain"})
        if path == "/version" and request.method == "GET":
            return as_json(200, {"ApiVersion": self.version, "MinAPIVersion": self.oldest, "Version": "27.0.0"})
        if path == "/containers/json" and request.method == "GET":
            return self._list(request)
        change = _CHANGE.fullmatch(path)
        if change is not None and request.method == "POST":
            return self._change(request, change["name"], change["verb"])
        return _error(404, "page not found")

    def _check_version(self, version: str | None) -> str:
        if version is None:
            return ""
        if _order(version) > _order(self.version):
            return f"client version {version} is too new. Maximum supported API version is {self.version}"
        if _order(version) < _order(self.oldest):
            return f"client version {version} is too old. Minimum supported API version is {self.oldest}"
        return ""

    def _list(self, request: Request) -> Answer:
        try:
            filters = json.loads(request.one("filters", "{}"))
            wanted = filters.get("label", [])
            assert isinstance(wanted, list) and set(filters) <= {"label"}
        except (ValueError, AssertionError):
            return _error(400, "invalid filter")
        everything = request.one("all") in ("1", "true")
        found = [
            container
            for container in self.containers.values()
            if (everything or container.running) and all(_holds(container, label) for label in wanted)
        ]
        return as_json(200, [{"Id": c.id, "Names": [f"/{c.name}"], "Labels": c.labels} for c in found])

    def _change(self, request: Request, name: str, verb: str) -> Answer:
        if request.body or set(request.query) - _PARAMS[verb]:
            return _error(400, f"unexpected body or parameter for {verb}")
        if "t" in request.query and not re.fullmatch(r"-?[0-9]+", request.one("t")):
            return _error(400, f'strconv.Atoi: parsing "{request.one("t")}": invalid syntax')
        found = next((c for c in self.containers.values() if name in (c.name, c.id, c.id[:12])), None)
        if found is None:
            return _error(404, f"No such container: {name}")
        if verb != "restart" and found.running == (verb == "start"):
            return Answer(304)
        found.running = verb != "stop"
        found.history.append(verb)
        return Answer(204)


def _holds(container: Container, label: str) -> bool:
    name, sign, value = label.partition("=")
    return name in container.labels and (not sign or container.labels[name] == value)


def _order(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def _error(status: int, message: str) -> Answer:
    return as_json(status, {"message": message})
