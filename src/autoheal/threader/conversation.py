"""One conversation: what is known of one group of alerts, and what people still have to be told. Pure.

Facts come in (alerts, healing, acknowledgements, time); what goes out is the wanted state of Slack: a parent message
that is drawn from the conversation as it is now, and `unsaid`, the replies that are still to be posted, in order.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from autoheal.core.alert import Alert
from autoheal.core.threads import NOWHERE, Routed, ThreadPolicy, channel_for, severity_rank

Kind = Literal[
    "joined",  # more alerts fire; count, names
    "resolved_some",  # count resolved, left still fire
    "resolved",  # nothing fires any more; count, since when (`until` holds the start of the trouble)
    "resolved_acked",  # the same, behind an acknowledgement
    "refired",  # it was resolved, and fires again; count, names, times (how often today)
    "rose",  # the severity rose; detail: the new one
    "acked",  # who, until, detail: the comment
    "extended",  # who, until
    "ack_undone",  # who
    "ack_ending",  # the acknowledgement ends soon and it still fires; until
    "ack_expired",  # it is over and it still fires
    "ack_ended",  # it is over because what it hid has resolved
    "hidden",  # more alerts fire behind the acknowledgement; count, names
    "dry_run",  # an action would have started; detail: the command
    "healing",  # an action has started; detail: the command, rule, remediation
    "done",  # the action ended well, and nothing checks whether it helped
    "action_failed",  # detail
    "healed",  # verified, or by probe; detail
    "ineffective",  # the check says it did not help; detail
    "inconclusive",  # nobody can say whether it helped; detail
    "unknown",  # the action may or may not have run; a person must settle it
    "approval",  # a person must approve; detail: the command, until
    "held",  # held back (blast radius); detail
    "approved",
    "rejected",
    "cancelled",
    "settled",
    "escalated",  # detail: the summary
    "digest",  # flapping: `fired` and `ended` times since `at`; count: transitions it stands for
    "calm",  # the flapping is over
    "moved",  # the parent could not stay where it was; detail: why
]


@dataclass(slots=True)
class Member:
    """One alert of the group. Times are Unix seconds; `since`: when we heard of its present status."""

    fingerprint: str
    labels: dict[str, str]
    starts_at: float
    since: float
    firing: bool = True
    ends_at: float | None = None
    summary: str = ""
    description: str = ""
    runbook_url: str = ""
    url: str = ""
    """The expression in Prometheus (`generatorURL`)."""
    behind: str = ""
    """The silence of ours that hides it, empty for none."""
    unheard: bool = False
    """Only the watch of our silences has seen it, no webhook told of it."""
    late: float = 0.0
    """When it was said to fire although it had just resolved, by a late copy perhaps; Alertmanager is to be asked."""

    @property
    def name(self) -> str:
        return self.labels.get("alertname", "")

    @property
    def severity(self) -> str:
        return self.labels.get("severity", "")


@dataclass(slots=True)
class Acknowledged:
    """A silence that hides alerts of this group. `reminded`: that it ends soon has been said."""

    silence_id: str
    labels: dict[str, str]
    until: float
    actor: str
    at: float
    comment: str = ""
    reminded: bool = False


@dataclass(slots=True)
class Healing:
    """What is being done for one alert of the group: a remediation and the state it is in."""

    remediation_id: str
    fingerprint: str
    rule: str
    state: str
    at: float
    cmd: str = ""
    detail: str = ""


@dataclass(slots=True)
class Line:
    """One thing that people must be told, or several that were put together: transitions `first` to `last`.

    `broadcast`: shown in the channel, too; `elsewhere`: a channel that is told with a message of its own.
    """

    kind: Kind
    first: int
    last: int
    at: float
    count: int = 0
    left: int = 0
    names: list[str] = field(default_factory=list)
    """What it is about, one line for each alert, at most `NAMES`."""
    who: str = ""
    until: float = 0.0
    detail: str = ""
    rule: str = ""
    remediation_id: str = ""
    fired: int = 0
    ended: int = 0
    broadcast: bool = False
    mentions: list[str] = field(default_factory=list)
    elsewhere: str = ""


NAMES = 10


@dataclass(slots=True)
class Storm:
    """More conversations than a channel takes at once: `waiting` messages now, `most` so far; `over`: when it was."""

    since: float
    waiting: int = 0
    most: int = 0
    over: float | None = None


@dataclass(slots=True)
class Conversation:
    """Everything known of one group. `key` is made of source, receiver and group key; `number`: transitions so far."""

    key: str
    source: str
    receiver: str
    group_key: str
    group_labels: dict[str, str]
    channel: str
    opened_at: float
    mentions: list[str] = field(default_factory=list)
    members: dict[str, Member] = field(default_factory=dict)
    truncated: int = 0
    """Alerts that the sender left out of its last message."""
    fired_at: float = 0.0
    """When the present trouble began."""
    resolved_at: float | None = None
    heard_at: float = 0.0
    worst: str = ""
    """The worst severity of the present trouble."""
    times: int = 1
    """How often it has fired since the conversation was opened."""
    acks: dict[str, Acknowledged] = field(default_factory=dict)
    healing: dict[str, Healing] = field(default_factory=dict)
    number: int = 0
    news_at: float = 0.0
    """When people were last told something."""
    flips: list[float] = field(default_factory=list)
    """When it began or ceased to fire, of late."""
    flapping: bool = False
    digest: Line | None = None
    """What a flapping group did since the last summary, which is due at `digest_at`."""
    digest_at: float = 0.0
    stale: bool = False
    """It should fire, but nobody has said so for longer than anybody repeats it."""
    note: str = ""
    """Something to be shown on top of the parent, such as why it is in another channel than it should be."""
    earlier: str = ""
    """The permalink of the thread before this one, where there was one."""
    storm: Storm | None = None
    """This is no group of alerts, but says that there are too many of them at once."""

    @property
    def firing(self) -> list[Member]:
        return [member for member in self.members.values() if member.firing]

    @property
    def open(self) -> bool:
        return any(member.firing for member in self.members.values())


LATE = 60.0
"""Seconds for which a resolve outweighs a copy of the same episode's firing: a pair's peer sends it later. What ran
out in Alertmanager while its sender was away comes back as the same episode, too: so Alertmanager is asked."""
ASK_AFTER = 5.0
"""Seconds until it is asked, and `ASK_AGAIN` where it did not answer."""
ASK_AGAIN = 15.0
MAX_MEMBERS = 1000
"""Alerts of one group that are kept one by one; more are counted."""
MAX_UNSAID, MOST_UNSAID = 200, 1000
"""Lines that wait: beyond the first, coming and going is put together; beyond the second, everything."""
FIRST_KEPT = 50
"""The first lines stay as they are: a message with them may be on its way."""
MAX_SUMMARY, MAX_DESCRIPTION, MAX_URL, MAX_DETAIL = 500, 1000, 1000, 500
DISTINGUISHING = ("instance", "pod", "node", "host", "container", "device", "service", "job")
"""Labels that tell the alerts of one group apart, the most telling first."""
EPSILON = 0.001
"""Seconds by which two readings of one start may differ."""

_STANDARD = re.compile(r"acknowledged (by a link|in Slack by .{1,60}|for \S+)( · runbook: \S+)?")
Seen = Mapping[str, Any]
"""An alert as the watch of our silences saw it: `labels`, `starts_at`."""


# ---- alerts -----------------------------------------------------------------------------------------------------


def hear(
    c: Conversation,
    alerts: Sequence[Alert],
    at: float,
    policy: ThreadPolicy,
    truncated: int | None = None,
    urls: Mapping[str, str] | None = None,
    watched: bool = False,
    sure: bool = False,
) -> list[Line]:
    """Alerts of the group as somebody reported them at `at`: the lines that people have to be told.

    Absence says nothing: reloads and truncation send parts of a group. `watched`: not from Alertmanager's webhook but
    from the watch of our silences. `sure`: Alertmanager was asked, so that what fires is no late copy.
    """
    opening, was_open = not c.members, c.open
    if not watched:
        c.heard_at, c.stale = max(c.heard_at, at), False
        c.truncated = truncated or 0
    began: list[Member] = []
    ended: list[Member] = []
    for alert in sorted(alerts, key=lambda one: not one.resolved):  # what has resolved makes room for what fires
        known = c.members.get(alert.fingerprint)
        if known is not None and not watched:
            known.unheard = False
        if alert.resolved:
            if known is None:
                _remember(c, alert, at, urls)
            elif known.firing and not _older(alert, known):
                known.firing, known.ends_at, known.since = False, alert.ends_at or at, at
                ended.append(known)
        elif known is None:
            member = _remember(c, alert, at, urls)
            if member is not None:
                began.append(member)
        elif known.firing:
            _refresh(known, alert, urls)
            known.starts_at = max(known.starts_at, alert.starts_at)
        elif sure or alert.starts_at > known.starts_at + EPSILON or at - known.since > LATE:
            _refresh(known, alert, urls)
            known.firing, known.starts_at, known.ends_at, known.since = True, alert.starts_at, None, at
            known.late, known.behind = 0.0, ""
            began.append(known)
        else:
            known.late = known.late or at
    lines = _tell(c, began, ended, opening, was_open, at, policy)
    for member in ended:
        member.behind = ""
    return lines


def _older(alert: Alert, known: Member) -> bool:
    """Whether a resolve is of an episode before the present one: it began earlier, and ended before this one began."""
    if alert.starts_at > known.starts_at - EPSILON:
        return False
    return alert.ends_at is None or alert.ends_at <= known.starts_at


def _tell(
    c: Conversation,
    began: list[Member],
    ended: list[Member],
    opening: bool,
    was_open: bool,
    at: float,
    policy: ThreadPolicy,
) -> list[Line]:
    lines: list[Line] = []
    if ended and was_open and c.open:
        left, names = len(c.firing) - len(began), _names(c, ended)
        lines.append(_line(c, "resolved_some", at, count=len(ended), left=left, names=names))
    elif ended and was_open:
        return _kept(c, _closed(c, ended, at, policy), at)
    if not began:
        return _kept(c, lines, at)
    rank_before = severity_rank(c.worst)
    worst = max((member.severity for member in c.firing), key=severity_rank)
    routed = channel_for(policy, [member.labels for member in c.firing])
    if not was_open:
        c.resolved_at, c.fired_at, c.worst = None, min(member.starts_at for member in began), worst
    if opening:
        c.number += 1  # the parent itself tells of it
        c.news_at = at
        c.flips.append(at)
        return lines
    if was_open:
        quiet = at - c.news_at >= policy.news_after
        names, left = _names(c, began), len(c.firing)
        lines.append(_line(c, "joined", at, count=len(began), left=left, names=names, broadcast=quiet))
    else:
        lines.append(_opened_again(c, began, at, policy, routed))
    if severity_rank(worst) > rank_before and (was_open or c.flapping):
        lines.append(_rose(c, worst, began, routed, at))
    return _kept(c, lines, at)


def _rose(c: Conversation, worst: str, members: Sequence[Member], routed: Routed, at: float) -> Line:
    c.worst = worst
    return _aloud(c, _line(c, "rose", at, detail=worst, names=_names(c, members)), routed)


def _opened_again(c: Conversation, began: list[Member], at: float, policy: ThreadPolicy, routed: Routed) -> Line:
    c.times += 1
    _flip(c, at, policy)
    line = _line(c, "refired", at, count=len(began), names=_names(c, began), fired=c.times)
    return line if c.flapping else _aloud(c, line, routed)


def _closed(c: Conversation, ended: list[Member], at: float, policy: ThreadPolicy) -> list[Line]:
    c.resolved_at = at
    _flip(c, at, policy)
    behind_what = {member.behind for member in ended}
    acks = [c.acks[name] for name in behind_what if name in c.acks]
    hidden = len(acks) == len(behind_what)
    kind: Kind = "resolved_acked" if hidden else "resolved"
    who = acks[0].actor if hidden else ""
    return [_line(c, kind, at, count=len(ended), names=_names(c, ended), until=c.fired_at, who=who)]


def _aloud(c: Conversation, line: Line, routed: Routed) -> Line:
    """A line that the channel sees, too, and the channel that this severity belongs to, if it is another one."""
    line.broadcast, line.mentions = True, list(routed.mentions)
    line.elsewhere = routed.channel if routed.channel not in (c.channel, NOWHERE) else ""
    return line


def _line(c: Conversation, kind: Kind, at: float, **fields: Any) -> Line:
    c.number += 1
    return Line(kind, c.number, c.number, at, **fields)


def _names(c: Conversation, members: Sequence[Member]) -> list[str]:
    worst = sorted(members, key=lambda member: (-severity_rank(member.severity), member.name, member.fingerprint))
    return [_name(c, member)[:200] for member in worst[:NAMES]]


def _name(c: Conversation, member: Member) -> str:
    """What tells this alert from the others of its group, and what it says."""
    said = member.summary or member.name or member.fingerprint
    for label in DISTINGUISHING:
        value = member.labels.get(label, "")
        if value and label not in c.group_labels and value not in said:
            return f"{label}={value}: {said}"
    return said


def _kept(c: Conversation, lines: list[Line], at: float) -> list[Line]:
    """The lines to be said now; while it flaps, coming and going are put aside for the next summary."""
    if not c.flapping:
        c.news_at = at if lines else c.news_at
        return lines
    now: list[Line] = []
    for line in lines:
        if line.kind in ("joined", "resolved_some", "resolved", "resolved_acked", "refired"):
            if c.digest is None:
                c.digest = Line("digest", line.first, line.last, line.at)
            c.digest = together(c.digest, line)
        else:
            now.append(line)
    return _before(c, now) if now else []


def _before(c: Conversation, lines: list[Line]) -> list[Line]:
    """What was put aside is said before what comes after it, so that numbers never go back."""
    if c.digest is None:
        return lines
    digest, c.digest = c.digest, None
    return [digest, *lines]


def together(digest: Line, line: Line) -> Line:
    """The digest with one more line in it, or two digests in one."""
    fired = line.fired if line.kind == "digest" else int(line.kind in ("refired", "joined"))
    ended = line.ended if line.kind == "digest" else int(line.kind.startswith("resolved"))
    digest.count += line.count if line.kind == "digest" else 1
    digest.fired, digest.ended = digest.fired + fired, digest.ended + ended
    digest.last, digest.left = line.last, line.left
    digest.names = list(dict.fromkeys([*digest.names, *line.names]))[:NAMES]
    digest.broadcast |= line.broadcast
    digest.until = line.at
    return digest


COMING_AND_GOING = frozenset({"joined", "resolved_some", "resolved", "resolved_acked", "refired", "digest", "calm"})
"""What may be put together where too much waits: everything else names somebody or asks for something."""


def bounded(unsaid: list[Line], lines: Sequence[Line]) -> list[Line]:
    """`lines` behind `unsaid`; where too many wait, those of coming and going that stand side by side are put together,
    the last ones first: counted, none lost. What asks for a person is kept as it is for much longer."""
    waiting = [*unsaid, *lines]
    while len(waiting) > MAX_UNSAID:
        at = next((n for n in range(len(waiting) - 1, FIRST_KEPT, -1) if _mergeable(waiting[n - 1 : n + 1])), None)
        if at is None:
            if len(waiting) <= MOST_UNSAID:
                break
            at = len(waiting) - 1
        waiting[at - 1 : at + 1] = [_merged(waiting[at - 1], waiting[at])]
    return waiting


def _mergeable(pair: Sequence[Line]) -> bool:
    return all(line.kind in COMING_AND_GOING and not line.elsewhere for line in pair)


def _merged(before: Line, last: Line) -> Line:
    if before.kind != "digest":
        before = together(Line("digest", before.first, before.first, before.at), before)
    return together(before, last)


def _flip(c: Conversation, at: float, policy: ThreadPolicy) -> None:
    """It began, or ceased, to fire; more than so often in so long is flapping."""
    c.flips = [flip for flip in c.flips if flip > at - policy.flapping.per][-100:] + [at]
    if not c.flapping and len(c.flips) > policy.flapping.changes:
        c.flapping, c.digest_at = True, at + policy.flapping.per


def _remember(c: Conversation, alert: Alert, at: float, urls: Mapping[str, str] | None) -> Member | None:
    """The group's new member; None where there are too many, which are counted only."""
    if len(c.members) >= MAX_MEMBERS:
        gone = sorted((m for m in c.members.values() if not m.firing), key=lambda m: m.since)[:1]
        if not gone or alert.resolved:
            c.truncated += 0 if alert.resolved else 1
            return None
        del c.members[gone[0].fingerprint]
    member = Member(alert.fingerprint, dict(alert.labels), alert.starts_at, at, not alert.resolved, alert.ends_at)
    _refresh(member, alert, urls)
    c.members[alert.fingerprint] = member
    return member


