// The list as data: what passes, how pages and live events come together, which rows are drawn.
import { describe, expect, it } from "vitest";
import { NO_FILTER } from "../src/lib/route";
import { merge, newest, pageOf, passes, together } from "../src/lib/trail";
import { Heights } from "../src/lib/windowing";
import type { TrailEvent } from "../src/types";

const event = (id: number, more: Partial<TrailEvent> = {}): TrailEvent => ({ id, ts: id, kind: "ack", ...more });
const ids = (events: readonly TrailEvent[]) => events.map((one) => one.id);
const list = (...wanted: number[]) => wanted.map((id) => event(id));

describe("passes", () => {
  const one = event(5, { alertname: "A", rule: "r" });
  const raw = JSON.stringify(one);
  it.each([
    [{}, true], [{ kinds: ["ack"] }, true], [{ kinds: ["approved"] }, false], [{ alertname: "A" }, true], [{ alertname: "a" }, false], [{ rule: "x" }, false],
    [{ since: 5, until: 5 }, true], [{ since: 5.1 }, false], [{ until: 4.9 }, false], [{ q: '"rule":"r"' }, true], [{ q: "zzz" }, false],
  ])("%j: %s", (filter, wanted) => expect(passes(one, raw, { ...NO_FILTER, ...filter })).toBe(wanted));

  it("shows heartbeats only where they are asked for, as the server does", () => {
    const beat = event(6, { kind: "heartbeat" });
    expect(passes(beat, "", NO_FILTER)).toBe(false);
    expect(passes(beat, "", { ...NO_FILTER, kinds: ["heartbeat"] })).toBe(true);
  });
});

describe("pages", () => {
  it("merges without doubles and without loss", () => {
    expect(ids(merge(list(1, 2, 3), list(4, 5)))).toEqual([1, 2, 3, 4, 5]);
    expect(ids(merge(list(1, 3, 5), list(2, 3, 4, 6)))).toEqual([1, 2, 3, 4, 5, 6]);
    expect(ids(merge([], list(1)))).toEqual([1]);
    expect(ids(merge(list(5), list(1)))).toEqual([1, 5]);
  });

  it("keeps the newest", () => expect(newest([1, 2, 3], 2)).toEqual([2, 3]));

  it("knows where a page stops", () => {
    expect(pageOf({ events: list(7, 8) }, 2).floor).toBe(7);
    expect(pageOf({ events: list(7) }, 2).floor).toBeNull();
    expect(pageOf({ events: list(7), partial: true, before: 3 }, 2)).toMatchObject({ floor: 3, partial: true });
    expect(pageOf({ events: [], partial: true, before: 3 }, 2).floor).toBe(3);
  });

  it("of several kinds shows only what is known to be whole", () => {
    const page = together([pageOf({ events: list(10, 20, 30) }, 3), pageOf({ events: list(5, 25) }, 3)]);
    expect(ids(page.events)).toEqual([10, 20, 25, 30]);
    expect(page.floor).toBe(10);
    expect(together([pageOf({ events: list(1) }, 3), pageOf({ events: [] }, 3)]).floor).toBeNull();
  });
});

describe("windowing", () => {
  it("draws a few of very many", () => {
    const rows = new Heights(100_000, 38);
    expect(rows.total).toBe(3_800_000);
    const { first, end } = rows.window(1_900_000, 900);
    expect(first).toBe(50_000 - 8);
    expect(end - first).toBeLessThan(50);
  });

  it("makes room for open rows", () => {
    const rows = new Heights(10, 10, [[7, 5], [2, 100]]);
    expect([0, 2, 3, 7, 8, 10].map((at) => rows.top(at))).toEqual([0, 20, 130, 170, 185, 205]);
    expect([-5, 0, 19, 20, 129, 130, 9999].map((pixel) => rows.at(pixel))).toEqual([0, 0, 1, 2, 2, 3, 9]);
    expect(rows.total).toBe(205);
  });

  it("shows every pixel of any window", () => {
    const rows = new Heights(50, 10, [[3, 40], [20, 7]]);
    for (let scroll = -30; scroll < rows.total + 30; scroll += 7) {
      const { first, end } = rows.window(scroll, 60, 0);
      expect(rows.top(first)).toBeLessThanOrEqual(Math.max(0, Math.min(scroll, rows.total)));
      expect(rows.top(end)).toBeGreaterThanOrEqual(Math.min(rows.total, scroll + 60));
    }
  });

  it("is empty when it is empty", () => expect(new Heights(0, 38).window(0, 900)).toEqual({ first: 0, end: 0 }));
});
