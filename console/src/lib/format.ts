// Numbers, times and hostile text as people read them.

const UNITS: readonly (readonly [string, number])[] = [["d", 86_400], ["h", 3600], ["m", 60], ["s", 1]];

/** Seconds in at most two units: 45s, 4m 05s, 2h 30m, 3d 4h. Under 10 s with one decimal, under 1 s in ms. */
export function duration(seconds: number | null | undefined): string {
  if (seconds == null || !Number.isFinite(seconds)) return "–";
  if (seconds < 0) return `-${duration(-seconds)}`;
  if (seconds > 0 && seconds < 0.9995) return `${Math.max(1, Math.round(seconds * 1000))}ms`;
  if (seconds < 9.95) return `${Number(seconds.toFixed(1))}s`;
  return countdown(Math.round(seconds)).replace(/ 0+[a-z]$/, "");
}

/** Whole seconds in two units, the smaller one with two digits so that a running clock does not jump. */
export function countdown(seconds: number): string {
  const whole = Math.max(0, Math.ceil(seconds));
  const at = UNITS.findIndex(([, size]) => whole >= size);
  if (at < 0) return "0s";
  const [name, size] = UNITS[at]!;
  const next = UNITS[at + 1];
  const first = `${Math.floor(whole / size)}${name}`;
  if (!next) return first;
  const rest = Math.floor((whole % size) / next[1]);
  if (rest === 0 && at < 2) return first;
  return `${first} ${String(rest).padStart(next[0] === "h" ? 1 : 2, "0")}${next[0]}`;
}

/** "just now", "12s ago", "in 4m 05s". */
export function ago(ts: number, now: number): string {
  const gone = now - ts;
  if (gone < -1) return `in ${countdown(-gone)}`;
  if (gone < 2) return "just now";
  const coarse = gone < 60 ? Math.floor(gone) : gone < 3600 ? gone - (gone % 60) : gone - (gone % (gone < 86_400 ? 60 : 3600));
  return `${countdown(coarse).replace(/ 0+[a-z]$/, "")} ago`;
}

const two = (n: number) => String(n).padStart(2, "0");

/** The time of day here, 24 hours: 03:06:04. */
export function clock(ts: number): string {
  const at = new Date(ts * 1000);
  return `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
}

/** The minute as people say it: 19:34, yesterday 19:34, 2026-11-19 19:34. */
export function minute(ts: number, now: number): string {
  const time = clock(ts).slice(0, 5);
  if (day(ts) === day(now)) return time;
  const before = new Date(now * 1000);
  before.setDate(before.getDate() - 1);
  return day(ts) === day(before.getTime() / 1000) ? `yesterday ${time}` : `${day(ts)} ${time}`;
}

/** The day here: 2026-11-21. */
export function day(ts: number): string {
  const at = new Date(ts * 1000);
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
}

/** Date and time here, with the zone's offset, as a title tells it. */
export function full(ts: number): string {
  const minutes = -new Date(ts * 1000).getTimezoneOffset();
  const sign = minutes < 0 ? "-" : "+";
  const zone = `${sign}${two(Math.floor(Math.abs(minutes) / 60))}:${two(Math.abs(minutes) % 60)}`;
  return `${day(ts)} ${clock(ts)} (UTC${zone})`;
}

/** The time, with the day where it is not today's. */
export function moment(ts: number, now: number): string {
  return day(ts) === day(now) ? clock(ts) : `${day(ts)} ${clock(ts)}`;
}

export function iso(ts: number): string {
  const at = new Date(ts * 1000);
  return Number.isNaN(at.getTime()) ? "" : at.toISOString();
}

export function percent(ratio: number): string {
  const value = ratio * 100;
  const digits = value !== 0 && value !== 100 && (value > 99 || value < 10) ? 1 : 0;
  return `${Number(value.toFixed(digits))}%`;
}

/** A share beside its target: with as many digits as it takes for two that differ to look different. */
export function percentBeside(ratio: number, target: number): string {
  const beside = percent(target);
  if (ratio === target || percent(ratio) !== beside) return percent(ratio);
  for (let digits = 1; digits < 4; digits += 1) {
    const text = `${(ratio * 100).toFixed(digits)}%`;
    if (Number.parseFloat(text) !== Number.parseFloat(beside)) return text;
  }
  return beside;
}

export function count(n: number, one: string, many = `${one}s`): string {
  return `${number(n)} ${n === 1 ? one : many}`;
}

export function number(n: number): string {
  return n.toLocaleString("en-US");
}

/** A service level's value in its unit. */
export function measured(value: number | null, unit: string): string {
  if (value == null || !Number.isFinite(value)) return "–";
  if (unit === "ratio") return percent(value);
  if (unit === "/s") return value === 0 ? "0/s" : `${Number(value.toPrecision(2))}/s`;
  if (unit === "s") return duration(value);
  return `${Number(value.toPrecision(3))}${unit}`;
}

const HIDDEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]/g;

/** Text with what would hide or turn it (control and bidi characters) written out as \u202e. Line feeds and tabs stay. */
export function visible(text: string): string {
  return text.replace(HIDDEN, (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/** The same on one line. */
export function oneLine(text: string): string {
  return visible(text.replace(/\s*[\r\n]+\s*/g, " ⏎ ").replace(/\t/g, " "));
}

/** The address if it is an http(s) one, otherwise null: nothing else may become a link. */
export function httpUrl(text: unknown): string | null {
  if (typeof text !== "string" || !/^https?:\/\//i.test(text)) return null;
  try {
    const url = new URL(text);
    return url.protocol === "http:" || url.protocol === "https:" ? url.href : null;
  } catch {
    return null;
  }
}

const SECONDS: Record<string, number> = { ms: 0.001, s: 1, m: 60, h: 3600, d: 86_400, w: 604_800 };

/** A Prometheus duration such as 30m or 1h30m in seconds; null where it is none. */
export function parseDuration(text: string): number | null {
  if (!/^(\d+(ms|s|m|h|d|w))+$/.test(text.trim())) return null;
  let total = 0;
  for (const [, n, unit] of text.matchAll(/(\d+)(ms|s|m|h|d|w)/g)) total += Number(n) * (SECONDS[unit!] ?? 0);
  return total;
}

/** What a person may enter as a time: Unix seconds, or what Date reads (an input's local time too); null otherwise. */
export function parseMoment(text: string): number | null {
  if (/^\d{1,10}(\.\d+)?$/.test(text)) return Number(text);
  const at = Date.parse(text);
  return Number.isNaN(at) ? null : at / 1000;
}

/** The value of a datetime-local input for a time. */
export function localInput(ts: number | null): string {
  return ts == null ? "" : `${day(ts)}T${clock(ts)}`;
}
