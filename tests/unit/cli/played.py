"""An Autoheal, its Alertmanager and its Prometheus, played well enough for `autoheal smoke`; any part can be broken."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

from autoheal import __version__
from autoheal.cli.prometheus_checks import expected
from autoheal.cli.smoke.run import SERIES
from tests.unit.cli.stage import Answer, Asked, Stage, problem

RULES = [
    {"name": "odd", "match": ['service=~"(?i)x"'], "cooldown": 60},
    {"name": "crm", "match": ['alertname="TcpEndpointDownFast"', 'service=~"crm-.*"'], "cooldown": 600},
]


class Played:
    """`mode`: live, dry run or off. `posted`: every alert that came to /alert."""

    def __init__(self, stage: Stage, mode: str = "dry run") -> None:
        self.stage, self.mode = stage, mode
        self.events: list[dict[str, Any]] = []
        self.silences: dict[str, dict[str, Any]] = {}
        self.posted: list[dict[str, Any]] = []
        self.streams = 0
        self.blocked = False
        self.over = False
        self._news = threading.Condition()
        self.emit("started")
        self.emit("heartbeat")
        stage.routes |= {
            "GET /": lambda asked: (200, self.home()),
            "GET /readyz": lambda asked: (200, {"status": "ready", "last_event_id": self.events[-1]["id"]}),
            "GET /metrics": lambda asked: (200, "".join(f"# TYPE {name} gauge\n" for name in SERIES)),
            "GET /audit": self._audit,
            "GET /rules": {"rules": RULES},
            "GET /explain": self._explain,
            "GET /events": self._events,
            "POST /alert": self._alert,
            "POST /ack": self._ack,
            "GET /silences": lambda asked: (200, {"silences": list(self.silences.values())}),
            "GET /api/v1/rules": {"data": {"groups": [{"rules": rules()}]}},
            "GET /api/v1/query": {"data": {"result": [{"metric": {"instance": "ah:9009", "job": "autoheal"}}]}},
        }

    def home(self) -> dict[str, Any]:
        dry, on = self.mode == "dry run", self.mode != "off"
        names = ["TcpEndpointDownFast"]
        more = {"actions": names, "public_base_url": self.stage.url, "version": __version__}
        return {"status": "ok", "enabled": on, "dry_run": dry, **more}

    def emit(self, kind: str, **more: Any) -> None:
        with self._news:
            number = len(self.events) + 1
            self.events.append({"id": number, "ts": 1_700_000_000.0 + number, "kind": kind, **more})
            self._news.notify_all()

    # ---- the routes ------------------------------------------------------------------------------------------

    def _audit(self, asked: Asked) -> Answer:
        found = [e for e in self.events if asked.params.get("contains", "") in json.dumps(e)]
        newest = [e for e in found if e["kind"] != "heartbeat"][-int(asked.params["n"]) :]
        return 200, {"count": len(newest), "events": newest}

    def _explain(self, asked: Asked) -> Answer:
        labels = json.loads(asked.params["labels"])
        known = labels["alertname"] == "TcpEndpointDownFast" and labels.get("service", "crm-").startswith("crm-")
        off = {"gate": "kill_switch", "verdict": "skip" if self.mode == "off" else "pass"}
        dry = {"gate": "dry_run", "verdict": "dry_run" if self.mode == "dry run" else "pass"}
        result, reason = {"off": ("skip", "disabled"), "live": ("act", ""), "dry run": ("dry_run", "dry_run")}[
            self.mode
        ]
        if not known and self.mode != "off":
            result, reason = "skip", "not_allowlisted"
        rule = "crm" if known else None
        cmd = ["docker restart crm-api"] if known else []
        return 200, {"result": result, "reason": reason, "why": "", "rule": rule, "cmd": cmd, "gates": [off, dry]}

    def _alert(self, asked: Asked) -> Answer:
        (alert,) = asked.body["alerts"]
        self.posted.append(alert)
        self.emit("webhook_received", group_key=asked.body["groupKey"])
        reason = "disabled" if self.mode == "off" else "not_allowlisted"
        reason = "resolved" if alert["status"] == "resolved" and self.mode != "off" else reason
        self.emit("decision_skip", labels=alert["labels"], reason=reason)
        return 200, {"ok": True, "results": [{"result": "skip", "reason": reason, "remediation_id": None}]}

    def _events(self, asked: Asked) -> Answer:
        self.streams += 1
        return 200, self._frames(int(asked.headers["last-event-id"]))

    def _frames(self, after: int) -> Iterator[bytes]:
        yield b": hello\n\n"
        while not self.over:
            with self._news:
                if len(self.events) <= after or self.blocked:
                    self._news.wait(0.02)
                    continue
                fresh = self.events[after:]
            for event in fresh:
                after = event["id"]
                yield self.frame(event)

    def frame(self, event: dict[str, Any]) -> bytes:
        return f"id: {event['id']}\ndata: {json.dumps(event)}\n\n".encode()

    def _ack(self, asked: Asked) -> Answer:
        number = f"s{len(self.silences) + 1}"
        matchers = [{"name": n, "value": v, "isRegex": False, "isEqual": True} for n, v in asked.body["labels"].items()]
        self.silences[number] = {"id": number, "state": "active", "matchers": matchers}
        self.stage.routes[f"POST /silences/{number}/expire"] = self._expire
        self.stage.routes[f"GET /api/v2/silence/{number}"] = lambda asked: (200, self._at_alertmanager(number))
        self.emit("ack", labels=asked.body["labels"])
        return 200, {"ok": True, "silence_id": number}

    def _at_alertmanager(self, number: str) -> dict[str, Any]:
        found = dict(self.silences[number])
        return {**found, "status": {"state": found.pop("state")}}

    def _expire(self, asked: Asked) -> Answer:
        number = unquote(asked.path.split("/")[2])
        self.silences[number]["state"] = "expired"
        labels = {one["name"]: one["value"] for one in self.silences[number]["matchers"]}
        self.emit("ack_ended", labels=labels, silence_id=number)
        return 200, {"ok": True}


def rules() -> list[dict[str, Any]]:
    """Every rule of the contract, as Prometheus lists them."""
    recorded, alerts = expected()
    recording = [{"name": name, "type": "recording", "health": "ok"} for name in recorded]
    alerting = [{"name": name, "type": "alerting", "health": "ok", "state": "inactive"} for name in alerts]
    return recording + alerting


def refusing(status: int, detail: str = "no") -> Any:
    return lambda asked: (status, problem(status, detail))
