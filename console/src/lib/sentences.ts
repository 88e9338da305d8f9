// One sentence for each event: what happened, in the words of somebody who tells it at three in the morning.
import type { TrailEvent } from "../types";
import { count, duration, oneLine } from "./format";

const SKIPS: Record<string, string> = {
  disabled: "Autoheal is off",
  resolved: "the alert is resolved",
  not_allowlisted: "no rule matches it",
  not_annotated: "the alert does not opt in",
  action_not_allowed: "the action asked for is not allowed",
  maintenance: "maintenance window",
  silenced: "silenced in Alertmanager",
  in_progress: "another remediation of it is under way",
  unsettled: "the last one ended unknown and is not settled",
  cooldown: "cooldown",
  budget: "its attempts are used up",
  breaker_open: "the rule's breaker is open",
  rule_changed: "its rule changed meanwhile",
  stale: "not heard of for too long",
  blast_radius: "too many actions at once",
  approval: "waits for an approval",
};

const ENDS: Record<string, string> = {
  by_hand: "by hand",
  approval_expired: "nobody approved in time",
  not_started: "it could not start in time",
  interrupted: "interrupted by a crash",
  probe: "seen by a probe after the crash",
  late_outcome: "its outcome came late",
  over: "its cause is over",
  expired: "it ran out",
  verdict: "the verification told",
  healed: "it healed",
  cancelled: "it was cancelled",
};

/** A reason code in words; unknown ones stay as they are. */
export function reasonText(reason: unknown): string {
  if (typeof reason !== "string" || reason === "") return "";
  return SKIPS[reason] ?? ENDS[reason] ?? reason.replaceAll("_", " ");
}

export function modeName(mode: { enabled?: unknown; dry_run?: unknown; [other: string]: unknown }): "live" | "dry run" | "off" {
  if (mode.dry_run) return "dry run";
  return mode.enabled ? "live" : "off";
}

type Tell = (event: TrailEvent) => string;

const text = (value: unknown): string => (typeof value === "string" ? value : "");
const num = (value: unknown): number | null => (typeof value === "number" ? value : null);
const by = (event: TrailEvent): string => (event.actor ? ` by ${event.actor}` : "");
const note = (event: TrailEvent): string => {
  const said = text(event.note) || text(event.comment);
  return said ? `: “${said}”` : "";
};
const took = (event: TrailEvent): string => {
  const seconds = num(event.duration_seconds);
  return seconds === null ? "" : ` in ${duration(seconds)}`;
};
const left = (event: TrailEvent): string => {
  const until = num(event.until);
  return until === null || until <= event.ts ? "" : `, ${duration(Math.round(until - event.ts))} left`;
};
const step = (event: TrailEvent): string => {
  const at = num(event.step);
  const ladder = num(event.ladder);
  return at === null || (at === 0 && (ladder ?? 1) <= 1) ? "" : `step ${at + 1}: `;
};

/** The last entry of the trace: what the deciding gate said. */
export function why(event: TrailEvent): string {
  const trace = event.trace;
  if (typeof trace !== "object" || trace === null) return "";
  const last = Object.values(trace as Record<string, unknown>).at(-1);
  return typeof last === "string" && last !== "pass" ? last : "";
}

const next = (event: TrailEvent): string => {
  const following = num(event.next_step);
  if (following !== null) return `; step ${following + 1} is next`;
  if (event.state === "exhausted") return "; that was the last step";
  return "";
};

function skipped(event: TrailEvent): string {
  const reason = reasonText(event.reason) || "no reason given";
  if (event.reason === "cooldown") return `Skipped: cooldown${left(event)}`;
  if (event.reason === "resolved" && event.resolves !== undefined) return "The alert resolved; nothing to do";
  return `Skipped: ${reason}${left(event)}`;
}

function cancelled(event: TrailEvent): string {
  if (event.reason === "by_hand") return `Cancelled${by(event)}${note(event)}`;
  if (event.state === "expired") return `Expired: ${reasonText(event.reason)}`;
  return `Cancelled: ${reasonText(event.reason) || "no longer wanted"}${left(event)}`;
}

function settled(event: TrailEvent): string {
  if (event.escalation !== undefined && event.state === undefined) {
    return `Escalation ended${by(event)}${event.reason && event.reason !== "by_hand" ? `: ${reasonText(event.reason)}` : ""}`;
  }
  const outcome = event.state === "healed" || event.state === "failed" ? ` as ${event.state}` : "";
  return `Settled${outcome}${by(event)}${event.reason === "resolved" ? ": the alert resolved" : ""}${note(event)}`;
}

function refused(event: TrailEvent): string {
  const problems = Array.isArray(event.problems) ? event.problems : [];
  const first = problems[0] as { field?: unknown; problem?: unknown } | undefined;
  const told = first ? ` (${[text(first.field), text(first.problem)].filter(Boolean).join(": ")})` : "";
  return `${count(num(event.count) ?? 1, "alert")} refused: ${text(event.reason) || "unusable"}${told}`;
}

function ruleCount(event: TrailEvent): string {
  return Array.isArray(event.rules) ? count(event.rules.length, "rule") : "a policy";
}

