// The small parts that every view is made of: pills, cards, times, countdowns, labels, empty states.
import type { ComponentChildren } from "preact";
import { useCoarseNow, useNow } from "../clock";
import { ago, countdown, duration, full, iso, moment, oneLine } from "../lib/format";
import type { Tone } from "../lib/kinds";
import { stateLabel } from "../lib/kinds";
import type { Labels } from "../types";
import { Icon, TONE_ICON, type IconName } from "./icons";

export function Pill({ tone, children, icon }: { tone: Tone; children: ComponentChildren; icon?: IconName }) {
  return (
    <span class={`pill tone-${tone}`}>
      <Icon name={icon ?? TONE_ICON[tone]} size={13} />
      <span>{children}</span>
    </span>
  );
}

export function StatePill({ state, effect }: { state: string; effect?: string | null }) {
  const { label, tone } = stateLabel(state, effect);
  return <Pill tone={tone} {...(label === "Done" ? { icon: "check" as const } : {})}>{label}</Pill>;
}

interface CardProps {
  id: string;
  title: string;
  count?: number | undefined;
  aside?: ComponentChildren;
  children: ComponentChildren;
  class?: string;
}

/** A section of a page with its heading; `id` names it for links and tests. */
export function Card({ id, title, count, aside, children, class: more = "" }: CardProps) {
  return (
    <section class={`card ${more}`} aria-labelledby={`${id}-h`} data-testid={id}>
      <header class="card-head">
        <h2 id={`${id}-h`} tabIndex={-1}>
          {title}
          {count !== undefined && count > 0 && <span class="count" data-testid={`${id}-count`}>{count}</span>}
        </h2>
        {aside && <div class="card-aside">{aside}</div>}
      </header>
      {children}
    </section>
  );
}

export function Empty({ icon = "check", title, children }: { icon?: IconName; title: string; children?: ComponentChildren }) {
  return (
    <div class="empty">
      <Icon name={icon} size={20} />
      <p class="empty-title">{title}</p>
      {children && <p class="empty-more">{children}</p>}
    </div>
  );
}

export function Loading({ what, rows = 3 }: { what: string; rows?: number }) {
  return (
    <div class="loading" role="status">
      <span class="sr">Loading {what}…</span>
      {Array.from({ length: rows }, (_, at) => <div key={at} class="bone" aria-hidden="true" />)}
    </div>
  );
}

export function Problem({ text, retry }: { text: string; retry?: () => void }) {
  return (
    <div class="problem" role="alert">
      <Icon name="warn" />
      <p>{oneLine(text)}</p>
      {retry && <button type="button" class="btn sm" onClick={retry}>Try again</button>}
    </div>
  );
}

/** A time as it is on the clock here; how long ago is in the title. */
export function Time({ ts }: { ts: number }) {
  const now = useCoarseNow(60);
  return <time dateTime={iso(ts)} title={full(ts)}>{moment(ts, now)}</time>;
}

/** How long ago, kept fresh. */
export function Ago({ ts }: { ts: number }) {
  const now = useNow();
  return <time dateTime={iso(ts)} title={full(ts)}>{ago(ts, now)}</time>;
}

/** Time left, by the server's clock; `over` is said when there is none. */
export function Left({ until, over = "due now" }: { until: number; over?: string }) {
  const now = useNow();
  const left = until - now;
  return <span class="clock" title={`until ${full(until)}`}>{left > 0 ? countdown(left) : over}</span>;
}

export function Elapsed({ since }: { since: number }) {
  const now = useNow();
  return <span class="clock" title={`since ${full(since)}`}>{countdown(Math.max(0, now - since))}</span>;
}

/** A bar that empties as time runs out. */
export function Remaining({ from, until }: { from: number; until: number }) {
  const now = useNow();
  const share = until > from ? Math.min(1, Math.max(0, (until - now) / (until - from))) : 0;
  return (
    <svg class="remaining" viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true">
      <rect class="remaining-all" width="100" height="4" />
      <rect class="remaining-left" width={(share * 100).toFixed(2)} height="4" />
    </svg>
  );
}

export function Took({ seconds }: { seconds: number | null | undefined }) {
  return <span class="num">{duration(seconds)}</span>;
}

/** Text that came with an alert: shown as it is, on one line, with what would hide or turn it written out. */
export function Said({ text, class: more = "" }: { text: string; class?: string }) {
  return <bdi class={`said ${more}`} title={oneLine(text)}>{oneLine(text)}</bdi>;
}

/** A command: whole, or on one line with the rest in the title. */
export function Code({ text, line = false }: { text: string; line?: boolean }) {
  return <code class={line ? "cmd clip" : "cmd"} title={line ? oneLine(text) : undefined}><bdi>{oneLine(text)}</bdi></code>;
}

export function LabelChips({ labels, without = [], most = 50 }: { labels: Labels; without?: string[]; most?: number }) {
  const names = Object.keys(labels).filter((name) => !without.includes(name)).sort();
  if (names.length === 0) return null;
  return (
    <ul class="labels" aria-label="Labels">
      {names.slice(0, most).map((name) => (
        <li key={name}><span class="label-name"><bdi>{oneLine(name)}</bdi></span><span class="label-value"><bdi>{oneLine(labels[name]!)}</bdi></span></li>
      ))}
      {names.length > most && <li class="more">and {names.length - most} more</li>}
    </ul>
  );
}

/** Where an alert is: its instance, service or job, on one line. */
export function where(labels: Labels): string {
  return labels.instance ?? labels.service ?? labels.job ?? "";
}

/** Step 1 of 2, as words and as pips; the last one in the colour of how it ended. */
export function Steps({ step, ladder, tone = "busy" }: { step: number; ladder: number; tone?: Tone }) {
  if (ladder <= 1) return null;
  return (
    <span class={`steps tone-${tone}`}>
      <span class="pips" aria-hidden="true">
        {Array.from({ length: Math.min(ladder, 8) }, (_, at) => <i key={at} class={at < step ? "past" : at === step ? "at" : ""} />)}
      </span>
      step {step + 1}/{ladder}
    </span>
  );
}
