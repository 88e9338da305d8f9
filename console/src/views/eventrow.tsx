// One event of the list: a line that says what happened, opened to all of its fields.
import { memo } from "../lib/memo";
import { useEffect, useRef } from "preact/hooks";
import { Icon } from "../components/icons";
import { Ago, Pill, Time, where } from "../components/ui";
import { oneLine } from "../lib/format";
import { kindOf } from "../lib/kinds";
import { href } from "../lib/route";
import { sentence } from "../lib/sentences";
import type { TrailEvent } from "../types";
import { EventDetail } from "./eventdetail";

interface Props {
  event: TrailEvent;
  at: number;
  of: number;
  open: boolean;
  height: number;
  onToggle: (id: number) => void;
  onMeasured: (id: number, extra: number) => void;
}

export const EventRow = memo(Row, (a: Props, b: Props) => a.event === b.event && a.open === b.open && a.height === b.height && a.at === b.at && a.of === b.of);

function Row({ event, at, of, open, height, onToggle, onMeasured }: Props) {
  const item = useRef<HTMLLIElement>(null);
  useEffect(() => {
    if (!open) return;
    const sizes = new ResizeObserver(() => {
      if (item.current) onMeasured(event.id, item.current.offsetHeight - height);
    });
    sizes.observe(item.current!);
    return () => sizes.disconnect();
  }, [open, height]);
  const { label, tone } = kindOf(event.kind);
  const place = event.labels ? where(event.labels) : "";
  return (
    <li ref={item} class={`event tone-${tone} ${open ? "open" : ""}`} aria-posinset={at} aria-setsize={of} data-testid="event" data-id={event.id} data-kind={event.kind}>
      <button type="button" class="event-toggle" aria-expanded={open} onClick={() => onToggle(event.id)}>
        <span class="event-time"><Time ts={event.ts} /></span>
        <span class="event-kind"><Pill tone={tone}>{label}</Pill></span>
        <span class="event-alert"><bdi>{event.alertname ? oneLine(event.alertname) : ""}</bdi>{place && <span class="dim"> <bdi>{oneLine(place)}</bdi></span>}</span>
        <span class="event-says"><bdi>{sentence(event)}</bdi></span>
        <span class="event-ago dim"><Ago ts={event.ts} /></span>
        <span class="event-chevron"><Icon name="down" size={14} /></span>
      </button>
      {event.remediation_id ? (
        <a class="event-link" href={href("remediation", { id: event.remediation_id })} aria-label={`Remediation ${event.remediation_id}`}>{event.remediation_id}</a>
      ) : (
        <span class="event-link" aria-hidden="true" />
      )}
      {open && <EventDetail event={event} />}
    </li>
  );
}
