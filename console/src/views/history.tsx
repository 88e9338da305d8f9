// What happened: outcomes over time as a stacked chart, zoomable, each range a link to its events; and as a table.
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { get, query, told } from "../api";
import { useCoarseNow } from "../clock";
import { Chart } from "../components/chart";
import { Card, Empty, Problem, Time } from "../components/ui";
import { Coalescer } from "../lib/coalesce";
import { clock, number, moment } from "../lib/format";
import { OUTCOMES } from "../lib/kinds";
import { eventsHref, href } from "../lib/route";
import { bucketRows, dwarfs, stack, totals } from "../lib/stack";
import { useStore } from "../lib/store";
import { onEvents } from "../live";
import { go, route } from "../navigation";
import type { Timeline } from "../types";

const RANGES: Record<string, number> = { "1h": 3600, "6h": 21_600, "24h": 86_400, "7d": 604_800 };
/** Buckets are aligned to their length, so that a bar that is over never changes. */
const BUCKETS = 60;
const NONE: ReadonlySet<string> = new Set();

export function History() {
  const params = useStore(route).params;
  const name = params.get("range") ?? "1h";
  const range = RANGES[name] ?? 3600;
  const from = Number(params.get("from")) || null;
  const to = Number(params.get("to")) || null;
  const zoomed = from !== null && to !== null && to > from;
  const step = range / BUCKETS;
  const now = useCoarseNow(step);
  const since = zoomed ? from : now + step - range;
  const until = zoomed ? to : now + step;
  const { timeline, error, again } = useTimeline(since, until);
  const [chosen, setHidden] = useState<ReadonlySet<string> | null>(null);
  const [bucket, setBucket] = useState<number | null>(null);
  const hidden = useMemo(() => chosen ?? (timeline && dwarfs(timeline, "skipped") ? new Set(["skipped"]) : NONE), [chosen, timeline]);
  const drawn = useMemo(() => timeline && stack(timeline, hidden), [timeline, hidden]);

  const rangeLinks = (
    <div class="ranges" role="group" aria-label="Time range">
      {zoomed && <a class="btn sm" href={href("now", { range: name === "1h" ? "" : name })} data-testid="zoom-reset">Reset zoom</a>}
      {Object.keys(RANGES).map((one) => (
        <a key={one} class="seg" aria-current={one === name && !zoomed ? "true" : undefined} href={href("now", { range: one === "1h" ? "" : one })} data-testid={`range-${one}`}>{one}</a>
      ))}
    </div>
  );
  return (
    <Card id="timeline" title="What happened" aside={rangeLinks}>
      {error && <Problem text={error} retry={again} />}
      {timeline && drawn ? (
        <>
          <Chart
            stack={drawn}
            since={timeline.since}
            until={timeline.until}
            step={timeline.step}
            onHover={setBucket}
            onPick={(a, b) => go(eventsHref({ since: Math.floor(a), until: Math.ceil(b) }))}
            onZoom={(a, b) => go(href("now", { range: name === "1h" ? "" : name, from: Math.floor(a), to: Math.max(Math.ceil(b), Math.floor(a) + 60) }))}
          />
          <Hovered timeline={timeline} bucket={bucket} without={chosen === null && hidden.size > 0} />
          <Legend timeline={timeline} hidden={hidden} setHidden={setHidden} />
          <footer class="chart-foot">
            <a href={eventsHref({ since: Math.floor(timeline.since), until: zoomed ? Math.ceil(timeline.until) : null })} data-testid="timeline-events">Events of this range</a>
            {timeline.partial && <span class="dim">counted only from {clock(timeline.from ?? timeline.since)}</span>}
          </footer>
          <Table timeline={timeline} />
        </>
      ) : (
        !error && <div class="chart-wait" role="status"><span class="sr">Loading the timeline…</span></div>
      )}
    </Card>
  );
}

