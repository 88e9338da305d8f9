// The stream's life: connect, resume, stall, back off, be refused, start anew after a reset.
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { STALL, Stream, type Link } from "../src/stream";
import { backoff, MOST } from "../src/lib/backoff";

interface Call {
  headers: Record<string, string>;
  send: (text: string) => void;
  end: () => void;
  signal: AbortSignal;
}

function frame(id: number, event = "ack"): string {
  return `id: ${id}\nevent: ${event}\ndata: {"id":${id}}\n\n`;
}

let calls: Call[];
let links: Link[];
let got: number[];
let resets: string[];
let answer: () => Response | "broken" | null;
let stream: Stream;

const settle = () => vi.advanceTimersByTimeAsync(0);
const phases = () => links.map((link) => link.phase);

beforeEach(() => {
  vi.useFakeTimers();
  calls = [];
  links = [];
  got = [];
  resets = [];
  answer = () => null;
  const fake = async (_: unknown, init?: RequestInit): Promise<Response> => {
    const given = answer();
    if (given === "broken") throw new TypeError("fetch failed");
    if (given) return given;
    const signal = init!.signal!;
    let control!: ReadableStreamDefaultController<Uint8Array>;
    const body = new ReadableStream<Uint8Array>({ start: (c) => void (control = c) });
    signal.addEventListener("abort", () => control.error(signal.reason));
    const encoder = new TextEncoder();
    calls.push({
      headers: init!.headers as Record<string, string>,
      send: (text) => control.enqueue(encoder.encode(text)),
      end: () => control.close(),
      signal,
    });
    return new Response(body, { status: 200 });
  };
  stream = new Stream({
    url: "events",
    headers: () => ({ Authorization: "Bearer t" }),
    onEvent: (id) => got.push(id),
    onReset: (data) => resets.push(data),
    onLink: (link) => links.push(link),
    fetch: fake as typeof fetch,
    random: () => 0.5,
  });
});

afterEach(() => {
  stream.stop();
  vi.useRealTimers();
});

describe("Stream", () => {
  it("asks from where it is told, with the token, and is live at the first byte", async () => {
    stream.start(41);
    await settle();
    expect(calls[0]!.headers).toMatchObject({ "Last-Event-ID": "41", Authorization: "Bearer t" });
    expect(links.at(-1)!.phase).toBe("connecting");
    calls[0]!.send(": autoheal\n\n");
    await settle();
    expect(links.at(-1)!.phase).toBe("live");
    calls[0]!.send(frame(42) + frame(43));
    await settle();
    expect(got).toEqual([42, 43]);
  });

  it("resumes after the last event that came, and takes none twice", async () => {
    stream.start(41);
    await settle();
    calls[0]!.send(frame(42));
    await settle();
    calls[0]!.end();
    await settle();
    expect(links.at(-1)).toMatchObject({ phase: "waiting", attempt: 1, why: "the server ended the stream" });
    await vi.advanceTimersByTimeAsync(backoff(1, () => 0.5));
    expect(calls[1]!.headers["Last-Event-ID"]).toBe("42");
    calls[1]!.send(frame(42) + frame(43));
    await settle();
    expect(got).toEqual([42, 43]);
    expect(phases().slice(1)).toEqual(["connecting", "live", "waiting", "connecting", "live"]);
  });

  it("remembers since when it is lost over several tries, waits longer each time, and forgets that when it is back", async () => {
    answer = () => "broken";
    stream.start(0);
    await settle();
    const first = links.at(-1) as Extract<Link, { phase: "waiting" }>;
    expect(first.why).toBe("the server cannot be reached");
    await vi.advanceTimersByTimeAsync(first.retryAt - first.since);
    const second = links.at(-1) as Extract<Link, { phase: "waiting" }>;
    expect(second).toMatchObject({ attempt: 2, lost: first.lost });
    expect(second.retryAt - second.since).toBe(2 * (first.retryAt - first.since));
    answer = () => null;
    await vi.advanceTimersByTimeAsync(second.retryAt - second.since);
    calls[0]!.send(":\n\n");
    await settle();
    calls[0]!.end();
    await settle();
    expect(links.at(-1)).toMatchObject({ phase: "waiting", attempt: 1 });
  });

  it("gives up a connection on which nothing is heard", async () => {
    stream.start(1);
    await settle();
    calls[0]!.send(":\n\n");
    await vi.advanceTimersByTimeAsync(STALL - 1);
    expect(links.at(-1)!.phase).toBe("live");
    calls[0]!.send(":\n\n");
    await vi.advanceTimersByTimeAsync(STALL - 1);
    expect(links.at(-1)!.phase).toBe("live");
    await vi.advanceTimersByTimeAsync(1);
    expect(links.at(-1)).toMatchObject({ phase: "waiting", why: "nothing was heard for 40 s" });
    expect(calls[0]!.signal.aborted).toBe(true);
  });

  it("tries at once when asked to, and not twice", async () => {
    answer = () => "broken";
    stream.start(0);
    await settle();
    answer = () => null;
    stream.retryNow();
    stream.retryNow();
    await settle();
    expect(calls).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(MOST);
    expect(calls).toHaveLength(1);
  });

  it.each([401, 403])("stops where it is refused (%i), and says why", async (status) => {
    answer = () => new Response(JSON.stringify({ detail: "no" }), { status });
    stream.start(0);
    await settle();
    expect(links.at(-1)).toEqual({ phase: "refused", status, why: "no" });
    await vi.advanceTimersByTimeAsync(60_000);
    expect(links.at(-1)!.phase).toBe("refused");
  });

  it("tries again where the server is ill", async () => {
    answer = () => new Response("", { status: 503 });
    stream.start(0);
    await settle();
    expect(links.at(-1)).toMatchObject({ phase: "waiting", why: "the server answered 503" });
  });

  it("after a reset goes on from where the server says, even if that is earlier", async () => {
    stream.start(900);
    await settle();
    calls[0]!.send(`id: 99\nevent: reset\ndata: {"first":100,"asked":900,"reason":"ahead"}\n\n${frame(100)}`);
    await settle();
    expect(resets).toEqual(['{"first":100,"asked":900,"reason":"ahead"}']);
    expect(got).toEqual([100]);
    expect(stream.last).toBe(100);
  });

  it("says nothing more after stop", async () => {
    stream.start(0);
    await settle();
    stream.stop();
    const before = links.length;
    await vi.advanceTimersByTimeAsync(60_000);
    expect(links).toHaveLength(before);
    expect(calls[0]!.signal.aborted).toBe(true);
  });
});

describe("backoff", () => {
  it("doubles up to its most, and is never without a certain half", () => {
    expect([1, 2, 3].map((n) => backoff(n, () => 0))).toEqual([200, 400, 800]);
    expect(backoff(1, () => 0.999)).toBeLessThanOrEqual(400);
    expect(backoff(50, () => 1)).toBe(MOST);
  });
});
