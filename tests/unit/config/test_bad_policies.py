"""Policy files that are wrong: every mistake at once, each at its place and in its words."""

from __future__ import annotations

import pytest

from autoheal.config.mistakes import MOST
from autoheal.config.nodes import MAX_BYTES, MAX_NODES
from autoheal.config.policy_file import PolicyErrors, parse_policy
from tests.unit.config.kinds import KINDS

STEPS = "    steps: [{action: {say: {words: [x]}}}]\n"
RULE = "version: 1\nrules:\n  - name: r\n    match: [a=b]\n"
"""Four lines; what is put behind it begins on line 5."""
STEP = RULE + "    steps:\n      - action: {say: {words: [x]}}\n"
"""Six lines; what is put behind it begins on line 7."""
PROBE = "version: 1\nrules: []\nprobes:\n"
"""Three lines; what is put behind it begins on line 4."""

SHORT = "(a second copy of an alert from a pair of Alertmanagers may come this late)"
PLACEHOLDERS = "is no placeholder; there are {labels.NAME}, {annotations.NAME}, {alertname}, {fingerprint}"
BRACKETS = "between brackets put ${...} in quotes"
DURATION = "write it as 90s, 10m, 4h5m or 1d"

THREADER = "version: 1\nrules: []\nthreader:\n"
"""Three lines; what is put behind it begins on line 4."""
CHANNEL = "is no channel: a #name in small letters, without spaces, or an id"
INSTEAD = "a channel is a #name, or an id with C or G in front"
COMMENT = "a # begins a comment"
QUOTES = "put a name that begins with it in quotes"
NO_TOKEN = "found character that cannot start any token"
HERE = ' (did you mean "@here"?)'
THREADER_KEYS = (
    "admins, channels, fallback, flapping, limits, mention, new_thread_after, news_after, operators, "
    "remind_before, routes"
)
NOBODY = "@here, @channel, @everyone, a person's id such as U0ABC123 or a group's such as S0ABC123"

