"""A fake `systemctl`: a program for a test's PATH that checks its arguments and keeps the units' states in files."""

from __future__ import annotations

from pathlib import Path

_SCRIPT = """#!/bin/sh
# systemctl --no-ask-password --no-pager VERB -- UNIT
state="{state}"
echo "$*" >> "$state/calls"
[ "$1" = --no-ask-password ] && [ "$2" = --no-pager ] && [ "$4" = -- ] && [ $# -eq 5 ] ||
  {{ echo "fake systemctl: unexpected arguments: $*" >&2; exit 64; }}
verb=$3 unit=$5
case "$unit" in *.*) ;; *) unit="$unit.service" ;; esac
if [ -e "$state/down" ]; then
  echo "System has not been booted with systemd as init system (PID 1). Can't operate." >&2
  echo "Failed to connect to bus: Host is down" >&2
  exit 1
fi
if [ ! -e "$state/$unit" ]; then
  echo "Failed to $verb $unit: Unit $unit not found." >&2
  exit 5
fi
if [ -e "$state/$unit.slow" ]; then exec sleep 600; fi
if [ -e "$state/$unit.lost" ]; then
  echo "Failed to wait for response: Connection reset by peer" >&2
  exit 1
fi
if [ -e "$state/$unit.broken" ]; then
  echo "Job for $unit failed because the control process exited with error code." >&2
  echo "See \\"systemctl status $unit\\" and \\"journalctl -xeu $unit\\" for details." >&2
  exit 1
fi
case "$verb" in
  start|restart) echo active > "$state/$unit" ;;
  stop) echo inactive > "$state/$unit" ;;
  reload) [ "$(cat "$state/$unit")" = active ] || {{ echo "$unit is not active, cannot reload." >&2; exit 1; }} ;;
  *) echo "Unknown command verb $verb." >&2; exit 1 ;;
esac
"""


class FakeSystemd:
    """Put `path` first in a test's PATH. States and faults are files in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "bin"
        self._state = folder / "units"
        self.path.mkdir(parents=True)
        self._state.mkdir()
        program = self.path / "systemctl"
        program.write_text(_SCRIPT.format(state=self._state))
        program.chmod(0o755)

    def add(self, unit: str, active: bool = True) -> None:
        """A unit with its suffix, such as ``crm.service``."""
        (self._state / unit).write_text("active\n" if active else "inactive\n")

    def fault(self, unit: str, kind: str) -> None:
        """`slow`: the job never ends; `broken`: it fails; `lost`: the connection breaks while it is awaited."""
        (self._state / f"{unit}.{kind}").touch()

    def switch_off(self) -> None:
        """From now on there is no systemd on this machine."""
        (self._state / "down").touch()

    def active(self, unit: str) -> bool:
        return (self._state / unit).read_text().strip() == "active"

    @property
    def calls(self) -> list[str]:
        """The arguments of every call so far."""
        file = self._state / "calls"
        return file.read_text().splitlines() if file.exists() else []
