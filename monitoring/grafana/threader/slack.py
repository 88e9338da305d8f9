"""Are people told: whether Slack takes what we post, what waits, and what became of the calls."""

from __future__ import annotations

from monitoring.grafana.panels import Json, bars, columns, field, lines, now, override, query, stat, table, timeline
from monitoring.grafana.terms import HERE, HIGH, MIDDLE, SHORT, below, increase

OLD = 120.0
"""Seconds: what waits longer is told by ThreaderQueueOld."""
UP = f"min(threader_slack_up{{{HERE}}})"
OLDEST = f"max(threader_queue_oldest_seconds{{{HERE}}})"
UNSAID = f"max(threader_unsaid_lines{{{HERE}}})"
OPEN = f"max(threader_conversations_open{{{HERE}}})"
SLACK = {0: ("REFUSED", "red"), 1: ("UP", "green")}
KINDS = {"post": "blue", "edit": "purple"}
CALLS = {
    "post: posted": "green",
    "edit: edited": "blue",
    "post: limited": "orange",
    "post: doubt": "purple",
    "look: posted": "light-green",
    "look: absent": "light-purple",
}
SIXTH, THIRD, HALF = 4, 8, 12


def are_people_told() -> list[Json]:
    return [
        stat(
            "Slack",
            "Whether Slack takes what is posted. REFUSED: the token, or every channel of the policy; /health says "
            "which. A Slack that cannot be reached at all stays UP: then the oldest that waits grows.",
            (SIXTH, SHORT),
            now(UP),
            field("short", says=SLACK, nothing="not asked yet"),
        ),
        stat(
            "Oldest that waits",
            "How long the oldest message or edit has been waiting for Slack. Seconds are normal; in a storm minutes, "
            "for Slack takes one message a second and channel. Over two minutes for five: ThreaderQueueOld.",
            (SIXTH, SHORT),
            now(OLDEST),
            field("s", below(OLD, 30), decimals=0, nothing="no threader answers"),
        ),
        stat(
            "Waiting",
            "Conversations in which something has to be posted or edited. Edits coalesce: one each, with the newest.",
            (SIXTH, SHORT),
            now(f"sum(max by (kind) (threader_queue_depth{{{HERE}}}))"),
            field("short", below(500, 100), decimals=0, nothing="no threader answers"),
        ),
        stat(
            "Replies to be posted",
            "Lines that people have to be told in threads, and that are not posted yet. Several go into one reply.",
            (SIXTH, SHORT),
            now(UNSAID),
            field("short", below(1000, 200), decimals=0, nothing="no threader answers"),
        ),
        stat(
            "Conversations open",
            "Groups of alerts that fire now, as far as the threader knows; each has one thread.",
            (SIXTH, SHORT),
            now(OPEN),
            field("short", decimals=0, nothing="no threader answers"),
        ),
        stat(
            "Dropped",
            "Lines that were never told, since the processes were started. It must be 0, always.",
            (SIXTH, SHORT),
            now(f"sum(threader_dropped_total{{{HERE}}})"),
            field("short", below(1), decimals=0, nothing="no threader answers"),
        ),
        threaders(),
        timeline(
            "Slack over time",
            "When Slack took what was posted. Red lines across all panels mark the times when it did not.",
            (THIRD, MIDDLE),
            query(UP, "Slack"),
            field("short", says=SLACK),
        ),
        firing(),
    ]


def threaders() -> Json:
    shown = {"instance": "Process", "job": "Job", "Value #A": "Well", "Value #B": "Slack"}
    words = {"0": {"text": "no", "color": "red", "index": 0}, "1": {"text": "yes", "color": "green", "index": 1}}
    cell = {"custom.cellOptions": {"type": "color-text"}, "mappings": [{"type": "value", "options": words}]}
    return table(
        "Threaders",
        "Every process with threads: whether it can take alerts, and whether Slack takes what it posts. One that is "
        "missing here does not answer Prometheus.",
        (THIRD, MIDDLE),
        [
            now(f"max by (instance, job) (threader_health_status{{{HERE}}})", form="table"),
            now(f"max by (instance) (threader_slack_up{{{HERE}}})", form="table", ref="B"),
        ],
        [
            {"id": "joinByField", "options": {"byField": "instance", "mode": "outer"}},
            columns(shown, ("Time", "Time 1", "Time 2")),
        ],
        shown=field("short", nothing="no threader answers"),
        overrides=[override("Well", cell), override("Slack", cell)],
        sort="Process",
        down=False,
    )


