// The keys, and the switch that turns them off.
import { useStore } from "../lib/store";
import { keys } from "../prefs";
import { overview } from "../live";
import { Dialog, openDialog } from "./dialog";

const KEYS: readonly (readonly [string, string])[] = [
  ["g n", "Now"],
  ["g e", "Events"],
  ["g r", "Remediations"],
  ["g u", "Rules"],
  ["g a", "Acknowledge"],
  ["/", "Search the events"],
  ["p", "Pause or resume the events"],
  ["↑ ↓", "From one event to the next"],
  ["Enter", "Open or close an event"],
  ["?", "This help"],
  ["Esc", "Close a dialog"],
];

export function askHelp(): void {
  openDialog(() => <Help />);
}

function Help() {
  const on = useStore(keys);
  const version = useStore(overview, (now) => now?.version);
  return (
    <Dialog title="Keyboard" testid="dialog-help">
      <dl class="keys">
        {KEYS.map(([key, does]) => (
          <div key={key}><dt>{key.split(" ").map((one) => <kbd key={one}>{one}</kbd>)}</dt><dd>{does}</dd></div>
        ))}
      </dl>
      <label class="choice">
        <input type="checkbox" checked={on} onChange={(e) => keys.set(e.currentTarget.checked)} data-testid="keys-on" />
        <span><strong>Single keys do these things</strong><span class="dim">Never while you type. Turn it off if you use speech input.</span></span>
      </label>
      <p class="dim">Autoheal {version}</p>
    </Dialog>
  );
}
