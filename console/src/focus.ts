// Where the keyboard goes on when what it was on leaves the page, as a row that is settled does: to its card's heading.

let last: Element | null = null;
let home: HTMLElement | null = null;

addEventListener("focusin", ({ target }) => {
  last = target as Element;
  home = last.closest("section")?.querySelector("h2") ?? null;
});

/** Who left it on purpose is not fetched back. */
addEventListener("focusout", ({ target }) => setTimeout(() => {
  if (last === target && last?.isConnected) last = null;
}));

new MutationObserver(() => {
  if (!last || last.isConnected) return;
  last = null;
  if (document.activeElement === document.body && home?.isConnected) home.focus({ preventScroll: true });
}).observe(document.getElementById("app")!, { childList: true, subtree: true });