def _refresh(member: Member, alert: Alert, urls: Mapping[str, str] | None) -> None:
    notes = alert.annotations
    if notes:
        summary = notes.get("summary") or notes.get("title") or notes.get("message") or ""
        member.summary = _one_line(summary, MAX_SUMMARY)
        member.description = notes.get("description", "")[:MAX_DESCRIPTION]
        member.runbook_url = (notes.get("runbook_url") or notes.get("runbook") or "")[:MAX_URL]
    if urls:
        member.url = urls.get(alert.fingerprint, member.url)[:MAX_URL]


def _one_line(text: str, most: int) -> str:
    found = " ".join(text[: 4 * most].split())
    return found if len(found) <= most else found[: most - 1] + "…"


# ---- acknowledgements -------------------------------------------------------------------------------------------


def covers(labels: Mapping[str, str], member: Member) -> bool:
    """Whether a silence with exactly these labels hides the alert."""
    return all(member.labels.get(name, "") == value for name, value in labels.items())


def acked(
    c: Conversation,
    silence_id: str,
    labels: Mapping[str, str],
    until: float,
    actor: str,
    at: float,
    comment: str = "",
) -> list[Line]:
    """A silence of ours hides alerts of this group, or lasts longer than before."""
    known = c.acks.get(silence_id)
    if known is not None:
        if until <= known.until + 1:
            known.until = min(known.until, until)  # somebody made it shorter, in Alertmanager itself
            return []
        known.until, known.reminded = until, False
        return _said(c, _line(c, "extended", at, who=actor, until=until))
    hidden = [member for member in c.firing if covers(labels, member)]
    if not hidden:
        return []
    for member in hidden:
        member.behind = silence_id
    c.acks[silence_id] = Acknowledged(silence_id, dict(labels), until, actor, at, comment[:MAX_DETAIL])
    everything = "" if len(hidden) == len(c.firing) else f"{len(hidden)} of {len(c.firing)} alerts"
    names = _names(c, hidden) if everything else []
    said = "" if _STANDARD.fullmatch(comment) else comment[:MAX_DETAIL]  # ours say what this line says
    line = _line(c, "acked", at, who=actor, until=until, detail=said, count=len(hidden), names=names)
    return _said(c, line)


