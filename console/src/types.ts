// The JSON that the server speaks, as far as the console reads it.

export interface TrailEvent {
  id: number;
  ts: number;
  kind: string;
  alertname?: string;
  rule?: string;
  remediation_id?: string;
  labels?: Labels;
  reason?: string;
  actor?: string;
  [field: string]: unknown;
}

export type Labels = Record<string, string>;

export interface Mode {
  enabled: boolean;
  dry_run: boolean;
  source?: string;
  since?: number;
  by?: string;
}

export interface ModeAnswer extends Mode {
  unconfirmed?: string[];
}

export interface Slo {
  id: string;
  title: string;
  value: number | null;
  target: number;
  unit: string;
  better: "lower" | "higher";
  ok: boolean | null;
  note?: string;
}

export interface Summary {
  id: string;
  state: string;
  rule: string;
  alertname: string;
  labels: Labels;
  cmd: string;
  step: number;
  ladder: number;
  attempt: number;
  since: number | null;
  until: number | null;
  hold: string | null;
  created_at: number;
  started_at: number | null;
  inconclusive: boolean;
  approved_by: string | null;
}

export interface Escalation {
  key: string;
  severity: string;
  reason: string;
  summary: string;
  since: number;
  rule: string | null;
  alertname: string | null;
  remediation_id: string | null;
}

export interface Cooldown {
  key: string;
  rule: string;
  alertname: string;
  lane: string;
  started_at: number;
  until: number;
  remediation_id: string | null;
}

export interface BreakerState {
  rule: string;
  failures: number;
  open_until: number | null;
}

export interface AckState {
  silence_id: string;
  labels: Labels;
  ends_at: number;
  actor: string;
  comment: string;
}

export interface Overview {
  now: number;
  version: string;
  public_url: string;
  last_event_id: number;
  first_event_id: number;
  me: { name: string; role: string };
  ready: { ok: boolean; reason: string };
  mode: Mode & { acts: boolean; off: boolean };
  slos: Slo[];
  active: Summary[];
  active_total: number;
  waiting: {
    approvals: Summary[];
    unknown: Summary[];
    escalations: Escalation[];
    approvals_total: number;
    unknown_total: number;
    escalations_total: number;
  };
  cooldowns: Cooldown[];
  cooldowns_total: number;
  breakers: BreakerState[];
  acks: AckState[];
  deferred: number;
}

export interface Timeline {
  since: number;
  until: number;
  step: number;
  outcomes: string[];
  counts: Record<string, number[]>;
  partial: boolean;
  from?: number | null;
}

export interface StepRow {
  step: number;
  cmd: string;
  started_at: number;
  ended_at?: number;
  result?: string;
  rc?: number | null;
  error?: string | null;
  duration_seconds?: number | null;
  verdict?: string;
  verified_at?: number;
  detail?: string | null;
}

export interface VerifySpec {
  kind: string;
  target: string;
  within: number;
  every?: number;
}

export interface Remediation {
  id: string;
  state: string;
  rule: string;
  key: string;
  alertname: string;
  fingerprint: string;
  labels: Labels;
  annotations: Labels;
  starts_at: number;
  received_at: number;
  created_at: number;
  origin: string;
  attempt: number;
  step: number;
  ladder: number;
  hold: string | null;
  hold_until: number | null;
  approved_by: string | null;
  owner?: string;
  queue?: string;
  run_until: number | null;
  cmd: string;
  started_at: number | null;
  step_ended_at: number | null;
  verify: VerifySpec | null;
  verify_until: number | null;
  inconclusive: boolean;
  resolved_at: number | null;
  ended_at: number | null;
  reason: string | null;
  effect: string | null;
  marked: string | null;
  trace: Record<string, string>;
  steps: StepRow[];
  events?: TrailEvent[];
}

export interface RuleRow {
  name: string;
  match: string[];
  alertnames: string[];
  cooldown: number;
  /** Who has set it, when, and what the policy says instead. */
  cooldown_set?: { by: string; since: number; policy: number } | null;
  cooldown_by: string[];
  opt_in: boolean;
  approval: number | null;
  max_attempts: { count: number; per: number; by: string[] } | null;
  queue: string;
  never_during: string[];
  steps: { cmd: string; timeout: number; verify: { kind: string; target: string; within: number } | null }[];
  stats: {
    ended: number;
    healed: number;
    /** Ended well without a verification; not in `healed`, nor in `success_rate`. */
    done?: number;
    failed: number;
    unknown: number;
    cancelled: number;
    false_positives: number;
    success_rate: number | null;
    median_time_to_heal: number | null;
    last_started_at: number | null;
  };
  breaker: { failures: number; open_until: number | null } | null;
  cooling: number;
}

export interface GateVerdict {
  gate: string;
  verdict: string;
  why: string;
  reason?: string;
  until?: number | null;
  decides?: boolean;
}

export interface Explanation {
  result: string;
  reason: string;
  why: string;
  until: number | null;
  rule: string | null;
  key: string | null;
  cmd: string[];
  gates: GateVerdict[];
}

export interface SilenceRow {
  state: string;
  ours: boolean;
}

export interface AckPreview {
  labels: Labels;
  duration: string;
  ends_at: number;
  known: boolean;
  matching: Labels[];
  matching_total: number;
}

export interface AuditPage {
  count: number;
  events: TrailEvent[];
  partial?: boolean;
  before?: number | null;
}
