// Each kind of event: its name for people, its tone (the one palette of the console) and the group it is filtered by.

export type Tone = "ok" | "busy" | "wait" | "bad" | "unknown" | "dry" | "quiet" | "people";

interface Kind {
  label: string;
  tone: Tone;
  group: string;
}

const kind = (label: string, tone: Tone, group: string): Kind => ({ label, tone, group });

export const KINDS: Record<string, Kind> = {
  webhook_received: kind("Alerts received", "quiet", "Intake"),
  webhook_rejected: kind("Alerts refused", "bad", "Intake"),
  decision_act: kind("Decided to act", "busy", "Decisions"),
  decision_skip: kind("Skipped", "quiet", "Decisions"),
  decision_hold: kind("Held", "wait", "Decisions"),
  action_dry_run: kind("Dry run", "dry", "Actions"),
  action_started: kind("Action started", "busy", "Actions"),
  action_ok: kind("Action done", "ok", "Actions"),
  action_fail: kind("Action failed", "bad", "Actions"),
  action_unknown: kind("Action unknown", "unknown", "Actions"),
  verify_ok: kind("Healed", "ok", "Verification"),
  verify_fail: kind("Not healed", "bad", "Verification"),
  verify_inconclusive: kind("Cannot tell", "unknown", "Verification"),
  escalated: kind("Escalated", "bad", "People"),
  cancelled: kind("Cancelled", "quiet", "Decisions"),
  approval_requested: kind("Approval asked", "wait", "People"),
  approved: kind("Approved", "people", "People"),
  rejected: kind("Rejected", "people", "People"),
  settled: kind("Settled", "people", "People"),
  marked: kind("Marked", "people", "People"),
  ack: kind("Acknowledged", "people", "People"),
  ack_ended: kind("Acknowledgement ended", "quiet", "People"),
  mode_changed: kind("Mode changed", "wait", "Service"),
  cooldown_changed: kind("Cooldown changed", "wait", "Service"),
  policy_loaded: kind("Policy loaded", "quiet", "Service"),
  policy_rejected: kind("Policy refused", "bad", "Service"),
  heartbeat: kind("Heartbeat", "quiet", "Service"),
  started: kind("Started", "busy", "Service"),
  stopped: kind("Stopped", "wait", "Service"),
};

export const GROUPS = ["Decisions", "Actions", "Verification", "People", "Intake", "Service"] as const;

export function kindOf(name: string): Kind {
  return KINDS[name] ?? kind(name, "quiet", "Service");
}

export const STATES: Record<string, { label: string; tone: Tone }> = {
  held: { label: "Held", tone: "wait" },
  reserved: { label: "Queued", tone: "busy" },
  running: { label: "Running", tone: "busy" },
  verifying: { label: "Verifying", tone: "busy" },
  healed: { label: "Healed", tone: "ok" },
  failed: { label: "Failed", tone: "bad" },
  exhausted: { label: "Exhausted", tone: "bad" },
  unknown: { label: "Unknown", tone: "unknown" },
  cancelled: { label: "Cancelled", tone: "quiet" },
  rejected: { label: "Rejected", tone: "people" },
  expired: { label: "Expired", tone: "quiet" },
};

export function stateOf(name: string): { label: string; tone: Tone } {
  return STATES[name] ?? { label: name, tone: "quiet" };
}

/** A state in words; a remediation without a verification that ended well is done, not proven healed. */
export function stateLabel(state: string, effect?: string | null): { label: string; tone: Tone } {
  if (state === "healed" && effect === "unknown") return { label: "Done", tone: "busy" };
  return stateOf(state);
}

export const OPEN = new Set(["held", "reserved", "running", "verifying"]);

/** Kinds after which what the overview shows may be another. */
export const STIRS = new Set(
  Object.keys(KINDS).filter((name) => !["heartbeat", "webhook_received", "decision_skip", "webhook_rejected"].includes(name)),
);

export const OUTCOMES: Record<string, { label: string; color: string; says: string }> = {
  healed: { label: "Healed", color: "--c-healed", says: "ended healed, as its verification saw it" },
  self_resolved: { label: "Resolved itself", color: "--c-self", says: "the alert was gone before it helped" },
  done: { label: "Done, not verified", color: "--c-done", says: "ended well, without a verification" },
  failed: { label: "Failed", color: "--c-failed", says: "ended, and the alert still fires" },
  unknown: { label: "Unknown", color: "--c-unknown", says: "nobody knows how it ended" },
  dry_run: { label: "Dry run", color: "--c-dry", says: "recorded, not done" },
  held: { label: "Held", color: "--c-held", says: "waits for an approval or a limit" },
  skipped: { label: "Skipped", color: "--c-skipped", says: "a gate said no" },
};
