// What holds Autoheal back right now: cooldowns that run, breakers that are open, acknowledgements.
import { post } from "../api";
import { Confirm, openDialog } from "../components/dialog";
import { Empty, LabelChips, Left, Pill, Remaining } from "../components/ui";
import { serverNow } from "../clock";
import { count, full, oneLine } from "../lib/format";
import { eventsHref, href } from "../lib/route";
import { overview, refresh } from "../live";
import { notify } from "../notices";
import type { AckState, BreakerState, Cooldown, Labels } from "../types";

const SHOWN = 8;

export function Cooldowns({ cooldowns, total }: { cooldowns: Cooldown[]; total: number }) {
  if (cooldowns.length === 0) return <Empty icon="clock" title="No cooldown is running">Every rule may act at once.</Empty>;
  return (
    <ul class="rows tight">
      {cooldowns.slice(0, SHOWN).map((one) => (
        <li key={`${one.lane}|${one.key}`} class="row cooldown" data-testid="cooldown">
          <a class="clip" href={one.remediation_id ? href("remediation", { id: one.remediation_id }) : eventsHref({ rule: one.rule })} title={oneLine(one.key)}>
            <bdi>{oneLine(inner(one))}</bdi>
          </a>
          <Remaining from={one.started_at} until={one.until} />
          <Left until={one.until} over="over" />
        </li>
      ))}
      {total > SHOWN && <li class="row-more dim">and {total - SHOWN} more, which last longer</li>}
    </ul>
  );
}

/** The rule, and what tells this key from others of the same rule. */
function inner(one: Cooldown): string {
  const values = /\{(.*)\}$/s.exec(one.key)?.[1] ?? "";
  const told = [...values.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].filter(([, name]) => name !== "alertname").map(([, , value]) => value);
  return [one.rule, ...told].join(" · ");
}

export const isOpen = (one: Pick<BreakerState, "open_until">): boolean => one.open_until !== null && one.open_until > serverNow();

export function Breakers({ breakers }: { breakers: BreakerState[] }) {
  return (
    <ul class="rows tight">
      {breakers.map((one) => (
        <li key={one.rule} class="row cooldown" data-testid="breaker">
          <a class="clip" href={eventsHref({ rule: one.rule })}>{one.rule}</a>
          <Pill tone={isOpen(one) ? "bad" : "quiet"} {...(isOpen(one) ? {} : { icon: "check" as const })}>{isOpen(one) ? "open" : "closed"}</Pill>
          <span>{isOpen(one) ? <>half open in <Left until={one.open_until!} over="a moment" /></> : `${count(one.failures, "failure")} in a row`}</span>
        </li>
      ))}
    </ul>
  );
}

export function Acks({ acks }: { acks: AckState[] }) {
  return (
    <ul class="rows tight">
      {acks.map((one) => (
        <li key={one.silence_id} class="row ack" data-testid="ack-row" data-id={one.silence_id}>
          <LabelChips labels={one.labels} most={6} />
          <div class="row-foot">
            <span class="dim" title={full(one.ends_at)}>by <bdi>{one.actor || "somebody"}</bdi>{one.comment && <>: “<bdi>{oneLine(one.comment)}</bdi>”</>}</span>
            <span>ends in <Left until={one.ends_at} over="a moment" /></span>
            <span class="deeds">
              <button type="button" class="btn sm" onClick={() => openDialog(() => <EndAck id={one.silence_id} labels={one.labels} />)} aria-haspopup="dialog" data-testid="ack-end">End…</button>
            </span>
          </div>
        </li>
      ))}
    </ul>
  );
}

function EndAck({ id, labels }: { id: string; labels: Labels }) {
  const act = async () => {
    await post(`silences/${encodeURIComponent(id)}/expire`, {});
    overview.set((before) => before && { ...before, acks: before.acks.filter((one) => one.silence_id !== id) });
    notify("The acknowledgement is ended; what fires is told again.");
    refresh();
  };
  return (
    <Confirm title="End this acknowledgement?" testid="dialog-ack-end" confirm="End it now" act={act}>
      <LabelChips labels={labels} />
      <p>The silence in Alertmanager ends now. If the alert still fires, people are told again.</p>
    </Confirm>
  );
}
