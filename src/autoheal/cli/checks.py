"""What `autoheal doctor` looks at: each check gives findings, and for a red one what to do."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoheal.cli.backends import check_broker, check_database
from autoheal.cli.finding import Finding, bad, ok
from autoheal.core.errors import AutohealError, Invalid, Permanent, Temporary

if TYPE_CHECKING:
    from autoheal.clients.autoheal import AutohealClient
    from autoheal.clients.exchange import Reply
    from autoheal.config.settings import Settings
    from autoheal.core.policy import Policy

TIMEOUT = 5.0
"""Seconds for each neighbour's answer."""
MOST_SKEW = 5.0
"""Seconds that clocks may differ; `Date` is exact to one."""
LEAST_FREE = 256 * 1024 * 1024
"""Bytes that the data directory's disk should have left."""
SLOW_SYNC = 0.2
"""Seconds: the service level objective for a write of the trail."""
SYNCS = 5


# ---- our own settings -------------------------------------------------------------------------------------------


def read_settings(environ: Mapping[str, str]) -> tuple[Settings, list[Finding]]:
    """The settings as far as they can be used, and what is wrong with them."""
    from autoheal.config.mistakes import SettingsErrors
    from autoheal.config.settings import Settings

    try:
        settings = Settings.from_env(environ)
    except SettingsErrors as error:
        wrong = {mistake.partition(":")[0] for mistake in error.mistakes}
        found = [bad("settings", mistake, "correct the variable, or unset it") for mistake in error.mistakes]
        return _usable(environ, wrong), found
    mode = "dry run" if settings.dry_run else "live" if settings.enabled else "off"
    findings = [ok("settings", f"no mistake; mode {mode} at start")]
    findings += [bad("settings", line, "set it, or listen on 127.0.0.1") for line in settings.exposed()]
    return settings, findings


def _usable(environ: Mapping[str, str], wrong: set[str]) -> Settings:
    from autoheal.config.mistakes import SettingsErrors
    from autoheal.config.settings import Settings

    rest = {name: value for name, value in environ.items() if name.removesuffix("_FILE") not in wrong}
    try:
        return Settings.from_env({name: value for name, value in rest.items() if name not in wrong})
    except SettingsErrors:
        return Settings()


def check_policy(settings: Settings, environ: Mapping[str, str]) -> tuple[Policy | None, list[Finding]]:
    """The policy where it can be read, and what is to be said of it."""
    from autoheal import actions
    from autoheal.config.mistakes import PolicyErrors
    from autoheal.config.policy_file import load_policy

    try:
        policy = load_policy(settings.policy_file, environ, actions.KINDS, settings.policy_defaults)
    except PolicyErrors as error:
        more = f" (and {len(error.mistakes) - 1} more)" if len(error.mistakes) > 1 else ""
        return None, [bad("policy", f"{error.mistakes[0]}{more}", "autoheal policy check shows each with its line")]
    shipped = "" if settings.policy_file else "; AUTOHEAL_POLICY_FILE is not set, so it is the example"
    from autoheal.cli.render import counted

    return policy, [ok("policy", f"{policy.source}: {counted(len(policy.rules), 'rule')}{shipped}")]


# ---- the ledger -------------------------------------------------------------------------------------------------


def check_ledger(settings: Settings, policy: Policy | None) -> list[Finding]:
    """The data directory; or PostgreSQL, Redis, and the directory of the copy where one is written."""
    if settings.database_url is None:
        return check_directory(settings.data_dir) + _moved(settings.data_dir)
    url = settings.database_url.reveal()
    findings, processes = check_database(url, settings.database_pool, time.time)
    if settings.redis_url is not None:
        findings += check_broker(settings.redis_url.reveal(), policy, processes)
    else:
        findings.append(Finding("Redis", "off", "REDIS_URL is not set: each `autoheal serve` acts by itself"))
    return findings + (check_directory(settings.audit_path.parent, "AUTOHEAL_AUDIT_PATH") if settings.copies else [])


