// The address bar is the state of the view: /console?view=events&kind=…; reading it, writing it, links.

export const VIEWS = ["now", "events", "remediations", "remediation", "rules", "ack", "explain"] as const;
export type View = (typeof VIEWS)[number];

export interface Route {
  view: View;
  params: URLSearchParams;
}

export function readRoute(search: string): Route {
  const params = new URLSearchParams(search);
  const given = params.get("view") ?? "now";
  params.delete("view");
  const view = (VIEWS as readonly string[]).includes(given) ? (given as View) : "now";
  return { view, params };
}

export type Values = Record<string, string | number | null | undefined | readonly string[]>;

/** A link such as ?view=events&kind=a,b; empty values are left out, lists are joined by commas. */
export function href(view: View, values: Values = {}): string {
  const params = new URLSearchParams();
  if (view !== "now") params.set("view", view);
  for (const [name, value] of Object.entries(values)) {
    const text = Array.isArray(value) ? value.join(",") : String(value ?? "");
    if (text !== "") params.set(name, text);
  }
  const text = params.toString().replaceAll("%2C", ",").replaceAll("%3A", ":");
  return text ? `?${text}` : "?";
}

export interface EventFilter {
  kinds: string[];
  alertname: string;
  rule: string;
  q: string;
  since: number | null;
  until: number | null;
}

export const NO_FILTER: EventFilter = { kinds: [], alertname: "", rule: "", q: "", since: null, until: null };

function time(text: string | null): number | null {
  if (text === null || !/^\d{1,11}(\.\d{1,9})?$/.test(text)) return null;
  return Number(text);
}

export function readFilter(params: URLSearchParams): EventFilter {
  const kinds = (params.get("kind") ?? "").split(",").filter((kind) => /^[a-z_]{1,40}$/.test(kind));
  return {
    kinds: [...new Set(kinds)],
    alertname: params.get("alertname") ?? "",
    rule: params.get("rule") ?? "",
    q: params.get("q") ?? "",
    since: time(params.get("since")),
    until: time(params.get("until")),
  };
}

export function filterValues(filter: EventFilter): Values {
  const { kinds, alertname, rule, q, since, until } = filter;
  return { kind: kinds, alertname, rule, q, since, until };
}

export function eventsHref(filter: Partial<EventFilter> = {}): string {
  return href("events", filterValues({ ...NO_FILTER, ...filter }));
}

export function sameFilter(a: EventFilter, b: EventFilter): boolean {
  return eventsHref(a) === eventsHref(b);
}

export const isFiltered = (filter: EventFilter): boolean => !sameFilter(filter, NO_FILTER);

/** What of an address is left out because it cannot be read, such as since=abc. */
export function misread(search: string): string[] {
  const params = new URLSearchParams(search);
  const found: string[] = [];
  const view = params.get("view");
  if (view && !(VIEWS as readonly string[]).includes(view)) found.push(`view=${view}`);
  if (view !== "events") return found;
  for (const name of ["since", "until"]) {
    const given = params.get(name);
    if (given && time(given) === null) found.push(`${name}=${given}`);
  }
  const kinds = (params.get("kind") ?? "").split(",").filter((kind) => kind && !/^[a-z_]{1,40}$/.test(kind));
  return [...found, ...kinds.map((kind) => `kind=${kind}`)];
}
