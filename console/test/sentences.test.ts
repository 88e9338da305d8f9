// Each kind of event tells in a sentence what happened; the trace tells why.
import { describe, expect, it } from "vitest";
import { GATES, explainRows, traceRows } from "../src/lib/gates";
import { GROUPS, KINDS, stateLabel } from "../src/lib/kinds";
import { sentence } from "../src/lib/sentences";

const CASES: Record<string, [Record<string, unknown>, string][]> = {
  webhook_received: [
    [{ alerts: 3, source: "alertmanager", receiver: "autoheal" }, "3 alerts from alertmanager (autoheal)"],
    [{ alerts: 1, source: "prober", seen: [{ status: "firing" }] }, "1 alert from prober"],
    [{ alerts: 1, source: "silence_watch", seen: [{ status: "resolved" }] }, "1 alert resolved behind a silence of ours"],
    [{ alerts: 2, source: "silence_watch", seen: [{ status: "firing", behind: "s" }] }, "2 alerts hidden by a silence of ours"],
    [{ alerts: 1, source: "silence_watch", seen: [{ status: "firing" }] }, "1 alert firing again after a silence of ours"],
  ],
  webhook_rejected: [[{ count: 2, reason: "alert", problems: [{ field: "labels", problem: "missing" }] }, "2 alerts refused: alert (labels: missing)"]],
  decision_act: [[{ cmd: "docker restart a", attempt: 2 }, "Will run docker restart a, attempt 2"]],
  decision_skip: [
    [{ reason: "cooldown", until: 340 }, "Skipped: cooldown, 4m left"],
    [{ reason: "not_allowlisted" }, "Skipped: no rule matches it"],
    [{ reason: "resolved", resolves: 5 }, "The alert resolved; nothing to do"],
    [{ reason: "something_new" }, "Skipped: something new"],
  ],
  decision_hold: [[{ reason: "approval", until: 1000 }, "Held: waits for an approval, 15m left"]],
  action_dry_run: [[{ cmd: "docker restart a" }, "Would have run docker restart a (dry run)"]],
  action_started: [[{ cmd: "x", step: 1 }, "Running step 2: x"], [{ cmd: "x", step: 0 }, "Running x"]],
  action_ok: [[{ cmd: "x", duration_seconds: 1.84, state: "verifying" }, "Done in 1.8s: x; now verifying"]],
  action_fail: [
    [{ error: "ended with status 3", duration_seconds: 0.2, next_step: 1 }, "Failed in 200ms: ended with status 3; step 2 is next"],
    [{ cmd: "x", state: "exhausted" }, "Failed: x; that was the last step"],
  ],
  action_unknown: [[{ cmd: "x", reason: "interrupted" }, "Nobody knows whether it ran to its end: x (interrupted by a crash)"]],
  verify_ok: [[{ time_to_heal_seconds: 12.2 }, "Healed, 12s after the alert"]],
  verify_fail: [[{ detail: "refused" }, "It did not help: refused"]],
  verify_inconclusive: [[{}, "Whether it helped cannot be seen: no data"]],
  escalated: [[{ severity: "critical", summary: "look" }, "critical: look"]],
  cancelled: [
    [{ reason: "by_hand", actor: "ann", note: "no" }, "Cancelled by ann: “no”"],
    [{ reason: "approval_expired", state: "expired" }, "Expired: nobody approved in time"],
    [{ reason: "cooldown", state: "cancelled" }, "Cancelled: cooldown"],
  ],
  approval_requested: [[{ cmd: "x", until: 1000 }, "Asks for approval to run x, 15m left"]],
  approved: [[{ actor: "ann", note: "go" }, "Approved by ann: “go”"]],
  rejected: [[{ actor: "ann" }, "Rejected by ann"]],
  settled: [
    [{ state: "healed", actor: "ann", reason: "by_hand" }, "Settled as healed by ann"],
    [{ escalation: "k", reason: "healed" }, "Escalation ended: it healed"],
    [{ escalation: "k", reason: "by_hand", actor: "ann" }, "Escalation ended by ann"],
  ],
  marked: [[{ mark: "false_positive", actor: "ann" }, "Marked as false positive by ann"]],
  ack: [
    [{ duration: "2h", actor: "ann", comment: "on it" }, "Silenced for 2h by ann: “on it”"],
    [{ duration: "2h", actor: "bob", reason: "extended" }, "Silence extended by 2h, by bob"],
    [{ actor: "carol", reason: "shortened" }, "Silence shortened, by carol"],
  ],
  ack_ended: [[{ reason: "resolved" }, "Silence ended: the alert is resolved"], [{ reason: "by_hand", actor: "ann" }, "Silence ended: by hand, by ann"]],
  mode_changed: [[{ enabled: true, dry_run: false, before: { enabled: true, dry_run: true }, actor: "ann" }, "Mode dry run → live by ann"]],
  cooldown_changed: [
    [{ rule: "crm", cooldown: 300, before: 600, actor: "ann" }, "Cooldown of crm: 10m → 5m by ann"],
    [{ rule: "crm", cooldown: 600, before: 300, reset: true, actor: "ann" }, "Cooldown of crm: 5m → 10m, as the policy says, by ann"],
    [{ rule: "crm", before: 300, reset: true, reason: "rule_changed" }, "Cooldown of crm: 5m, for the rule was written anew"],
  ],
  policy_loaded: [[{ rules: ["a", "b"], changed: false }, "Policy with 2 rules, as before"]],
  policy_rejected: [[{ error: "bad\nworse" }, "Policy refused, the old one holds: bad"]],
  heartbeat: [[{ enabled: false, dry_run: false, open: 2 }, "Alive: off, 2 open"]],
  started: [[{ version: "1.2", interrupted: 1 }, "Autoheal 1.2 started, 1 action interrupted"], [{ version: "1.2", role: "worker" }, "Worker 1.2 started"]],
  stopped: [[{ reason: "SIGTERM", running: 1 }, "Stopped: SIGTERM, 1 still running"]],
};

