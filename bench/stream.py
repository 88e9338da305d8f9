"""The live stream: a thousand readers, how late they hear of an event, what one costs, and whether one is ever lost."""

from __future__ import annotations

import asyncio
import random
import re
import resource
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from bench.rig import Server, autoheal, console, free_port, percentile, server, table

POLICY = """
version: 1
rules:
  - {name: bench, match: ['alertname="BenchDown"'], steps: [{action: {command: ["true"]}}]}
"""
SAMPLED = 10
"""Every so many readers look at each event's time; all of them count, and know their last id."""
ALERTS = 9
"""Alerts in a delivery; with the delivery itself that makes ten events."""
_TS = re.compile(rb'"ts": ?([0-9.]+)')
_ID = re.compile(rb"id: (\d+)\n")


@dataclass
class Reader(asyncio.Protocol):
    """One open stream. `told` counts events over all its connections; `first` and `last` are ids."""

    port: int
    sampled: bool
    delays: list[float]
    told: int = 0
    first: int = 0
    last: int = 0
    buffer: bytes = b""
    up: bool = False
    transport: asyncio.Transport | None = None
    over: asyncio.Event = field(default_factory=asyncio.Event)

    async def connect(self) -> None:
        await asyncio.get_running_loop().create_connection(lambda: self, "127.0.0.1", self.port)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport, self.buffer = transport, b""
        again = f"Last-Event-ID: {self.last}\r\n" if self.last else ""
        transport.write(f"GET /events HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n{again}\r\n".encode())

    def data_received(self, data: bytes) -> None:
        self.up = True
        now = time.time()
        self.buffer += data
        whole = self.buffer.rfind(b"\n\n") + 2
        if whole < 2:
            return
        frames, self.buffer = self.buffer[:whole], self.buffer[whole:]
        count = frames.count(b"\nevent: ")
        if count == 0:
            return
        self.told += count
        self.first = self.first or int(_ID.search(frames)[1])  # type: ignore[index]
        self.last = int(_ID.match(frames, frames.rfind(b"id: ", 0, frames.rfind(b"\nevent: ")))[1])  # type: ignore[index]
        if self.sampled:
            self.delays += [now - float(ts) for ts in _TS.findall(frames)]

    def connection_lost(self, error: Exception | None) -> None:
        self.up = False
        self.over.set()

    @property
    def lost(self) -> int:
        """Events between its first and its last that did not come, or came twice."""
        return abs(self.last - self.first + 1 - self.told) if self.first else 0


@dataclass(frozen=True)
class Seen:
    p50: float
    p99: float
    worst: float
    events: int
    rate: float
    lost: int
    reconnects: int
    behind: int
    post_p99: float
    memory: float


async def _watch(one: Server, readers: int, seconds: float, per_second: int, reconnect: float) -> Seen:
    """Open the readers, deliver for so long, wait for the stragglers; `reconnect`: connections cut every second."""
    port, delays = int(one.url.rpartition(":")[2]), []
    before = one.resident_mb()
    everybody = [Reader(port, number % SAMPLED == 0, delays) for number in range(readers)]
    for start in range(0, readers, 50):
        await asyncio.gather(*(reader.connect() for reader in everybody[start : start + 50]))
    await _until(lambda: all(reader.up for reader in everybody), 60)
    memory = (one.resident_mb() - before) * 1024 / readers
    posts: list[float] = []
    began = time.monotonic()
    cutting = asyncio.create_task(_cut(everybody, reconnect, seconds))
    sent = await _deliver(port, seconds, per_second, posts)
    took = time.monotonic() - began
    reconnects = await cutting
    await _settled(everybody, 30)
    last = max(reader.last for reader in everybody)
    behind = sum(reader.last < last for reader in everybody)
    for reader in everybody:
        if reader.transport is not None:
            reader.transport.abort()
    lost = sum(reader.lost for reader in everybody)
    return Seen(
        percentile(delays, 0.5) * 1000,
        percentile(delays, 0.99) * 1000,
        max(delays) * 1000,
        sent,
        sent / took,
        lost,
        reconnects,
        behind,
        percentile(posts, 0.99) * 1000,
        memory,
    )