def replaced(c: Conversation, before: str, silence_id: str) -> None:
    """A silence that was extended goes on under another id."""
    known = c.acks.pop(before, None)
    if known is None:
        return
    known.silence_id = silence_id
    c.acks[silence_id] = known
    for member in c.members.values():
        if member.behind == before:
            member.behind = silence_id


def ack_ended(
    c: Conversation, silence_id: str, reason: str, actor: str, at: float, routed: Routed | None = None
) -> list[Line]:
    """A silence is over: by time, because what it hid has resolved, or by hand. `routed`: where what still fires
    belongs."""
    known = c.acks.pop(silence_id, None)
    if known is None:
        return []
    hid = [member for member in c.members.values() if member.behind == silence_id]
    for member in hid:
        member.behind = ""
        if member.unheard:  # if it is of this group, Alertmanager will tell us now
            del c.members[member.fingerprint]
    c.heard_at = max(c.heard_at, at)  # while it was hidden, it was watched
    if not c.open and c.resolved_at is None:
        c.resolved_at = at
    if reason == "by_hand":
        return _said(c, _line(c, "ack_undone", at, who=actor, left=len(c.firing)))
    if reason == "resolved" or not c.open:
        return _said(c, _line(c, "ack_ended", at, left=len(c.firing)))
    line = _line(c, "ack_expired", at, who=known.actor, left=len(c.firing), broadcast=True)
    return _said(c, line if routed is None else _aloud(c, line, routed))


