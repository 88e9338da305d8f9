"""What `autoheal doctor` looks at in PostgreSQL and Redis, and who is there to work."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from autoheal.cli.finding import Finding, bad, ok
from autoheal.core.errors import AutohealError, Permanent

if TYPE_CHECKING:
    from autoheal.core.policy import Policy
    from autoheal.engine.ports import Presence
    from autoheal.store.status import Server, Status

OLDEST = 14
"""PostgreSQL's first version that has what the store asks for."""
MOST_SKEW = 2.0
"""Seconds that the database's clock may differ before it is told."""
WRITER, CLAIMS = 1, 2
"""Connections of each process besides its readers."""

Found = list[Finding]


# ---- PostgreSQL -------------------------------------------------------------------------------------------------


def check_database(url: str, pool: int, now: Callable[[], float]) -> tuple[Found, list[Presence] | None]:
    """What is to be said of the database, and the processes on it; None where they cannot be seen."""
    from autoheal.engine.ports import StoreUnavailable
    from autoheal.store import status
    from autoheal.store.session import place

    name = "database"
    try:
        server = status.server(url, now)
    except StoreUnavailable as error:
        return [bad(name, str(error), "is DATABASE_URL right, does the server run, and does it let us in?")], None
    except Permanent as error:
        return [_permanent(name, error, "mend that, or ask who runs the database")], None
    findings = [*_version(server, place(url)), *_durable(server), _clock(server)]
    try:
        held = status.status(url)
        processes = status.processes(url) if held.fits else None
    except (StoreUnavailable, Permanent) as error:
        findings.append(bad("schema", str(error), "give our role the right to read and write its tables"))
        return findings, None
    findings += [_schema(held), _connections(server, pool, processes or ())]
    return findings + _processes(processes), processes


def _permanent(name: str, error: Permanent, fix: str) -> Finding:
    """What a person must change: that a library is missing says itself what to install."""
    told, says, command = str(error).partition(": pip install ")
    return bad(name, told, f"pip install {command}") if says else bad(name, str(error), fix)


def _version(server: Server, place: str) -> Iterator[Finding]:
    told = f"{place}, PostgreSQL {server.version}"
    if server.number < OLDEST * 10_000:
        yield bad("database", told, f"Autoheal needs PostgreSQL {OLDEST} or newer: upgrade the server")
    elif server.standby:
        yield bad("database", f"{told}, which only reads", "point DATABASE_URL at the primary, not at a standby")
    else:
        yield ok("database", told)
    if server.encoding != "UTF8":
        yield bad("encoding", f"texts are kept as {server.encoding}", "make the database anew with ENCODING 'UTF8'")


def _durable(server: Server) -> Found:
    off = [name for name, value in server.settings.items() if value == "off"]
    if not off:
        return [ok("durable", f"{', '.join(server.settings)}: on")]
    fix = f"set {', '.join(f'{name} = on' for name in off)}: what is decided must outlive a power cut"
    return [bad("durable", f"{', '.join(off)}: off", fix)]


def _clock(server: Server) -> Finding:
    gap = abs(server.ahead)
    if gap <= MOST_SKEW + server.took / 2:
        return ok("database clock", f"within {MOST_SKEW:.0f} s of ours")
    side = "ahead of" if server.ahead > 0 else "behind"
    return ok("database clock", f"{gap:.0f} s {side} ours: harmless, for every process goes by the database's")


def _schema(held: Status) -> Finding:
    if held.fits:
        at = f"event {held.head.id}" if held.head is not None and held.head.id else "no event yet"
        return ok("schema", f"{held.schema}, {at}")
    told, _, fix = held.misfit.partition(": ")
    return bad("schema", told, fix)


def _connections(server: Server, pool: int, processes: Sequence[Presence]) -> Finding:
    each = WRITER + CLAIMS + pool
    count = max(1, sum(process.alive for process in processes))
    needed = each * count
    told = f"{each} for each process (writer {WRITER}, claims {CLAIMS}, readers {pool})"
    told += f", {needed} for {count}" if count > 1 else ""
    told += f"; the server has {server.connections}, {server.used} in use"
    if needed <= server.connections:
        return ok("connections", told)
    return bad("connections", told, "raise max_connections, or lower AUTOHEAL_DATABASE_POOL")


