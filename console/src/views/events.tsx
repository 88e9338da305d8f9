// The live list of events: filters in the address bar, paused while one reads, windowed so that any number stays smooth.
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { Icon } from "../components/icons";
import { Empty, Loading, Problem } from "../components/ui";
import { EventList } from "../eventlist";
import { count, number } from "../lib/format";
import { eventsHref, isFiltered, readFilter } from "../lib/route";
import { useStore } from "../lib/store";
import { MOST } from "../lib/trail";
import { epoch, link, recent } from "../live";
import { route } from "../navigation";
import { EventFilters } from "./eventfilters";
import { VirtualEvents } from "./virtualevents";

export function Events() {
  const { params } = useStore(route);
  const key = params.toString();
  const filter = useMemo(() => readFilter(params), [key]);
  const again = useStore(epoch);
  const [paused, setPaused] = useState(false);
  const reading = useRef(false);
  const stopped = useRef(paused);
  stopped.current = paused;
  const list = useMemo(() => new EventList(filter, () => !stopped.current && !reading.current), [filter, again]);
  useEffect(() => () => list.close(), [list]);
  const state = useStore(list.state);
  const fixed = filter.until !== null;

  const show = () => {
    window.scrollTo(0, 0);
    reading.current = false;
    list.release();
  };
  const toggle = () => {
    if (paused) show();
    setPaused(!paused);
  };
  return (
    <>
      <div class="page-head">
        <h1 tabIndex={-1}>Events</h1>
        <Rate paused={paused} fixed={fixed} held={state.held > 0} />
        <button type="button" id="events-pause" class="btn" onClick={toggle} aria-pressed={paused} data-testid="events-pause">
          <Icon name={paused ? "play" : "pause"} size={16} /> {paused ? "Resume" : "Pause"}
        </button>
      </div>
      <EventFilters filter={filter} rows={state.rows} />
      <div class="new-events-place">
        {state.held > 0 && (
          <button type="button" class="btn primary new-events" onClick={show} data-testid="new-events">
            <Icon name="up" size={16} /> {count(state.held, "new event")}
          </button>
        )}
      </div>
      {state.error && <Problem text={state.error} retry={() => void list.read()} />}
      {state.loading && state.rows.length === 0 && <Loading what="events" rows={10} />}
      {!state.loading && state.rows.length === 0 && !state.error && (
        <Empty icon="list" title={isFiltered(filter) ? "No event passes these filters" : "The trail is empty"}>
          {isFiltered(filter) ? <a href={eventsHref()}>Show all events</a> : "Send an alert to /alert, and it shows up here."}
        </Empty>
      )}
      {state.rows.length > 0 && <VirtualEvents rows={state.rows} onReading={(now) => { reading.current = now; }} onEnd={() => void list.older()} />}
      {state.rows.length > 0 && <Older state={state} filtered={isFiltered(filter)} older={() => void list.older()} />}
    </>
  );
}

function Older({ state, filtered, older }: { state: ReturnType<EventList["state"]["get"]>; filtered: boolean; older: () => void }) {
  const { rows, floor, partial } = state;
  return (
    <div class="older">
      {floor === null && <p class="dim">{count(rows.length, "event")}; {filtered ? "no more pass these filters." : "this is where the trail begins."}</p>}
      {floor !== null && rows.length >= MOST && <p class="dim">{number(MOST)} events are shown, which is as many as a browser should hold. Narrow the time or the filters to look further back.</p>}
      {floor !== null && rows.length < MOST && (
        <>
          <button type="button" class="btn" onClick={older} aria-disabled={state.older} data-testid="load-older">
            {state.older ? "Loading…" : partial ? "Search further back" : "Load older events"}
          </button>
          <p class="dim">{partial ? `Searched back to #${floor}; ${count(rows.length, "event")} found so far` : `${count(rows.length, "event")} shown`}</p>
        </>
      )}
    </div>
  );
}

/** Whether it follows, and how much comes. */
function Rate({ paused, fixed, held }: { paused: boolean; fixed: boolean; held: boolean }) {
  const phase = useStore(link, (now) => now.phase);
  const [rate, setRate] = useState(0);
  useEffect(() => {
    let last = recent().at(-1)?.event.id ?? 0;
    const timer = setInterval(() => {
      const newest = recent().at(-1)?.event.id ?? 0;
      setRate(last === 0 ? 0 : Math.round((newest - last) / 2));
      last = newest;
    }, 2000);
    return () => clearInterval(timer);
  }, []);
  const words = fixed ? "A fixed range of time" : paused ? "Paused" : held ? "Held while you read" : phase === "live" ? "Following live" : "Not connected";
  return <p class="dim rate" data-testid="events-follow">{words}{rate > 0 && !fixed ? ` · ${rate}/s` : ""}</p>;
}