def firing() -> Json:
    shown = {"alertname": "Alert", "alertstate": "State", "severity": "Severity"}
    text = {"type": "value", "options": {"firing": {"color": "red"}, "pending": {"color": "orange"}}}
    runbook = {"title": "The rule and its runbook", "url": "/alerting/list?search=rule:${__data.fields.Alert}"}
    return table(
        "Alerts about the threads",
        "Rules of Prometheus about the threads that fire, or will if it lasts. A name leads to its runbook.",
        (THIRD, MIDDLE),
        [now('max by (alertname, alertstate, severity) (ALERTS{alertname=~"Threader.*"})', form="table")],
        [columns(shown, ("Time", "Value"))],
        shown=field("string", nothing="nothing fires"),
        overrides=[
            override("State", {"custom.cellOptions": {"type": "color-text"}, "mappings": [text]}),
            override("Alert", {"links": [runbook | {"targetBlank": True}]}),
        ],
        sort="State",
        down=False,
    )


def the_queue() -> list[Json]:
    return [
        lines(
            "What waits, by kind",
            "Posts are first messages and replies; edits bring first messages up to date. The worst goes first.",
            (THIRD, HIGH),
            [query(f"max by (kind) (threader_queue_depth{{{HERE}}})", "{{kind}}")],
            "short",
            colors=KINDS,
            stacked=True,
            steps=True,
        ),
        lines(
            "Age of the oldest",
            "A slope that only rises: nothing gets through. Dashed: two minutes.",
            (THIRD, HIGH),
            [query(OLDEST, "oldest")],
            "s",
            limit=OLD,
        ),
        lines(
            "Conversations and unsaid lines",
            "Groups that fire, and the lines that their threads have still to be told.",
            (THIRD, HIGH),
            [query(OPEN, "conversations open"), query(UNSAID, "lines unsaid", ref="B")],
            "short",
            colors={"conversations open": "blue", "lines unsaid": "orange"},
            steps=True,
        ),
    ]


def calls() -> list[Json]:
    made = f'threader_slack_calls_total{{{HERE}, method="edit", result="edited"}}'
    by = increase(f"threader_slack_calls_total{{{HERE}}}", "method, result")
    return [
        bars(
            "Calls by result",
            "post: posted and edit: edited are what should be. limited: Slack wants fewer. doubt: the answer was lost; "
            "look: it is looked for, and found (posted) or not there (absent). closed, gone: a channel or a first "
            "message is not there any more. later: not reached.",
            (HALF, HIGH),
            [query(f'label_join({by} > 0, "named", ": ", "method", "result")', "{{named}}")],
            colors=CALLS,
        ),
        bars(
            "Tried again, by reason",
            "Posts and edits that were not done at the first try. lost: its answer was, and it did not come to stand "
            "there. limited, later, down: Slack would not, or could not be reached. parent_gone: somebody deleted it.",
            (HALF, HIGH),
            [query(f"{increase(f'threader_posts_retried_total{{{HERE}}}', 'reason')} > 0", "{{reason}}")],
            colors={"limited": "orange", "later": "yellow", "lost": "purple", "down": "red"},
        ),
        bars(
            "Edits made and saved",
            "Edits that were made, and those that a later change made unnecessary before their turn came.",
            (HALF, HIGH),
            [
                query(increase(made), "made"),
                query(increase(f"threader_edits_coalesced_total{{{HERE}}}"), "saved", ref="B"),
            ],
            colors={"made": "blue", "saved": "green"},
        ),
        bars(
            "What went wrong, by kind",
            "Everything that did not go as it should: Slack's words begin with slack_, what people and strangers were "
            "told with refused_. Many unauthorized: the signing secret is another app's. internal: our own mistakes.",
            (HALF, HIGH),
            [query(f"{increase(f'threader_errors_total{{{HERE}}}', 'kind')} > 0", "{{kind}}")],
            colors={"internal": "red", "store": "dark-red", "unauthorized": "purple", "limited": "orange"},
        ),
    ]
