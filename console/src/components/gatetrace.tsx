// The gates one after the other: why it did, or why it did not.
import type { GateRow, Passed } from "../lib/gates";
import { oneLine } from "../lib/format";
import { Icon, type IconName } from "./icons";

const WORDS: Record<Passed, string> = { pass: "passed", remark: "passed", would: "would stop", stopped: "stopped here", not_reached: "not reached" };
const ICONS: Record<Passed, IconName> = { pass: "check", remark: "check", would: "eye", stopped: "cross", not_reached: "skip" };

export function GateTrace({ rows, title, asked = false }: { rows: GateRow[]; title: string; asked?: boolean }) {
  if (rows.length === 0) return null;
  return (
    <table class="gates" data-testid="gates">
      <caption>{title}</caption>
      <thead class="sr"><tr><th scope="col">Gate</th><th scope="col">Verdict</th><th scope="col">What it said</th></tr></thead>
      <tbody>
        {rows.map((row) => (
          <tr key={row.gate} class={`gate gate-${row.passed}`} data-gate={row.gate} data-verdict={row.passed}>
            <th scope="row" title={row.asks}>{row.title}</th>
            <td class="gate-verdict"><Icon name={ICONS[row.passed]} size={14} /> {asked && row.passed === "stopped" ? "says no" : WORDS[row.passed]}</td>
            <td class="gate-says"><bdi>{row.says ? oneLine(row.says) : <span class="dim">{row.passed === "not_reached" ? "" : row.asks}</span>}</bdi></td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
