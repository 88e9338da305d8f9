// Acknowledge: which alerts, for how long, what that would hide, and then one deliberate click.
import { useEffect, useMemo, useState } from "preact/hooks";
import { Failed, get, post, query, told } from "../api";
import { Icon } from "../components/icons";
import { Card, Empty, LabelChips, Problem, Time } from "../components/ui";
import { count, parseDuration } from "../lib/format";
import { useStore } from "../lib/store";
import { overview, refresh } from "../live";
import { route } from "../navigation";
import { notify } from "../notices";
import { othersSilences } from "../lib/silences";
import type { AckPreview, Labels, SilenceRow } from "../types";
import { Acks } from "./limits";

const LENGTHS = ["30m", "2h", "24h"];
const MOST = 7 * 86_400;
const COMMENT = 1000;
const TYPED = 350;
type Pair = { name: string; value: string; on: boolean };

/** Labels given in the address, as rows of the editor. */
export function readLabels(text: string | null): Pair[] {
  try {
    const found: unknown = JSON.parse(text ?? "{}");
    if (typeof found !== "object" || found === null || Array.isArray(found)) return [];
    return Object.entries(found).filter(([, value]) => typeof value === "string").map(([name, value]) => ({ name, value: value as string, on: true }));
  } catch {
    return [];
  }
}

export function Ack() {
  const { params } = useStore(route);
  const { labels, duration, comment } = Object.fromEntries(params);
  const acks = useStore(overview, (now) => now?.acks);
  return (
    <>
      <div class="page-head"><h1 tabIndex={-1}>Acknowledge</h1><p class="dim">Silences alerts with exactly these labels in Alertmanager. A resolve is still told.</p></div>
      <div class="columns ack-columns">
        <Editor key={params.toString()} given={readLabels(labels ?? null)} duration={duration || "2h"} note={comment ?? ""} />
        <Card id="acks" title="Acknowledged now" count={acks?.length}>
          {acks && acks.length > 0 ? <Acks acks={acks} /> : <Empty icon="bell" title="No acknowledgement of ours">Alertmanager may hold silences that others made.</Empty>}
          <OtherSilences />
        </Card>
      </div>
    </>
  );
}

/** How many silences of others are in force: what they hide is not told either. */
function OtherSilences() {
  const [says, setSays] = useState("");
  useEffect(() => {
    const control = new AbortController();
    const read = () => {
      get<{ silences: SilenceRow[] }>("silences", control.signal).then(
        ({ silences }) => setSays(othersSilences(silences)),
        (failed) => { if (!control.signal.aborted) setSays(failed instanceof Failed && failed.status === 409 ? "" : "Silences of others: Alertmanager cannot be asked now."); },
      );
    };
    read();
    const timer = setInterval(read, 60_000);
    return () => { clearInterval(timer); control.abort(); };
  }, []);
  return says ? <p class="dim" data-testid="other-silences">{says}</p> : null;
}

function Editor({ given, duration, note }: { given: Pair[]; duration: string; note: string }) {
  const [pairs, setPairs] = useState<Pair[]>(given.length > 0 ? given : [{ name: "alertname", value: "", on: true }]);
  const [length, setLength] = useState(duration);
  const [comment, setComment] = useState(note.slice(0, COMMENT));
  const [busy, setBusy] = useState(false);
  const [failed, setFailed] = useState("");
  const [done, setDone] = useState(false);
  const labels: Labels = Object.fromEntries(pairs.filter((pair) => pair.on && pair.name && pair.value).map((pair) => [pair.name, pair.value]));
  const seconds = parseDuration(length);
  const valid = Object.keys(labels).length > 0 && seconds !== null && seconds > 0 && seconds <= MOST;
  const { preview, error } = usePreview(labels, length, valid);
  const change = (at: number, next: Partial<Pair>) => { setDone(false); setPairs(pairs.map((pair, here) => (here === at ? { ...pair, ...next } : pair))); };
  const submit = async (event: Event) => {
    event.preventDefault();
    if (!preview || busy || done) return;
    setBusy(true);
    setFailed("");
    try {
      await post("ack", { labels, duration: length, comment });
      notify(`Acknowledged for ${length}.`);
      setDone(true);
      refresh();
    } catch (problem) {
      setFailed(told(problem));
    }
    setBusy(false);
  };
  return (
    <Card id="ack-form" title="What to silence">
      <form onSubmit={submit}>
        <fieldset class="pairs-editor">
          <legend class="sr">Labels</legend>
          {pairs.map((pair, at) => (
            <div key={at} class="pair-row">
              <input type="checkbox" checked={pair.on} onChange={(e) => change(at, { on: e.currentTarget.checked })} aria-label={`Use label ${pair.name || at + 1}`} />
              <input value={pair.name} onInput={(e) => change(at, { name: e.currentTarget.value.trim() })} aria-label={`Name of label ${at + 1}`} placeholder="name" spellcheck={false} autocomplete="off" data-testid={`ack-name-${at}`} />
              <span aria-hidden="true">=</span>
              <input value={pair.value} onInput={(e) => change(at, { value: e.currentTarget.value })} aria-label={`Value of label ${pair.name || at + 1}`} placeholder="value" spellcheck={false} autocomplete="off" data-testid={`ack-value-${at}`} />
              <button type="button" class="btn icon-only ghost" aria-label={`Remove label ${pair.name || at + 1}`} onClick={() => { setDone(false); setPairs(pairs.filter((_, here) => here !== at)); }}><Icon name="cross" size={14} /></button>
            </div>
          ))}
          <button type="button" class="btn sm" onClick={() => setPairs([...pairs, { name: "", value: "", on: true }])} data-testid="ack-add">Add a label</button>
        </fieldset>
        <Length value={length} set={(next) => { setDone(false); setLength(next); }} bad={seconds === null || seconds <= 0 || seconds > MOST} />
        <label class="field"><span>Comment <span class="dim">(who looks at it, and what is known)</span></span><input value={comment} maxLength={COMMENT} onInput={(e) => setComment(e.currentTarget.value)} data-testid="ack-comment" /></label>
        <Preview preview={preview} error={error} valid={valid} />
        {failed && <Problem text={failed} />}
        <div class="deeds"><button type="submit" class="btn primary" aria-disabled={!preview || busy || done} data-testid="ack-submit"><Icon name={done ? "check" : "bellOff"} size={16} /> {done ? "Acknowledged" : busy ? "Working…" : `Acknowledge for ${length || "…"}`}</button></div>
      </form>
    </Card>
  );
}

