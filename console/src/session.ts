// Who we are to the server: the token of this tab, and whether we were let in.
import { createStore } from "./lib/store";

const KEY = "autoheal-token";

export type Gate = { open: true } | { open: false; status: 401 | 403; why: string; tried: boolean };

/** Whether the server lets us in, as far as we know. */
export const gate = createStore<Gate>({ open: true });
export const hasToken = createStore<boolean>(read() !== "");

function read(): string {
  try {
    return sessionStorage.getItem(KEY) ?? "";
  } catch {
    return "";
  }
}

let token = read();

export function authorization(): Record<string, string> {
  return token ? { Authorization: `Bearer ${token}` } : {};
}

/** Keep a token for this tab; an empty one forgets it. */
export function keepToken(given: string): void {
  token = given;
  hasToken.set(token !== "");
  try {
    if (token) sessionStorage.setItem(KEY, token);
    else sessionStorage.removeItem(KEY);
  } catch {
    // a browser that forbids storage keeps it until the page is left
  }
}

export function shut(status: number, why: string): void {
  gate.set({ open: false, status: status === 403 ? 403 : 401, why, tried: token !== "" });
}
