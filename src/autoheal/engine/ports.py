"""The few small protocols that the engine needs from the world; `app` hands in what fulfils them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol, TypeVar

from autoheal.core.alert import Alert

T = TypeVar("T")


class Clock(Protocol):
    """Wall clock in Unix seconds, and a monotonic one for durations."""

    def now(self) -> float: ...

    def monotonic(self) -> float: ...


# ---- the ledger -------------------------------------------------------------------------------------------------


class Row(NamedTuple):
    """One event as stored: the columns that are filtered, and its line, byte for byte what was hashed."""

    id: int
    ts: float
    kind: str
    alertname: str | None
    rule: str | None
    remediation_id: str | None
    line: str


class Fact(NamedTuple):
    """One fact of the engine's state. `data` is its JSON, None deletes it; `due` is when the scheduler must look."""

    space: str
    key: str
    data: str | None
    due: float | None = None


class RemediationRow(NamedTuple):
    """One remediation as stored, for queries; `data` is its whole JSON."""

    id: str
    state: str
    rule: str
    alertname: str
    created_at: float
    ended_at: float | None
    data: str


@dataclass(frozen=True, slots=True)
class Head:
    """Where the ledger stands: the last event's id (0: none), hash and time."""

    id: int
    hash: str
    ts: float


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a starting engine reads: the head, every fact, every remediation whose state is not final."""

    head: Head
    facts: list[Fact]
    remediations: list[RemediationRow]


class Transaction(Protocol):
    """The one transaction of a move or a batch of them; leaving it without an error commits."""

    head: Head

    def missed(self, after: int) -> Iterable[str]:
        """The lines with ids above `after`, in order: what other writers added."""

    def fact(self, space: str, key: str) -> str | None:
        """The JSON of one fact as the ledger has it now."""

    def append(self, rows: Sequence[Row], head: Head) -> None: ...

    def save(self, facts: Sequence[Fact], remediations: Sequence[RemediationRow]) -> None: ...


class Ledger(Protocol):
    @property
    def shared(self) -> bool:
        """Whether other processes may write it too."""

    def load(self) -> Snapshot: ...

    def transaction(self) -> AbstractContextManager[Transaction]:
        """Begin as the only writer; raises StoreUnavailable where nothing was written."""

    def reopen(self) -> None:
        """Drop every connection and open anew; after a failed commit."""


News = Callable[[int, int], Sequence[tuple[int, str]]]
"""Reads at most so many committed (id, line) after an id, in order, without holding up the writer; from any thread."""


@dataclass(frozen=True, slots=True)
class Presence:
    """One process that is, or lately was, on the ledger. `left`: seconds that its lease still lasts, negative where it
    has run out, by the database's clock; `data`: what it says of itself (`role`, `env`, `queues`, `version`, …)."""

    instance: str
    left: float
    data: Mapping[str, Any]

    @property
    def alive(self) -> bool:
        return self.left > 0


class Claims(Protocol):
    """Leases beside the ledger: who does the work that is not decided at the head (probing, telling, ringing), and
    which processes are there. They save work; what must be exact is decided at the head. Calls block and may raise
    StoreUnavailable; safe to share among threads."""

    @property
    def alone(self) -> bool:
        """Whether no other process can be there: the ledger belongs to us."""

    @property
    def instance(self) -> str:
        """Our own name, never used by another process before or after us."""

    def take(self, keys: Sequence[str], seconds: float) -> set[str]:
        """Those of `keys` that are ours for `seconds` from now on: they were free, had run out, or were ours."""

    def release(self, keys: Sequence[str]) -> None:
        """Give up those of `keys` that are ours."""

    def once(self, key: str, seconds: float) -> bool:
        """Whether nobody, ourselves included, has asked for this key within the seconds that were given then. It
        outlives the process that asked, where others share the ledger."""

    def present(self, seconds: float, data: Mapping[str, Any]) -> float:
        """Say that we are here for the next `seconds`; the database's time, Unix seconds."""

    def processes(self) -> list[Presence]:
        """Every process that has not left in order, those whose lease ran out within the last day included."""

    def leave(self) -> None:
        """Give up every claim and our presence: an orderly end."""


class Doorbell(Protocol):
    """The broker: a message says no more than which remediation wants hands. Safe to share among threads."""

    def ring(self, queue: str, remediation_id: str) -> None:
        """Put the id into a named queue; raises Temporary where the broker does not take it, Permanent where it takes
        none for this queue alone. Bounded to seconds."""

    def depths(self, queues: Sequence[str]) -> dict[str, int]:
        """Messages that wait in each queue, those left out that cannot be counted; raises Temporary."""