def behind(c: Conversation, silence_id: str, seen: Mapping[str, Seen], at: float, policy: ThreadPolicy) -> list[Line]:
    """What a silence of this conversation hides, as last seen: alerts that came while Alertmanager says nothing. `seen`
    leaves out what has a conversation of its own."""
    if silence_id not in c.acks:
        return []
    came: list[Member] = []
    for name, was in seen.items():
        known = c.members.get(name)
        if known is not None and known.firing:
            known.behind = silence_id
            continue
        if known is not None and was["starts_at"] <= known.starts_at + EPSILON:
            continue  # its resolve is known, and this look is older
        if known is None and not _belongs(c, was["labels"]):
            continue
        alert = Alert("firing", was["labels"], was.get("annotations") or {}, was["starts_at"], name)
        if known is not None:
            del c.members[name]
        member = _remember(c, alert, at, None)
        if member is not None:
            member.behind, member.unheard = silence_id, True
            came.append(member)
    if not came:
        return []
    c.resolved_at = None
    lines = [_line(c, "hidden", at, count=len(came), left=len(c.firing), names=_names(c, came))]
    worst = max((member.severity for member in came), key=severity_rank)
    if severity_rank(worst) > severity_rank(c.worst):
        lines.append(_rose(c, worst, came, channel_for(policy, [member.labels for member in c.firing]), at))
    c.news_at = at
    return _before(c, lines)