/** What the watch of our silences saw, which no webhook tells. */
function watched(event: TrailEvent): string {
  if (event.source !== "silence_watch" || !Array.isArray(event.seen)) return "";
  const seen = event.seen as { status?: unknown; behind?: unknown }[];
  if (seen.every((one) => one.status === "resolved")) return "resolved behind a silence of ours";
  if (seen.every((one) => one.behind !== undefined)) return "hidden by a silence of ours";
  return "firing again after a silence of ours";
}

const TELL: Record<string, Tell> = {
  webhook_received: (e) => `${count(num(e.alerts) ?? 1, "alert")} ${watched(e) || `from ${text(e.source) || "a sender"}${e.receiver ? ` (${text(e.receiver)})` : ""}`}`,
  webhook_rejected: refused,
  decision_act: (e) => `Will run ${text(e.cmd) || "its action"}${(num(e.attempt) ?? 1) > 1 ? `, attempt ${num(e.attempt)}` : ""}`,
  decision_skip: skipped,
  decision_hold: (e) => `Held: ${reasonText(e.reason)}${left(e)}`,
  action_dry_run: (e) => `Would have run ${text(e.cmd) || "its action"} (dry run)`,
  action_started: (e) => `Running ${step(e)}${text(e.cmd)}`,
  action_ok: (e) => `Done${took(e)}: ${step(e)}${text(e.cmd)}${e.state === "verifying" ? "; now verifying" : ""}`,
  action_fail: (e) => `Failed${took(e)}: ${step(e)}${text(e.error) || text(e.cmd)}${next(e)}`,
  action_unknown: (e) => `Nobody knows whether it ran to its end: ${text(e.cmd) || text(e.error)}${e.reason ? ` (${reasonText(e.reason)})` : ""}`,
  verify_ok: (e) => `Healed${num(e.time_to_heal_seconds) === null ? "" : `, ${duration(num(e.time_to_heal_seconds))} after the alert`}${e.reason === "probe" ? " (seen by a probe after a crash)" : ""}`,
  verify_fail: (e) => `It did not help: ${text(e.detail) || "the verification failed"}${next(e)}`,
  verify_inconclusive: (e) => `Whether it helped cannot be seen: ${text(e.detail) || "no data"}`,
  escalated: (e) => `${text(e.severity) || "warning"}: ${text(e.summary) || reasonText(e.reason)}`,
  cancelled,
  approval_requested: (e) => `Asks for approval to run ${text(e.cmd) || "its action"}${left(e)}`,
  approved: (e) => `Approved${by(e)}${note(e)}`,
  rejected: (e) => `Rejected${by(e)}${note(e)}`,
  settled,
  marked: (e) => `Marked as ${text(e.mark).replaceAll("_", " ") || "false positive"}${by(e)}${note(e)}`,
  ack: (e) => e.reason === "extended" || e.reason === "shortened" ? `Silence ${text(e.reason)}${e.duration ? ` by ${text(e.duration)}` : ""}${e.actor ? `, by ${e.actor}` : ""}` : `Silenced${e.duration ? ` for ${text(e.duration)}` : ""}${by(e)}${note(e)}`,
  ack_ended: (e) => `Silence ended: ${reasonText(e.reason) || "over"}${e.reason === "by_hand" ? by(e).replace(" by", ", by") : ""}`,
  mode_changed: (e) => {
    const before = e.before as { enabled?: unknown; dry_run?: unknown } | undefined;
    return `Mode ${before ? `${modeName(before)} → ` : "is now "}${modeName(e)}${by(e)}`;
  },
  cooldown_changed: (e) => {
    const to = num(e.cooldown) === null ? "" : ` → ${duration(num(e.cooldown)!)}`;
    const why = e.reason === "rule_changed" ? ", for the rule was written anew" : e.reset ? ", as the policy says" : "";
    return `Cooldown of ${text(e.rule) || "a rule"}: ${duration(num(e.before))}${to}${why}${why ? by(e).replace(" by", ", by") : by(e)}`;
  },
  policy_loaded: (e) => `Policy with ${ruleCount(e)}${e.changed === false ? ", as before" : ""}${e.actor ? `, by ${e.actor}` : ""}`,
  policy_rejected: (e) => `Policy refused, the old one holds: ${text(e.error).split("\n")[0]}`,
  heartbeat: (e) => `Alive: ${modeName(e)}, ${num(e.open) ?? 0} open`,
  started: (e) => `${e.role === "worker" ? "Worker" : "Autoheal"} ${text(e.version)} started${num(e.interrupted) ? `, ${count(num(e.interrupted)!, "action")} interrupted` : ""}`,
  stopped: (e) => `Stopped${e.reason ? `: ${reasonText(e.reason)}` : ""}${num(e.running) ? `, ${num(e.running)} still running` : ""}`,
};

/** What happened, in one line; text of alerts in it is made visible. */
export function sentence(event: TrailEvent): string {
  const tell = TELL[event.kind];
  return oneLine(tell ? tell(event) : text(event.summary) || reasonText(event.reason) || event.kind.replaceAll("_", " "));
}