BAD: dict[str, tuple[str, list[str]]] = {
    # ---- the file ----
    "empty": ("", ["1:1: the file is empty"]),
    "comments only": ("# nothing\n", ["1:1: the file is empty"]),
    "a list": ("- a\n", ["1:1: policy: expected a mapping, got a list"]),
    "a text": ("hello\n", ['1:1: policy: expected a mapping, got "hello"']),
    "null": ("---\n", ["2:1: policy: expected a mapping, got nothing"]),
    "not YAML": (
        "version: 1\nrules: [\n",
        ["3:1: not YAML: while parsing a flow node did not find expected node content"],
    ),
    "a tab": (
        "version: 1\n\trules: []\n",
        ["2:1: not YAML: while scanning a plain scalar found a tab character that violates indentation"],
    ),
    "variable between brackets": (
        "version: 1\nrules: [${A}]\n",
        [
            f"2:10: not YAML: while parsing a flow sequence did not find expected ',' or ']'; {BRACKETS}",
        ],
    ),
    "two documents": (
        "version: 1\nrules: []\n---\nversion: 1\n",
        ["3:1: a second document; a policy is one"],
    ),
    "a tag": (
        "version: 1\nrules: !!python/name:os.system []\n",
        ["2:8: tag 'tag:yaml.org,2002:python/name:os.system' is not supported"],
    ),
    "no anchor": ("version: 1\nrules: *nope\n", ["2:8: alias *nope has no anchor before it"]),
    "contains itself": ("version: 1\nrules: &a [*a]\n", ["2:12: alias *a contains itself"]),
    "merge key": (
        RULE + STEPS + "    <<: {opt_in: true}\n",
        ["6:5: merge keys are not supported"],
    ),
    "key twice": (
        RULE + STEPS + "    opt_in: true\n    opt_in: false\n",
        ['7:5: key "opt_in" is given twice'],
    ),
    "key is a list": ("version: 1\nrules: []\n? [a]\n: b\n", ["3:3: a key must be text"]),
    "too deep": ("a: " + "[" * 33 + "]" * 33, ["1:35: nested deeper than 32 levels"]),
    "control character": (
        RULE + '    steps: [{action: {say: {words: ["a\\0b"]}}}]\n',
        ["5:37: holds the control character '\\x00'"],
    ),
    "lone surrogate": (
        RULE + '    steps: [{action: {say: {words: ["\\ud800"]}}}]\n',
        ["5:40: not YAML: while parsing a quoted scalar found invalid Unicode character escape code"],
    ),
    # ---- the top ----
    "no version, no rules": ("{}\n", ['1:1: policy: key "rules" is missing', '1:1: policy: key "version" is missing']),
    "version 2": ("version: 2\nrules: []\n", ["1:10: version: expected 1, the only version there is"]),
    "version as text": ('version: "1"\nrules: []\n', ["1:10: version: expected 1, the only version there is"]),
    "version true": ("version: true\nrules: []\n", ["1:10: version: expected 1, the only version there is"]),
    "unknown key": ("version: 1\nrule: []\nrules: []\n", ['2:1: policy: unknown key "rule" (did you mean "rules"?)']),
    "rules is a mapping": ("version: 1\nrules: {a: b}\n", ["2:8: rules: expected a list, got a mapping"]),
    "rules is nothing": ("version: 1\nrules:\n", ["2:7: rules: expected a list, got nothing"]),
    "a rule is a text": ("version: 1\nrules: [restart]\n", ['2:9: rule: expected a mapping, got "restart"']),
    "defaults": (
        "version: 1\nrules: []\ndefaults: {cooldown: 5s, timeout: soon, retries: 3}\n",
        [
            f"3:22: defaults.cooldown: 5s is less than 30s {SHORT}",
            f"3:35: defaults.timeout: 'soon' is no duration; {DURATION}",
            '3:41: defaults: unknown key "retries" (there are: cooldown, timeout)',
        ],
    ),
    "limits": (
        "version: 1\nrules: []\nlimits:\n  concurrent: 0\n  blast_radius: {actions: ten}\n  braker: {}\n",
        [
            "4:15: limits.concurrent: 0 is not between 1 and 1000",
            '5:17: limits.blast_radius: key "per" is missing',
            '5:27: limits.blast_radius.actions: expected a whole number, got "ten"',
            '6:3: limits: unknown key "braker" (did you mean "breaker"?)',
        ],
    ),
    "breaker": (
        "version: 1\nrules: []\nlimits: {breaker: {failures: 1.5, open_for: 400d}}\n",
        [
            "3:30: limits.breaker.failures: expected a whole number, got the number 1.5",
            "3:45: limits.breaker.open_for: 400d is more than 366d",
        ],
    ),
    # ---- rules ----
    "a rule without anything": (
        "version: 1\nrules:\n  - {}\n",
        ['3:5: rule: key "match" is missing', '3:5: rule: key "name" is missing', '3:5: rule: key "steps" is missing'],
    ),
    "misspelt": (
        RULE + STEPS + "    cooldwon: 10m\n",
        ['6:5: rule: unknown key "cooldwon" (did you mean "cooldown"?)'],
    ),
    "name taken": (
        RULE + STEPS + "  - name: r\n    match: [a=c]\n" + STEPS,
        ['6:11: name: "r" is taken by line 3'],
    ),
    "name is a number": (
        RULE.replace("name: r", "name: 42") + STEPS,
        ['3:11: name: expected text, got the number 42; put it in quotes: "42"'],
    ),
    "name with a space": (
        RULE.replace("name: r", "name: a rule") + STEPS,
        ['3:11: name: "a rule" is no name; letters, digits and _ . - up to 63, no sign in front'],
    ),
    "match is a text": (RULE.replace("[a=b]", "a=b") + STEPS, ['4:12: match: expected a list, got "a=b"']),
    "match is empty": (RULE.replace("[a=b]", "[]") + STEPS, ["4:12: match: expected at least 1, got 0"]),
    "no matcher": (
        RULE.replace("[a=b]", "['{}', b=c]") + STEPS,
        ['4:13: match: "{}" holds no matcher'],
    ),
    "bad matchers": (
        RULE.replace("[a=b]", "['a=\"', 'b', 'c=~\"[\"', d=e]") + STEPS,
        [
            "4:13: match: the value of matcher 'a=\"' has a double quote that is not escaped, or no closing one",
            "4:20: match: 'b' is no matcher: expected a label name, one of = != =~ !~, and a value, as in a=\"b\"",
            "4:25: match: in matcher c=~'[': not a regular expression (RE2): missing ]: [)$",
        ],
    ),
    "matches everything": (
        RULE.replace("[a=b]", "['a=~\".*\"', b!=c]") + STEPS,
        ["4:12: match: every matcher fits the empty text, so the rule would match every alert"],
    ),
    "our own alerts": (
        RULE.replace("[a=b]", "[alertname=AutohealStuck]") + STEPS,
        ['4:12: match: alertname="AutohealStuck" can never match; alerts about Autoheal itself match no rule'],
    ),
    "opt_in: yes": (RULE + STEPS + "    opt_in: yes\n", ['6:13: opt_in: expected true or false, got "yes"']),
    "cooldown too short": (RULE + STEPS + "    cooldown: 10\n", [f"6:15: cooldown: 10 is less than 30s {SHORT}"]),
    "cooldown is no duration": (
        RULE + STEPS + "    cooldown: 10 minutes\n",
        [f"6:15: cooldown: '10 minutes' is no duration; {DURATION}"],
    ),
    "cooldown is true": (
        RULE + STEPS + "    cooldown: true\n",
        ["6:15: cooldown: expected a duration such as 90s or 10m, got true"],
    ),
    "cooldown_by": (
        RULE + STEPS + "    cooldown_by: [a-b, a, a, 5]\n",
        [
            '6:19: cooldown_by: "a-b" is no label name',
            '6:27: cooldown_by: "a" is there twice',
            '6:30: cooldown_by: expected text, got the number 5; put it in quotes: "5"',
        ],
    ),
    "max_attempts": (
        RULE + STEPS + "    max_attempts: {count: 0, within: 1h}\n",
        [
            '6:19: max_attempts: key "per" is missing',
            "6:27: max_attempts.count: 0 is not between 1 and 1000",
            '6:30: max_attempts: unknown key "within" (there are: by, count, per)',
        ],
    ),
    "approval": (RULE + STEPS + "    approval: true\n", ["6:15: approval: expected a mapping, got true"]),
    "never_during": (
        RULE
        + STEPS
        + "    never_during:\n"
        + "".join(
            f"      - {text}\n"
            for text in (
                "weekends",
                "Sat 00:00-Mon 00:00",
                "Sat 00:00-Mun 00:00 UTC",
                "Sat 25:00-Mon 00:00 UTC",
                "Sat 00:00-Mon 00:00 Europe/Belin",
                "Sun 24:00-Mon 00:00 UTC",
            )
        ),
        [
            "7:9: never_during: 'weekends' is no window; write it as 'Sat 00:00-Mon 00:00 Europe/Berlin'",
            "8:9: never_during: 'Sat 00:00-Mon 00:00' is no window; write it as 'Sat 00:00-Mon 00:00 Europe/Berlin'",
            "9:9: never_during: 'Mun' is no day of the week (did you mean \"Sun\"?)",
            "10:9: never_during: 25:00 is no time of day (00:00 to 24:00)",
            "11:9: never_during: time zone 'Europe/Belin' is not known (did you mean \"Europe/Berlin\"?)",
            "12:9: never_during: window 'Sun 24:00-Mon 00:00 UTC' never ends: its start is its end",
        ],
    ),
    "queue": (
        RULE + STEPS + "    queue: EU West\n",
        ['6:12: queue: "EU West" is no name of a queue: 1 to 64 of a-z 0-9 _ . -'],
    ),
    "queue by what is no label": (
        RULE + STEPS + '    queue: "{alertname}"\n',
        ["6:12: queue: of placeholders only {labels.NAME} can stand here"],
    ),
    "queue of no placeholder": (
        RULE + STEPS + '    queue: "{label.region}"\n',
        ["6:12: queue: '{label.region}' " + PLACEHOLDERS],
    ),
    "allow": (
        RULE + STEPS + "    allow: '(?<x>a)'\n",
        ["6:12: allow: not a regular expression (RE2): (?< is not supported"],
    ),
    "escalate": (
        RULE + STEPS + "    on_exhausted: {escalate: critcal}\n",
        ['6:30: on_exhausted.escalate: "critcal" is not one of critical, warning, info (did you mean "critical"?)'],
    ),
    # ---- steps ----
    "no steps": (RULE + "    steps: []\n", ["5:12: steps: expected at least 1, got 0"]),
    "a step is a text": (RULE + "    steps: [restart]\n", ['5:13: step: expected a mapping, got "restart"']),
    "a step without action": (RULE + "    steps: [{timeout: 5s}]\n", ['5:13: step: key "action" is missing']),
    "action is a text": (
        RULE + "    steps: [{action: docker restart x}]\n",
        ['5:22: action: expected a mapping, got "docker restart x"'],
    ),
    "unknown kind": (
        RULE + "    steps: [{action: {dokcer: {restart: x}}}]\n",
        ['5:23: action: unknown kind "dokcer" (did you mean "docker"?)'],
    ),
    "two kinds": (
        RULE + "    steps: [{action: {docker: {restart: x}, say: {words: [x]}}}]\n",
        ["5:22: action: expected one kind with its options, got 2"],
    ),
    "no kind": (RULE + "    steps: [{action: {}}]\n", ["5:22: action: expected one kind with its options, got 0"]),
    "options": (
        RULE + "    steps:\n      - action: {docker: {restart: 5}}\n      - action: {say: {words: [a, 5]}}\n"
        "      - action: {say: {}}\n",
        [
            "6:36: docker.restart: expected text",
            "7:35: say.words[1]: expected text",
            "8:23: say.words: expected a list",
        ],
    ),
    "placeholders": (
        RULE + "    steps: [{action: {say: {words: ['{label.x}', '{alertname}', '{service}']}}}]\n",
        [f"5:37: say: '{{label.x}}' {PLACEHOLDERS}", f"5:65: say: '{{service}}' {PLACEHOLDERS}"],
    ),
    "placeholders without quotes": (
        RULE + "    steps:\n      - action: {docker: {restart: {labels.service}}}\n"
        "        verify: {within: 1m, promql: {labels.query}}\n"
        "      - action: {say: {words: [a, {alertname}, {b: }]}}\n",
        [
            '6:36: docker: put the placeholder in quotes: "{labels.service}"',
            '7:38: verify.promql: put the placeholder in quotes: "{labels.query}"',
            '8:35: say: put the placeholder in quotes: "{alertname}"',
        ],
    ),
    "timeout": (STEP + "        timeout: 2d\n", ["7:18: timeout: 2d is more than 1d"]),
    "verify without anything": (
        STEP + "        verify: {}\n",
        [
            "7:17: verify: expected exactly one of http, tcp, promql, resolved, got none",
            '7:17: verify: key "within" is missing',
        ],
    ),
    "verify twice": (
        STEP + "        verify: {within: 1m, tcp: 'a:1', promql: up}\n",
        ["7:17: verify: expected exactly one of http, tcp, promql, resolved, got both tcp and promql"],
    ),
    "verify misspelt": (
        STEP + "        verify: {wihtin: 1m, tcp: 'a:1'}\n",
        ['7:17: verify: key "within" is missing', '7:18: verify: unknown key "wihtin" (did you mean "within"?)'],
    ),
    "verify too short": (
        STEP + "        verify: {within: 9s, tcp: 'a:1', every: 50ms}\n",
        [
            "7:26: verify.within: 9s is less than 10s (healed takes good answers over 10s)",
            "7:49: verify.every: 50ms is less than 100ms",
        ],
    ),
    "verify too seldom": (
        STEP + "        verify: {within: 1m, tcp: 'a:1', every: 40s}\n",
        ["7:49: verify: three looks do not fit; make `every` at most half of `within`"],
    ),
    "verify resolved": (
        STEP + "        verify: {within: 1m, resolved: false}\n",
        ["7:40: verify.resolved: expected true; leave `verify` out for none"],
    ),
    "verify http": (
        STEP + "        verify: {within: 1m, http: 'crm-api:8000/health'}\n",
        ['7:36: verify.http: "crm-api:8000/health" is no http:// or https:// URL'],
    ),
    "verify tcp": (
        STEP + "        verify: {within: 1m, tcp: 'crm-api:80000'}\n",
        ['7:35: verify.tcp: "crm-api:80000" is no host:port'],
    ),
    "verify promql": (
        STEP + "        verify: {within: 1m, promql: 'up{job=\"{label.job}\"}'}\n",
        [f"7:38: verify.promql: '{{label.job}}' {PLACEHOLDERS}"],
    ),
    "verify empty": (STEP + "        verify: {within: 1m, promql: ''}\n", ["7:38: verify.promql: is empty"]),
    # ---- probes ----
    "a probe without anything": (PROBE + "  - {}\n", ['4:5: probe: key "name" is missing']),
    "a probe of nothing": (PROBE + "  - {name: a}\n", ["4:5: probe: expected exactly one of http, tcp, got none"]),
    "a probe of both": (
        PROBE + "  - {name: a, http: 'http://a', tcp: 'a:1'}\n",
        ["4:5: probe: expected exactly one of http, tcp, got both"],
    ),
    "probes": (
        PROBE + "  - {name: a, tcp: a, down_after: 0, labels: {alertname: X, a-b: c, d: 5}}\n"
        "  - {name: a, http: 'http://{labels.x}/', timeout: 9s, alertname: AutohealX}\n",
        [
            '4:20: tcp: "a" is no host:port',
            "4:35: down_after: 0 is not between 1 and 100",
            '4:46: labels: "alertname" has a key of its own beside `labels`',
            '4:61: labels: "a-b" is no label name',
            '4:72: labels.d: expected text, got the number 5; put it in quotes: "5"',
            '5:12: name: "a" is taken by line 4',
            "5:21: http: a probe has no alert to fill placeholders from",
            "5:52: timeout: 9s is more than 5s",
            "5:67: alertname: alerts named Autoheal* match no rule",
        ],
    ),
    "a probe's labels": (
        PROBE + "  - {name: a, http: 'http://a:x/', labels: [b], annotations: {c: }}\n"
        "  - {name: b, tcp: [a], down_after: true, up_after: 1.0, alertname: 7}\n",
        [
            '4:21: http: "http://a:x/" is no http:// or https:// URL',
            "4:44: labels: expected a mapping, got a list",
            "4:66: annotations.c: expected text, got nothing",
            "5:20: tcp: expected text, got a list",
            "5:37: down_after: expected a whole number, got true",
            "5:53: up_after: expected a whole number, got the number 1.0",
            '5:69: alertname: expected text, got the number 7; put it in quotes: "7"',
        ],
    ),
    # ---- the threader ----
    "threader is a list": ("version: 1\nrules: []\nthreader: []\n", ["3:11: threader: expected a mapping, got a list"]),
    "threader is nothing": (THREADER, ["3:10: threader: expected a mapping, got nothing"]),
    "threader's keys": (
        THREADER + "  chanels: {}\n  route: []\n  operator: [U1]\n  colour: {}\n",
        [
            '4:3: threader: unknown key "chanels" (did you mean "channels"?)',
            '5:3: threader: unknown key "route" (did you mean "routes"?)',
            '6:3: threader: unknown key "operator" (did you mean "operators"?)',
            f'7:3: threader: unknown key "colour" (there are: {THREADER_KEYS})',
        ],
    ),
    "channels": (
        THREADER + "  channels:\n    critcal: '#a'\n    Info: '#a'\n    P1: '#a'\n    warning: Alerts Warning\n"
        "    critical: alerts-critical\n    info: 5\n    page: [a]\n    low: U0ABC\n",
        [
            '5:5: threader.channels: "critcal" is no severity that is known (did you mean "critical"?)',
            '6:5: threader.channels: "Info" is no severity that is known (did you mean "info"?)',
            '7:5: threader.channels: "P1" is no severity that is known; match severity="P1" in `routes`',
            f'8:14: threader.channels.warning: "Alerts Warning" {CHANNEL}',
            f'9:15: threader.channels.critical: "alerts-critical" {CHANNEL} (did you mean "#alerts-critical"?)',
            '10:11: threader.channels.info: expected text, got the number 5; put it in quotes: "5"',
            "11:11: threader.channels.page: expected text, got a list",
            f'12:10: threader.channels.low: "U0ABC" is the id of a person or a group; {INSTEAD}',
        ],
    ),
    "channels is a text": (
        THREADER + "  channels: '#alerts'\n  fallback: ''\n",
        [
            '4:13: threader.channels: expected a mapping, got "#alerts"',
            "5:13: threader.fallback: is empty",
        ],
    ),
    "a channel that is a comment": (
        THREADER + "  fallback: #alerts\n  channels:\n    info: #a\n  news_after: 1h\n",
        [
            f"4:12: threader.fallback: expected text, got nothing; {COMMENT}, so put the name in quotes",
            f"6:10: threader.channels.info: expected text, got nothing; {COMMENT}, so put the name in quotes",
        ],
    ),
    "a comment between brackets": (
        THREADER + "  channels: {critical: #a, info: '#b'}\n  fallback: '#c'\n",
        [
            f"5:11: not YAML: while parsing a flow mapping did not find expected ',' or '}}'; {COMMENT}: {QUOTES}",
        ],
    ),
    "a name that YAML does not take": (
        THREADER + "  mention: {critical: [@here]}\n",
        [
            f"4:24: not YAML: while scanning for the next token {NO_TOKEN}; put what begins with @ in quotes",
        ],
    ),
    "mention": (
        THREADER + "  mention:\n    critical: ['@heer', '@ann', U0ABC, '<@U0ABC>', C0ABC, 5, ]\n    warning: '@here'\n"
        "    high: [~]\n    debug: []\n",
        [
            f'5:16: threader.mention.critical: "@heer" is nobody that Slack can mention: {NOBODY}{HERE}',
            f'5:25: threader.mention.critical: "@ann" is nobody that Slack can mention: {NOBODY}',
            '5:40: threader.mention.critical: "<@U0ABC>" is there twice',
            f'5:52: threader.mention.critical: "C0ABC" is nobody that Slack can mention: {NOBODY}',
            '5:59: threader.mention.critical: expected text, got the number 5; put it in quotes: "5"',
            '6:14: threader.mention.warning: expected a list, got "@here"',
            "7:12: threader.mention.high: expected text, got nothing",
            '8:5: threader.mention: "debug" is no severity that is known; match severity="debug" in `routes`',
        ],
    ),
    "routes": (
        THREADER + "  routes:\n    - {match: ['team=\"db\"'], chanel: '#db'}\n    - {channel: '#db'}\n    - '#db'\n"
        "    - {match: [], channel: '#db'}\n    - {match: ['{}', 'a=\"'], channel: Db, mention: [here]}\n"
        "    - {match: [a=b, c=d], channel: '#x'}\n    - {match: ['c=\"d\",a=b'], channel: '#y'}\n",
        [
            "5:7: route: expected a channel, a mention, or both",
            '5:30: route: unknown key "chanel" (did you mean "channel"?)',
            '6:7: route: key "match" is missing',
            '7:7: route: expected a mapping, got "#db"',
            "8:15: match: expected at least 1, got 0",
            '9:16: match: "{}" holds no matcher',
            "9:22: match: the value of matcher 'a=\"' has a double quote that is not escaped, or no closing one",
            f'9:39: threader.routes.channel: "Db" {CHANNEL} (did you mean "#db"?)',
            f'9:53: threader.routes.mention: "here" is nobody that Slack can mention: {NOBODY} (did you mean "@here"?)',
            "11:7: threader.routes: never reached; line 10 matches the same",
        ],
    ),
    "routes is a mapping": (
        THREADER + "  routes: {match: [a=b], channel: '#db'}\n",
        ["4:11: threader.routes: expected a list, got a mapping"],
    ),
    "operators and admins": (
        THREADER + "  operators: [S0123, U0ABC, '<@U0ABC>', ann]\n  admins: U0ABC\n",
        [
            '4:15: threader.operators: "S0123" is no person: an id from the profile in Slack, such as U0ABC123',
            '4:29: threader.operators: "U0ABC" is there twice',
            '4:41: threader.operators: "ann" is no person: an id from the profile in Slack, such as U0ABC123',
            '5:11: threader.admins: expected a list, got "U0ABC"',
        ],
    ),
    "spans": (
        THREADER + "  new_thread_after: 30s\n  news_after: soon\n  remind_before: 2d\n",
        [
            "4:21: threader.new_thread_after: 30s is less than 1m",
            f"5:15: threader.news_after: 'soon' is no duration; {DURATION}",
            "6:18: threader.remind_before: 2d is more than 1d",
        ],
    ),
    "flapping": (
        THREADER + "  flapping: {changes: 1, per: 10s, after: 3}\n",
        [
            "4:23: threader.flapping.changes: 1 is not between 2 and 1000",
            "4:31: threader.flapping.per: 10s is less than 1m",
            '4:36: threader.flapping: unknown key "after" (there are: changes, per)',
        ],
    ),
    "threader's limits": (
        THREADER + "  limits: {posts_per_second: 0, edits_per_minute: many, edits: 3}\n",
        [
            "4:30: threader.limits.posts_per_second: 0 is not between 0.01 and 100",
            '4:51: threader.limits.edits_per_minute: expected a number, got "many"',
            '4:57: threader.limits: unknown key "edits" (there are: edits_per_minute, posts_per_second)',
        ],
    ),
    "a limit that is true": (
        THREADER + "  limits: {posts_per_second: true, edits_per_minute: 6001}\n  flapping: 6\n",
        [
            "4:30: threader.limits.posts_per_second: expected a number, got true",
            "4:54: threader.limits.edits_per_minute: 6001 is not between 1 and 6000",
            "5:13: threader.flapping: expected a mapping, got the number 6",
        ],
    ),
    "a secret in the threader": (
        THREADER + "  fallback: ${AUTOHEAL_ADMIN_TOKEN}\n",
        ["4:13: ${AUTOHEAL_ADMIN_TOKEN} is a secret of Autoheal itself; it would show in the trail"],
    ),
    # ---- variables ----
    "not set": (
        RULE + STEPS + "    cooldown: ${NOPE}s\n    allow: |-\n      a\n      é${NOPE}|${NOPE_TWO}\n",
        [
            "6:15: variable NOPE is not set; set it, or give a default: ${NOPE:-default}",
            "9:8: variable NOPE is not set; set it, or give a default: ${NOPE:-default}",
            "9:16: variable NOPE_TWO is not set; set it, or give a default: ${NOPE_TWO:-default}",
        ],
    ),
    "what a variable holds": (
        RULE + STEPS + "    cooldown: ${SHORT}s\n",
        [f"6:15: cooldown: 5s is less than 30s {SHORT}"],
    ),
    "no variable": (
        RULE + STEPS + "    cooldown: ${COOLDOWN-600}\n",
        ["6:15: '${' begins no variable; write ${NAME} or ${NAME:-default}, and $${ for the text itself"],
    ),
    "a secret": (
        RULE + "    steps: [{action: {say: {words: ['x ${AUTOHEAL_ADMIN_TOKEN}']}}}]\n",
        ["5:40: ${AUTOHEAL_ADMIN_TOKEN} is a secret of Autoheal itself; it would show in the trail"],
    ),
    "a variable too long": (
        RULE + "    steps: [{action: {say: {words: ['${LONG}']}}}]\n",
        ["5:37: longer than 65536 characters once its variables are in"],
    ),
}
ENV = {"SHORT": "5", "AUTOHEAL_ADMIN_TOKEN": "hush-hush", "LONG": "x" * 65537}


