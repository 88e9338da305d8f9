// What is wrong with the connection, in a strip over the page: since when, why, and when it is tried again.
import { useEffect, useState } from "preact/hooks";
import { useNow, serverNow } from "../clock";
import { countdown, clock } from "../lib/format";
import { useStore } from "../lib/store";
import { link, overviewError, retryNow } from "../live";
import { Icon } from "./icons";

/** Milliseconds for which a break is not worth moving the page. */
const BRIEF = 1_000;

/** Whether the connection has been lost for more than a moment. */
export function useLost(): boolean {
  const since = useStore(link, (now) => (now.phase === "waiting" || now.phase === "connecting" ? now.lost : null));
  const [long, setLong] = useState<number | null>(null);
  useEffect(() => {
    if (since === null) return;
    const timer = setTimeout(() => setLong(since), Math.max(0, since + BRIEF - Date.now()));
    return () => clearTimeout(timer);
  }, [since]);
  return since !== null && long === since;
}

export function ConnectionStrip() {
  const now = useStore(link);
  const error = useStore(overviewError);
  const lost = useLost();
  if (lost && (now.phase === "waiting" || now.phase === "connecting")) {
    const why = now.why ? `: ${now.why}` : "";
    return (
      <div class="strip bad" role="status" data-testid="connection-lost">
        <Icon name="broken" />
        <p>
          <strong>Not live since {clock((now.lost ?? Date.now()) / 1000)}</strong>{why}. What you see is as it was then.{" "}
          {now.phase === "waiting" ? <Retry at={now.retryAt} attempt={now.attempt} /> : <span>Connecting…</span>}
        </p>
        <button type="button" class="btn sm" onClick={retryNow} aria-disabled={now.phase !== "waiting"}>Try now</button>
      </div>
    );
  }
  if (now.phase === "live" && error) {
    return (
      <div class="strip wait" role="status" data-testid="overview-error">
        <Icon name="warn" />
        <p><strong>The overview cannot be read</strong>: {error}. Events go on; the rest is as it was.</p>
      </div>
    );
  }
  return null;
}

function Retry({ at, attempt }: { at: number; attempt: number }) {
  useNow();
  const left = Math.max(0, (at - Date.now()) / 1000);
  return <span aria-hidden="true">{left > 0.5 ? `Next try in ${countdown(left)}` : "Trying again"}{attempt > 1 ? ` (number ${attempt})` : ""}.</span>;
}

export function ConnectionDot() {
  const now = useStore(link);
  const live = now.phase === "live";
  const words = live ? "Connected" : now.phase === "connecting" && now.lost === null ? "Connecting" : now.phase === "idle" ? "Connecting" : "Not connected";
  return (
    <span class={`dot ${live ? "on" : "off"}`} data-testid="connection" data-phase={now.phase} title={live ? `Connected since ${clock(serverNow() - (Date.now() - now.since) / 1000)}` : words}>
      <i aria-hidden="true" /> <span>{words}</span>
    </span>
  );
}
