// All remediations, newest first, by state, rule and alert.
import { useEffect, useMemo, useState } from "preact/hooks";
import { get, query, told } from "../api";
import { useOnceKnown } from "../behind";
import { Ago, Empty, Loading, Problem, StatePill, where } from "../components/ui";
import { Coalescer } from "../lib/coalesce";
import { duration, oneLine } from "../lib/format";
import { STATES, STIRS } from "../lib/kinds";
import { href } from "../lib/route";
import { useStore } from "../lib/store";
import { onEvents } from "../live";
import { go, route } from "../navigation";
import type { Remediation } from "../types";

const PAGE = 100;
const MOST = 1000;

export function Remediations() {
  const { params } = useStore(route);
  const state = params.get("state") ?? "";
  const rule = params.get("rule") ?? "";
  const alertname = params.get("alertname") ?? "";
  const n = Math.min(MOST, Math.max(PAGE, Number(params.get("n")) || PAGE));
  const path = query("remediations", { state, rule, alertname, n });
  const { rows, error, again } = useRows(path);
  const set = (change: Record<string, string>) => go(href("remediations", { state, rule, alertname, ...change }), true);
  return (
    <>
      <div class="page-head"><h1 tabIndex={-1}>Remediations</h1></div>
      <search class="filters" aria-label="Filter the remediations">
        <div class="filter-row">
          <label class="field inline"><span>State</span>
            <select value={state} onChange={(e) => set({ state: e.currentTarget.value })} data-testid="rem-state">
              <option value="">Any</option>
              {Object.entries(STATES).map(([name, { label }]) => <option key={name} value={name}>{label}</option>)}
            </select>
          </label>
          <label class="field inline"><span>Rule</span><input type="search" value={rule} onChange={(e) => set({ rule: e.currentTarget.value })} data-testid="rem-rule" /></label>
          <label class="field inline"><span>Alert</span><input type="search" value={alertname} onChange={(e) => set({ alertname: e.currentTarget.value })} data-testid="rem-alertname" /></label>
          {(state || rule || alertname) && <a href={href("remediations")}>Clear</a>}
        </div>
      </search>
      {error && <Problem text={error} retry={again} />}
      {!rows && !error && <Loading what="remediations" rows={8} />}
      {rows?.length === 0 && <Empty icon="wrench" title="No remediation">{state || rule || alertname ? "None passes these filters." : "Nothing has been decided yet. In dry run decisions are events, not remediations."}</Empty>}
      {rows && rows.length > 0 && <Table rows={rows} />}
      {rows && rows.length >= n && n < MOST && <div class="older"><a class="btn" href={href("remediations", { state, rule, alertname, n: Math.min(MOST, n * 3) })}>Show more</a></div>}
    </>
  );
}

function useRows(path: string) {
  const [rows, setRows] = useState<Remediation[] | null>(null);
  const [error, setError] = useState("");
  const coalescer = useMemo(() => new Coalescer(async () => {
    try {
      setRows((await get<{ remediations: Remediation[] }>(path)).remediations);
      setError("");
    } catch (failed) {
      setError(told(failed));
    }
  }, 1000), [path]);
  useEffect(() => {
    coalescer.ask();
    const unsubscribe = onEvents((arrived) => {
      if (arrived.some(({ event }) => event.remediation_id && STIRS.has(event.kind))) coalescer.ask();
    });
    return () => {
      unsubscribe();
      coalescer.stop();
    };
  }, [coalescer]);
  useOnceKnown(() => coalescer.ask());
  return { rows, error, again: () => coalescer.ask() };
}

function Table({ rows }: { rows: Remediation[] }) {
  return (
    <table class="data stack-narrow" data-testid="remediations">
      <caption class="sr">Remediations, newest first</caption>
      <thead><tr><th scope="col">State</th><th scope="col">Alert</th><th scope="col">Rule</th><th scope="col">Command</th><th scope="col" class="right">Took</th><th scope="col" class="right">Heard</th></tr></thead>
      <tbody>
        {rows.map((one) => (
          <tr key={one.id} data-testid="rem-row" data-id={one.id} data-state={one.state}>
            <td><StatePill state={one.state} effect={one.effect} /></td>
            <th scope="row"><a href={href("remediation", { id: one.id })}><bdi>{oneLine(one.alertname)}</bdi></a> <span class="dim"><bdi>{oneLine(where(one.labels))}</bdi></span></th>
            <td data-label="Rule"><a class="plain" href={href("rules", { rule: one.rule })}>{one.rule}</a></td>
            <td data-label="Command" class="cmd-cell"><code title={oneLine(one.cmd)}><bdi>{oneLine(one.cmd)}</bdi></code></td>
            <td data-label="Took" class="right num">{one.ended_at !== null ? duration(one.ended_at - one.received_at) : "–"}</td>
            <td data-label="Heard" class="right dim"><Ago ts={one.received_at} /></td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
