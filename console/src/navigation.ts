// Where we are, and going elsewhere without leaving the page: links stay links, the back button works.
import { oneLine } from "./lib/format";
import { misread, readRoute, type Route } from "./lib/route";
import { createStore } from "./lib/store";
import { notify } from "./notices";

export const route = createStore<Route>(readRoute(location.search));

/** Go to a link such as ?view=rules; `replace` for a change that needs no step back (typing into a filter). */
export function go(to: string, replace = false): void {
  const same = new URL(to, location.href).search === location.search;
  if (replace || same) history.replaceState(null, "", to);
  else history.pushState(null, "", to);
  const before = route.get().view;
  route.set(readRoute(location.search));
  if (!replace && route.get().view !== before) {
    window.scrollTo(0, 0);
    requestAnimationFrame(() => document.querySelector<HTMLElement>("main h1")?.focus({ preventScroll: true }));
  }
}

const lost = misread(location.search);
if (lost.length > 0) notify(`${oneLine(lost.join(", ")).slice(0, 200)} ${lost.length === 1 ? "was" : "were"} not understood and left out.`, "wait", 12_000);

addEventListener("popstate", () => route.set(readRoute(location.search)));

/** Clicks on links of our own go through `go`; with a modifier they are the browser's. */
addEventListener("click", (click) => {
  if (click.defaultPrevented || click.button !== 0 || click.metaKey || click.ctrlKey || click.shiftKey || click.altKey) return;
  const link = (click.target as Element | null)?.closest?.("a");
  const to = link?.getAttribute("href");
  if (!link || !to?.startsWith("?") || link.target) return;
  click.preventDefault();
  go(to);
});
