// One remediation: what it is, how it went step by step, why it was done, what it said, and what one may do about it.
import { useEffect, useMemo, useState } from "preact/hooks";
import { Failed, get, told } from "../api";
import { useOnceKnown } from "../behind";
import { GateTrace } from "../components/gatetrace";
import { Icon } from "../components/icons";
import { askVerb } from "../components/verbs";
import { Ago, Card, Code, Elapsed, Empty, LabelChips, Left, Loading, Pill, Problem, Remaining, StatePill, Steps, Time } from "../components/ui";
import { Coalescer } from "../lib/coalesce";
import { duration, httpUrl, oneLine } from "../lib/format";
import { traceRows } from "../lib/gates";
import { kindOf, stateLabel } from "../lib/kinds";
import { eventsHref, href } from "../lib/route";
import { sentence } from "../lib/sentences";
import { line, verbsFor, type Verb } from "../lib/story";
import { merge } from "../lib/trail";
import { onEvents } from "../live";
import type { Remediation, TrailEvent } from "../types";
import { Field, Pairs } from "./eventdetail";
import { StepCards } from "./steps";

export function RemediationPage({ id }: { id: string }) {
  const { found, error, missing, again } = useRemediation(id);
  if (missing) return <><h1 tabIndex={-1}>Remediation {oneLine(id)}</h1><Empty icon="question" title="There is no such remediation"><a href={href("remediations")}>All remediations</a></Empty></>;
  if (!found) return <><h1 class="sr" tabIndex={-1}>Remediation {oneLine(id)}</h1>{error ? <Problem text={error} retry={again} /> : <Loading what="the remediation" rows={6} />}</>;
  return (
    <div class="remediation" data-testid="remediation" data-state={found.state}>
      <Head one={found} again={again} />
      {error && <Problem text={error} retry={again} />}
      <div class="columns">
        <div>
          <Card id="steps" title="What was done"><StepCards one={found} /></Card>
          <Card id="trace" title={found.state === "held" && found.hold ? "Why it waits" : "Why it was decided so"}>
            <GateTrace rows={traceRows(found.trace)} title="Each gate, in its order" />
          </Card>
        </div>
        <div>
          <Card id="facts" title="Facts"><Facts one={found} /></Card>
          <Card id="alert" title="The alert"><AlertFacts one={found} /></Card>
          <Card id="own-events-card" title="Its events" aside={<a href={eventsHref({ alertname: found.alertname })}>All of this alert</a>}><OwnEvents events={found.events ?? []} /></Card>
        </div>
      </div>
    </div>
  );
}

/** The remediation, read again when the stream tells of it. */
function useRemediation(id: string) {
  const [found, setFound] = useState<Remediation | null>(null);
  const [error, setError] = useState("");
  const [missing, setMissing] = useState(false);
  const coalescer = useMemo(() => new Coalescer(async () => {
    try {
      const next = await get<Remediation>(`remediations/${encodeURIComponent(id)}`);
      setFound((before) => ({ ...next, events: merge(next.events ?? [], (before?.events ?? []).filter((event) => event.id > (next.events?.at(-1)?.id ?? 0))) }));
      setError("");
    } catch (failed) {
      if (failed instanceof Failed && failed.status === 404) setMissing(true);
      else setError(told(failed));
    }
  }, 250), [id]);
  useEffect(() => {
    coalescer.ask();
    const unsubscribe = onEvents((arrived) => {
      const own = arrived.filter(({ event }) => event.remediation_id === id).map(({ event }) => event);
      if (own.length === 0) return;
      setFound((before) => before && { ...before, events: merge(before.events ?? [], own) });
      coalescer.ask();
    });
    return () => {
      unsubscribe();
      coalescer.stop();
    };
  }, [coalescer]);
  useOnceKnown(() => coalescer.ask());
  return { found, error, missing, again: () => coalescer.ask() };
}

const VERB_WORDS: Record<Verb, string> = { approve: "Approve…", reject: "Reject…", cancel: "Cancel…", settle: "Settle…", mark: "Mark false positive…", close: "Close…" };

