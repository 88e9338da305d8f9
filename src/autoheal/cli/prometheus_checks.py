"""Whether Prometheus has our rules, scrapes us, and sends its alerts on: for `autoheal doctor` and `autoheal smoke`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from autoheal.cli.finding import Finding, bad, ok
from autoheal.cli.neighbours import ask_json, shown
from autoheal.core.errors import AutohealError

ALWAYS = "Watchdog"
"""It fires as long as all is well."""
JOB = "autoheal"
LOAD = "autoheal provision --only rules writes them and says which lines prometheus.yml needs; then reload it"
SCRAPE = "autoheal provision --only rules prints the scrape job; then reload Prometheus"
NOT_YET = "not scraped yet"
NO_TARGET = "no series of Autoheal, and no target for it"

Rules = Mapping[str, Mapping[str, Any]]


@cache
def expected() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names of the recording rules and of the alerts that are shipped."""
    import yaml

    from autoheal.cli import stack

    folder = stack.source()
    groups = [group for name in stack.RULES for group in yaml.safe_load((folder / name).read_bytes())["groups"]]
    rules = [rule for group in groups for rule in group["rules"]]
    recording, alerts = ([str(rule[kind]) for rule in rules if kind in rule] for kind in ("record", "alert"))
    return tuple(dict.fromkeys(recording)), tuple(dict.fromkeys(alerts))


async def check_prometheus(url: str, alertmanagers: Sequence[str] = ()) -> list[Finding]:
    """What it has of ours; a question that fails is a finding too. `alertmanagers`: where we think alerts are."""
    asked = (check_rules(url, firing=True), check_scrape(url), check_sends(url, alertmanagers))
    return [finding for found in await asyncio.gather(*asked) for finding in found]


# ---- rules ------------------------------------------------------------------------------------------------------


async def check_rules(url: str, firing: bool = False) -> list[Finding]:
    """Whether all are loaded; and, where it is asked for, which of the alerts fire."""
    try:
        known, shipped = expected()
        recording, alerts = _by_name(await ask_json(url, "/api/v1/rules"))
    except (AutohealError, KeyError, TypeError) as error:
        return [_not_told("recording rules", error)]
    found = [_loaded("recording rules", known, recording), _loaded("alert rules", shipped, alerts)]
    return [*found, *_firing(shipped, alerts)] if firing else found


def _firing(shipped: Sequence[str], alerts: Rules) -> list[Finding]:
    """Each alert about Autoheal that fires, with its runbook."""
    found = []
    for name in shipped:
        rule = alerts.get(name, {})
        if rule.get("state") == "firing" and name != ALWAYS:
            notes = rule.get("annotations") or {}
            told = f"{name} is firing"
            found.append(bad("firing", told, str(notes.get("runbook_url") or "docs/runbooks/README.md")))
    return found


def _by_name(answer: Any) -> tuple[Rules, Rules]:
    rules = [rule for group in answer["data"]["groups"] for rule in group["rules"]]
    kinds = ("recording", "alerting")
    first, second = ({rule["name"]: rule for rule in rules if rule["type"] == kind} for kind in kinds)
    return first, second


def _loaded(check: str, expected: Sequence[str], rules: Rules) -> Finding:
    missing = [name for name in expected if name not in rules]
    if len(missing) == len(expected):
        return bad(check, "none of Autoheal's is loaded", LOAD)
    if missing:
        return bad(check, f"{len(missing)} of {len(expected)} are not loaded: {_few(missing)}", LOAD)
    broken = [f"{name}: {rules[name].get('lastError')}" for name in expected if rules[name].get("health") == "err"]
    if broken:
        return bad(check, f"cannot be evaluated: {_few(broken)}", "is the file as shipped? promtool check rules FILE")
    fresh = sum(rules[name].get("health") == "unknown" for name in expected)
    told = [f"all {len(expected)} loaded"]
    told += [f"{fresh} not evaluated yet"] if fresh else []
    return ok(check, "; ".join(told))


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


# ---- the scrape -------------------------------------------------------------------------------------------------


async def check_scrape(url: str) -> list[Finding]:
    """Whether series of ours come in; where none do, what its targets say."""
    check = "scrape"
    try:
        answer = await ask_json(url, "/api/v1/query", query="autoheal_build_info")
        metrics = [series["metric"] for series in answer["data"]["result"]]
        if metrics:
            return [_scraped(check, metrics)]
        targets = (await ask_json(url, "/api/v1/targets", state="active"))["data"]["activeTargets"]
    except (AutohealError, KeyError, TypeError) as error:
        return [_not_told(check, error)]
    ours = [target for target in targets if _is_ours(target)]
    for target in ours:
        if target.get("health") == "down":
            where, why = target.get("scrapeUrl"), target.get("lastError")
            return [bad(check, f"{where}: {why}", "can Prometheus reach it under that name, and does Autoheal run?")]
    if ours:
        return [bad(check, f"{ours[0].get('scrapeUrl')} is {NOT_YET}", "wait for its scrape_interval, and look again")]
    return [bad(check, NO_TARGET, SCRAPE)]


def _scraped(check: str, metrics: Sequence[Mapping[str, str]]) -> Finding:
    """The rules go by the job's name, so that it must be the right one."""
    places = sorted(f"{one.get('instance', '?')} (version {one.get('version', '?')})" for one in metrics)
    jobs = sorted({str(one.get("job")) for one in metrics})
    if JOB not in jobs:
        told = f"series come in, but as job {', '.join(jobs)}: the rules and the dashboard look for {JOB}"
        return bad(check, told, f"set `job_name: {JOB}` in prometheus.yml, and reload it")
    return ok(check, f"series come in from {_few(places)}")


def _is_ours(target: Mapping[str, Any]) -> bool:
    labels = target.get("labels") or {}
    return "autoheal" in str(labels.get("job", "")).lower() or ":9009/" in str(target.get("scrapeUrl", ""))


# ---- where its alerts go ----------------------------------------------------------------------------------------


async def check_sends(url: str, alertmanagers: Sequence[str] = ()) -> list[Finding]:
    """Only a hint where the names differ: one Alertmanager may have several."""
    check = "sends"
    try:
        active = (await ask_json(url, "/api/v1/alertmanagers"))["data"]["activeAlertmanagers"]
        names = [str(one["url"]).removesuffix("/api/v2/alerts") for one in active]
    except (AutohealError, KeyError, TypeError) as error:
        return [_not_told(check, error)]
    if not names:
        return [bad(check, "it sends its alerts to no Alertmanager", "give prometheus.yml its `alerting` part")]
    told = f"its alerts go to {_few(names)}"
    ours = [shown(one) for one in alertmanagers]
    if ours and not {_place(one) for one in ours} & {_place(one) for one in names}:
        told += f", and ALERTMANAGER_URL here is {_few(ours)}: is that the same one under another name?"
        return [Finding(check, "off", told)]
    return [ok(check, told)]


def _place(url: str) -> str:
    return url.rstrip("/").lower()


def _not_told(check: str, error: Exception) -> Finding:
    why = str(error) if isinstance(error, AutohealError) else "answers, but not as Prometheus does"
    return bad(check, why, "is PROMETHEUS_URL right, and does it run?")
