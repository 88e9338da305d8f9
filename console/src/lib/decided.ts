// What became of a remediation while somebody was still asked about it.
import type { TrailEvent } from "../types";
import { minute } from "./format";
import { sentence } from "./sentences";
import type { Verb } from "./story";

const DECIDES = new Set(["approved", "rejected", "cancelled", "settled", "action_started", "action_ok", "action_fail", "action_unknown"]);

/** Whether nothing is left of what this dialog asks once that event has happened. */
export function overtakes(verb: Verb, event: Pick<TrailEvent, "kind">): boolean {
  if (verb === "approve" || verb === "reject") return DECIDES.has(event.kind);
  if (verb === "settle" || verb === "close") return event.kind === "settled";
  return false;
}

/** The first of these events that settled the question, told with its time: "Rejected by maria at 13:04". */
export function whatBecame(verb: Verb, events: readonly TrailEvent[], now: number): string {
  const found = events.find((event) => overtakes(verb, event));
  return found ? `${sentence(found)} (${minute(found.ts, now)})` : "";
}
