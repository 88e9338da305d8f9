// Numbers, times and hostile text.
import { describe, expect, it } from "vitest";
import { ago, count, countdown, duration, httpUrl, measured, minute, oneLine, parseDuration, parseMoment, percent, percentBeside, visible } from "../src/lib/format";

describe("durations", () => {
  it.each([
    [0, "0s"], [0.0004, "1ms"], [0.25, "250ms"], [0.9999, "1s"], [1.84, "1.8s"], [9.96, "10s"], [45, "45s"], [60, "1m"], [245, "4m 05s"],
    [3600, "1h"], [9000, "2h 30m"], [86_400, "1d"], [273_600, "3d 4h"], [-5, "-5s"], [null, "–"], [Number.NaN, "–"],
  ])("%s s is %s", (seconds, text) => expect(duration(seconds)).toBe(text));

  it.each([[0, "0s"], [-3, "0s"], [0.2, "1s"], [59.5, "1m 00s"], [61, "1m 01s"], [3599, "59m 59s"], [3600, "1h"], [3660, "1h 01m"], [90_000, "1d 1h"]])(
    "a clock with %s s left shows %s", (seconds, text) => expect(countdown(seconds)).toBe(text));

  it.each([[100, "just now"], [95, "5s ago"], [-20, "2m ago"], [104, "in 4s"], [100 - 7200, "2h ago"], [100 - 7290, "2h 01m ago"], [100 - 90_000, "1d 1h ago"]])(
    "%s seen from 100 is %s", (ts, text) => expect(ago(ts, 100)).toBe(text));

  it("says the minute of today, of yesterday and of other days", () => {
    const noon = (day: number) => new Date(2026, 2, day, 12, 5, 9).getTime() / 1000;
    expect([1, 2, 28].map((day) => minute(noon(day), noon(2)))).toEqual(["yesterday 12:05", "12:05", "2026-03-28 12:05"]);
    expect(minute(new Date(2026, 1, 28, 23, 59).getTime() / 1000, new Date(2026, 2, 1, 0, 1).getTime() / 1000)).toBe("yesterday 23:59");
  });

  it("reads what Prometheus reads, and nothing else", () => {
    expect(["30m", "1h30m", "7d", "1w", "100ms"].map(parseDuration)).toEqual([1800, 5400, 604_800, 604_800, 0.1]);
    expect(["", "5", "1.5h", "-1h", "1h 30m", "x"].map(parseDuration)).toEqual([null, null, null, null, null, null]);
  });

  it("reads moments", () => {
    expect(parseMoment("1795266000")).toBe(1795266000);
    expect(parseMoment("1970-01-01T00:00:10Z")).toBe(10);
    expect(parseMoment("soon")).toBeNull();
  });
});

describe("measures", () => {
  it.each([[0.95, "95%"], [0.999, "99.9%"], [1, "100%"], [0, "0%"], [0.046, "4.6%"], [0.667, "67%"]])("%s is %s", (ratio, text) => expect(percent(ratio)).toBe(text));
  it.each([[0.9451, "94.5%"], [0.9545, "95.5%"], [0.94999, "94.999%"], [0.95, "95%"], [0.94, "94%"], [0.667, "67%"], [1, "100%"]])(
    "%s is %s beside a target of 95%", (ratio, text) => expect(percentBeside(ratio, 0.95)).toBe(text));
  it.each([[null, "s", "–"], [0.0051, "s", "5ms"], [0.0123, "/s", "0.012/s"], [0, "/s", "0/s"], [0.5, "ratio", "50%"]] as const)("%s %s is %s", (value, unit, text) =>
    expect(measured(value, unit)).toBe(text));
  it("counts", () => expect([count(1, "event"), count(1234, "event"), count(0, "entry", "entries")]).toEqual(["1 event", "1,234 events", "0 entries"]));
});

describe("hostile text", () => {
  it("writes out what hides or turns text", () => {
    expect(visible("a\u202eb\u200bc\u0000d\ufeffe\u2066f\u00adg")).toBe("a\\u202eb\\u200bc\\u0000d\\ufeffe\\u2066f\\u00adg");
    expect(visible("tab\tline\nümlaut 日本 🙂")).toBe("tab\tline\nümlaut 日本 🙂");
  });
  it("keeps a line a line", () => expect(oneLine("a\r\n  b\tc\u2028d")).toBe("a ⏎ b c\\u2028d"));
  it("links http and https alone", () => {
    expect(httpUrl("https://runbooks.example/x?a=1")).toBe("https://runbooks.example/x?a=1");
    for (const text of ["javascript:alert(1)", " https://a.example", "data:text/html,x", "//a.example", "https://", "/x", "", null, 5]) expect(httpUrl(text)).toBeNull();
  });
});
