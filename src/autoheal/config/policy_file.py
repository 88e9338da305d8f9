"""The policy file: YAML into `core.policy.Policy`, or every mistake at once with file, line and column."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from autoheal.config.mistakes import Mistake, PolicyErrors
from autoheal.config.nodes import MAX_BYTES, Mistakes, Node, Scalar, read_tree
from autoheal.config.reading import DAY, YEAR, Reader
from autoheal.config.rules import COOLDOWN_WHY, MIN_EVERY, Defaults, RuleReader, digest_of
from autoheal.config.secrets import SECRET_NAMES
from autoheal.config.threader import ThreaderReader, shown
from autoheal.core.errors import Invalid
from autoheal.core.policy import (
    MIN_COOLDOWN,
    ActionKind,
    BlastRadius,
    BreakerLimit,
    Limits,
    Policy,
    Probe,
    Rule,
)
from autoheal.core.state import MAX_STARTS
from autoheal.core.threads import ThreadPolicy

VERSION = 1
POLICY_KEYS = ("version", "defaults", "limits", "rules", "probes", "threader")
DEFAULTS_KEYS = ("cooldown", "timeout")
LIMITS_KEYS = ("concurrent", "blast_radius", "breaker")
PROBE_KEYS = (
    "name",
    "http",
    "tcp",
    "alertname",
    "every",
    "timeout",
    "down_after",
    "up_after",
    "labels",
    "annotations",
)
EXAMPLE = "example-policy.yaml"
DEFAULTS = Defaults()

__all__ = ["Defaults", "Mistake", "PolicyErrors", "example_policy", "load_policy", "parse_policy", "read_document"]


def example_policy() -> bytes:
    """The example policy as shipped: what is used where no policy file is configured."""
    return files(__package__).joinpath(EXAMPLE).read_bytes()


def load_policy(
    path: Path | str | None,
    env: Mapping[str, str],
    kinds: Mapping[str, ActionKind],
    defaults: Defaults = DEFAULTS,
) -> Policy:
    """The policy in the file at `path`, or the example where it is None; raises PolicyErrors with all mistakes.

    `env` fills ``${NAME:-default}``; `kinds` are the kinds of action by name; `defaults` come from the settings.
    """
    if path is None:
        return parse_policy(example_policy(), EXAMPLE, env, kinds, defaults)
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise PolicyErrors([Mistake(str(path), 1, 1, f"cannot be read: {error.strerror}")]) from None
    return parse_policy(data, str(path), env, kinds, defaults)


def parse_policy(
    data: bytes,
    source: str,
    env: Mapping[str, str],
    kinds: Mapping[str, ActionKind],
    defaults: Defaults = DEFAULTS,
    secrets: Collection[str] = SECRET_NAMES,
) -> Policy:
    """The policy in `data`; `source` names it in mistakes. Raises PolicyErrors."""
    mistakes = Mistakes(source)
    asked = _Asked(env)
    tree = read_tree(data, mistakes, asked, secrets)
    policy = _PolicyReader(Reader(mistakes), kinds, defaults).policy(tree, source)
    if mistakes:
        raise mistakes.errors()
    return replace(policy, document=_document(data, source, asked.found, defaults))


# ---- the same policy in another process -----------------------------------------------------------------------------


class _Asked(Mapping[str, str]):
    """An environment that remembers what was asked of it."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = env
        self.found: dict[str, str] = {}

    def __getitem__(self, name: str) -> str:
        self.found[name] = self._env[name]
        return self.found[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._env)

    def __len__(self) -> int:
        return len(self._env)


def _document(data: bytes, source: str, env: Mapping[str, str], defaults: Defaults) -> str:
    """The file as it was written, with the variables that it asked for: whoever reads this gets the same policy."""
    text = data.decode("utf-8-sig")
    return json.dumps({"source": source, "text": text, "env": dict(env), "defaults": asdict(defaults)}, sort_keys=True)


