// What a dialog says once somebody else was faster.
import { describe, expect, it } from "vitest";
import { overtakes, whatBecame } from "../src/lib/decided";
import type { TrailEvent } from "../src/types";

const event = (kind: string, more: object = {}) => ({ id: 1, ts: 1763.25, kind, ...more }) as TrailEvent;

describe("a question that is over", () => {
  it("is told by who ended it, and when", () => {
    const events = [event("approval_requested"), event("rejected", { actor: "maria" })];
    expect(whatBecame("approve", events, 1800)).toMatch(/^Rejected by maria \(\d\d:\d\d\)$/);
    expect(whatBecame("approve", events.slice(0, 1), 1800)).toBe("");
  });

  it("depends on what was asked", () => {
    expect(overtakes("reject", event("action_started"))).toBe(true);
    expect(overtakes("settle", event("settled"))).toBe(true);
    expect(overtakes("settle", event("approved"))).toBe(false);
    expect(overtakes("mark", event("settled"))).toBe(false);
  });
});
