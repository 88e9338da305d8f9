// How long to wait before the n-th try to reconnect: doubling, capped, with jitter so that a crowd does not return at once.

export const FIRST = 400;
export const MOST = 15_000;

/** Milliseconds before try `attempt` (from 1); `random` gives [0, 1). Half of it is certain, half is jitter. */
export function backoff(attempt: number, random: () => number = Math.random): number {
  const full = Math.min(MOST, FIRST * 2 ** Math.min(attempt - 1, 16));
  return Math.round(full / 2 + (full / 2) * random());
}
