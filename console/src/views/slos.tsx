// The service levels as tiles: the value, its target, and ok, breach or no data in words.
import { Icon } from "../components/icons";
import { measured, percentBeside } from "../lib/format";
import type { Slo } from "../types";

export function Slos({ slos }: { slos: Slo[] }) {
  return (
    <section aria-label="Service levels" data-testid="slos">
      <ul class="tiles">
        {slos.map((slo) => <Tile key={slo.id} slo={slo} />)}
      </ul>
    </section>
  );
}

function Tile({ slo }: { slo: Slo }) {
  const state = slo.ok === null || slo.value === null ? "none" : slo.ok ? "ok" : "breach";
  const words = { none: "No data", ok: "OK", breach: "Breach" }[state];
  const icon = { none: "question", ok: "check", breach: "warn" } as const;
  return (
    <li class={`tile tile-${state}`} data-testid={`slo-${slo.id}`} data-state={state} title={slo.note || undefined}>
      <span class="tile-title">{slo.title}</span>
      <span class="tile-value num">{slo.unit === "ratio" && slo.value !== null ? percentBeside(slo.value, slo.target) : measured(slo.value, slo.unit)}</span>
      <span class="tile-foot">
        <span class={`tile-state state-${state}`}><Icon name={icon[state]} size={13} /> {words}</span>
        <span class="dim">target {slo.better === "lower" ? "<" : ">"} {measured(slo.target, slo.unit)}</span>
      </span>
    </li>
  );
}
