// The filters of the event list: kinds, alert, rule, text and time; what is chosen stands in the address bar.
import { useEffect, useRef, useState } from "preact/hooks";
import { serverNow } from "../clock";
import { Icon } from "../components/icons";
import { localInput, moment, oneLine, parseMoment } from "../lib/format";
import { GROUPS, KINDS, kindOf } from "../lib/kinds";
import { eventsHref, isFiltered, type EventFilter } from "../lib/route";
import { go } from "../navigation";
import type { TrailEvent } from "../types";

/** Milliseconds after the last key until the list follows what was typed. */
const TYPED = 300;
const SPANS: readonly (readonly [string, number])[] = [["15 min", 900], ["1 h", 3600], ["6 h", 21_600], ["24 h", 86_400]];

export function EventFilters({ filter, rows }: { filter: EventFilter; rows: TrailEvent[] }) {
  const set = (change: Partial<EventFilter>, replace = false) => go(eventsHref({ ...filter, ...change }), replace);
  return (
    <search class="filters" aria-label="Filter the events">
      <div class="filter-row">
        <Typed id="events-q" label="Text" icon="search" value={filter.q} set={(q) => set({ q }, true)} hint="Text in the event, as written" testid="filter-q" grow />
        <Typed id="events-alert" label="Alert" value={filter.alertname} set={(alertname) => set({ alertname }, true)} hint="Alert name" options={named(rows, "alertname")} testid="filter-alertname" />
        <Typed id="events-rule" label="Rule" value={filter.rule} set={(rule) => set({ rule }, true)} hint="Rule" options={named(rows, "rule")} testid="filter-rule" />
        <Kinds chosen={filter.kinds} set={(kinds) => set({ kinds })} />
        <Span filter={filter} set={set} />
      </div>
      {isFiltered(filter) && <Chosen filter={filter} />}
    </search>
  );
}

/** Names seen in the list, most frequent first, as suggestions. */
function named(rows: TrailEvent[], field: "alertname" | "rule"): string[] {
  const seen = new Map<string, number>();
  for (const event of rows.slice(-1000)) {
    const name = event[field];
    if (name) seen.set(name, (seen.get(name) ?? 0) + 1);
  }
  return [...seen].sort((a, b) => b[1] - a[1]).slice(0, 50).map(([name]) => name);
}

interface TypedProps {
  id: string;
  label: string;
  value: string;
  set: (value: string) => void;
  hint: string;
  testid: string;
  icon?: "search";
  options?: string[];
  grow?: boolean;
}

function Typed({ id, label, value, set, hint, testid, icon, options, grow }: TypedProps) {
  const [text, setText] = useState(value);
  const timer = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
  const typing = useRef(false);
  useEffect(() => {
    if (!typing.current) setText(value);
  }, [value]);
  useEffect(() => () => clearTimeout(timer.current), []);
  const commit = (now: string) => {
    clearTimeout(timer.current);
    typing.current = false;
    if (now !== value) set(now);
  };
  const type = (now: string) => {
    typing.current = true;
    setText(now);
    clearTimeout(timer.current);
    timer.current = setTimeout(() => commit(now), TYPED);
  };
  return (
    <div class={`typed ${grow ? "grow" : ""}`}>
      <label for={id} class="sr">{label}</label>
      {icon && <Icon name={icon} size={15} />}
      <input
        id={id}
        type="search"
        value={text}
        placeholder={hint}
        maxLength={1000}
        autocomplete="off"
        spellcheck={false}
        {...(options ? { list: `${id}-list` } : {})}
        onInput={(e) => type(e.currentTarget.value)}
        onKeyDown={(e) => { if (e.key === "Enter") commit(text); }}
        onBlur={() => commit(text)}
        data-testid={testid}
      />
      {options && <datalist id={`${id}-list`}>{options.map((one) => <option key={one} value={one} />)}</datalist>}
    </div>
  );
}