function Length({ value, set, bad }: { value: string; set: (value: string) => void; bad: boolean }) {
  const other = !LENGTHS.includes(value);
  const [asked, setAsked] = useState(other);
  return (
    <fieldset class="lengths">
      <legend>For how long</legend>
      <div class="ranges">
        {LENGTHS.map((one) => <button key={one} type="button" class="seg" aria-pressed={value === one && !asked} onClick={() => { setAsked(false); set(one); }} data-testid={`ack-${one}`}>{one}</button>)}
        <button type="button" class="seg" aria-pressed={asked} onClick={() => setAsked(true)} data-testid="ack-other">other</button>
      </div>
      {asked && <label class="field inline"><span>Duration</span><input value={value} onInput={(e) => set(e.currentTarget.value.trim())} aria-invalid={bad} data-testid="ack-duration" /><span class={bad ? "bad" : "dim"}>{bad ? "such as 45m or 1h30m, at most 7d" : "at most 7d"}</span></label>}
    </fieldset>
  );
}

function usePreview(labels: Labels, length: string, valid: boolean) {
  const key = JSON.stringify([labels, length]);
  const [preview, setPreview] = useState<{ key: string; found: AckPreview } | null>(null);
  const [error, setError] = useState("");
  const wanted = useMemo(() => ({ labels, length }), [key]);
  useEffect(() => {
    setError("");
    if (!valid) return;
    const control = new AbortController();
    const timer = setTimeout(() => {
      get<AckPreview>(query("ack/preview", { labels: JSON.stringify(wanted.labels), duration: wanted.length }), control.signal).then(
        (found) => setPreview({ key, found }),
        (failed) => { if (!control.signal.aborted) setError(told(failed)); },
      );
    }, TYPED);
    return () => {
      clearTimeout(timer);
      control.abort();
    };
  }, [key, valid]);
  return { preview: valid && preview?.key === key ? preview.found : null, error };
}

/** What an alert has besides the labels that are chosen. */
function Others({ labels, chosen }: { labels: Labels; chosen: Labels }) {
  const more = Object.keys(labels).some((name) => !(name in chosen));
  return more ? <LabelChips labels={labels} without={Object.keys(chosen)} most={12} /> : <span class="dim">with these labels and no others</span>;
}

function Preview({ preview, error, valid }: { preview: AckPreview | null; error: string; valid: boolean }) {
  return (
    <section class="preview" aria-live="polite" aria-label="What would be hidden" data-testid="ack-preview" data-ready={preview !== null}>
      {!valid && <p class="dim">Name at least one label with its value, and a duration.</p>}
      {valid && error && <Problem text={error} />}
      {valid && !error && !preview && <p class="dim">Asking what this would hide…</p>}
      {preview && (
        <>
          <p>
            {!preview.known ? "Alertmanager cannot be asked which alerts match now; what matches would be hidden" : preview.matching_total === 0 ? "No alert that fires now has these labels; what comes would be hidden" : <>Would hide <strong>{count(preview.matching_total, "alert")}</strong> that {preview.matching_total === 1 ? "fires" : "fire"} now</>}
            {" "}until <Time ts={preview.ends_at} />.
          </p>
          <ul class="matching">{preview.matching.slice(0, 20).map((one, at) => <li key={at}><Others labels={one} chosen={preview.labels} /></li>)}</ul>
          {preview.matching_total > 20 && <p class="dim">and {preview.matching_total - 20} more</p>}
        </>
      )}
    </section>
  );
}