def mistakes(data: bytes) -> list[str]:
    with pytest.raises(PolicyErrors) as caught:
        parse_policy(data, "p.yaml", ENV, KINDS)
    assert "hush" not in str(caught.value)
    lines = str(caught.value).split("\n")
    assert all(line.startswith("p.yaml:") for line in lines)
    return [line.removeprefix("p.yaml:") for line in lines]


@pytest.mark.parametrize("name", BAD)
def test_told(name: str) -> None:
    text, expected = BAD[name]
    assert mistakes(text.encode()) == expected


def test_the_table_is_long_enough() -> None:
    assert len(BAD) >= 40


@pytest.mark.parametrize("text", [RULE + STEPS, STEP, PROBE + "  - {name: a, tcp: 'a:1'}\n", THREADER + "  {}\n"])
def test_what_the_table_is_built_from_is_right(text: str) -> None:
    parse_policy(text.encode(), "p.yaml", {}, KINDS)


def test_mistakes_of_many_rules_come_at_once_in_the_order_of_the_file() -> None:
    body = "".join(f"  - {{name: r{index}, math: [a=b]}}\n" for index in range(30))
    found = mistakes(f"version: 1\nrules:\n{body}".encode())
    assert len(found) == 90
    places = [int(line.split(":")[0]) for line in found]
    assert places == sorted(places) and set(places) == set(range(3, 33))


