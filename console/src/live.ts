// The wiring of what is live: one stream, the overview that follows it, the newest events, and what a lost link means.
import { get, Failed, told } from "./api";
import { learn } from "./clock";
import { backoff } from "./lib/backoff";
import { Coalescer } from "./lib/coalesce";
import { STIRS, kindOf } from "./lib/kinds";
import { sentence } from "./lib/sentences";
import { createStore } from "./lib/store";
import { notify, say } from "./notices";
import { authorization, gate, shut } from "./session";
import { Stream, type Link } from "./stream";
import type { Overview, TrailEvent } from "./types";

export interface Arrived {
  event: TrailEvent;
  raw: string;
}

/** Events kept from the stream, for lists that are opened later. */
const RING = 5_000;
const POLL = 10_000;
/** At most about three overviews a second, however much happens. */
const BETWEEN = 350;

export const overview = createStore<Overview | null>(null);
export const overviewError = createStore<string>("");
export const link = createStore<Link>({ phase: "idle" });
/** Counts up when everything that was read before must be read again. */
export const epoch = createStore(0);

let ring: Arrived[] = [];
let batch: Arrived[] = [];
let flushing = false;
let previous = 0;
let missed = false;
let catching: { from: number; since: number; head: number | null } | null = null;
const listeners = new Set<(arrived: readonly Arrived[]) => void>();

/** Be told of new events, once for each frame of the screen. */
export function onEvents(listener: (arrived: readonly Arrived[]) => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** The newest events of the stream, oldest first. */
export function recent(): readonly Arrived[] {
  return ring;
}

const stream = new Stream({ url: "events", headers: authorization, onEvent: take, onReset: reset, onLink: linked });
const refresher = new Coalescer(readOverview, BETWEEN);

export const refresh = (): void => refresher.ask();
export const retryNow = (): void => {
  if (started) stream.retryNow();
  else void begin();
};

let started = false;
let tries = 0;
let retry: ReturnType<typeof setTimeout> | undefined;
let firstLost: number | null = null;

/** Read the overview and open the stream behind it; tries again until the server is there. */
export async function begin(): Promise<void> {
  clearTimeout(retry);
  started = false;
  const error = await readOverview();
  const found = overview.get();
  if (!gate.get().open) return;
  if (found && !error) {
    tries = 0;
    firstLost = null;
    started = true;
    previous = found.last_event_id;
    stream.start(found.last_event_id);
    return;
  }
  tries += 1;
  firstLost ??= Date.now();
  const wait = backoff(tries);
  const since = Date.now();
  link.set({ phase: "waiting", since, attempt: tries, lost: firstLost, retryAt: since + wait, why: error });
  retry = setTimeout(() => void begin(), wait);
}

/** Let go of everything, as after signing out. */
export function end(): void {
  started = false;
  clearTimeout(retry);
  refresher.stop();
  stream.stop();
  overview.set(null);
  ring = [];
  batch = [];
}

async function readOverview(): Promise<string> {
  const asked = Date.now();
  try {
    const found = await get<Overview>("overview");
    learn(found.now, asked, Date.now());
    if (!gate.get().open) gate.set({ open: true });
    overview.set(found);
    overviewError.set("");
    caughtUp(found.last_event_id);
    return "";
  } catch (error) {
    if (error instanceof Failed && error.status === 403) shut(403, error.message);
    overviewError.set(told(error));
    return told(error);
  }
}

setInterval(() => {
  if (wanted()) refresh();
}, POLL);
document.addEventListener("visibilitychange", () => {
  if (wanted()) refresh();
});
const wanted = (): boolean => started && !document.hidden && gate.get().open;

function take(id: number, data: string): void {
  let event: TrailEvent;
  try {
    event = JSON.parse(data) as TrailEvent;
  } catch {
    return;
  }
  if (id !== previous + 1 && previous > 0) missed = true;
  previous = id;
  batch.push({ event, raw: data });
  if (!flushing) {
    flushing = true;
    if (document.hidden) setTimeout(flush, 250);
    else requestAnimationFrame(flush);
  }
}

function flush(): void {
  flushing = false;
  const arrived = batch;
  batch = [];
  if (arrived.length === 0) return;
  ring = ring.concat(arrived);
  if (ring.length > RING) ring = ring.slice(-RING);
  let stirs = false;
  for (const { event } of arrived) {
    stirs ||= STIRS.has(event.kind);
    if (SAID.has(event.kind)) say(`${kindOf(event.kind).label}${event.alertname ? `, ${event.alertname}` : ""}: ${sentence(event)}`);
  }
  for (const listener of [...listeners]) listener(arrived);
  if (stirs) refresh();
  caughtUp(null);
  if (missed && !catching) {
    missed = false;
    notify("Events are missing in between; the lists were read anew.", "wait");
    epoch.set((n) => n + 1);
  }
}

const SAID = new Set(["escalated", "approval_requested", "action_unknown", "mode_changed"]);

function linked(next: Link): void {
  const before = link.get();
  link.set(next);
  if (next.phase === "waiting" && before.phase !== "waiting" && !catching) {
    catching = { from: stream.last, since: next.lost, head: null };
    if (before.phase === "live") say("The connection to Autoheal is lost. What is shown is no longer live");
  }
  if (next.phase === "live") {
    if (catching) catching.head = null;
    refresh();
  }
  if (next.phase === "refused") shut(next.status, next.why);
}

/** After a break: once the stream has brought all that the server had when it came back, say so. */
function caughtUp(head: number | null): void {
  if (!catching || link.get().phase !== "live") return;
  if (head !== null) catching.head ??= head;
  if (catching.head === null || stream.last < catching.head) return;
  const came = stream.last - catching.from;
  const what = came === 0 ? "nothing had happened" : came === 1 ? "1 event was caught up" : `${came} events were caught up`;
  if (missed) notify(`Connected again; events are missing in between, the lists were read anew.`, "wait");
  else notify(`Connected again: ${what}, none was missed.`);
  if (missed) epoch.set((n) => n + 1);
  missed = false;
  catching = null;
}

function reset(): void {
  ring = [];
  batch = [];
  missed = false;
  catching = null;
  notify("The trail no longer holds where we stopped; everything was read anew.", "wait");
  void readOverview().then(() => {
    previous = Math.max(stream.last, overview.get()?.last_event_id ?? 0);
    stream.resumeAfter(previous);
    epoch.set((n) => n + 1);
  });
}
