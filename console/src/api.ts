// Requests to the server: relative to the page, with the token, a deadline, and errors that read as sentences.
import { authorization, shut } from "./session";

/** Milliseconds after which a request counts as lost. */
export const TIMEOUT = 10_000;

export class Failed extends Error {
  constructor(
    message: string,
    readonly status: number,
    readonly field: string = "",
  ) {
    super(message);
  }

  /** The server said no, as opposed to not being there. */
  get answered(): boolean {
    return this.status > 0;
  }
}

export type Query = Record<string, string | number | null | undefined>;

export function query(path: string, values: Query): string {
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) {
    if (value !== null && value !== undefined && value !== "") params.set(name, String(value));
  }
  const text = params.toString();
  return text ? `${path}?${text}` : path;
}

export async function get<T>(path: string, signal?: AbortSignal): Promise<T> {
  return request<T>(path, { method: "GET" }, signal);
}

export async function post<T>(path: string, body: unknown): Promise<T> {
  const headers = { "Content-Type": "application/json" };
  return request<T>(path, { method: "POST", headers, body: JSON.stringify(body) });
}

async function request<T>(path: string, init: RequestInit & { headers?: Record<string, string> }, signal?: AbortSignal): Promise<T> {
  const limit = AbortSignal.timeout(TIMEOUT);
  let answer: Response;
  try {
    answer = await fetch(path, {
      ...init,
      headers: { Accept: "application/json", ...init.headers, ...authorization() },
      signal: signal ? AbortSignal.any([signal, limit]) : limit,
      cache: "no-store",
      credentials: "same-origin",
    });
    if (answer.ok) return (await answer.json()) as T;
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Failed(limit.aborted ? "the server did not answer within 10 s" : "the server cannot be reached", 0);
  }
  const problem = (await answer.json().catch(() => ({}))) as { detail?: string; title?: string; field?: string };
  const said = problem.detail ?? problem.title ?? `the server answered ${answer.status}`;
  if (answer.status === 401) shut(401, said);
  throw new Failed(said, answer.status, problem.field ?? "");
}

/** An error as a sentence for people. */
export function told(error: unknown): string {
  if (error instanceof Failed && error.status === 403) return `You may not do this: ${error.message}`;
  return error instanceof Error ? error.message : String(error);
}