class Copy(Protocol):
    """The faithful copy of the lines (`audit.jsonl`). It may fail and catch up; it never stops the head."""

    def write(self, first_id: int, lines: Sequence[str]) -> None: ...


# ---- acting -----------------------------------------------------------------------------------------------------

Status = Literal["ok", "fail", "unknown", "not_started"]


@dataclass(frozen=True, slots=True)
class ActionResult:
    """How an action ended. `unknown`: it may or may not have taken effect (timeout without a confirmed kill,
    a connection lost after the request was sent). `not_started`: the brake held it back, nothing was done."""

    status: Status
    rc: int | None = None
    output: str = ""
    error: str = ""


class Begin(Protocol):
    """Handed to an action: it must be called once, directly around the thing that cannot be taken back.

    It checks the brake (mode, `start_before`) and then runs `start`; raises NotStarted instead when it may not.
    """

    def __call__(self, start: Callable[[], T]) -> T: ...


class NotStarted(Exception):
    """The brake was on: nothing was done."""


class Action(Protocol):
    """One kind of action; `options` are rendered (no placeholders left). Runs in a thread and may block."""

    def run(self, options: Mapping[str, Any], timeout: float, begin: Begin) -> ActionResult: ...


# ---- looking ----------------------------------------------------------------------------------------------------

Answer = Literal["good", "bad", "none"]


@dataclass(frozen=True, slots=True)
class Look:
    """One answer of a probe. `none`: no data, or the one asked is itself out of reach."""

    answer: Answer
    detail: str = ""


class Probes(Protocol):
    async def look(self, kind: str, target: str, timeout: float) -> Look:
        """Ask once; `kind` is http | tcp | promql (targets rendered)."""


@dataclass(frozen=True, slots=True)
class Seen:
    """An alert as an Alertmanager has it now. `silenced_by`: ids of silences that hide it; `silenced_until`: the
    latest end of those (Unix seconds), None when not silenced or not known; `receivers`: where it is sent to."""

    fingerprint: str
    labels: Mapping[str, str]
    starts_at: float
    silenced_by: tuple[str, ...] = ()
    inhibited_by: tuple[str, ...] = ()
    silenced_until: float | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)
    receivers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Active:
    """What one Alertmanager has active now. `complete` False: it started lately and its senders have not all sent yet,
    so that what is here counts and what is absent says nothing."""

    alerts: list[Seen]
    complete: bool = True


@dataclass(frozen=True, slots=True)
class Silence:
    id: str
    matchers: tuple[Mapping[str, Any], ...]
    starts_at: float
    ends_at: float
    created_by: str
    comment: str
    state: str


@dataclass(frozen=True, slots=True)
class OutgoingAlert:
    """An alert that we raise ourselves; `ends_at` in the past resolves it."""

    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    starts_at: float
    ends_at: float
    generator_url: str = ""


class Alertmanagers(Protocol):
    """All configured Alertmanagers of one cluster. Out of reach raises Temporary; a refusal raises Permanent."""

    @property
    def urls(self) -> Sequence[str]: ...

    async def alerts(self, matchers: Sequence[str] = ()) -> Active:
        """Alerts firing now, silenced and inhibited ones included, from the first that answers.

        `matchers` filter, in Alertmanager's syntax.
        """

    async def silences(self) -> list[Silence]: ...

    async def create_silence(
        self, labels: Mapping[str, str], starts_at: float, ends_at: float, created_by: str, comment: str
    ) -> str:
        """Exact-match silence on the first that answers (the cluster spreads it); its id."""

    async def extend_silence(self, silence_id: str, ends_at: float, created_by: str, comment: str) -> str:
        """Let a silence end at another time; its id, which may be a new one. NotFound: there is none, or it is over."""

    async def expire_silence(self, silence_id: str) -> None: ...

    async def post_alerts(self, url: str, alerts: Sequence[OutgoingAlert]) -> None:
        """Send to the one at `url`; every member of a cluster must be sent to."""


class Intake(Protocol):
    """Where sources of our own, such as the prober, hand in what they raise."""

    async def alerts(self, alerts: Sequence[Alert], source: str) -> None:
        """On record when it returns; StoreUnavailable: nothing was taken, hand them in again."""


class StoreUnavailable(Exception):
    """The ledger cannot be written now; nothing was done."""


@dataclass(frozen=True, slots=True)
class World:
    """What the engine is handed besides its ledger: hands, eyes, and the one it tells."""

    actions: Mapping[str, Action]
    probes: Probes
    alertmanagers: Alertmanagers | None = None
    mask: Callable[[str], str] = str
    """Takes the secrets that Autoheal knows out of what an action printed."""
