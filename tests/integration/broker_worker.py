"""A worker without a ledger, for test_broker.py: appends what it is rung for to a file. `SECONDS`: how long one takes.

python broker_worker.py REDIS_URL FILE SECONDS CONCURRENCY DRAIN QUEUE...
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path

from autoheal.app import logs
from autoheal.clients import broker


def main(url: str, file: str, seconds: str, concurrency: str, drain: str, *queues: str) -> None:
    logs.configure("INFO", "json")
    lock = threading.Lock()

    def say(*words: object) -> None:
        with lock, Path(file).open("a") as out:
            print(*words, file=out)

    def do(remediation_id: str) -> None:
        say("begin", remediation_id)
        if remediation_id == "r666":
            raise RuntimeError("this one always fails")
        threading.Event().wait(float(seconds))
        say("end", remediation_id)

    left = broker.work(
        url,
        do,
        queues,
        int(concurrency),
        "test",
        float(drain),
        started=lambda: say("started"),
        stopping=lambda: say("stopping"),
        lost=lambda: say("lost"),
    )
    say("left", left)


main(*sys.argv[1:])