def _processes(processes: Sequence[Presence] | None) -> Found:
    """One line for each; a dead one is red only where nobody does its work."""
    if processes is None:
        return []
    if not processes:
        return [Finding("processes", "off", "none is on this ledger now")]
    roles = {_role(process) for process in processes if process.alive and process.data.get("able") is not False}
    found = []
    for process in processes:
        shown = f"{_role(process)} {process.instance}"
        if process.alive and process.data.get("able") is False:
            told = f"{shown} is there but cannot decide: it cannot read the policy in force"
            found.append(bad("process", told, "its log says why; give every process the same version of Autoheal"))
            continue
        if process.alive:
            version = process.data.get("version")
            told = f"{shown}{f', version {version}' if version else ''}, its lease lasts {process.left:.0f} s"
            found.append(ok("process", told))
            continue
        gone = f"{shown} is gone for {_span(-process.left)} and did not take leave"
        if _role(process) in roles:
            found.append(Finding("process", "off", f"{gone}; others do its work"))
        else:
            found.append(bad("process", gone, "start it again; the log says why it ended"))
    modes = {_mode(*process.data["mode"]) for process in processes if process.alive and "mode" in process.data}
    if len(modes) > 1:
        told = f"they were started in {' and '.join(sorted(modes))}: the safer one holds"
        found.append(bad("mode", told, "give all the same AUTOHEAL_ENABLED and AUTOHEAL_DRY_RUN"))
    return found


def _mode(enabled: bool, dry_run: bool) -> str:
    return "dry run" if dry_run else "live" if enabled else "off"


def _role(process: Presence) -> str:
    return str(process.data.get("role") or "process")


def _span(seconds: float) -> str:
    from autoheal.cli.render import span

    return span(seconds)


# ---- Redis ------------------------------------------------------------------------------------------------------


def check_broker(redis_url: str, policy: Policy | None, processes: Sequence[Presence] | None) -> Found:
    """What is to be said of Redis, its queues, and who serves them."""
    from autoheal.engine.dispatch import queues_of

    named, open_ones = named_queues(policy)
    served = {queue for process in processes or () for queue in queues_of(process)}
    try:
        from autoheal.clients.broker import PREFIX, inspect

        report = inspect(redis_url, sorted(named | served))
    except Permanent as error:
        return [_permanent("Redis", error, "correct the user and password in REDIS_URL, or the ACL in Redis")]
    except AutohealError as error:
        return [bad("Redis", str(error), "is REDIS_URL right, and does it run? Until then AUTOHEAL_BROKER_DOWN holds")]
    findings = [ok("Redis", f"version {report.version}"), _eviction(report.policy)]
    depths = ", ".join(f"{name} {report.depths[name]}" for name in sorted(report.depths))
    findings.append(ok("queues", f"waiting: {depths}"))
    for name in sorted((named | served) - report.depths.keys()):
        told = f"{name}: Redis holds something else than a list in its place, or does not let us read it"
        findings.append(bad("queues", told, f"look at the key {PREFIX}{name} in Redis; delete it if nobody needs it"))
    if processes is not None:
        findings += _workers(named, processes)
    if open_ones:
        told = f"the queue of {', '.join(open_ones)} depends on the alert: whether workers serve it is not seen here"
        findings.append(Finding("workers", "off", told))
    return findings


def named_queues(policy: Policy | None) -> tuple[set[str], list[str]]:
    """The queues that the policy names, and the rules that name one only with the alert at hand."""
    from autoheal.core.policy import DEFAULT_QUEUE

    rules = policy.rules if policy is not None else ()
    named = {rule.queue or DEFAULT_QUEUE for rule in rules if "{" not in rule.queue}
    return named or {DEFAULT_QUEUE}, [rule.name for rule in rules if "{" in rule.queue]


def _eviction(policy: str | None) -> Finding:
    name = "eviction"
    if policy is None:
        told = "Redis does not tell its maxmemory-policy; see in its console that it is noeviction"
        return Finding(name, "off", told)
    if policy == "noeviction":
        return ok(name, "maxmemory-policy is noeviction")
    fix = "CONFIG SET maxmemory-policy noeviction, and in redis.conf"
    return bad(name, f"maxmemory-policy is {policy}: when memory is short, Redis throws messages away", fix)


def _workers(named: set[str], processes: Sequence[Presence]) -> Iterator[Finding]:
    from autoheal.engine.dispatch import queues_of

    for queue in sorted(named):
        count = sum(process.alive and queue in queues_of(process) for process in processes)
        if count:
            yield ok("workers", f"{count} on queue {queue}")
        else:
            fix = f"start one: AUTOHEAL_WORKER_QUEUES={queue} autoheal worker"
            yield bad("workers", f"none on queue {queue}: its actions wait", fix)
