"""The floor: the same server, which only parses, serialises and makes one group commit. Run as a process."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
import threading
from collections import deque

import msgspec
import orjson
import uvicorn
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send


class Alert(msgspec.Struct):
    labels: dict[str, str]
    status: str = "firing"
    annotations: dict[str, str] = {}
    startsAt: str = ""
    fingerprint: str = ""


class Body(msgspec.Struct):
    alerts: list[Alert]


class Writer(threading.Thread):
    """One thread, one transaction for all that waits, `synchronous=FULL`."""

    def __init__(self, path: str) -> None:
        super().__init__(daemon=True)
        self.path = path
        self.waiting: deque[tuple[list[Alert], asyncio.Future[None], asyncio.AbstractEventLoop]] = deque()
        self.ready = threading.Semaphore(0)
        self.next = 1

    def run(self) -> None:
        link = sqlite3.connect(self.path, isolation_level=None)
        link.executescript(
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; CREATE TABLE events(id INTEGER PRIMARY KEY, line TEXT)"
        )
        while True:
            self.ready.acquire()
            batch = [self.waiting.popleft() for _ in range(len(self.waiting))]
            if not batch:
                continue
            rows = []
            for alerts, _, _ in batch:
                for alert in alerts:
                    line = orjson.dumps({"id": self.next, "kind": "seen", "labels": alert.labels})
                    rows.append((self.next, line.decode()))
                    self.next += 1
            link.execute("BEGIN IMMEDIATE")
            link.executemany("INSERT INTO events VALUES (?, ?)", rows)
            link.execute("COMMIT")
            loop = batch[0][2]
            loop.call_soon_threadsafe(lambda done=[f for _, f, _ in batch]: [f.set_result(None) for f in done])


def main(port: int, path: str) -> None:
    writer = Writer(path)
    writer.start()
    decode = msgspec.json.Decoder(Body).decode

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "GET":
            await Response("ok")(scope, receive, send)
            return
        body = decode(await Request(scope, receive).body())
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        writer.waiting.append((body.alerts, future, loop))
        writer.ready.release()
        await future
        answer = {"ok": True, "received": len(body.alerts), "results": [{"result": "seen"} for _ in body.alerts]}
        await Response(orjson.dumps(answer), media_type="application/json")(scope, receive, send)

    uvicorn.run(app, host="127.0.0.1", port=port, lifespan="off", access_log=False, log_level="error", ws="none")


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
