"""What `autoheal doctor` looks at: each check gives findings, and for a red one what to do."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoheal.cli.backends import check_broker, check_database
from autoheal.cli.finding import Finding, bad, ok
from autoheal.cli.neighbours import check_neighbours
from autoheal.cli.prom_text import value_of
from autoheal.cli.render import when_and_age
from autoheal.cli.slack_checks import check_slack, check_threader
from autoheal.core.errors import AutohealError, Invalid, NotFound, Permanent, Temporary

if TYPE_CHECKING:
    from autoheal.clients.autoheal import AutohealClient
    from autoheal.config.settings import Settings
    from autoheal.core.policy import Policy

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
    findings = [ok("settings", f"no mistake; mode {_mode(settings)} at start")]
    findings += [bad("settings", line, "unset it") for line in settings.not_yet()]
    findings += [bad("settings", line, "set it, or keep Autoheal to this machine") for line in settings.exposed()]
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


def check_trail(settings: Settings) -> list[Finding]:
    """The head of the chain as it is stored, and whether the copy beside it has kept up."""
    from autoheal.engine.ports import StoreUnavailable
    from autoheal.store import status
    from autoheal.store.sqlite import database_path, database_url

    name = "trail"
    if settings.database_url is None and not database_path(settings.data_dir).exists():
        return [Finding(name, "off", f"no ledger in {settings.data_dir} yet: the first start makes it")]
    url = settings.database_url.reveal() if settings.database_url else database_url(settings.data_dir)
    try:
        head = status.status(url).head
    except (StoreUnavailable, Permanent) as error:
        if settings.database_url is not None:
            return []  # what is wrong with the database has been said
        return [bad(name, str(error), "autoheal db status says more")]
    if head is None or not head.id:
        return [Finding(name, "off", "it holds no event yet")]
    told = f"newest event {head.id}, {when_and_age(head.ts, time.time())}; chain head {head.hash[:16]}"
    return [ok(name, told), *(_copy(settings.audit_path, head.id) if settings.copies else ())]


def _copy(path: Path, head: int) -> list[Finding]:
    """The copy is written just after the ledger; only what stays behind is told."""
    from autoheal.store.lines import last_line, row_of

    last = -1
    for pause in (0.0, 0.2, 0.8):
        time.sleep(pause)
        try:
            row = row_of(last_line(path))
        except FileNotFoundError:
            return [bad("audit copy", f"{path} is not there", "the next start writes it anew; see the log for why")]
        except OSError as error:
            return [bad("audit copy", f"{path}: {error.strerror or error}", "let who runs the doctor read it")]
        last = row.id if row is not None else -1
        if last >= head:
            return [ok("audit copy", f"{path} has kept up")]
        if last < 0:
            return []  # just rotated, or its last line is half written: `audit verify` is the judge of that
    fix = "see the log: is the disk full, or was the file changed? It catches up by itself, and at the next start"
    return [bad("audit copy", f"{path} is {head - last} events behind", fix)]


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
    return [*findings, _access(client, away), _webhooks(client), _console(client)]


def check_same(client: AutohealClient, settings: Settings, policy: Policy | None) -> list[Finding]:
    """Where the running service is not what this shell's environment says; nothing where both agree, or it is away."""
    try:
        home = client.get("/")
        theirs = "dry run" if home["dry_run"] else "live" if home["enabled"] else "off"
    except (AutohealError, KeyError):
        return []
    differ = [] if theirs == _mode(settings) else [f"it is {theirs}, and here it would start {_mode(settings)}"]
    try:
        running = {str(rule["name"]) for rule in client.get("/rules")["rules"]}
    except (AutohealError, KeyError, TypeError):
        running = None
    if policy is not None and running is not None:
        ours = {rule.name for rule in policy.rules}
        if running - ours:
            differ.append(f"rules that only the service has: {', '.join(sorted(running - ours)[:4])}")
        if ours - running:
            differ.append(f"rules that only the policy here has: {', '.join(sorted(ours - running)[:4])}")
    told = f"the service differs from this environment: {'; '.join(differ)}; `here` is not the service"
    return [Finding("same", "off", told)] if differ else []


def _mode(settings: Settings) -> str:
    return "dry run" if settings.dry_run else "live" if settings.enabled else "off"


def _here(finding: Finding) -> Finding:
    """What was seen from this environment; the service may run in another."""
    local = ("settings", "policy", "data directory", "disk", "trail")
    return replace(finding, detail=f"here: {finding.detail}") if finding.check in local else finding


def _access(client: AutohealClient, away: str) -> Finding:
    try:
        client.get("/audit", {"n": 1})
    except Temporary as error:
        return bad("access", str(error), away or "see its log: the ledger cannot be read")
    except AutohealError as error:
        return bad("access", str(error), "set AUTOHEAL_ADMIN_TOKEN as the service has it")
    return ok("access", "the token is good, or none is needed")


def _webhooks(client: AutohealClient) -> Finding:
    """When it last heard of an Alertmanager: what a configuration promises, this shows."""
    try:
        last = value_of(client.text("/metrics"), "autoheal_last_webhook_timestamp")
    except AutohealError as error:
        return bad("webhooks", f"/metrics: {error}", "see its log")
    if not last:
        return Finding("webhooks", "off", "none has come since it was started")
    return ok("webhooks", f"the last one came {when_and_age(last, time.time())}")


def _console(client: AutohealClient) -> Finding:
    try:
        client.text("/console")
    except Temporary as error:
        said = "it was not built" if "answered 503" in str(error) else str(error)
        return bad("console", said, "install Autoheal from its wheel; in a checkout run scripts/console")
    except NotFound:
        return Finding("console", "off", "this Autoheal has none")
    except AutohealError:
        return ok("console", f"{client.url}/console, which asks you to sign in")
    return ok("console", f"{client.url}/console")


# ---- all of them ------------------------------------------------------------------------------------------------


def examine(environ: Mapping[str, str], data_dir: Path | None, connect: Any) -> list[Finding]:
    """Every finding, in the order in which to mend them. `connect` gives the client of Autoheal."""
    from autoheal import __version__

    settings, findings = read_settings(environ)
    if data_dir is not None:
        settings = replace(settings, data_dir=data_dir)
    policy, found = check_policy(settings, environ)
    findings += found + check_ledger(settings, policy) + check_trail(settings)
    findings = [_here(finding) for finding in findings]
    try:
        with connect() as client:
            found = check_autoheal(client, __version__, settings.database_url is not None)
            findings += found + check_same(client, settings, policy)
            if found[0].state == "ok":
                findings += check_threader(client, settings)
    except Invalid as error:
        findings.append(bad("Autoheal", str(error), "correct it"))
    findings += check_neighbours(settings.alertmanager_urls, settings.prometheus_url)
    return findings + check_slack(settings, policy)