def _belongs(c: Conversation, labels: Mapping[str, str]) -> bool:
    """Whether an alert would be in this group, as far as can be told: nobody says by which labels it is made where they
    are empty. So it must have the group's, and be of the same kind as an alert that is in it."""
    same = all(labels.get(name, "") == value for name, value in c.group_labels.items())
    return bool(c.group_labels) and same and any(member.labels.keys() == labels.keys() for member in c.members.values())


def _said(c: Conversation, line: Line) -> list[Line]:
    c.news_at = line.at
    return _before(c, [line])


# ---- healing ----------------------------------------------------------------------------------------------------


def heal(c: Conversation, event: Mapping[str, Any], routed: Routed | None = None) -> list[Line]:
    """An event of the ledger about an alert of this group."""
    at, kind = event["ts"], event["kind"]
    told = _HEALING.get(kind)
    if told is None:
        return []
    remediation_id = event.get("remediation_id") or ""
    state = event.get("state")
    known = c.healing.get(remediation_id)
    if remediation_id and (state or known):
        if known is None:
            known = Healing(remediation_id, event.get("fingerprint") or "", event.get("rule") or "", "", at)
            c.healing[remediation_id] = known
        known.state, known.at = "done" if _HEALING[kind](event) == "done" else state or known.state, at
        known.cmd = str(event.get("cmd") or known.cmd)[:MAX_DETAIL]
        known.detail = str(event.get("detail") or event.get("error") or event.get("reason") or "")[:MAX_DETAIL]
        for old in list(c.healing)[:-20]:
            del c.healing[old]
    what = told(event)
    if what is None:
        return []
    fields: dict[str, Any] = {"rule": event.get("rule") or "", "remediation_id": remediation_id}
    fields |= {"who": event.get("actor") or "", "until": event.get("until") or 0.0}
    fields["detail"] = _detail(event, known)
    line = _line(c, what, at, **fields)
    if what in ("approval", "unknown", "escalated") and routed is not None:
        line.broadcast, line.mentions = True, list(routed.mentions)
    return _said(c, line)