def test_an_alias_does_not_repeat_its_mistake() -> None:
    text = "version: 1\nrules:\n  - &r {name: r}\n  - *r\n  - *r\n"
    found = mistakes(text.encode())
    assert sum("match" in line for line in found) == 1


def test_a_flood_of_mistakes_is_cut() -> None:
    body = "".join(f"x{index}: 1\n" for index in range(5000))
    found = mistakes(f"version: 1\nrules: []\n{body}".encode())
    assert len(found) == MOST + 1 and found[-1].endswith("and more; stopped here")


# ---- bounds ---------------------------------------------------------------------------------------------------------


def test_too_large() -> None:
    assert mistakes(b"#" * (MAX_BYTES + 1)) == [f"1:1: the file is larger than {MAX_BYTES} bytes"]


def test_not_utf8() -> None:
    assert mistakes("version: 1\né: ".encode() + b"\xff\n") == ["2:4: the file is not UTF-8"]
    assert mistakes("version: 1\n".encode("utf-16"))[0] == "1:1: the file is not UTF-8"


def test_a_bomb_of_aliases() -> None:
    bomb = "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
    for name, inner in zip("bcdefghi", "abcdefgh", strict=True):
        bomb += f"{name}: &{name} [{','.join(['*' + inner] * 10)}]\n"
    assert mistakes(bomb.encode()) == [f"5:4: more than {MAX_NODES} values, aliases followed"]


def test_aliases_do_not_hide_depth() -> None:
    deep = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 60))
    assert mistakes(deep.encode())[0].endswith("nested deeper than 32 levels")


@pytest.mark.parametrize("text", ["[" * 200_000, "{a: " * 100_000, "- " * 200_000, "? " * 200_000])
def test_depth_without_end(text: str) -> None:
    assert mistakes(text.encode())[0].partition(": ")[2].startswith(("nested deeper", "not YAML"))


def test_a_large_file_of_many_variables() -> None:
    body = "".join(f"x{index}: ${{NOPE}}\n" for index in range(45_000))
    assert len(mistakes(f"version: 1\nrules: []\n{body}".encode())) == MOST + 1