def _moved(directory: Path) -> list[Finding]:
    from autoheal.store.transfer import NOTE, moved_away

    try:
        said = moved_away(directory)
    except Permanent as error:
        said = str(error)
    return [bad("moved", said, f"set DATABASE_URL; {directory / NOTE} says where to")] if said else []


def check_directory(directory: Path, variable: str = "AUTOHEAL_DATA_DIR") -> list[Finding]:
    """Writable, room on the disk, and how long a write takes until it is durable."""
    name = "data directory" if variable == "AUTOHEAL_DATA_DIR" else "copy"
    place = directory.absolute()
    try:
        if not place.exists():
            place = next(parent for parent in place.parents if parent.exists())
            if not os.access(place, os.W_OK):
                return [
                    bad(name, f"{directory} is not there and cannot be made", f"make it, or let us write to {place}")
                ]
        if not place.is_dir():
            return [bad(name, f"{place} is no directory", f"set {variable} to one")]
        took = _sync_time(place)
        free = shutil.disk_usage(place).free
    except OSError as error:
        return [bad(name, f"{place}: {error.strerror or error}", "let the user that runs Autoheal write to it")]
    made = "" if place == directory.absolute() else " (made at the first start)"
    findings = [ok(name, f"{directory}{made} is writable")]
    told = f"{free / 2**30:.1f} GiB free"
    room = "make room: where nothing can be written, nothing is done"
    findings.append(ok("disk", told) if free >= LEAST_FREE else bad("disk", told, room))
    told = f"durable after {took * 1000:.1f} ms"
    slow = f"put {variable} on a faster, local disk"
    findings.append(ok("fsync", told) if took <= SLOW_SYNC else bad("fsync", told, slow))
    return findings