def _detail(event: Mapping[str, Any], known: Healing | None) -> str:
    for name in ("summary", "detail", "error"):
        if event.get(name):
            return _one_line(str(event[name]), MAX_DETAIL)
    if event["kind"] in ("action_started", "action_dry_run", "approval_requested", "action_ok", "verify_ok"):
        return _one_line(str(event.get("cmd") or (known.cmd if known else "")), MAX_DETAIL)
    return _one_line(str(event.get("reason") or event.get("note") or ""), MAX_DETAIL)


_HEALING: dict[str, Callable[[Mapping[str, Any]], Kind | None]] = {
    "decision_act": lambda event: None,
    "decision_hold": lambda event: None if event.get("reason") == "approval" else "held",
    "approval_requested": lambda event: "approval",
    "action_dry_run": lambda event: "dry_run",
    "action_started": lambda event: "healing",
    "action_ok": lambda event: "done" if event.get("state") == "healed" else None,
    "action_fail": lambda event: "action_failed",
    "action_unknown": lambda event: "unknown",
    "verify_ok": lambda event: "healed",
    "verify_fail": lambda event: "ineffective",
    "verify_inconclusive": lambda event: "inconclusive",
    "approved": lambda event: "approved",
    "rejected": lambda event: "rejected",
    "cancelled": lambda event: "cancelled",
    "settled": lambda event: "settled" if event.get("actor") and event.get("state") else None,
    "escalated": lambda event: "escalated",
}


