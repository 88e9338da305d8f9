// The one live stream: connects, resumes by Last-Event-ID, notices silence, and says what state it is in.
import { backoff } from "./lib/backoff";
import { SseParser, type Frame } from "./lib/sse";

/** Milliseconds without a byte (the server writes a comment every 15 s) after which the connection counts as dead. */
export const STALL = 40_000;

export type Link =
  | { phase: "idle" }
  | { phase: "connecting"; since: number; attempt: number; lost: number | null; why: string }
  | { phase: "live"; since: number }
  | { phase: "waiting"; since: number; attempt: number; lost: number; retryAt: number; why: string }
  | { phase: "refused"; status: number; why: string };

export interface StreamOptions {
  url: string;
  /** Headers such as Authorization; read anew for each try. */
  headers: () => Record<string, string>;
  /** Events in order, each id once: the frame's id and its data. */
  onEvent: (id: number, data: string) => void;
  /** The server no longer has what we asked for: everything must be read again. */
  onReset: (data: string) => void;
  onLink: (link: Link) => void;
  fetch?: typeof fetch;
  now?: () => number;
  random?: () => number;
}

/** Start with the id after which to go on; stop for good with `stop()`. */
export class Stream {
  private readonly fetch: typeof fetch;
  private readonly now: () => number;
  private readonly random: () => number;
  private lastId = 0;
  private attempt = 0;
  private lost: number | null = null;
  private running = false;
  private control: AbortController | null = null;
  private retry: ReturnType<typeof setTimeout> | undefined;
  private stall: ReturnType<typeof setTimeout> | undefined;

  constructor(private readonly options: StreamOptions) {
    this.fetch = options.fetch ?? ((...given) => fetch(...given));
    this.now = options.now ?? Date.now;
    this.random = options.random ?? Math.random;
  }

  get last(): number {
    return this.lastId;
  }

  start(after: number): void {
    this.stop();
    this.running = true;
    this.lastId = after;
    this.attempt = 0;
    this.lost = null;
    void this.connect("");
  }

  stop(): void {
    this.running = false;
    clearTimeout(this.retry);
    clearTimeout(this.stall);
    this.control?.abort();
    this.control = null;
    this.options.onLink({ phase: "idle" });
  }

  /** Try now instead of at the end of the wait; does nothing while connected. */
  retryNow(): void {
    if (!this.running || this.control) return;
    clearTimeout(this.retry);
    void this.connect("");
  }

  private async connect(why: string): Promise<void> {
    const control = new AbortController();
    this.control = control;
    this.options.onLink({ phase: "connecting", since: this.now(), attempt: this.attempt, lost: this.lost, why });
    this.watch(control);
    try {
      const answer = await this.fetch(this.options.url, {
        headers: { Accept: "text/event-stream", "Last-Event-ID": String(this.lastId), ...this.options.headers() },
        signal: control.signal,
        cache: "no-store",
      });
      if (answer.status === 401 || answer.status === 403) return this.refused(control, answer);
      if (!answer.ok || !answer.body) throw new Error(`the server answered ${answer.status}`);
      await this.read(control, answer.body);
      this.again(control, "the server ended the stream");
    } catch (error) {
      this.again(control, reasonOf(error, control));
    }
  }

  private async read(control: AbortController, body: ReadableStream<Uint8Array>): Promise<void> {
    const reader = body.getReader();
    const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
    const parser = new SseParser();
    let live = false;
    for (;;) {
      const { done, value } = await reader.read();
      if (done || control.signal.aborted) return;
      this.watch(control);
      if (!live) {
        live = true;
        this.attempt = 0;
        this.lost = null;
        this.options.onLink({ phase: "live", since: this.now() });
      }
      for (const frame of parser.feed(decoder.decode(value, { stream: true }))) this.take(frame);
    }
  }

  private take(frame: Frame): void {
    const id = Number(frame.id);
    if (frame.event === "reset") {
      if (Number.isSafeInteger(id) && frame.id !== "") this.lastId = id;
      this.options.onReset(frame.data);
      return;
    }
    if (!Number.isSafeInteger(id) || id <= this.lastId) return;
    this.lastId = id;
    this.options.onEvent(id, frame.data);
  }

  /** Where the reading of everything anew has brought us: the stream goes on from here. */
  resumeAfter(id: number): void {
    this.lastId = Math.max(0, id);
  }

  private watch(control: AbortController): void {
    clearTimeout(this.stall);
    this.stall = setTimeout(() => control.abort(new Error(`nothing was heard for ${STALL / 1000} s`)), STALL);
  }

  private again(control: AbortController, why: string): void {
    if (!this.running || this.control !== control) return;
    clearTimeout(this.stall);
    this.control = null;
    this.attempt += 1;
    this.lost ??= this.now();
    const wait = backoff(this.attempt, this.random);
    const since = this.now();
    const { attempt, lost } = this;
    this.options.onLink({ phase: "waiting", since, attempt, lost, retryAt: since + wait, why });
    this.retry = setTimeout(() => void this.connect(why), wait);
  }

  private async refused(control: AbortController, answer: Response): Promise<void> {
    const problem = (await answer.json().catch(() => ({}))) as { detail?: string };
    if (!this.running || this.control !== control) return;
    clearTimeout(this.stall);
    this.control = null;
    this.running = false;
    const why = problem.detail ?? `the server answered ${answer.status}`;
    this.options.onLink({ phase: "refused", status: answer.status, why });
  }
}

function reasonOf(error: unknown, control: AbortController): string {
  const reason: unknown = control.signal.aborted ? control.signal.reason : error;
  if (reason instanceof TypeError) return "the server cannot be reached";
  return reason instanceof Error && reason.message ? reason.message : "the connection broke";
}
