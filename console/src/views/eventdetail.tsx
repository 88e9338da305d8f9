// All fields of an event in a readable form: times as times, labels as labels, output as output, and the JSON itself.
import type { ComponentChildren } from "preact";
import { Icon } from "../components/icons";
import { GateTrace } from "../components/gatetrace";
import { LabelChips, Time } from "../components/ui";
import { duration, httpUrl, visible } from "../lib/format";
import { traceRows } from "../lib/gates";
import { eventsHref, href } from "../lib/route";
import { reasonText } from "../lib/sentences";
import { notify } from "../notices";
import type { Labels, TrailEvent } from "../types";

const LATE = ["trace", "output", "labels", "annotations"];
const APART = new Set(["id", "ts", "kind", "hash", ...LATE]);
const TIMES = /(^|_)(at|until|ts)$|^resolves$/;
const SECONDS = /(_seconds|^timeout|_per)$/;

const isPairs = (value: unknown): value is Labels =>
  typeof value === "object" && value !== null && !Array.isArray(value) && Object.values(value).every((one) => typeof one === "string");

export function EventDetail({ event }: { event: TrailEvent }) {
  const names = Object.keys(event).filter((name) => !APART.has(name) && event[name] !== null);
  return (
    <div class="event-detail" data-testid="event-detail">
      <p class="detail-links">
        {event.remediation_id && <a class="btn sm" href={href("remediation", { id: event.remediation_id })}><Icon name="wrench" size={14} /> Remediation {event.remediation_id}</a>}
        {event.labels && event.kind.startsWith("decision_") && <a class="btn sm" href={whyHref(event)} data-testid="why-not"><Icon name="question" size={14} /> {event.kind === "decision_skip" ? "Why not?" : "Explain now"}</a>}
        {event.labels && event.alertname && <a class="btn sm" href={href("ack", { labels: JSON.stringify(event.labels) })}><Icon name="bellOff" size={14} /> Acknowledge…</a>}
        {event.alertname && <a class="btn sm ghost" href={eventsHref({ alertname: event.alertname })}>Only this alert</a>}
        {event.rule && <a class="btn sm ghost" href={eventsHref({ rule: event.rule })}>Only this rule</a>}
      </p>
      <dl class="fields">
        <Field name="event">#{event.id} <code>{event.kind}</code> at <Time ts={event.ts} /></Field>
        {names.map((name) => <Field key={name} name={name}><Value name={name} value={event[name]} /></Field>)}
        {isPairs(event.labels) && <Field name="labels"><LabelChips labels={event.labels} /></Field>}
        {isPairs(event.annotations) && Object.keys(event.annotations).length > 0 && <Field name="annotations"><Pairs pairs={event.annotations} /></Field>}
      </dl>
      {isPairs(event.trace) && <GateTrace rows={traceRows(event.trace)} title="What the gates said then" />}
      {typeof event.output === "string" && <Output text={event.output} />}
      <details class="raw">
        <summary>JSON</summary>
        <button type="button" class="btn sm" onClick={() => void copy(JSON.stringify(event, null, 2))}>Copy</button>
        <pre tabIndex={0}>{visible(JSON.stringify(event, null, 2))}</pre>
      </details>
    </div>
  );
}

/** An event that repeats a skip carries no annotations; where its gates saw the opt-in, that much is known. */
export function whyHref(event: TrailEvent): string {
  const optedIn = isPairs(event.trace) && event.trace.opt_in === "pass";
  const notes = isPairs(event.annotations) ? JSON.stringify(event.annotations) : optedIn ? '{"autoheal":"true"}' : "";
  return href("explain", { labels: JSON.stringify(event.labels ?? {}), annotations: notes, event: event.id });
}

async function copy(text: string): Promise<void> {
  try {
    await navigator.clipboard.writeText(text);
    notify("Copied");
  } catch {
    notify("The browser did not allow to copy", "bad");
  }
}

export function Field({ name, children }: { name: string; children: ComponentChildren }) {
  return <div class="pair"><dt>{name.replace(/_seconds$/, "").replaceAll("_", " ")}</dt><dd>{children}</dd></div>;
}

/** Annotations and the like: links only where the value is an http(s) address. */
export function Pairs({ pairs }: { pairs: Labels }) {
  return (
    <ul class="pairs">
      {Object.keys(pairs).sort().map((name) => {
        const url = httpUrl(pairs[name]);
        return (
          <li key={name}>
            <span class="label-name"><bdi>{visible(name)}</bdi></span>{" "}
            {url ? <a href={url} rel="noopener noreferrer" target="_blank"><bdi>{visible(pairs[name]!)}</bdi></a> : <bdi>{visible(pairs[name]!)}</bdi>}
          </li>
        );
      })}
    </ul>
  );
}

function Value({ name, value }: { name: string; value: unknown }) {
  if (typeof value === "number") {
    if (TIMES.test(name) && value > 1e8) return <Time ts={value} />;
    if (name === "step" || name === "next_step") return <span class="num">{value + 1}</span>;
    if (SECONDS.test(name)) return <span class="num">{duration(value)}</span>;
    return <span class="num">{value}</span>;
  }
  if (name === "reason" && typeof value === "string" && reasonText(value) !== value) return <><code>{visible(value)}</code> {reasonText(value)}</>;
  if (typeof value === "string") {
    const mono = ["cmd", "error", "detail", "fingerprint", "episode", "key", "token", "digest", "rule_digest", "path"].includes(name);
    return mono ? <code class="wrap"><bdi>{visible(value)}</bdi></code> : <bdi class="wrap">{visible(value)}</bdi>;
  }
  if (typeof value === "boolean") return <>{value ? "yes" : "no"}</>;
  return <code class="wrap">{visible(JSON.stringify(value))}</code>;
}

/** Bytes of output that the server keeps of one action. */
const MOST = 64 * 1024;

export function Output({ text }: { text: string }) {
  const cut = text.length >= MOST;
  return (
    <figure class="output">
      <figcaption>Output{cut && <span class="dim"> – the first 64 KiB; the rest was not kept</span>}</figcaption>
      <pre tabIndex={0} data-testid="output">{visible(text) || " "}</pre>
    </figure>
  );
}