# ---- time -------------------------------------------------------------------------------------------------------


def tick(c: Conversation, at: float, policy: ThreadPolicy, stale_after: float) -> list[Line]:
    """What time alone brings: the summary of a flapping group, its end, reminders, silence of the sender."""
    lines: list[Line] = []
    if c.flapping and at >= c.digest_at:
        lines += _before(c, [])
        c.digest_at = at + policy.flapping.per
        c.flips = [flip for flip in c.flips if flip > at - policy.flapping.per]
        if not c.flips:
            c.flapping = False
            lines.append(_line(c, "calm", at, left=len(c.firing)))
        c.news_at = at if lines else c.news_at
    for ack in c.acks.values():
        if not ack.reminded and ack.until - policy.remind_before <= at < ack.until and c.open:
            ack.reminded = True
            if ack.until - ack.at > policy.remind_before:
                lines += _said(c, _line(c, "ack_ending", at, until=ack.until, who=ack.actor, left=len(c.firing)))
    c.stale = c.open and not c.acks and at - c.heard_at > stale_after
    return lines


def due(c: Conversation, policy: ThreadPolicy, stale_after: float) -> float | None:
    """When `tick` has something to do next."""
    times: list[float] = [member.late + ASK_AFTER for member in c.members.values() if member.late]
    if c.flapping:
        times.append(c.digest_at)
    if c.open:
        times += [ack.until - policy.remind_before for ack in c.acks.values() if not ack.reminded]
        if not c.stale and not c.acks:
            times.append(c.heard_at + stale_after + 1)
    return min(times, default=None)


def doubtful(c: Conversation, at: float) -> list[str]:
    """The alerts of which Alertmanager is to be asked now whether they fire; where it does not answer, later again."""
    found = [member for member in c.members.values() if member.late and member.late + ASK_AFTER <= at]
    for member in found:
        member.late = at + ASK_AGAIN - ASK_AFTER
    return [member.fingerprint for member in found]


def answered(c: Conversation, fires: Mapping[str, bool], at: float, policy: ThreadPolicy) -> list[Line]:
    """What Alertmanager says of doubtful alerts."""
    firing: list[Alert] = []
    for name, does in fires.items():
        member = c.members.get(name)
        if member is not None and member.late:
            member.late = 0.0
            if does and not member.firing:
                firing.append(Alert("firing", member.labels, {}, member.starts_at, name))
    return hear(c, firing, at, policy, watched=True, sure=True) if firing else []


# ---- as data ----------------------------------------------------------------------------------------------------


def to_data(c: Conversation) -> dict[str, Any]:
    """JSON's kinds only; `from_data` takes it back."""
    return asdict(c)


def from_data(data: Mapping[str, Any]) -> Conversation:
    """What `to_data` gave, of this version or an older one; unknown names are passed over."""
    c = Conversation(**_known(Conversation, data))
    c.members = {name: Member(**_known(Member, item)) for name, item in data.get("members", {}).items()}
    c.acks = {name: Acknowledged(**_known(Acknowledged, item)) for name, item in data.get("acks", {}).items()}
    c.healing = {name: Healing(**_known(Healing, item)) for name, item in data.get("healing", {}).items()}
    c.digest = line_from(data["digest"]) if data.get("digest") else None
    c.storm = Storm(**_known(Storm, data["storm"])) if data.get("storm") else None
    return c


def line_from(data: Mapping[str, Any]) -> Line:
    return Line(**_known(Line, data))


def _known(kind: Any, data: Mapping[str, Any]) -> dict[str, Any]:
    return {name: data[name] for name in kind.__dataclass_fields__ if name in data}
