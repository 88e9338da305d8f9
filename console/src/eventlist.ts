// The event list behind the view: pages from the trail and live events as one bounded list, held back while one reads.
import { get, query, told } from "./api";
import type { EventFilter } from "./lib/route";
import { createStore } from "./lib/store";
import { KEPT, MOST, merge, newest, pageOf, passes, together, type Page } from "./lib/trail";
import { onEvents, recent, type Arrived } from "./live";
import type { AuditPage, TrailEvent } from "./types";

const FIRST = 200;
const OLDER = 500;
/** How often a search that ran out of time is taken up again by itself. */
const GOES_ON = 6;

export interface ListState {
  /** In ascending order of ids. */
  rows: TrailEvent[];
  /** Null: the list begins where the trail begins. */
  floor: number | null;
  loading: boolean;
  older: boolean;
  partial: boolean;
  error: string;
  /** New events that wait to be shown. */
  held: number;
}

const EMPTY: ListState = { rows: [], floor: null, loading: true, older: false, partial: false, error: "", held: 0 };

export class EventList {
  readonly state = createStore<ListState>(EMPTY);
  private held: TrailEvent[] = [];
  private overflown = false;
  private cap = KEPT;
  private control = new AbortController();
  private readonly unsubscribe: () => void;

  /** `follows` says, when events come, whether they may be shown at once. */
  constructor(
    private readonly filter: EventFilter,
    private readonly follows: () => boolean,
  ) {
    this.unsubscribe = onEvents((arrived) => this.arrive(arrived));
    void this.read();
  }

  close(): void {
    this.unsubscribe();
    this.control.abort();
  }

  /** Read the newest page and put what the stream has brought on top of it. */
  async read(): Promise<void> {
    this.control.abort();
    this.control = new AbortController();
    const { signal } = this.control;
    this.state.set((now) => ({ ...now, loading: true, error: "" }));
    try {
      let page = await fetchPage(this.filter, null, FIRST, signal);
      for (let go = 0; page.partial && page.events.length < 50 && page.floor !== null && go < GOES_ON; go += 1) {
        this.show(page, true);
        const next = await fetchPage(this.filter, page.floor, FIRST, signal);
        page = { ...next, events: merge(next.events, page.events) };
      }
      this.show(page, false);
    } catch (error) {
      if (!signal.aborted) this.state.set((now) => ({ ...now, loading: false, error: told(error) }));
    }
  }

  private show(page: Page, more: boolean): void {
    const live = recent().filter(({ event, raw }) => passes(event, raw, this.filter)).map(({ event }) => event);
    const above = page.floor === null ? live : live.filter((event) => event.id >= page.floor!);
    const rows = merge(page.events, above);
    this.held = [];
    this.overflown = false;
    this.state.set({ rows, floor: page.floor, loading: more, older: false, partial: page.partial, error: "", held: 0 });
  }

  async older(): Promise<void> {
    const { floor, older, loading, rows } = this.state.get();
    if (floor === null || older || loading || rows.length >= MOST) return;
    this.state.set((now) => ({ ...now, older: true, error: "" }));
    const { signal } = this.control;
    try {
      const page = await fetchPage(this.filter, floor, OLDER, signal);
      this.cap = MOST;
      this.state.set((now) => ({ ...now, rows: merge(page.events, now.rows), floor: page.floor, older: false, partial: page.partial }));
    } catch (error) {
      if (!signal.aborted) this.state.set((now) => ({ ...now, older: false, error: told(error) }));
    }
  }

  /** Show what was held back. */
  release(): void {
    const { held, overflown } = this;
    this.held = [];
    this.overflown = false;
    this.state.set((now) => (overflown ? { ...now, rows: held, floor: held[0]!.id, held: 0 } : this.add(now, held)));
  }

  private arrive(arrived: readonly Arrived[]): void {
    if (this.state.get().loading) return;
    const wanted = arrived.filter(({ event, raw }) => passes(event, raw, this.filter)).map(({ event }) => event);
    if (wanted.length === 0) return;
    if (this.follows()) {
      if (this.held.length > 0) {
        this.held = this.held.concat(wanted);
        this.release();
      } else {
        this.state.set((now) => this.add(now, wanted));
      }
      return;
    }
    this.held = this.held.concat(wanted);
    if (this.held.length > KEPT) {
      this.overflown = true;
      this.held = newest(this.held, KEPT);
    }
    this.state.set((now) => ({ ...now, held: now.held + wanted.length }));
  }

  private add(now: ListState, more: TrailEvent[]): ListState {
    const all = merge(now.rows, more);
    const rows = newest(all, this.cap);
    return { ...now, rows, floor: rows.length < all.length ? rows[0]!.id : now.floor, held: 0 };
  }
}

/** The trail is asked for one kind at a time, which its index answers at once; several kinds are put together here. */
export async function fetchPage(filter: EventFilter, before: number | null, n: number, signal: AbortSignal): Promise<Page> {
  const { kinds, alertname, rule, q, since, until } = filter;
  const ask = async (kind: string, from: number | null, size: number): Promise<Page> => {
    const values = { n: size, kind, alertname, rule, contains: q, since, until, before: from };
    return pageOf(await get<AuditPage>(query("audit", values), signal), size);
  };
  if (kinds.length <= 1) return ask(kinds[0] ?? "", before, n);
  return together(await Promise.all(kinds.map((kind) => ask(kind, before, n))));
}