async def _deliver(port: int, seconds: float, per_second: int, posts: list[float]) -> int:
    """`per_second` events for `seconds`, on one connection; those that should have been sent meanwhile follow."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    pause = (ALERTS + 1) / per_second
    began = time.monotonic()
    for number in range(int(seconds / pause)):
        await asyncio.sleep(max(0.0, began + number * pause - time.monotonic()))
        alerts = [
            {"status": "firing", "labels": {"alertname": "Quiet", "instance": f"i{number}-{n}"}} for n in range(ALERTS)
        ]
        body = orjson.dumps({"alerts": alerts})
        head = f"POST /alert HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
        asked = time.monotonic()
        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        answer = await reader.readuntil(b"\r\n\r\n")
        assert b" 200 " in answer.partition(b"\r\n")[0], answer
        length = re.search(rb"(?i)content-length: (\d+)", answer)
        assert length is not None
        await reader.readexactly(int(length[1]))
        posts.append(time.monotonic() - asked)
    writer.close()
    return int(seconds / pause) * (ALERTS + 1)


async def _cut(everybody: list[Reader], per_second: float, seconds: float) -> int:
    """Abort connections at random; each comes back with the last id that it saw whole."""
    cut, ends = 0, time.monotonic() + seconds
    while per_second and time.monotonic() < ends:
        await asyncio.sleep(1 / per_second)
        reader = random.choice(everybody)
        if reader.transport is None or not reader.up or not reader.last:
            continue
        reader.over.clear()
        reader.transport.abort()
        await reader.over.wait()
        await reader.connect()
        cut += 1
    return cut


async def _settled(everybody: list[Reader], seconds: float) -> None:
    """Everybody has heard something, and nothing new came for half a second; or the time is over."""
    ends, before, since = time.monotonic() + seconds, -1, time.monotonic()
    while time.monotonic() < ends and (before <= 0 or time.monotonic() - since < 0.5):
        told = sum(reader.told for reader in everybody)
        if told != before or not all(reader.told for reader in everybody):
            before, since = told, time.monotonic()
        await asyncio.sleep(0.05)


async def _until(done: object, seconds: float) -> None:
    assert callable(done)
    ends = time.monotonic() + seconds
    while not done() and time.monotonic() < ends:  # noqa: ASYNC110 - what is waited for lies in another process
        await asyncio.sleep(0.05)


def main(folder: Path, seconds: int, readers: int = 1000, per_second: int = 200) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 65_536)), hard))
    rows = []
    with autoheal(folder / "stream", POLICY) as ours:
        seen = asyncio.run(_watch(ours, readers, seconds, per_second, 0))
        rows.append(("autoheal", seen))
    with autoheal(folder / "stream-cut", POLICY) as ours:
        seen = asyncio.run(_watch(ours, readers, seconds, per_second, 20))
        rows.append(("autoheal, readers cut off and back", seen))
        assert seen.lost == 0, "a reader that came back missed an event, or heard it twice"
    port = free_port()
    with server([sys.executable, "-m", "bench.plain_sse", str(port)], port, "/readyz") as plain:
        rows.append(("a plain Starlette loop", asyncio.run(_watch(plain, readers, seconds, per_second, 0))))
    base = rows[-1][1]
    title = f"{readers} readers, {per_second} events/s for {seconds} s; delay in ms from the event's time to the reader"
    columns = (
        "p50",
        "p99",
        "worst",
        "p99 / plain",
        "events/s",
        "lost",
        "cut off",
        "behind",
        "POST p99",
        "KiB each",
    )
    shown = table(title, "", *columns)
    for name, seen in rows:
        figures = (f"{seen.p50:.0f}", f"{seen.p99:.0f}", f"{seen.worst:.0f}", f"{seen.p99 / base.p99:.3f}")
        counts = (f"{seen.rate:.0f}", str(seen.lost), str(seen.reconnects), str(seen.behind))
        shown.add_row(name, *figures, *counts, f"{seen.post_p99:.1f}", f"{seen.memory:.0f}")
    console.print(shown)
    console.print("behind: readers that had not heard of the last event when nothing came any more, or after 30 s\n")
