// What is happening: each remediation that is under way, with its step, its command and the time that it has left.
import { useNow } from "../clock";
import { Code, Elapsed, Empty, Left, Remaining, StatePill, Steps, where } from "../components/ui";
import { href } from "../lib/route";
import { reasonText } from "../lib/sentences";
import { oneLine } from "../lib/format";
import type { Summary } from "../types";

/** More than that is a flood: it is for the list of remediations. */
const SHOWN = 12;
const ENDS: Record<string, string> = { held: "decided again in", running: "times out in", verifying: "verifies for", reserved: "" };

export function Active({ active, total }: { active: Summary[]; total: number }) {
  if (active.length === 0) return <Empty title="Nothing is running">The next action shows up here the moment it is decided.</Empty>;
  return (
    <ul class="rows" data-testid="active-list">
      {active.slice(0, SHOWN).map((one) => <Row key={one.id} one={one} />)}
      {total > SHOWN && <li class="row-more"><a href={href("remediations")}>and {total - SHOWN} more</a></li>}
    </ul>
  );
}

/** Seconds after which reserved work is seen to wait. */
const PATIENCE = 5;

function Waits({ since }: { since: number }) {
  const now = useNow();
  return now - since > PATIENCE ? <p class="note wait" data-testid="waits">Waits for a free hand.</p> : null;
}

function Row({ one }: { one: Summary }) {
  const place = where(one.labels);
  const since = one.since ?? one.started_at ?? one.created_at;
  return (
    <li class="row active-row" data-testid="active-row" data-id={one.id} data-state={one.state}>
      <div class="row-head">
        <StatePill state={one.state} />
        <a class="row-name" href={href("remediation", { id: one.id })}><bdi>{oneLine(one.alertname)}</bdi></a>
        {place && <span class="dim clip"><bdi>{oneLine(place)}</bdi></span>}
        <span class="row-right">
          <Steps step={one.step} ladder={one.ladder} />
          {one.attempt > 1 && <span class="dim">attempt {one.attempt}</span>}
        </span>
      </div>
      <Code text={one.cmd} line />
      {one.inconclusive && <p class="note wait">Whether it helped cannot be seen; it waits for data.</p>}
      {one.state === "reserved" && <Waits since={since} />}
      <div class="row-foot">
        <span class="dim">{one.hold ? `${reasonText(one.hold)}, ` : ""}for <Elapsed since={since} /></span>
        {one.until !== null && (
          <>
            <Remaining from={since} until={one.until} />
            <span>{ENDS[one.state] ?? "ends in"} <Left until={one.until} over="a moment" /></span>
          </>
        )}
      </div>
    </li>
  );
}
