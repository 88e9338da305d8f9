// The rows of the event list that are on the screen, out of thousands; newest first, moved through by arrow keys.
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { Heights, type Window } from "../lib/windowing";
import type { TrailEvent } from "../types";
import { EventRow } from "./eventrow";

const WIDE = 38;
const NARROW = 66;

interface Props {
  /** In ascending order; shown from the end. */
  rows: TrailEvent[];
  /** Whether somebody reads: then nothing may move under the eyes. */
  onReading: (reading: boolean) => void;
  onEnd: () => void;
}

export function VirtualEvents({ rows, onReading, onEnd }: Props) {
  const list = useRef<HTMLOListElement>(null);
  const narrow = useMedia("(max-width: 760px)");
  const row = narrow ? NARROW : WIDE;
  const [open, setOpen] = useState<ReadonlyMap<number, number>>(new Map());
  const [shown, setShown] = useState<Window>({ first: 0, end: 40 });
  const count = rows.length;
  const heights = new Heights(count, row, indexed(rows, open));
  const latest = useRef(heights);
  latest.current = heights;

  useLayoutEffect(() => {
    const look = () => {
      const top = list.current!.getBoundingClientRect().top;
      const next = latest.current.window(-top, innerHeight);
      setShown((now) => (now.first === next.first && now.end === next.end ? now : next));
      onReading(-top > row / 2 || open.size > 0 || focusInside(list.current!));
      if (next.end >= latest.current.count && latest.current.count > 50) onEnd();
    };
    look();
    addEventListener("scroll", look, { passive: true });
    addEventListener("resize", look);
    const left = () => requestAnimationFrame(() => list.current && look());
    document.addEventListener("focusin", look);
    document.addEventListener("focusout", left);
    return () => {
      removeEventListener("scroll", look);
      removeEventListener("resize", look);
      document.removeEventListener("focusin", look);
      document.removeEventListener("focusout", left);
    };
  }, [row, count, open]);

  const toggle = (id: number) => setOpen((now) => {
    const next = new Map(now);
    if (!next.delete(id)) next.set(id, 0);
    return next;
  });
  const measured = (id: number, extra: number) => setOpen((now) => (now.has(id) && now.get(id) !== extra ? new Map(now).set(id, extra) : now));
  const end = Math.min(shown.end, count);
  const first = Math.min(shown.first, end);
  const items = [];
  for (let at = first; at < end; at += 1) {
    const event = rows[count - 1 - at]!;
    items.push(
      <EventRow key={event.id} event={event} at={at + 1} of={count} open={open.has(event.id)} height={row} onToggle={toggle} onMeasured={measured} />,
    );
  }
  return (
    <ol
      ref={list}
      class="events"
      aria-label="Events, newest first"
      data-testid="events"
      style={{ paddingTop: `${heights.top(first)}px`, paddingBottom: `${heights.total - heights.top(end)}px` }}
      onKeyDown={(key) => arrows(key, list.current!)}
    >
      {items}
    </ol>
  );
}

/** Open rows as (index from the top, extra pixels). */
function indexed(rows: TrailEvent[], open: ReadonlyMap<number, number>): [number, number][] {
  const found: [number, number][] = [];
  for (const [id, extra] of open) {
    let low = 0;
    let high = rows.length - 1;
    while (low <= high) {
      const middle = (low + high) >> 1;
      const here = rows[middle]!.id;
      if (here === id) {
        found.push([rows.length - 1 - middle, extra]);
        break;
      }
      if (here < id) low = middle + 1;
      else high = middle - 1;
    }
  }
  return found;
}

function focusInside(list: HTMLElement): boolean {
  const focused = document.activeElement;
  return focused !== null && list.contains(focused) && focused.matches(":focus-visible");
}

function arrows(key: KeyboardEvent, list: HTMLElement): void {
  const step = { ArrowDown: 1, ArrowUp: -1 }[key.key];
  if (!step || !(key.target as Element).matches(".event-toggle")) return;
  const all = [...list.querySelectorAll<HTMLElement>(".event-toggle")];
  const next = all[all.indexOf(key.target as HTMLElement) + step];
  if (!next) return;
  key.preventDefault();
  next.focus();
  next.scrollIntoView({ block: "nearest" });
}

export function useMedia(text: string): boolean {
  const [matches, setMatches] = useState(() => matchMedia(text).matches);
  useEffect(() => {
    const media = matchMedia(text);
    const change = () => setMatches(media.matches);
    media.addEventListener("change", change);
    return () => media.removeEventListener("change", change);
  }, [text]);
  return matches;
}
