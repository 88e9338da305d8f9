// The parser against what the standard says, in whole and in pieces.
import { describe, expect, it } from "vitest";
import { SseParser, type Frame } from "../src/lib/sse";

const TEXT = 'id: 7\nevent: action_ok\ndata: {"id":7}\n\n: still here\n\nid: 8\nevent: ack\ndata: {"id":8}\n\n';
const WANTED: Frame[] = [
  { id: "7", event: "action_ok", data: '{"id":7}' },
  { id: "8", event: "ack", data: '{"id":8}' },
];

function parse(...pieces: string[]): Frame[] {
  const parser = new SseParser();
  return pieces.flatMap((piece) => parser.feed(piece));
}

describe("SseParser", () => {
  it("gives frames and ignores comments", () => expect(parse(TEXT)).toEqual(WANTED));

  it("gives the same frames however the text is cut", () => {
    for (const text of [TEXT, TEXT.replaceAll("\n", "\r\n"), TEXT.replaceAll("\n", "\r")]) {
      for (let cut = 0; cut <= text.length; cut += 1) expect(parse(text.slice(0, cut), text.slice(cut))).toEqual(WANTED);
      expect(parse(...text)).toEqual(WANTED);
    }
  });

  it("skips a byte order mark at the very beginning only", () => {
    expect(parse(`\ufeff${TEXT}`)).toEqual(WANTED);
    expect(parse("\ufeff", TEXT)).toEqual(WANTED);
    expect(parse("data: a\n\n\ufeffdata: b\n\n")).toEqual([{ id: "", event: "message", data: "a" }]);
  });

  it("joins several data lines by line feeds", () => {
    expect(parse("data: a\ndata:\ndata:  b\n\n")).toEqual([{ id: "", event: "message", data: "a\n\n b" }]);
  });

  it("keeps the last id, and ignores one with a NUL", () => {
    expect(parse("id: 5\ndata: a\n\nid: 6\0\ndata: b\n\n").map((frame) => frame.id)).toEqual(["5", "5"]);
  });

  it("dispatches nothing without data, and not before the empty line", () => {
    expect(parse("event: x\nid: 1\n\n")).toEqual([]);
    expect(parse("data: unfinished\n")).toEqual([]);
    expect(parse("data")).toEqual([]);
  });

  it("takes a field without a colon as empty, and unknown fields as nothing", () => {
    expect(parse("data\nretry: 5\nnonsense: 1\n\n")).toEqual([{ id: "", event: "message", data: "" }]);
  });
});
