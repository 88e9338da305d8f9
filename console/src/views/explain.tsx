// Why not? What each gate says of these labels now, and what the event's own trace said then.
import { useEffect, useState } from "preact/hooks";
import { get, query, told } from "../api";
import { GateTrace } from "../components/gatetrace";
import { Icon } from "../components/icons";
import { Card, Code, Empty, LabelChips, Left, Loading, Pill, Problem, Time } from "../components/ui";
import { oneLine } from "../lib/format";
import { explainRows, traceRows } from "../lib/gates";
import type { Tone } from "../lib/kinds";
import { eventsHref, href } from "../lib/route";
import { reasonText, sentence } from "../lib/sentences";
import { useStore } from "../lib/store";
import { recent } from "../live";
import { route } from "../navigation";
import type { AuditPage, Explanation, Labels, TrailEvent } from "../types";

const RESULTS: Record<string, { label: string; tone: Tone }> = {
  act: { label: "It would act", tone: "ok" },
  skip: { label: "It would skip", tone: "quiet" },
  hold: { label: "It would hold", tone: "wait" },
  dry_run: { label: "It would record a dry run", tone: "dry" },
};

export function Explain() {
  const { params } = useStore(route);
  const labels = params.get("labels") ?? "";
  const annotations = params.get("annotations") ?? "";
  const eventId = Number(params.get("event")) || null;
  const [now, setNow] = useState<Explanation | null>(null);
  const [error, setError] = useState("");
  const event = useEvent(eventId);
  const read = () => {
    get<Explanation>(query("explain", { labels, annotations })).then(
      (found) => { setNow(found); setError(""); },
      (failed) => setError(told(failed)),
    );
  };
  useEffect(() => { if (labels) read(); }, [labels, annotations]);
  const pairs = parsed(labels);
  if (!labels) {
    return (
      <div class="explain" data-testid="explain">
        <div class="page-head"><h1 tabIndex={-1}>Why not?</h1></div>
        <Empty icon="question" title="Which alert?">Open an event in <a href={eventsHref()}>Events</a> and ask there why nothing was done.</Empty>
      </div>
    );
  }
  return (
    <div class="explain" data-testid="explain">
      <div class="page-head">
        <h1 tabIndex={-1}>Why not?</h1>
        <button type="button" class="btn" onClick={read} data-testid="explain-again">Ask again</button>
      </div>
      <p class="rem-line"><strong><bdi>{oneLine(pairs.alertname ?? "These labels")}</bdi></strong></p>
      <LabelChips labels={pairs} without={["alertname"]} />
      <div class="columns">
        <Card id="explain-now" title="Now">
          {error && <Problem text={error} retry={read} />}
          {!now && !error && <Loading what="the answer" rows={8} />}
          {now && (
            <>
              <p class="verdict">
                <Pill tone={RESULTS[now.result]?.tone ?? "quiet"}>{RESULTS[now.result]?.label ?? now.result}</Pill>{" "}
                {now.reason && <>{reasonText(now.reason)}{now.why && <span class="dim">: {oneLine(now.why)}</span>}</>}
                {now.until !== null && <> · <Left until={now.until} over="over by now" /> left</>}
              </p>
              {now.rule && <p>Rule <a href={href("rules", { rule: now.rule })}>{now.rule}</a></p>}
              {now.cmd.map((cmd, at) => <Code key={at} text={cmd} />)}
              <GateTrace rows={explainRows(now.gates)} title="Each gate, asked now" asked />
              {!annotations && <p class="dim small"><Icon name="question" size={13} /> Asked without annotations: if the alert carries some, the opt-in gate may answer otherwise.</p>}
            </>
          )}
        </Card>
        {eventId !== null && (
          <Card id="explain-then" title="Then" {...(event ? { aside: <Time ts={event.ts} /> } : {})}>
            {!event && <Loading what="the event" />}
            {event && (
              <>
                <p class="verdict">{sentence(event)}</p>
                {typeof event.trace === "object" && event.trace !== null && <GateTrace rows={traceRows(event.trace as Record<string, string>)} title="What the gates said then" />}
                <p><a href={eventsHref({ alertname: event.alertname ?? "", since: Math.floor(event.ts - 300), until: Math.ceil(event.ts + 300) })}>What happened around it</a></p>
              </>
            )}
          </Card>
        )}
      </div>
    </div>
  );
}

function parsed(labels: string): Labels {
  try {
    return JSON.parse(labels) as Labels;
  } catch {
    return {};
  }
}

/** One event by its id: from the stream where it is new, otherwise from the trail. */
function useEvent(id: number | null): TrailEvent | null {
  const [event, setEvent] = useState<TrailEvent | null>(() => recent().find((one) => one.event.id === id)?.event ?? null);
  useEffect(() => {
    if (id === null || event) return;
    get<AuditPage>(query("audit", { n: 1, before: id + 1 })).then(
      (page) => setEvent(page.events.find((one) => one.id === id) ?? null),
      () => undefined,
    );
  }, [id]);
  return event;
}
