// What waits for a person: approvals, ends that nobody knows, escalations; each with what can be done about it.
import { askVerb, type Subject } from "../components/verbs";
import { Ago, Code, Empty, LabelChips, Left, Pill, Remaining } from "../components/ui";
import { useState } from "preact/hooks";
import { count, oneLine } from "../lib/format";
import { href } from "../lib/route";
import { reasonText } from "../lib/sentences";
import { otherEscalations } from "../lib/waiting";
import type { Escalation, Overview, Summary } from "../types";

/** Rows until escalations are folded, so that what happens now stays on the screen. */
const SHOWN = 4;

export function Waiting({ waiting }: { waiting: Overview["waiting"] }) {
  const { approvals, unknown } = waiting;
  const [all, setAll] = useState(false);
  const rest = otherEscalations(waiting);
  if (approvals.length + unknown.length + rest.length === 0) {
    return <Empty icon="check" title="Nothing is waiting for you">Approvals, unknown ends and escalations would stand here.</Empty>;
  }
  const most = Math.max(2, SHOWN - approvals.length - unknown.length);
  return (
    <ul class="rows" data-testid="waiting-list">
      {approvals.map((one) => <Approval key={one.id} one={one} />)}
      {unknown.map((one) => <Unknown key={one.id} one={one} />)}
      {rest.slice(0, all ? rest.length : most).map((one) => <Escalated key={one.key} one={one} />)}
      {!all && rest.length > most && (
        <li class="row-more"><button type="button" class="linkish" onClick={() => setAll(true)} data-testid="more-escalations">Show {count(rest.length - most, "more escalation")}</button></li>
      )}
      <More shown={approvals.length} total={waiting.approvals_total} state="held" what="approvals" />
      <More shown={unknown.length} total={waiting.unknown_total} state="unknown" what="unknown ends" />
    </ul>
  );
}

function More({ shown, total, state, what }: { shown: number; total: number; state: string; what: string }) {
  if (total <= shown) return null;
  return <li class="row-more"><a href={href("remediations", { state })}>and {total - shown} more {what}</a></li>;
}

const subject = (one: Summary): Subject => one;

function Head({ one, since, children }: { one: Summary; since: string; children: preact.ComponentChildren }) {
  return (
    <>
      <div class="row-head">
        {children}
        <a class="row-name" href={href("remediation", { id: one.id })}><bdi>{oneLine(one.alertname)}</bdi></a>
        <span class="dim clip">rule {one.rule}</span>
        <span class="row-right dim"><span>{since} <Ago ts={one.since ?? one.created_at} /></span></span>
      </div>
      <div class="row-what">
        <Code text={one.cmd} />
        <LabelChips labels={one.labels} without={["alertname"]} most={6} />
      </div>
    </>
  );
}

function Approval({ one }: { one: Summary }) {
  const since = one.since ?? one.created_at;
  return (
    <li class="row waiting-row" data-testid="approval" data-id={one.id}>
      <Head one={one} since="asked"><Pill tone="wait">Approve?</Pill></Head>
      <div class="row-foot">
        {one.until !== null && <><Remaining from={since} until={one.until} /><span>expires in <Left until={one.until} over="a moment" /></span></>}
        <span class="deeds">
          <button type="button" class="btn sm" onClick={() => askVerb("reject", subject(one))} aria-haspopup="dialog" data-testid="reject" aria-label={`Reject ${one.alertname}`}>Reject…</button>
          <button type="button" class="btn sm primary" onClick={() => askVerb("approve", subject(one))} aria-haspopup="dialog" data-testid="approve" aria-label={`Approve ${one.alertname}`}>Approve…</button>
        </span>
      </div>
    </li>
  );
}

function Unknown({ one }: { one: Summary }) {
  return (
    <li class="row waiting-row" data-testid="unknown" data-id={one.id}>
      <Head one={one} since="since"><Pill tone="unknown">Unknown end</Pill></Head>
      <div class="row-foot">
        <p class="dim">Nobody knows whether it ran to its end. Nothing more is done for this alert until it is settled.</p>
        <span class="deeds">
          <button type="button" class="btn sm primary" onClick={() => askVerb("settle", subject(one))} aria-haspopup="dialog" data-testid="settle" aria-label={`Settle ${one.alertname}`}>Settle…</button>
        </span>
      </div>
    </li>
  );
}

const OVER: Record<string, string> = {
  blast_radius: "It ends by itself when nothing is held any more.",
  budget: "It ends by itself when an attempt is free again.",
  unserved: "It ends by itself when a worker takes from the queue.",
};

function Escalated({ one }: { one: Escalation }) {
  const id = one.remediation_id;
  const closable = id !== null && one.key === `remediation:${id}`;
  return (
    <li class="row waiting-row" data-testid="escalation" data-key={one.key}>
      <div class="row-head">
        <Pill tone={one.severity === "critical" ? "bad" : "wait"} icon="warn">{one.severity}</Pill>
        {id ? <a class="row-name" href={href("remediation", { id })}>{oneLine(one.alertname || id)}</a> : <strong class="row-name"><bdi>{oneLine(one.alertname || one.key)}</bdi></strong>}
        {one.rule && <span class="dim clip">rule {one.rule}</span>}
        {!id && <span class="dim">{reasonText(one.reason)}</span>}
        <span class="row-right">
          <span class="dim"><Ago ts={one.since} /></span>
          {closable && (
            <button type="button" class="btn sm" onClick={() => askVerb(one.reason === "inconclusive" ? "settle" : "close", { id, alertname: one.alertname ?? "", rule: one.rule ?? "", cmd: "", labels: {} })} aria-haspopup="dialog" aria-label={`Close the escalation of ${one.alertname ?? id}`} data-testid="close-escalation">
              {one.reason === "inconclusive" ? "Settle…" : "Close…"}
            </button>
          )}
        </span>
      </div>
      <p class="row-text"><bdi>{oneLine(one.summary)}</bdi>{OVER[one.reason] && <span class="dim"> {OVER[one.reason]}</span>}</p>
    </li>
  );
}
