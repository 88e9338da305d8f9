// Counts by outcome as a stacked chart draws them: cumulative sums, the topmost series first.
import type { Timeline } from "../types";

export interface Stack {
  /** Start of each bucket, Unix seconds. */
  times: number[];
  /** For each outcome shown, top to bottom of the stack: its name and its running sums. */
  layers: { outcome: string; sums: number[] }[];
  highest: number;
}

/** Outcomes in the order in which they lie on each other, the first at the bottom; those switched off are left out. */
export function stack(timeline: Timeline, hidden: ReadonlySet<string>): Stack {
  const size = Math.max(0, ...Object.values(timeline.counts).map((counts) => counts.length));
  const times = Array.from({ length: size }, (_, at) => timeline.since + at * timeline.step);
  let below = new Array<number>(size).fill(0);
  const layers: Stack["layers"] = [];
  for (const outcome of timeline.outcomes) {
    if (hidden.has(outcome)) continue;
    const counts = timeline.counts[outcome] ?? [];
    const sums = below.map((under, at) => under + (counts[at] ?? 0));
    layers.unshift({ outcome, sums });
    below = sums;
  }
  return { times, layers, highest: Math.max(0, ...below) };
}

export interface BucketRow {
  at: number;
  total: number;
  counts: Record<string, number>;
}

/** The buckets in which something happened, newest first: the chart as a table. */
export function bucketRows(timeline: Timeline): BucketRow[] {
  const size = Math.max(0, ...Object.values(timeline.counts).map((counts) => counts.length));
  const rows: BucketRow[] = [];
  for (let at = size - 1; at >= 0; at -= 1) {
    const counts: Record<string, number> = {};
    let total = 0;
    for (const outcome of timeline.outcomes) {
      const n = timeline.counts[outcome]?.[at] ?? 0;
      if (n > 0) counts[outcome] = n;
      total += n;
    }
    if (total > 0) rows.push({ at: timeline.since + at * timeline.step, total, counts });
  }
  return rows;
}

export function totals(timeline: Timeline): Record<string, number> {
  const sums = Object.entries(timeline.counts).map(([name, counts]) => [name, counts.reduce((a, b) => a + b, 0)] as const);
  return Object.fromEntries(sums);
}

/** Whether one outcome is so frequent that the others could not be seen beside it. */
export function dwarfs(timeline: Timeline, outcome: string): boolean {
  const own = Math.max(0, ...(timeline.counts[outcome] ?? []));
  const others = stack(timeline, new Set([outcome])).highest;
  return others > 0 && own > 6 * others;
}
