"""What must be true of Slack's channels when all is quiet: one thread for each group, all told once, no untruth."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from autoheal.testing.slack import FakeSlack, Message
from tests.threads.groups import NAMED, Group

HEADS = {
    "joined": re.compile(r"➕ \*\d+ more alerts? fires?\*"),
    "resolved_some": re.compile(r"✔️ \*\d+ alerts? resolved\*"),
    "resolved": re.compile(r"✅ \*Resolved\*"),
    "refired": re.compile(r"🔁 \*Fires again\*"),
    "rose": re.compile(r"\S+ \*Severity rose to \w+\*"),
    "digest": re.compile(r"🔁 \*Flapping\*"),
    "calm": re.compile(r"\S+ \*The flapping is over\*"),
}
"""How each kind of line begins: that of `threader.lines`, read as a person would."""
QUIET = ("joined", "resolved_some")
"""What a parent that was posted late tells by its counts."""


@dataclass
class Thread:
    """What Slack shows of one group. `pointers`: messages in other channels that lead to it."""

    parents: list[Message] = field(default_factory=list)
    pointers: list[Message] = field(default_factory=list)

    @property
    def parent(self) -> Message:
        return self.parents[0]

    @property
    def told_at(self) -> float:
        """When it was last changed."""
        moments = [self.parent.at, *(edit.at for edit in self.parent.edits), *(one.at for one in self.parent.replies)]
        return max([*moments, *(one.at for one in self.pointers)])


def storms(slack: FakeSlack) -> list[Message]:
    """The messages that tell a channel of a storm."""
    return [message for channel in list(slack.channels.values()) for message in channel.messages if _of_storm(message)]


def calm(slack: FakeSlack) -> bool:
    """Whether every storm that was told of is told to be over, and nothing flaps any more."""
    parents = [parent for thread in threads(slack).values() for parent in thread.parents]
    flapping = any(_title(parent).endswith(", flapping") for parent in parents)
    return not flapping and all(_title(message).endswith(" is over") for message in storms(slack))


def _of_storm(message: Message) -> bool:
    return message.shown.startswith(("⛈️", "🌤️"))


def _title(message: Message) -> str:
    return message.shown.split("\n")[0]


def threads(slack: FakeSlack) -> dict[str, Thread]:
    """By the group's name."""
    found: dict[str, Thread] = {}
    for channel in list(slack.channels.values()):
        for message in channel.messages:
            if _of_storm(message):
                continue
            name = NAMED.search(message.shown or message.text)
            assert name, message
            thread = found.setdefault(name[0], Thread())
            (thread.parents if covered(message) else thread.pointers).append(message)
    return found


def covered(message: Message) -> list[int]:
    """The transitions that a message tells of, by what it carries unseen."""
    payload = (message.metadata or {}).get("event_payload") or {}
    return [number for first, last in payload.get("covers", ()) for number in range(first, last + 1)]


def kinds(message: Message) -> list[str]:
    """The kinds that a reply tells of, by its words."""
    found = []
    for line in (message.shown or message.text).splitlines():
        found += [kind for kind, head in HEADS.items() if head.match(line)]
    return found


def problems(slack: FakeSlack, groups: Sequence[Group], summed_up: bool = False) -> list[str]:
    """Everything that is not as it should be; empty where all is well. `summed_up`: what flaps comes as digests, so
    that the words are not those of each transition."""
    found = [f"was posted twice: {_times(slack, nonce)}" for nonce in slack.twice()]
    found += [] if calm(slack) else [f"goes on for ever: {[message.shown for message in storms(slack)]}"]
    shown = threads(slack)
    found += [f"{name}: nobody sent it" for name in shown.keys() - {group.name for group in groups}]
    for group in groups:
        thread = shown.get(group.name)
        if thread is None or len(thread.parents) != 1:
            found.append(f"{group.name}: {0 if thread is None else len(thread.parents)} parents")
            continue
        found += [f"{group.name}: {problem}" for problem in _of_one(slack, group, thread, summed_up)]
    return found


def _times(slack: FakeSlack, nonce: object) -> list[tuple[float, str]]:
    return [(one.at, "taken back" if one.deleted else one.text) for one in slack.every() if one.nonce == nonce]


def _of_one(slack: FakeSlack, group: Group, thread: Thread, summed_up: bool) -> list[str]:
    parent, found = thread.parent, []
    if slack.channels[parent.channel].name != group.channel.lstrip("#"):
        found.append(f"in #{slack.channels[parent.channel].name}, not in {group.channel}")
    absorbed = covered(parent)
    if absorbed[:1] != [1] or any(group.told[number - 1] not in QUIET for number in absorbed[1:]):
        found.append(f"the parent says that it tells {absorbed} of {group.told}")
    in_thread = [number for reply in parent.replies for number in covered(reply)]
    if in_thread != sorted(in_thread):
        found.append(f"replies are out of order: {in_thread}")
    everything = Counter([*absorbed, *in_thread])
    wanted = set(range(1, _number(group, parent) + 1))
    if missing := sorted(wanted - everything.keys()):
        found.append(f"{missing} of {len(wanted)} are missing; what happened: {group.told}")
    if more := sorted(everything.keys() - wanted):
        found.append(f"tells of {more}, which did not happen")
    if twice := [number for number, times in everything.items() if times > 1]:
        found.append(f"told more than once: {twice}")
    if not summed_up:
        found += _misspoken(slack, group, thread)
    return [*found, *untrue(group, parent)]


def _number(group: Group, parent: Message) -> int:
    """Transitions there were; the end of flapping is one, too, and so is a rise that would else be in the digest."""
    shown = Counter(kind for reply in parent.replies for kind in kinds(reply))
    if not shown["calm"]:
        return len(group.told)
    return len(group.told) - group.told.count("rose") + shown["rose"] + shown["calm"]


def _misspoken(slack: FakeSlack, group: Group, thread: Thread) -> list[str]:
    """Where the words are not those of what happened, and channels that heard too much or too little."""
    found = []
    for reply in thread.parent.replies:
        meant = [group.told[number - 1] for number in covered(reply) if number <= len(group.told)]
        if kinds(reply) != meant:
            found.append(f"{covered(reply)} are {meant}, and what is told is {kinds(reply)}: {reply.shown!r}")
    pointed = Counter(f"#{slack.channels[one.channel].name}" for one in thread.pointers)
    if pointed != Counter(group.pointers):
        found.append(f"other channels were told {dict(pointed)}, not {dict(Counter(group.pointers))}")
    return found


def untrue(group: Group, parent: Message) -> list[str]:
    """What the parent says that is not so."""
    firing, members = len(group.firing), len(group.alerts)
    first, _, rest = parent.shown.partition("\n")
    state = f"{firing} firing" if firing else "resolved"
    found = [] if first.endswith(f"— {state}") else [f"the title is {first!r}, and it is {state}"]
    counts = f"{firing} firing" + (f", {members - firing} resolved" if members > firing else "")
    facts = rest.split("\n")[0]
    if firing and f" · {counts} · " not in facts:
        found.append(f"the facts are {facts!r}, and it is {counts}")
    if not firing and not (facts.startswith("*Resolved*") and f"{members} alert" in facts):
        found.append(f"the facts are {facts!r}, and all {members} are resolved")
    return found


def percentile(values: Sequence[float], share: float) -> float:
    """Nearest rank; `share` from 0 to 1."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def table(figures: Mapping[str, object]) -> str:
    width = max(map(len, figures))
    return "\n" + "\n".join(f"{name.ljust(width)}  {value}" for name, value in figures.items())
