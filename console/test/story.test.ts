// A remediation's line and verbs in each of its states.
import { describe, expect, it } from "vitest";
import { line, unverified, verbsFor } from "../src/lib/story";
import { STATES } from "../src/lib/kinds";
import type { Remediation } from "../src/types";

const one = (more: Partial<Remediation>): Remediation =>
  ({ state: "healed", effect: "healed", hold: null, reason: null, marked: null, inconclusive: false, step: 0, ladder: 1, received_at: 100, ended_at: 112, ...more }) as Remediation;

describe("the line", () => {
  it.each<[Partial<Remediation>, string]>([
    [{ state: "held", hold: "approval" }, "Waits for somebody to approve it."],
    [{ state: "held", hold: "blast_radius" }, "Held back: too many actions at once."],
    [{ state: "running", step: 1, ladder: 2 }, "Step 2 of 2 runs."],
    [{}, "Healed, 12s after the alert came."],
    [{ effect: "unknown" }, "Done after 12s; nothing verifies whether it helped."],
    [{ reason: "by_hand" }, "Settled as healed by a person."],
    [{ state: "exhausted", effect: "ineffective", ladder: 2 }, "It did not help (12s). Every step of the ladder was tried."],
    [{ state: "failed", effect: "self_resolved" }, "It did not help, but the alert resolved itself (12s)."],
    [{ state: "cancelled", reason: "by_hand" }, "Cancelled: by hand."],
    [{ state: "expired", reason: "approval_expired" }, "Expired: nobody approved in time."],
  ])("%j", (given, wanted) => expect(line(one(given))).toBe(wanted));

  it("says something in every state", () => {
    for (const state of Object.keys(STATES)) expect(line(one({ state }))).toMatch(/\w.*\.$/);
  });
});

describe("a step that nothing looked at", () => {
  it.each([
    [{ result: "fail" }, "Not verified: the command failed."],
    [{ result: "unknown" }, "Not verified: nobody knows how the command ended."],
    [{ result: "ok" }, null],
    [{ result: "ok", verdict: "fail" }, null],
    [{}, null],
  ])("%j", (step, wanted) => expect(unverified(step)).toBe(wanted));
});

describe("verbs", () => {
  it.each<[Partial<Remediation>, string[]]>([
    [{ state: "held", hold: "approval" }, ["approve", "reject", "cancel", "mark"]],
    [{ state: "held", hold: "blast_radius" }, ["reject", "cancel", "mark"]],
    [{ state: "reserved" }, ["cancel", "mark"]],
    [{ state: "running" }, ["mark"]],
    [{ state: "verifying" }, ["cancel", "mark"]],
    [{ state: "verifying", inconclusive: true }, ["cancel", "settle", "mark"]],
    [{ state: "unknown" }, ["settle", "mark"]],
    [{ state: "healed", marked: "false_positive" }, []],
  ])("%j", (given, wanted) => expect(verbsFor(one(given))).toEqual(wanted));
});
