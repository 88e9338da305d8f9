// Coalescing, stacking, counting what waits: small things that would be missed.
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Coalescer } from "../src/lib/coalesce";
import { bucketRows, dwarfs, stack, totals } from "../src/lib/stack";
import { otherEscalations, waitingCount } from "../src/lib/waiting";
import type { Overview, Timeline } from "../src/types";

describe("Coalescer", () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  it("runs at once, then at most once in an interval, and never forgets the last wish", async () => {
    const run = vi.fn(async () => undefined);
    const coalescer = new Coalescer(run, 300, () => Date.now());
    coalescer.ask();
    expect(run).toHaveBeenCalledTimes(1);
    await vi.advanceTimersByTimeAsync(10);
    for (let n = 0; n < 50; n += 1) coalescer.ask();
    expect(run).toHaveBeenCalledTimes(1);
    await vi.advanceTimersByTimeAsync(290);
    expect(run).toHaveBeenCalledTimes(2);
    await vi.advanceTimersByTimeAsync(5000);
    expect(run).toHaveBeenCalledTimes(2);
  });

  it("never runs two at a time; a wish meanwhile is granted afterwards", async () => {
    let finish = () => {};
    const run = vi.fn(() => new Promise<void>((done) => void (finish = done)));
    const coalescer = new Coalescer(run, 10, () => Date.now());
    coalescer.ask();
    await vi.advanceTimersByTimeAsync(1000);
    coalescer.ask();
    expect(run).toHaveBeenCalledTimes(1);
    finish();
    await vi.advanceTimersByTimeAsync(0);
    expect(run).toHaveBeenCalledTimes(2);
  });

  it("lets go of what it had planned", async () => {
    const run = vi.fn(async () => undefined);
    const coalescer = new Coalescer(run, 300, () => Date.now());
    coalescer.ask();
    await vi.advanceTimersByTimeAsync(1);
    coalescer.ask();
    coalescer.stop();
    await vi.advanceTimersByTimeAsync(5000);
    expect(run).toHaveBeenCalledTimes(1);
  });
});

describe("stack", () => {
  const timeline: Timeline = {
    since: 100, until: 130, step: 10, outcomes: ["healed", "failed", "skipped"], partial: false,
    counts: { healed: [1, 0, 2], failed: [0, 0, 1], skipped: [5, 0, 0] },
  };

  it("sums from the bottom, draws from the top", () => {
    const { times, layers, highest } = stack(timeline, new Set());
    expect(times).toEqual([100, 110, 120]);
    expect(layers.map((layer) => layer.outcome)).toEqual(["skipped", "failed", "healed"]);
    expect(layers.map((layer) => layer.sums)).toEqual([[6, 0, 3], [1, 0, 3], [1, 0, 2]]);
    expect(highest).toBe(6);
  });

  it("leaves out what is switched off", () => {
    const { layers, highest } = stack(timeline, new Set(["skipped"]));
    expect(layers.map((layer) => layer.outcome)).toEqual(["failed", "healed"]);
    expect(highest).toBe(3);
  });

  it("notices what would dwarf the rest", () => {
    expect(dwarfs(timeline, "skipped")).toBe(false);
    expect(dwarfs({ ...timeline, counts: { ...timeline.counts, skipped: [50, 0, 0] } }, "skipped")).toBe(true);
    expect(dwarfs({ ...timeline, counts: { skipped: [50, 0, 0] } }, "skipped")).toBe(false);
  });

  it("is a table of what happened, newest first", () => {
    expect(bucketRows(timeline)).toEqual([
      { at: 120, total: 3, counts: { healed: 2, failed: 1 } },
      { at: 100, total: 6, counts: { healed: 1, skipped: 5 } },
    ]);
    expect(totals(timeline)).toEqual({ healed: 3, failed: 1, skipped: 5 });
  });
});

describe("what waits", () => {
  it("counts an unknown end and its escalation once", () => {
    const waiting = {
      approvals: [], unknown: [{ id: "r1" }], escalations: [{ key: "remediation:r1", remediation_id: "r1" }, { key: "blast_radius", remediation_id: null }],
      approvals_total: 2, unknown_total: 1, escalations_total: 2,
    } as unknown as Overview["waiting"];
    expect(otherEscalations(waiting).map((one) => one.key)).toEqual(["blast_radius"]);
    expect(waitingCount({ waiting })).toBe(4);
    expect(waitingCount(null)).toBe(0);
  });
});
