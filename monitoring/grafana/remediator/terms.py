"""What the remediator's rows share: what is promised, which colour means what. The console has the exact counts."""

from __future__ import annotations

from monitoring.grafana.terms import HERE

ALERT = f'{HERE}, alertname=~"$alertname"'
ACTED = 'result=~"executed|failed|error|unknown"'
"""Results of what really ran."""

BUDGET = 0.001
"""Of the time: availability is promised for 99.9 %."""
HEARTBEAT, FAILURES, WRITE, HEAL = 300.0, 0.05, 0.2, 120.0
"""The promises: seconds, failures a second, seconds, seconds."""

MODES = {0: ("OFF", "red"), 1: ("DRY RUN", "blue"), 2: ("LIVE", "green"), 3: ("DRY RUN", "blue")}
MODE = f"2 * min(autoheal_enabled{{{HERE}}}) + max(autoheal_dry_run{{{HERE}}})"
RESULTS = {
    "executed": "green",
    "failed": "red",
    "error": "dark-red",
    "unknown": "purple",
    "dry_run": "blue",
    "skip": "#8e8e8e",
    "cooldown_skip": "#c4c4c4",
}
EFFECTS = {"healed": "green", "self_resolved": "blue", "ineffective": "red", "unknown": "purple"}
STATES = {"held": "yellow", "reserved": "light-blue", "running": "blue", "verifying": "green", "unknown": "purple"}
