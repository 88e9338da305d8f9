// How much waits for a person: an unknown end and the escalation that tells of it are one thing.
import type { Escalation, Overview } from "../types";

/** Escalations that do not tell of an unknown end, which stands in the list itself. */
export function otherEscalations(waiting: Overview["waiting"]): Escalation[] {
  const unknown = new Set(waiting.unknown.map((one) => one.id));
  return waiting.escalations.filter((one) => !one.remediation_id || !unknown.has(one.remediation_id));
}

export function waitingCount(shown: Pick<Overview, "waiting"> | null): number {
  if (!shown) return 0;
  const { waiting } = shown;
  const doubled = waiting.escalations.length - otherEscalations(waiting).length;
  return waiting.approvals_total + waiting.unknown_total + Math.max(0, waiting.escalations_total - doubled);
}