function Head({ one, again }: { one: Remediation; again: () => void }) {
  const subject = { ...one, until: one.hold_until };
  return (
    <header class="rem-head">
      <p class="crumbs"><a href={href("remediations")}>Remediations</a> <Icon name="chevron" size={12} /> {one.id}</p>
      <div class="rem-title">
        <h1 tabIndex={-1}><bdi>{oneLine(one.alertname)}</bdi></h1>
        <StatePill state={one.state} effect={one.effect} />
        {one.marked && <Pill tone="people">{one.marked.replaceAll("_", " ")}</Pill>}
      </div>
      <p class="rem-line" data-testid="rem-line">{line(one)}</p>
      <Code text={one.cmd} />
      <Clock one={one} />
      <div class="deeds">
        {verbsFor(one).map((verb) => (
          <button key={verb} type="button" class={`btn ${verb === "approve" || verb === "settle" ? "primary" : ""}`} onClick={() => askVerb(verb, subject, again)} aria-haspopup="dialog" data-testid={`verb-${verb}`}>{VERB_WORDS[verb]}</button>
        ))}
        <a class="btn" href={href("ack", { labels: JSON.stringify(one.labels) })} data-testid="acknowledge"><Icon name="bellOff" size={15} /> Acknowledge…</a>
        <a class="btn ghost" href={href("explain", { labels: JSON.stringify(one.labels), annotations: JSON.stringify(one.annotations) })}><Icon name="question" size={15} /> What would happen now?</a>
      </div>
    </header>
  );
}

function Clock({ one }: { one: Remediation }) {
  const until = one.state === "held" ? one.hold_until : one.state === "running" ? one.run_until : one.state === "verifying" ? one.verify_until : null;
  const since = one.state === "running" ? (one.steps.at(-1)?.started_at ?? one.started_at) : one.state === "verifying" ? one.step_ended_at : one.created_at;
  if (until === null || since === null || one.ended_at !== null) return null;
  return <div class="rem-clock"><span>for <Elapsed since={since} /></span><Remaining from={since} until={until} /><span><Left until={until} over="a moment" /> left</span></div>;
}

function Facts({ one }: { one: Remediation }) {
  return (
    <dl class="fields">
      <Field name="rule"><a href={href("rules", { rule: one.rule })}>{one.rule}</a></Field>
      <Field name="heard"><Time ts={one.received_at} /> <span class="dim">(<Ago ts={one.received_at} />)</span></Field>
      {one.started_at !== null && <Field name="first start"><Time ts={one.started_at} /> <span class="dim">{duration(one.started_at - one.received_at)} later</span></Field>}
      {one.ended_at !== null && <Field name="ended"><Time ts={one.ended_at} /> <span class="dim">{duration(one.ended_at - one.received_at)} after it was heard</span></Field>}
      {one.resolved_at !== null && <Field name="alert resolved"><Time ts={one.resolved_at} /></Field>}
      <Field name="attempt">{one.attempt}{one.ladder > 1 && <> · <Steps step={one.step} ladder={one.ladder} tone={stateLabel(one.state, one.effect).tone} /></>}</Field>
      {one.effect && <Field name="effect">{one.effect.replaceAll("_", " ")}</Field>}
      {one.approved_by && <Field name="approved by"><bdi>{oneLine(one.approved_by)}</bdi></Field>}
      {one.queue && <Field name="queue">{one.queue}</Field>}
      {one.owner && <Field name="process"><code class="wrap">{one.owner}</code></Field>}
      <Field name="cooldown key"><code class="wrap"><bdi>{oneLine(one.key)}</bdi></code></Field>
    </dl>
  );
}

function AlertFacts({ one }: { one: Remediation }) {
  const runbook = httpUrl(one.annotations.runbook_url);
  return (
    <>
      {runbook && <p><a class="btn sm" href={runbook} target="_blank" rel="noopener noreferrer"><Icon name="link" size={14} /> Runbook</a></p>}
      <dl class="fields">
        <Field name="firing since"><Time ts={one.starts_at} /> <span class="dim">(<Ago ts={one.starts_at} />)</span></Field>
        {one.origin && <Field name="sent by">{httpUrl(one.origin) ? <a href={httpUrl(one.origin)!} target="_blank" rel="noopener noreferrer">{oneLine(one.origin)}</a> : oneLine(one.origin)}</Field>}
        <Field name="labels"><LabelChips labels={one.labels} /></Field>
        {Object.keys(one.annotations).length > 0 && <Field name="annotations"><Pairs pairs={one.annotations} /></Field>}
        <Field name="fingerprint"><code>{one.fingerprint}</code></Field>
      </dl>
    </>
  );
}

function OwnEvents({ events }: { events: TrailEvent[] }) {
  if (events.length === 0) return <Empty icon="list" title="No events" />;
  return (
    <ol class="own-events" data-testid="own-events">
      {events.map((event) => {
        const { label, tone } = kindOf(event.kind);
        return (
          <li key={event.id} class={`tone-${tone}`} data-kind={event.kind}>
            <Time ts={event.ts} /> <Pill tone={tone}>{label}</Pill> <span class="wrap"><bdi>{sentence(event)}</bdi></span>
          </li>
        );
      })}
    </ol>
  );
}
