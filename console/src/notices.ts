// What is told in passing: a line on the screen that leaves by itself, and words for a screen reader, not too many.
import { createStore } from "./lib/store";

export interface Notice {
  id: number;
  tone: "ok" | "bad" | "wait";
  text: string;
}

export const notices = createStore<Notice[]>([]);
export const spoken = createStore<string>("");

let next = 1;

export function notify(text: string, tone: Notice["tone"] = "ok", stays = tone === "bad" ? 12_000 : 7_000): void {
  const id = next++;
  notices.set((before) => [...before.slice(-3), { id, tone, text }]);
  setTimeout(() => dismiss(id), stays);
}

export function dismiss(id: number): void {
  notices.set((before) => before.filter((notice) => notice.id !== id));
}

/** Milliseconds between two things said. */
const PAUSE = 4_000;
let waiting: string[] = [];
let timer: ReturnType<typeof setTimeout> | undefined;

/** Say something politely; what comes within seconds is said together, at most three things and how many more. */
export function say(text: string): void {
  waiting.push(text);
  if (timer === undefined) timer = setTimeout(speak, 250);
}

function speak(): void {
  if (waiting.length === 0) {
    timer = undefined;
    return;
  }
  const more = waiting.length > 3 ? ` And ${waiting.length - 3} more.` : "";
  spoken.set(waiting.slice(0, 3).join(". ") + more);
  waiting = [];
  timer = setTimeout(speak, PAUSE);
}