def _sync_time(place: Path) -> float:
    """Seconds of the median of a few small writes with fsync; the file leaves no trace."""
    times = []
    with tempfile.NamedTemporaryFile(prefix=".autoheal-doctor-", dir=place) as file:
        for _ in range(SYNCS):
            began = time.perf_counter()
            file.write(b"\0" * 4096)
            file.flush()
            os.fsync(file.fileno())
            times.append(time.perf_counter() - began)
    return sorted(times)[SYNCS // 2]


# ---- Autoheal itself --------------------------------------------------------------------------------------------


def check_autoheal(client: AutohealClient, version: str, shared: bool = False) -> list[Finding]:
    """`shared`: its ledger is in PostgreSQL, as far as our settings say."""
    name = "Autoheal"
    away = "is the database there? its own line above says more, and so does the log" if shared else ""
    try:
        found = client.get("/")
    except AutohealError as error:
        return [bad(name, str(error), "start it with `autoheal serve`, or say where it is with --url")]
    if "version" not in found or "enabled" not in found:
        return [bad(name, f"{client.url} answers, but is not Autoheal", "say where it is with --url")]
    theirs = str(found["version"])
    differs = "" if theirs == version else f" (this command is {version})"
    mode = "dry run" if found.get("dry_run") else "live" if found.get("enabled") else "off"
    findings = [ok(name, f"{client.url}, version {theirs}{differs}, {mode}")]
    try:
        client.get("/readyz")
        findings.append(ok("ready", "able to persist and to decide"))
    except AutohealError as error:
        fix = away or "see its log; most often the disk is full or not writable"
        if "policy" in str(error):
            fix = "see its log; give every process the same version, then load the policy again"
        findings.append(bad("ready", str(error), fix))
    try:
        client.get("/audit", {"n": 1})
        findings.append(ok("access", "the token is good, or none is needed"))
    except Temporary as error:
        findings.append(bad("access", str(error), away or "see its log: the ledger cannot be read"))
    except AutohealError as error:
        findings.append(bad("access", str(error), "set AUTOHEAL_ADMIN_TOKEN as the service has it"))
    return findings


# ---- neighbours -------------------------------------------------------------------------------------------------


def check_neighbours(alertmanagers: Sequence[str], prometheus: str | None) -> list[Finding]:
    """Ask every Alertmanager and Prometheus at once."""
    return asyncio.run(_neighbours(alertmanagers, prometheus))


async def _neighbours(alertmanagers: Sequence[str], prometheus: str | None) -> list[Finding]:
    asked = [_neighbour("Alertmanager", url, "/api/v2/status", _alertmanager) for url in alertmanagers]
    if prometheus is not None:
        asked.append(_neighbour("Prometheus", prometheus, "/api/v1/status/buildinfo", _prometheus))
    found = [finding for findings in await asyncio.gather(*asked) for finding in findings]
    if not alertmanagers:
        missing = "ALERTMANAGER_URL is not set: no acknowledgements, no escalations, no `resolved` checks"
        found.insert(0, Finding("Alertmanager", "off", missing))
    if prometheus is None:
        found.append(Finding("Prometheus", "off", "PROMETHEUS_URL is not set: no `promql` checks"))
    return found


async def _neighbour(name: str, url: str, path: str, read: Any) -> list[Finding]:
    from autoheal.clients.exchange import client, exchange, place

    web = client(keep=False)
    began = time.time()
    try:
        where = place(url)
        answer = await exchange(web, "GET", where.url + path, timeout=TIMEOUT, auth=where.auth, limit=4 * 1024 * 1024)
        if not answer.ok:
            raise Temporary(f"answered {answer.status}")
        told = read(answer.json())
    except (AutohealError, KeyError, TypeError) as error:
        why = str(error) if isinstance(error, AutohealError) else "answers, but not as expected"
        return [bad(name, f"{url}: {why}", f"is {name.upper()}_URL right, and does it run?")]
    finally:
        await web.aclose()
    return [ok(name, f"{where.url}, {told}"), *_skew(name, answer, began, time.time())]


def _alertmanager(found: Any) -> str:
    cluster = found["cluster"]
    peers = len(cluster.get("peers") or [])
    shown = f", cluster {cluster['status']}" + (f" of {peers}" if peers else "")
    return f"version {found['versionInfo']['version']}{shown}"


def _prometheus(found: Any) -> str:
    return f"version {found['data']['version']}"


def _skew(name: str, answer: Reply, began: float, ended: float) -> list[Finding]:
    """How far our clock is from theirs, which is somewhere in the second that `Date` names."""
    try:
        theirs = parsedate_to_datetime(answer.headers["date"]).timestamp()
    except (KeyError, TypeError, ValueError):
        return []
    gap = theirs - ended if theirs > ended else min(0.0, theirs + 1 - began)
    if abs(gap) <= MOST_SKEW:
        return [ok("clock", f"within {MOST_SKEW:.0f} s of {name}'s")]
    side = "ahead of" if gap > 0 else "behind"
    fix = "set both clocks by NTP: silences and cooldowns go by the clock"
    return [bad("clock", f"{name} is {abs(gap):.0f} s {side} us", fix)]


# ---- all of them ------------------------------------------------------------------------------------------------


def examine(environ: Mapping[str, str], data_dir: Path | None, connect: Any) -> list[Finding]:
    """Every finding, in the order in which to mend them. `connect` gives the client of Autoheal."""
    from autoheal import __version__

    settings, findings = read_settings(environ)
    if data_dir is not None:
        settings = replace(settings, data_dir=data_dir)
    policy, found = check_policy(settings, environ)
    findings += found + check_ledger(settings, policy)
    try:
        with connect() as client:
            findings += check_autoheal(client, __version__, settings.database_url is not None)
    except Invalid as error:
        findings.append(bad("Autoheal", str(error), "correct it"))
    return findings + check_neighbours(settings.alertmanager_urls, settings.prometheus_url)
