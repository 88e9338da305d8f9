// The list of events as data: what passes a filter, how pages and live events become one bounded, gapless list.
import type { TrailEvent } from "../types";
import type { EventFilter } from "./route";

/** Events kept while following; older ones leave at the end. */
export const KEPT = 5_000;
/** Events kept at most when somebody pages back. */
export const MOST = 20_000;

/** Whether a live event belongs in the list; `raw` is its line, in which the server searches too. */
export function passes(event: TrailEvent, raw: string, filter: EventFilter): boolean {
  if (filter.kinds.length > 0 ? !filter.kinds.includes(event.kind) : event.kind === "heartbeat") return false;
  if (filter.alertname && event.alertname !== filter.alertname) return false;
  if (filter.rule && event.rule !== filter.rule) return false;
  if (filter.since !== null && event.ts < filter.since) return false;
  if (filter.until !== null && event.ts > filter.until) return false;
  return filter.q === "" || raw.includes(filter.q);
}

/** Two lists in ascending order of ids as one; what is in both is in it once. */
export function merge(a: readonly TrailEvent[], b: readonly TrailEvent[]): TrailEvent[] {
  if (a.length === 0) return [...b];
  if (b.length === 0) return [...a];
  if (a.at(-1)!.id < b[0]!.id) return [...a, ...b];
  const merged: TrailEvent[] = [];
  let i = 0;
  let j = 0;
  while (i < a.length || j < b.length) {
    const left = a[i];
    const right = b[j];
    const next = !right || (left && left.id <= right.id) ? left! : right;
    if (left && left.id === next.id) i += 1;
    if (right && right.id === next.id) j += 1;
    merged.push(next);
  }
  return merged;
}

/** The newest `most` of a list in ascending order; the same list where it is short enough. */
export function newest<T>(list: T[], most: number): T[] {
  return list.length > most ? list.slice(list.length - most) : list;
}

export interface Page {
  /** In ascending order. */
  events: TrailEvent[];
  /** From which id on nothing is missing; ask with `before: floor` for more. Null: the beginning was reached. */
  floor: number | null;
  /** The server's search ran out of time: nothing, or little, was found yet. */
  partial: boolean;
}

/** One answer of /audit to a question for `n` events. */
export function pageOf(answer: { events: TrailEvent[]; partial?: boolean; before?: number | null }, n: number): Page {
  const { events } = answer;
  if (answer.partial) return { events, floor: answer.before ?? events[0]?.id ?? null, partial: true };
  return { events, floor: events.length >= n ? events[0]!.id : null, partial: false };
}

/** Pages for several kinds over the same span as one: what lies below the highest floor is not known to be whole. */
export function together(pages: readonly Page[]): Page {
  const floors = pages.map((page) => page.floor).filter((floor) => floor !== null);
  const floor = floors.length > 0 ? Math.max(...floors) : null;
  let events: TrailEvent[] = [];
  for (const page of pages) events = merge(events, page.events);
  if (floor !== null) events = events.filter((event) => event.id >= floor);
  return { events, floor, partial: pages.some((page) => page.partial) };
}
