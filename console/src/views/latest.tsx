// The newest events that say something: what was decided, done and seen, without deliveries and repeats.
import { useEffect, useState } from "preact/hooks";
import { get, query } from "../api";
import { Pill, Time } from "../components/ui";
import { oneLine } from "../lib/format";
import { fetchPage } from "../eventlist";
import { KINDS, kindOf } from "../lib/kinds";
import { NO_FILTER, href, eventsHref } from "../lib/route";
import { sentence } from "../lib/sentences";
import { merge, newest } from "../lib/trail";
import { useStore } from "../lib/store";
import { epoch, onEvents, recent } from "../live";
import type { AuditPage, TrailEvent } from "../types";

const SHOWN = 8;
const NOISE = new Set(["webhook_received", "heartbeat", "decision_skip", "decision_act", "policy_loaded", "approval_requested"]);

const WORTH = Object.keys(KINDS).filter((kind) => !NOISE.has(kind));

/** From the newest page; where that is all noise, each kind is asked for its newest. */
async function readLatest(): Promise<TrailEvent[]> {
  const page = await get<AuditPage>(query("audit", { n: 300 }));
  if (page.events.filter(says).length >= SHOWN || page.count < 300) return page.events;
  return (await fetchPage({ ...NO_FILTER, kinds: WORTH }, null, SHOWN, new AbortController().signal)).events;
}

const says = (event: TrailEvent): boolean => !NOISE.has(event.kind);

export function Latest() {
  const [rows, setRows] = useState<TrailEvent[]>([]);
  const again = useStore(epoch);
  useEffect(() => {
    let gone = false;
    const add = (more: TrailEvent[]) => setRows((now) => newest(merge(now, more.filter(says)), SHOWN));
    add(recent().map(({ event }) => event));
    readLatest().then((events) => { if (!gone) add(events); }, () => undefined);
    const unsubscribe = onEvents((arrived) => {
      if (arrived.some(({ event }) => says(event))) add(arrived.map(({ event }) => event));
    });
    return () => {
      gone = true;
      unsubscribe();
    };
  }, [again]);
  return (
    <ol class="latest" data-testid="latest" aria-label="Newest first">
      {rows.toReversed().map((event) => {
        const { label, tone } = kindOf(event.kind);
        const to = event.remediation_id ? href("remediation", { id: event.remediation_id }) : eventsHref(event.alertname ? { alertname: event.alertname } : {});
        return (
          <li key={event.id} data-id={event.id}>
            <Time ts={event.ts} />
            <Pill tone={tone}>{label}</Pill>
            <a class="clip plain" href={to} title={sentence(event)}>{event.alertname && <strong><bdi>{oneLine(event.alertname)}</bdi> </strong>}<bdi>{sentence(event)}</bdi></a>
          </li>
        );
      })}
    </ol>
  );
}
