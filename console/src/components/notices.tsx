// The lines that are told in passing, and the words for screen readers.
import { useStore } from "../lib/store";
import { dismiss, notices, spoken } from "../notices";
import { Icon } from "./icons";

export function Notices() {
  const shown = useStore(notices);
  const words = useStore(spoken);
  return (
    <>
      <div class="sr" role="status" aria-live="polite" data-testid="spoken">{words}</div>
      <div class="notices" role="status" aria-live="polite">
        {shown.map((one) => (
          <div key={one.id} class={`notice ${one.tone}`} data-testid="notice">
            <Icon name={one.tone === "ok" ? "check" : "warn"} />
            <p>{one.text}</p>
            <button type="button" class="btn icon-only ghost" aria-label="Dismiss" onClick={() => dismiss(one.id)}><Icon name="cross" size={14} /></button>
          </div>
        ))}
      </div>
    </>
  );
}