describe("sentences", () => {
  it("has a case for each kind, and each kind a group", () => {
    expect(Object.keys(CASES).sort()).toEqual(Object.keys(KINDS).sort());
    for (const kind of Object.values(KINDS)) expect(GROUPS).toContain(kind.group);
  });

  for (const [kind, cases] of Object.entries(CASES)) {
    it.each(cases)(`${kind} %j`, (fields, wanted) => expect(sentence({ id: 1, ts: 100, kind, ...fields })).toBe(wanted));
  }

  it("says something of any kind without any field, and of kinds to come", () => {
    for (const kind of Object.keys(KINDS)) expect(sentence({ id: 1, ts: 1, kind })).toMatch(/\S/);
    expect(sentence({ id: 1, ts: 1, kind: "brand_new" })).toBe("brand new");
  });

  it("makes hostile text visible and keeps it on a line", () => {
    expect(sentence({ id: 1, ts: 1, kind: "approved", actor: "a\u202eb", note: "x\ny" })).toBe("Approved by a\\u202eb: “x ⏎ y”");
  });

  it("calls done what nothing verified", () => {
    expect(stateLabel("healed", "unknown").label).toBe("Done");
    expect(stateLabel("healed", "healed").label).toBe("Healed");
  });
});

describe("traces", () => {
  it("names the gate that stopped it, and those that were not reached", () => {
    const rows = traceRows({ kill_switch: "pass", resolved: "pass", rule: "no rule of the policy matches these labels" });
    expect(rows.map((row) => row.passed).slice(0, 4)).toEqual(["pass", "pass", "stopped", "not_reached"]);
    expect(rows).toHaveLength(GATES.length);
  });

  it("knows remarks, woulds and a way that was free", () => {
    const rows = traceRows({ rule: "my-rule", budget: "would skip: 3 of 3", dry_run: "pass" });
    expect(rows.map((row) => row.passed)).toEqual(["remark", "would", "pass"]);
    expect(traceRows({ approval: "would hold: x", dry_run: "dry run: recorded, not done" }).at(-1)!.passed).toBe("stopped");
  });

  it("takes an unknown pseudo gate as it is", () => {
    expect(traceRows({ still_firing: "gone: not decided again after cooldown" })).toMatchObject([{ gate: "still_firing", title: "still firing", passed: "stopped" }]);
    expect(traceRows({})).toEqual([]);
  });

  it("reads explanations", () => {
    const rows = explainRows([
      { gate: "rule", verdict: "pass", why: "my-rule" },
      { gate: "opt_in", verdict: "pass", why: "" },
      { gate: "cooldown", verdict: "skip", why: "5 s remain" },
      { gate: "budget", verdict: "would_skip", why: "used" },
      { gate: "approval", verdict: "not_reached", why: "" },
    ]);
    expect(rows.map((row) => row.passed)).toEqual(["remark", "pass", "stopped", "would", "not_reached"]);
  });
});
