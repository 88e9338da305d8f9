// Single keys: g and a letter go somewhere, / searches, ? helps, p pauses. Never while somebody types or a dialog is open.
import { dialogOpen } from "./components/dialog";
import { askHelp } from "./components/help";
import { href, type View } from "./lib/route";
import { go, route } from "./navigation";
import { keys } from "./prefs";
import { gate } from "./session";

const GOES: Record<string, View> = { n: "now", e: "events", r: "remediations", u: "rules", a: "ack" };
const PATIENCE = 1_200;

let leader = 0;

function typing(target: EventTarget | null): boolean {
  const element = target as HTMLElement | null;
  return !!element?.closest?.("input, textarea, select, [contenteditable]");
}

function search(): void {
  if (route.get().view !== "events") go(href("events"));
  requestAnimationFrame(() => requestAnimationFrame(() => document.querySelector<HTMLInputElement>("#events-q")?.focus()));
}

addEventListener("keydown", (key) => {
  if (!keys.get() || !gate.get().open || key.ctrlKey || key.metaKey || key.altKey || dialogOpen() || typing(key.target)) return;
  const led = performance.now() - leader < PATIENCE;
  leader = 0;
  const to = GOES[key.key];
  if (led && to) go(href(to));
  else if (key.key === "g") leader = performance.now();
  else if (key.key === "/") search();
  else if (key.key === "?") askHelp();
  else if (key.key === "p" && route.get().view === "events") document.querySelector<HTMLButtonElement>("#events-pause")?.click();
  else return;
  key.preventDefault();
});
