// A remediation in one line, and what a person may do about it in its state.
import type { Remediation, StepRow } from "../types";
import { duration } from "./format";
import { reasonText } from "./sentences";

export type Verb = "approve" | "reject" | "cancel" | "settle" | "mark" | "close";

/** What a person may do in this state. */
export function verbsFor(one: Pick<Remediation, "state" | "hold" | "inconclusive" | "marked">): Verb[] {
  const verbs: Verb[] = [];
  if (one.state === "held" && one.hold === "approval") verbs.push("approve");
  if (one.state === "held") verbs.push("reject");
  if (["held", "reserved", "verifying"].includes(one.state)) verbs.push("cancel");
  if (one.state === "unknown" || (one.state === "verifying" && one.inconclusive)) verbs.push("settle");
  if (!one.marked) verbs.push("mark");
  return verbs;
}

/** The story in one line. */
export function line(one: Remediation): string {
  const took = one.ended_at !== null ? duration(one.ended_at - one.received_at) : "";
  switch (one.state) {
    case "held": return one.hold === "approval" ? "Waits for somebody to approve it." : `Held back: ${reasonText(one.hold)}.`;
    case "reserved": return "Decided; waits for a free hand.";
    case "running": return `Step ${one.step + 1} of ${one.ladder} runs.`;
    case "verifying": return one.inconclusive ? "The command is done; whether it helped cannot be seen yet." : "The command is done; now it is checked whether it helped.";
    case "healed": return one.effect === "unknown" ? `Done after ${took}; nothing verifies whether it helped.` : one.reason === "by_hand" ? "Settled as healed by a person." : `Healed, ${took} after the alert came.`;
    case "failed":
    case "exhausted": return one.effect === "self_resolved" ? `It did not help, but the alert resolved itself (${took}).` : `It did not help (${took}).${one.ladder > 1 ? " Every step of the ladder was tried." : ""}`;
    case "unknown": return "Nobody knows whether it ran to its end. A person must look and settle it.";
    default: return `${kindless(one.state)}${one.reason ? `: ${reasonText(one.reason)}` : ""}.`;
  }
}

/** Why nothing was looked at after this step; null where it was, or will be. */
export function unverified(step: Pick<StepRow, "result" | "verdict">): string | null {
  if (step.verdict || !step.result || step.result === "ok") return null;
  return step.result === "fail" ? "Not verified: the command failed." : "Not verified: nobody knows how the command ended.";
}

const kindless = (state: string): string => state.charAt(0).toUpperCase() + state.slice(1);
