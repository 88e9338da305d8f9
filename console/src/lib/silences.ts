// Silences in Alertmanager that are not ours, in words.
import type { SilenceRow } from "../types";
import { count } from "./format";

export function othersSilences(silences: readonly SilenceRow[]): string {
  const n = silences.filter((one) => !one.ours && one.state === "active").length;
  return n === 0 ? "No other silence is active in Alertmanager." : `${count(n, "active silence")} in Alertmanager ${n === 1 ? "is" : "are"} not ours.`;
}
