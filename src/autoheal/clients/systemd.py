"""systemd, through `systemctl`: it waits for the unit's job."""

from __future__ import annotations

import re

from autoheal.clients.process import Processes
from autoheal.engine.ports import ActionResult, Begin

_LOST = re.compile(r"Connection reset by peer|Connection timed out|Failed to wait for response|Transport endpoint")


class Systemctl:
    """Never asks for a password. A job that was handed to systemd goes on when `systemctl` is killed."""

    def __init__(self, processes: Processes) -> None:
        self._processes = processes

    def operate(self, verb: str, unit: str, timeout: float, begin: Begin) -> ActionResult:
        """`verb` (restart | start | stop | reload) on `unit`; unknown after a timeout. Permanent: no `systemctl`."""
        argv = ["systemctl", "--no-ask-password", "--no-pager", verb, "--", unit]
        ended = self._processes.run(argv, timeout, begin)
        if ended.timed_out:
            error = f"timed out after {timeout:g}s; systemd may still be at it"
            return ActionResult("unknown", ended.rc, ended.output, error)
        if ended.rc == 0:
            return ActionResult("ok", 0, ended.output)
        first = ended.output.strip().partition("\n")[0]
        status = "unknown" if ended.rc == 1 and _LOST.search(ended.output) else "fail"
        if status == "unknown":
            return ActionResult("unknown", ended.rc, ended.output, f"systemctl lost its connection: {first}")
        return ActionResult("fail", ended.rc, ended.output, first or f"systemctl ended with status {ended.rc}")
