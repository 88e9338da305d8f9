// The server's time in this browser: countdowns follow its clock, and tick together once a second.
import { createStore, useStore } from "./lib/store";

let offset = 0;

/** Learn the server's time from an answer that was asked for and came at these local times (ms). */
export function learn(serverNow: number, asked: number, came: number): void {
  offset = serverNow - (asked + came) / 2000;
}

export function serverNow(): number {
  return Date.now() / 1000 + offset;
}

const tick = createStore(serverNow());
setInterval(() => {
  if (!document.hidden) tick.set(serverNow());
}, 1000);
document.addEventListener("visibilitychange", () => tick.set(serverNow()));

/** The server's time in Unix seconds; renders again each second. */
export function useNow(): number {
  useStore(tick);
  return serverNow();
}

/** The same, but only every `seconds`. */
export function useCoarseNow(seconds: number): number {
  return useStore(tick, (now) => Math.floor(now / seconds)) * seconds;
}
