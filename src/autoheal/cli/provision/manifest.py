"""Files of ours in a folder of somebody's: new ones are written, old ones brought up to date, changed ones kept."""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from autoheal.core.errors import Permanent

NAME = ".autoheal-provision.json"
"""Which files were written, and what they were then: so a later run knows which of them somebody has changed."""
Verb = Literal["new", "same", "updated", "kept", "replaced"]


@dataclass(frozen=True, slots=True)
class Step:
    """What is to be done with one file. `kept`: it was changed by hand and stays. `replaced`: it was, and does not;
    `backup` is then where the changed one goes."""

    path: str
    verb: Verb
    data: bytes
    backup: str = ""

    @property
    def writes(self) -> bool:
        return self.verb in ("new", "updated", "replaced")


class Manifest:
    """The hashes of what was written into `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = folder / NAME
        self._known = self._read()

    def _read(self) -> dict[str, str]:
        try:
            found = json.loads(self._file.read_bytes())["files"]
            return {str(path): str(digest) for path, digest in found.items()}
        except FileNotFoundError:
            return {}
        except (ValueError, KeyError, TypeError, AttributeError):
            fix = "delete it: what was changed is kept all the same"
            raise Permanent(f"{self._file} cannot be read; {fix}") from None

    def plan(self, wanted: Mapping[str, bytes], *, force: bool, stamp: str) -> list[Step]:
        """One step for each file. `stamp` makes a backup's name."""
        return [self._step(path, data, force, stamp) for path, data in wanted.items()]

    def _step(self, path: str, data: bytes, force: bool, stamp: str) -> Step:
        there = current(self._folder / path)
        if there is None:
            return Step(path, "new", data)
        if there == data:
            return Step(path, "same", data)
        if self._known.get(path) == digest(there):
            return Step(path, "updated", data)
        return Step(path, "replaced", data, f"{path}.{stamp}.bak") if force else Step(path, "kept", data)

    def gone(self, wanted: Mapping[str, bytes]) -> list[str]:
        """Files that were written once and are no longer shipped, where they still are."""
        return [path for path in self._known if path not in wanted and (self._folder / path).exists()]

    def carry_out(self, steps: list[Step], version: str) -> None:
        """Write what is to be written, then note what is there. A run that is cut off is simply run again."""
        for step in steps:
            if step.backup:
                os.replace(self._folder / step.path, self._folder / step.backup)
            if step.writes:
                write(self._folder / step.path, step.data)
        known = self._known | {step.path: digest(step.data) for step in steps if step.verb != "kept"}
        text = json.dumps({"version": version, "files": dict(sorted(known.items()))}, indent=1) + "\n"
        if known != self._known:
            write(self._file, text.encode())
            self._known = known


def current(path: Path) -> bytes | None:
    """What is there; None where nothing is."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def write(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Whole or not at all. Readable by all unless `mode` says otherwise: containers run as users of their own."""
    folders(path.parent)
    handle, name = tempfile.mkstemp(prefix=".autoheal-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.chmod(name, mode)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def folders(path: Path) -> None:
    """Make a folder and those above it that are missing, so that others can read what is in them."""
    for folder in [*reversed(path.parents), path]:
        if not folder.exists():
            folder.mkdir()
            folder.chmod(0o755)


def difference(folder: Path, step: Step) -> Iterator[str]:
    """The lines in which what is there differs from what is shipped, as `diff -u` has them."""
    there = (current(folder / step.path) or b"").decode("utf-8", "replace").splitlines()
    ours = step.data.decode("utf-8", "replace").splitlines()
    yield from difflib.unified_diff(there, ours, f"{step.path} (there)", f"{step.path} (shipped)", lineterm="")
