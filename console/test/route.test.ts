// The address bar: what is written is what is read, whatever stands in it.
import { describe, expect, it } from "vitest";
import { NO_FILTER, eventsHref, href, isFiltered, misread, readFilter, readRoute, sameFilter, type EventFilter } from "../src/lib/route";

const read = (link: string): EventFilter => readFilter(readRoute(link).params);

describe("the address", () => {
  it.each<Partial<EventFilter>>([
    {},
    { kinds: ["action_ok", "verify_fail"] },
    { alertname: "Tcp&Down=1", rule: "a+b c%", q: 'a"b,c:ü#?' },
    { since: 1763.25, until: 1795266000 },
    { q: "\u202e ,:" },
  ])("gives back filter %j", (given) => {
    const filter = { ...NO_FILTER, ...given };
    expect(read(eventsHref(filter))).toEqual(filter);
    expect(sameFilter(read(eventsHref(filter)), filter)).toBe(true);
  });

  it("keeps lists readable and leaves empty values out", () => {
    expect(eventsHref({ kinds: ["ack", "approved"], q: "" })).toBe("?view=events&kind=ack,approved");
    expect(href("now")).toBe("?");
    expect(href("now", { range: "6h", from: null })).toBe("?range=6h");
  });

  it("falls back to the first screen and ignores what is no filter", () => {
    expect(readRoute("?view=nonsense").view).toBe("now");
    expect(readRoute("").view).toBe("now");
    expect(read("?view=events&kind=ack,,ack,<b>,UP&since=soon&until=-1")).toEqual({ ...NO_FILTER, kinds: ["ack"] });
  });

  it("knows whether anything is filtered", () => {
    expect(isFiltered(NO_FILTER)).toBe(false);
    expect(isFiltered({ ...NO_FILTER, until: 0 })).toBe(true);
  });

  it("names what it leaves out", () => {
    expect(misread("?view=events&since=abc&until=17&kind=ack,UP")).toEqual(["since=abc", "kind=UP"]);
    expect(misread("?view=nonsense&since=abc")).toEqual(["view=nonsense"]);
    expect(misread("?range=6h")).toEqual([]);
  });
});
