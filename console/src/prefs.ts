// What a person prefers, kept in this browser: light or dark, and whether single keys do things.
import { createStore } from "./lib/store";

export type Theme = "auto" | "light" | "dark";

function read(name: string): string | null {
  try {
    return localStorage.getItem(name);
  } catch {
    return null;
  }
}

function write(name: string, value: string): void {
  try {
    localStorage.setItem(name, value);
  } catch {
    // forbidden: then it lasts until the page is left
  }
}

const given = read("autoheal-theme");
export const theme = createStore<Theme>(given === "light" || given === "dark" ? given : "auto");
export const keys = createStore<boolean>(read("autoheal-keys") !== "off");

function apply(): void {
  const wanted = theme.get();
  if (wanted === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = wanted;
}

theme.subscribe(() => {
  apply();
  write("autoheal-theme", theme.get());
});
keys.subscribe(() => write("autoheal-keys", keys.get() ? "on" : "off"));
apply();
