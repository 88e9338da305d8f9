// Parses Server-Sent Events from decoded text in any pieces, as the HTML standard says (event stream interpretation).

export interface Frame {
  /** The last id that the stream named, up to and with this frame. */
  id: string;
  event: string;
  data: string;
}

/** Feed it text; it gives back the frames that are complete. Comments and pings yield none. */
export class SseParser {
  private rest = "";
  private started = false;
  private lastWasCr = false;
  private id = "";
  private event = "";
  private data: string[] = [];

  feed(text: string): Frame[] {
    const frames: Frame[] = [];
    let chunk = text;
    if (!this.started && chunk.length > 0) {
      this.started = true;
      if (chunk.charCodeAt(0) === 0xfeff) chunk = chunk.slice(1);
    }
    if (this.lastWasCr && chunk.startsWith("\n")) chunk = chunk.slice(1);
    if (text.length > 0) this.lastWasCr = text.endsWith("\r");
    const lines = (this.rest + chunk).split(/\r\n|\n|\r/);
    this.rest = lines.pop() ?? "";
    for (const line of lines) {
      const frame = this.line(line);
      if (frame) frames.push(frame);
    }
    return frames;
  }

  private line(line: string): Frame | null {
    if (line === "") return this.dispatch();
    if (line.startsWith(":")) return null;
    const colon = line.indexOf(":");
    const name = colon < 0 ? line : line.slice(0, colon);
    let value = colon < 0 ? "" : line.slice(colon + 1);
    if (value.startsWith(" ")) value = value.slice(1);
    if (name === "data") this.data.push(value);
    else if (name === "event") this.event = value;
    else if (name === "id" && !value.includes("\0")) this.id = value;
    return null;
  }

  private dispatch(): Frame | null {
    const { event, data } = this;
    this.event = "";
    this.data = [];
    if (data.length === 0) return null;
    return { id: this.id, event: event || "message", data: data.join("\n") };
  }
}
