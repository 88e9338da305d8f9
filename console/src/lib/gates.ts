// The gates in their order, what each one asks, and how a trace or an explanation reads as rows.
import type { GateVerdict } from "../types";

export const GATES: readonly (readonly [name: string, title: string, asks: string])[] = [
  ["kill_switch", "Kill switch", "Is Autoheal on?"],
  ["resolved", "Still firing", "Does the alert still fire?"],
  ["rule", "Rule", "Does a rule of the policy match?"],
  ["opt_in", "Opt-in", "Does the alert ask to be healed?"],
  ["action_allowed", "Action allowed", "Is the action the rule's own, and can it be filled in?"],
  ["maintenance", "Maintenance", "Is it outside of every maintenance window?"],
  ["silenced", "Not silenced", "Is the alert not silenced in Alertmanager?"],
  ["in_progress", "Nothing in progress", "Is nothing else under way for it?"],
  ["unsettled", "Nothing unsettled", "Is the last one's end known?"],
  ["cooldown", "Cooldown", "Is its cooldown over?"],
  ["budget", "Attempt budget", "Are attempts left?"],
  ["breaker", "Breaker", "Is the rule's breaker closed?"],
  ["blast_radius", "Blast radius", "Are not too many actions started at once?"],
  ["approval", "Approval", "Is it approved, or needs no approval?"],
  ["dry_run", "Live", "May it act, or is it a dry run?"],
];

export type Passed = "pass" | "remark" | "would" | "stopped" | "not_reached";

export interface GateRow {
  gate: string;
  title: string;
  asks: string;
  passed: Passed;
  says: string;
}

const KNOWN = new Map(GATES.map(([name, title, asks]) => [name, { title, asks }]));

function row(gate: string, passed: Passed, says: string): GateRow {
  const known = KNOWN.get(gate) ?? { title: gate.replaceAll("_", " "), asks: "" };
  return { gate, ...known, passed, says };
}

/** A stored trace as rows. It ends with the gate that decided against it, or with "pass" where all let it through. */
export function traceRows(trace: Record<string, string>): GateRow[] {
  const given = Object.entries(trace);
  const stopped = given.length > 0 && given.at(-1)![1] !== "pass";
  const rows = given.map(([gate, says], at) => {
    if (says === "pass") return row(gate, "pass", "");
    if (stopped && at === given.length - 1) return row(gate, "stopped", says);
    return row(gate, says.startsWith("would ") ? "would" : "remark", says);
  });
  if (!stopped || !given.some(([gate]) => KNOWN.has(gate))) return rows;
  const behind = GATES.slice(GATES.findIndex(([name]) => name === given.at(-1)![0]) + 1);
  return [...rows, ...behind.filter(([name]) => !(name in trace)).map(([name]) => row(name, "not_reached", ""))];
}

/** An answer of /explain as rows: every gate is asked, those behind the deciding one too. */
export function explainRows(gates: GateVerdict[]): GateRow[] {
  return gates.map((one) => {
    if (one.verdict === "pass") return row(one.gate, one.why ? "remark" : "pass", one.why);
    if (one.verdict === "not_reached") return row(one.gate, "not_reached", one.why);
    if (one.verdict.startsWith("would_")) return row(one.gate, "would", `would ${one.verdict.slice(6)}: ${one.why}`);
    return row(one.gate, "stopped", one.why);
  });
}