def read_document(document: str, kinds: Mapping[str, ActionKind]) -> Policy:
    """The policy that another process has loaded, from its `Policy.document`; Invalid or PolicyErrors where it cannot
    be read here."""
    try:
        found = json.loads(document)
        data, env, defaults = found["text"].encode(), found["env"], Defaults(**found["defaults"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Invalid(f"it is not what this version writes ({type(error).__name__})", "policy document") from None
    return parse_policy(data, found["source"], env, kinds, defaults)


class _PolicyReader:
    def __init__(self, reader: Reader, kinds: Mapping[str, ActionKind], defaults: Defaults) -> None:
        self.read, self.kinds, self.defaults = reader, kinds, defaults

    def policy(self, tree: Node, source: str) -> Policy:
        keys = self.read.table(tree, "policy", POLICY_KEYS, ("version", "rules"))
        if "version" in keys:
            self._version(keys["version"])
        if "defaults" in keys:
            self._defaults(keys["defaults"])
        limits = self._limits(keys["limits"]) if "limits" in keys else Limits()
        rules = self._rules(keys["rules"]) if "rules" in keys else ()
        probes = self._probes(keys["probes"]) if "probes" in keys else ()
        threader = ThreaderReader(self.read).policy(keys["threader"]) if "threader" in keys else ThreadPolicy()
        content: dict[str, Any] = {
            "version": VERSION,
            "limits": asdict(limits),
            "rules": [rule.digest for rule in rules],
            "probes": [asdict(probe) for probe in probes],
        }
        if threader != ThreadPolicy():
            content["threader"] = shown(threader)  # without it the digest is what it was before there were threads
        return Policy(rules, limits, digest_of(content), source, probes, threader)

    def _version(self, node: Node) -> None:
        value = node.value if isinstance(node, Scalar) else None
        if value != VERSION or isinstance(value, bool):
            self.read.wrong(node, f"version: expected {VERSION}, the only version there is")

    def _defaults(self, node: Node) -> None:
        keys = self.read.table(node, "defaults", DEFAULTS_KEYS)
        if "cooldown" in keys:
            found = self.read.duration(keys["cooldown"], "defaults.cooldown", MIN_COOLDOWN, why=COOLDOWN_WHY)
            self.defaults = replace(self.defaults, cooldown=found or self.defaults.cooldown)
        if "timeout" in keys:
            found = self.read.duration(keys["timeout"], "defaults.timeout", MIN_EVERY, DAY)
            self.defaults = replace(self.defaults, timeout=found or self.defaults.timeout)

    def _limits(self, node: Node) -> Limits:
        keys = self.read.table(node, "limits", LIMITS_KEYS)
        concurrent = None
        if "concurrent" in keys:
            concurrent = self.read.integer(keys["concurrent"], "limits.concurrent", 1, 1000)
        radius = self._counted(keys.get("blast_radius"), "limits.blast_radius", "actions", "per", MAX_STARTS, DAY)
        breaker = self._counted(keys.get("breaker"), "limits.breaker", "failures", "open_for")
        return Limits(
            concurrent or Limits().concurrent,
            BlastRadius(*radius) if radius else None,
            BreakerLimit(*breaker) if breaker else None,
        )

    def _counted(
        self,
        node: Node | None,
        what: str,
        count: str,
        span: str,
        most: int = 1_000_000,
        longest: float = YEAR,
    ) -> tuple[int, float] | None:
        """A mapping of a count, `most` at the most, and a duration, `longest` seconds at the longest."""
        if node is None:
            return None
        keys = self.read.table(node, what, (count, span), (count, span))
        number = self.read.integer(keys[count], f"{what}.{count}", 1, most) if count in keys else None
        seconds = self.read.duration(keys[span], f"{what}.{span}", 1, longest) if span in keys else None
        return None if number is None or seconds is None else (number, seconds)

    def _rules(self, node: Node) -> tuple[Rule, ...]:
        reader = RuleReader(self.read, self.kinds, self.defaults)
        return tuple(reader.rule(item) for item in self.read.items(node, "rules", 0, 10_000))

    # ---- probes ------------------------------------------------------------------------------------------------

    def _probes(self, node: Node) -> tuple[Probe, ...]:
        names: dict[str, Node] = {}
        found = (self._probe(item, names) for item in self.read.items(node, "probes", 0, 1000))
        return tuple(probe for probe in found if probe is not None)

    def _probe(self, node: Node, names: dict[str, Node]) -> Probe | None:
        keys = self.read.table(node, "probe", PROBE_KEYS, ("name",))
        if not keys:
            return None
        name = (self.read.name(keys["name"], "name", names) if "name" in keys else None) or ""
        target = self._target(node, keys)
        every = (self.read.duration(keys["every"], "every", MIN_EVERY, DAY) if "every" in keys else None) or 5.0
        timeout = self._timeout(keys.get("timeout"), every)
        counts = {
            key: (self.read.integer(keys[key], key, 1, 100) if key in keys else None) or usual
            for key, usual in (("down_after", 3), ("up_after", 2))
        }
        labels = self.read.text_map(keys["labels"], "labels", label=True) if "labels" in keys else {}
        if "alertname" in labels:
            self.read.wrong(keys["labels"], 'labels: "alertname" has a key of its own beside `labels`')
        notes = self.read.text_map(keys["annotations"], "annotations", label=True) if "annotations" in keys else {}
        kind, where = target or ("tcp", "")
        alertname = self._alertname(keys.get("alertname"))
        return Probe(name, kind, where, alertname, every, timeout, labels=labels, annotations=notes, **counts)

    def _target(self, node: Node, keys: Mapping[str, Node]) -> tuple[str, str] | None:
        kinds = [kind for kind in ("http", "tcp") if kind in keys]
        if len(kinds) != 1:
            self.read.wrong(node, f"probe: expected exactly one of http, tcp, got {'both' if kinds else 'none'}")
            return None
        kind = kinds[0]
        found = (self.read.url if kind == "http" else self.read.host_port)(keys[kind], kind)
        if found is not None and "{" in found:
            self.read.wrong(keys[kind], f"{kind}: a probe has no alert to fill placeholders from")
        return None if found is None else (kind, found)

    def _timeout(self, node: Node | None, every: float) -> float:
        if node is None:
            return min(2.0, every)
        return self.read.duration(node, "timeout", MIN_EVERY, every) or every

    def _alertname(self, node: Node | None) -> str:
        name = (self.read.text(node, "alertname") if node is not None else None) or "ServiceDown"
        if node is not None and name.startswith("Autoheal"):
            self.read.wrong(node, "alertname: alerts named Autoheal* match no rule")
        return name