/** Counts for a span; asked again as time goes on and soon after something ended. */
function useTimeline(since: number, until: number) {
  const [timeline, setTimeline] = useState<Timeline | null>(null);
  const [error, setError] = useState("");
  const wanted = useRef({ since, until });
  wanted.current = { since, until };
  const coalescer = useMemo(() => {
    let last: AbortController | null = null;
    return new Coalescer(async () => {
      last?.abort();
      last = new AbortController();
      try {
        setTimeline(await get<Timeline>(query("timeline", { ...wanted.current, buckets: BUCKETS }), last.signal));
        setError("");
      } catch (failed) {
        if (!last.signal.aborted) setError(told(failed));
      }
    }, 900);
  }, []);
  useEffect(() => () => coalescer.stop(), [coalescer]);
  useEffect(() => coalescer.ask(), [since, until]);
  useEffect(() => onEvents((arrived) => {
    if (arrived.some(({ event }) => event.kind !== "heartbeat" && event.kind !== "webhook_received")) coalescer.ask();
  }), [coalescer]);
  return { timeline, error, again: () => coalescer.ask() };
}

function Hovered({ timeline, bucket, without }: { timeline: Timeline; bucket: number | null; without: boolean }) {
  const at = bucket === null ? null : timeline.since + bucket * timeline.step;
  const counts = bucket === null ? [] : timeline.outcomes.map((name) => [name, timeline.counts[name]?.[bucket] ?? 0] as const).filter(([, n]) => n > 0);
  return (
    <p class="hovered" aria-hidden="true">
      {at === null ? `Click a bar for its events, drag to zoom${without ? ". Skipped is left out, for it would dwarf the rest" : ""}` : `${clock(at)} – ${clock(at + timeline.step)}: ${counts.map(([name, n]) => `${n} ${OUTCOMES[name]?.label.toLowerCase() ?? name}`).join(", ") || "nothing"}`}
    </p>
  );
}

function Legend({ timeline, hidden, setHidden }: { timeline: Timeline; hidden: ReadonlySet<string>; setHidden: (next: ReadonlySet<string>) => void }) {
  const sums = totals(timeline);
  const toggle = (name: string) => {
    const next = new Set(hidden);
    if (!next.delete(name)) next.add(name);
    setHidden(next);
  };
  return (
    <ul class="legend" aria-label="Outcomes in the chart">
      {timeline.outcomes.map((name) => (
        <li key={name}>
          <button type="button" aria-pressed={!hidden.has(name)} onClick={() => toggle(name)} title={OUTCOMES[name]?.says} class={sums[name] ? "" : "zero"} data-testid={`legend-${name}`}>
            <i class={`swatch swatch-${name}`} aria-hidden="true" />
            {OUTCOMES[name]?.label ?? name} <span class="num">{number(sums[name] ?? 0)}</span>
          </button>
        </li>
      ))}
    </ul>
  );
}

function Table({ timeline }: { timeline: Timeline }) {
  const [open, setOpen] = useState(false);
  const rows = open ? bucketRows(timeline) : [];
  const names = timeline.outcomes.filter((name) => rows.some((row) => row.counts[name]));
  return (
    <details class="as-table" onToggle={(e) => setOpen(e.currentTarget.open)} data-testid="timeline-table">
      <summary>As a table</summary>
      {open && rows.length === 0 && <Empty icon="clock" title="Nothing happened in this range" />}
      {rows.length > 0 && (
        <div class="scroll-x" tabIndex={0} role="region" aria-label="Outcomes over time">
          <table>
            <caption class="sr">Outcomes from {moment(timeline.since, timeline.until)} to {moment(timeline.until, timeline.until)}, in steps of {timeline.step} seconds</caption>
            <thead><tr><th scope="col">From</th>{names.map((name) => <th key={name} scope="col" class="right">{OUTCOMES[name]?.label ?? name}</th>)}</tr></thead>
            <tbody>
              {rows.map((row) => (
                <tr key={row.at}>
                  <th scope="row"><a href={eventsHref({ since: row.at, until: row.at + timeline.step })}><Time ts={row.at} /></a></th>
                  {names.map((name) => <td key={name} class="right num">{row.counts[name] ?? 0}</td>)}
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </details>
  );
}
