"""What `autoheal provision` tells: what was written, what was kept, what is left for a person to do."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from autoheal.cli import render
from autoheal.cli.provision.manifest import Step, difference

if TYPE_CHECKING:
    from autoheal.cli.provision.write import Done

MOUNTED = "prometheus alertmanager loki alloy"
"""Services that have single files mounted: they see the old ones until they are restarted; `--reload` is no help."""
_STYLES = {"new": "bold green", "updated": "green", "replaced": "bold yellow", "kept": "bold yellow"}
_SECRETS = {
    "new": ("new", "made just now, shown nowhere"),
    "filled": ("updated", "it was empty"),
    "opened": ("updated", "kept, and made readable for the containers; the folder keeps others out"),
}


def show(done: Done) -> None:
    render.say(render.text(str(done.folder), "bold"))
    if done.differs:
        render.table(("", "", ""), [_row(*row) for row in _rows(done)], show_header=False)
    if not done.changes:
        count = sum(step.verb == "same" for step in done.steps) + len(done.secrets)
        render.say(render.text(f"nothing to do: {render.counted(count, 'file')} already as it must be", "bold green"))
    for path in done.gone:
        render.say(render.text("no longer shipped:", "yellow"), f"{path}; delete it if nothing of yours uses it")
    for text in done.lines.values():
        print(f"\n{text}", end="")


def _rows(done: Done) -> Iterator[tuple[str, str, str]]:
    new = [step.path for step in done.steps if step.verb == "new"]
    if new:
        yield "new", render.counted(len(new), "file"), ", ".join(_places(new))
    for step in done.steps:
        if step.verb == "updated":
            yield "updated", step.path, "you had not changed it"
        elif step.verb == "replaced":
            yield "replaced", step.path, f"yours is now {step.backup}"
        elif step.verb == "kept":
            yield "kept", step.path, f"you changed it: {_count(done, step)}; --diff shows them, --force takes ours"
    for one in done.secrets:
        if one.state in _SECRETS:
            verb, said = _SECRETS[one.state]
            yield verb, one.path, said
    if done.env is not None and not done.settings:
        yield "new", ".env", "the addresses that compose uses"
    for change in done.settings:
        yield "updated", ".env", change


def _places(paths: list[str]) -> Iterator[str]:
    """Files, and how many there are in each folder."""
    tops = [path.partition("/")[0] for path in paths]
    for top in sorted(set(tops)):
        yield top if top in paths else f"{top}/ ({tops.count(top)})"


def _count(done: Done, step: Step) -> str:
    changed = [line for line in difference(done.folder, step) if line[:1] in "+-" and line[:3] not in ("+++", "---")]
    return render.counted(len(changed), "line") + " differ" + ("s" if len(changed) == 1 else "")


def _row(verb: str, what: str, said: str) -> tuple[Any, ...]:
    return render.text(verb, _STYLES[verb]), render.text(what, "bold"), said


def afterwards(done: Done) -> None:
    """What was started and reloaded, and what comes next."""
    if done.started:
        render.say(render.text("started", "bold green"), "it takes up to a minute until all are healthy")
    for url in done.reloaded:
        render.say(render.text("reloaded", "bold green"), url)
    for number, line in enumerate(_next(done), 1):
        render.say(render.text(f"{number}.", "dim"), line)


def _next(done: Done) -> Iterator[str]:
    yield from done.todo
    if done.lines or not done.changes or done.started or done.reloaded:
        return
    folder, client, policy = (
        shlex.quote(str(path))
        for path in (done.folder, done.folder / "client.env", done.folder / "policy" / "policy.yaml")
    )
    if done.env is None or done.settings:
        yield f"cd {folder} && docker compose up -d && docker compose restart {MOUNTED}"
    else:
        yield from [done.build] if done.build else []
        yield f"cd {folder} && docker compose up -d    (or: autoheal provision {folder} --start)"
        yield f"set -a; . {client}; set +a; autoheal smoke"
        yield f"make {policy} yours: autoheal policy check {policy}"


def differences(done: Done, as_json: bool) -> None:
    """`--diff`: what would be done, with the lines that differ; nothing was changed."""
    if as_json:
        render.as_json(as_dict(done) | {"changed": False, "would_change": done.changes})
        return
    show(done)
    for step in done.steps:
        if step.verb in ("kept", "updated", "replaced"):
            for line in difference(done.folder, step):
                render.say(render.text(line, {"+": "green", "-": "red"}.get(line[:1], "")))


def as_dict(done: Done) -> dict[str, Any]:
    return {
        "folder": str(done.folder),
        "changed": done.changes,
        "files": [{"path": step.path, "state": step.verb, "backup": step.backup or None} for step in done.steps],
        "secrets": [{"path": one.path, "state": one.state} for one in done.secrets],
        "settings": done.settings,
        "no_longer_shipped": done.gone,
        "lines": done.lines,
        "todo": done.todo,
        "started": done.started,
        "reloaded": done.reloaded,
    }
