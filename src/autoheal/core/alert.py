"""An alert and its identity: fingerprint (Alertmanager's algorithm) and episode (fingerprint + start)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

FIRING = "firing"
RESOLVED = "resolved"

_FNV_OFFSET = 14695981039346656037
_FNV_PRIME = 1099511628211
_MASK = 0xFFFFFFFFFFFFFFFF


@dataclass(slots=True)
class Alert:
    """One alert as heard; nobody changes it (not frozen only because that doubles the cost of making one).

    Times are Unix seconds; `starts_at` is the receipt time where the sender gave none.
    """

    status: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    starts_at: float
    fingerprint: str
    ends_at: float | None = None
    alertname: str = field(init=False)
    episode: str = field(init=False)

    def __post_init__(self) -> None:
        self.alertname = self.labels.get("alertname", "")
        self.episode = f"{self.fingerprint}@{self.starts_at:.3f}"

    @property
    def resolved(self) -> bool:
        return self.status == RESOLVED


def fingerprint(labels: Mapping[str, str]) -> str:
    """The 16 hexadecimal digits that Prometheus and Alertmanager give a label set.

    FNV-1a, 64 bits, over the sorted names and values, each followed by a byte 0xFF
    (prometheus/common, model/signature.go).
    """
    data = b"".join(
        name.encode("utf-8", "surrogatepass") + b"\xff" + labels[name].encode("utf-8", "surrogatepass") + b"\xff"
        for name in sorted(labels)
    )
    total = _FNV_OFFSET
    for byte in data:
        total = ((total ^ byte) * _FNV_PRIME) & _MASK
    return f"{total:016x}"