function Popover({ label, on, testid, children }: { label: string; on: boolean; testid: string; children: preact.ComponentChildren }) {
  const box = useRef<HTMLDetailsElement>(null);
  useEffect(() => {
    const away = (click: Event) => {
      if (box.current?.open && !box.current.contains(click.target as Node)) box.current.open = false;
    };
    document.addEventListener("pointerdown", away);
    document.addEventListener("focusin", away);
    return () => {
      document.removeEventListener("pointerdown", away);
      document.removeEventListener("focusin", away);
    };
  }, []);
  const escape = (key: KeyboardEvent) => {
    if (key.key !== "Escape" || !box.current?.open) return;
    box.current.open = false;
    box.current.querySelector("summary")?.focus();
  };
  return (
    <details ref={box} class="popover" onKeyDown={escape}>
      <summary class={`btn ${on ? "chosen" : ""}`} data-testid={testid}>{label} <Icon name="down" size={14} /></summary>
      <div class="popover-body">{children}</div>
    </details>
  );
}

function Kinds({ chosen, set }: { chosen: string[]; set: (kinds: string[]) => void }) {
  const toggle = (names: string[], on: boolean) => {
    const rest = chosen.filter((kind) => !names.includes(kind));
    set(on ? [...rest, ...names] : rest);
  };
  return (
    <Popover label={chosen.length === 0 ? "Kinds" : `Kinds: ${chosen.length}`} on={chosen.length > 0} testid="filter-kinds">
      <div class="kinds">
        {GROUPS.map((group) => {
          const names = Object.keys(KINDS).filter((kind) => KINDS[kind]!.group === group);
          const all = names.every((kind) => chosen.includes(kind));
          return (
            <fieldset key={group}>
              <legend>{group} <button type="button" class="linkish" onClick={() => toggle(names, !all)}>{all ? "none" : "all"}<span class="sr"> of {group}</span></button></legend>
              {names.map((kind) => (
                <label key={kind} class="check">
                  <input type="checkbox" checked={chosen.includes(kind)} onChange={(e) => toggle([kind], e.currentTarget.checked)} data-testid={`kind-${kind}`} />
                  {kindOf(kind).label}
                </label>
              ))}
            </fieldset>
          );
        })}
      </div>
    </Popover>
  );
}

function Span({ filter, set }: { filter: EventFilter; set: (change: Partial<EventFilter>) => void }) {
  const { since, until } = filter;
  const now = serverNow();
  const label = since === null && until === null ? "Any time" : until === null ? `Since ${moment(since!, now)}` : since === null ? `Until ${moment(until, now)}` : `${moment(since, now)} – ${moment(until, since)}`;
  return (
    <Popover label={label} on={since !== null || until !== null} testid="filter-time">
      <div class="span">
        <div class="ranges" role="group" aria-label="The last">
          {SPANS.map(([name, seconds]) => (
            <button key={name} type="button" class="seg" onClick={() => set({ since: Math.floor(serverNow() - seconds), until: null })}>{name}</button>
          ))}
          <button type="button" class="seg" onClick={() => set({ since: null, until: null })}>Any</button>
        </div>
        <label class="field"><span>From</span><input type="datetime-local" step="1" value={localInput(since)} onChange={(e) => set({ since: parseMoment(e.currentTarget.value) })} data-testid="filter-since" /></label>
        <label class="field"><span>To</span><input type="datetime-local" step="1" value={localInput(until)} onChange={(e) => set({ until: parseMoment(e.currentTarget.value) })} data-testid="filter-until" /></label>
      </div>
    </Popover>
  );
}

function Chosen({ filter }: { filter: EventFilter }) {
  const now = serverNow();
  const chips: [string, Partial<EventFilter>][] = [];
  if (filter.q) chips.push([`“${oneLine(filter.q)}”`, { q: "" }]);
  if (filter.alertname) chips.push([`alert ${oneLine(filter.alertname)}`, { alertname: "" }]);
  if (filter.rule) chips.push([`rule ${oneLine(filter.rule)}`, { rule: "" }]);
  for (const kind of filter.kinds) chips.push([kindOf(kind).label, { kinds: filter.kinds.filter((one) => one !== kind) }]);
  if (filter.since !== null) chips.push([`from ${moment(filter.since, now)}`, { since: null }]);
  if (filter.until !== null) chips.push([`to ${moment(filter.until, now)}`, { until: null }]);
  return (
    <ul class="chosen-filters" aria-label="Filters in force">
      {chips.map(([text, without]) => (
        <li key={text}><a class="chip" href={eventsHref({ ...filter, ...without })} aria-label={`Remove the filter ${text}`}><bdi>{text}</bdi> <Icon name="cross" size={11} /></a></li>
      ))}
      <li><a href={eventsHref()} data-testid="filters-clear">Clear all</a></li>
    </ul>
  );
}
