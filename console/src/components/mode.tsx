// The mode: what it is, switching it behind a confirmation, and the emergency brake that is always in reach.
import { useState } from "preact/hooks";
import { post } from "../api";
import { createStore, useStore } from "../lib/store";
import { refresh } from "../live";
import { notify } from "../notices";
import type { Mode, ModeAnswer } from "../types";
import { Confirm, Dialog, closeDialog, openDialog } from "./dialog";
import { Icon, type IconName } from "./icons";

export type ModeName = "live" | "dry" | "off";

export const MODES: Record<ModeName, { word: string; icon: IconName; says: string; body: Mode }> = {
  live: { word: "LIVE", icon: "pulse", says: "Decides, acts and verifies.", body: { enabled: true, dry_run: false } },
  dry: { word: "DRY RUN", icon: "eye", says: "Decides and records what it would do; starts nothing.", body: { enabled: true, dry_run: true } },
  off: { word: "OFF", icon: "power", says: "Every alert is skipped; nothing starts.", body: { enabled: false, dry_run: false } },
};

export function modeOf(mode: Mode): ModeName {
  if (mode.dry_run) return "dry";
  return mode.enabled ? "live" : "off";
}

/** Processes that did not confirm the last switch. */
export const unconfirmed = createStore<string[]>([]);

export function askMode(wanted: ModeName | null, now: ModeName): void {
  openDialog(() => (wanted ? <SwitchDialog wanted={wanted} now={now} /> : <ChooseDialog now={now} />));
}

function ChooseDialog({ now }: { now: ModeName }) {
  return (
    <Dialog title="Change the mode" testid="dialog-modes">
      <ul class="mode-choices">
        {(Object.keys(MODES) as ModeName[]).map((name) => (
          <li key={name}>
            <button type="button" class={`mode-choice mode-${name}`} disabled={name === now} onClick={() => askMode(name, now)} data-testid={`choose-${name}`}>
              <Icon name={MODES[name].icon} size={22} />
              <span>
                <strong>{MODES[name].word}{name === now ? " – as it is now" : "…"}</strong>
                <span>{MODES[name].says}</span>
              </span>
            </button>
          </li>
        ))}
      </ul>
    </Dialog>
  );
}

function SwitchDialog({ wanted, now }: { wanted: ModeName; now: ModeName }) {
  const [sure, setSure] = useState(false);
  const [missing, setMissing] = useState<string[]>([]);
  const act = async (): Promise<void | "stay"> => {
    const answer = await post<ModeAnswer>("mode", { enabled: MODES[wanted].body.enabled, dry_run: MODES[wanted].body.dry_run });
    refresh();
    unconfirmed.set(answer.unconfirmed ?? []);
    if (answer.unconfirmed?.length) {
      setMissing(answer.unconfirmed);
      return "stay";
    }
    notify(`The mode is ${MODES[wanted].word} now, everywhere.`);
  };
  if (missing.length > 0) return <Missing names={missing} wanted={wanted} />;
  const live = wanted === "live";
  return (
    <Confirm
      title={live ? "Go live?" : wanted === "dry" ? "Switch to dry run?" : "Turn Autoheal off?"}
      testid={`dialog-mode-${wanted}`}
      tone={live ? "danger" : "plain"}
      confirm={live ? "Go live" : wanted === "dry" ? "Switch to dry run" : "Turn off"}
      ready={!live || sure}
      act={act}
    >
      <ModeWords wanted={wanted} now={now} />
      {live && (
        <label class="choice">
          <input type="checkbox" checked={sure} onChange={(e) => setSure(e.currentTarget.checked)} data-testid="mode-sure" />
          <span><strong>I want Autoheal to act on real systems now.</strong></span>
        </label>
      )}
    </Confirm>
  );
}

function ModeWords({ wanted, now }: { wanted: ModeName; now: ModeName }) {
  if (wanted === "live") {
    return (
      <ul class="plain-list">
        <li>From the next decision on, commands of the policy <strong>run for real</strong>.</li>
        <li>Alerts that fire now may lead to actions within seconds. {now === "dry" && "Cooldowns of the dry run do not hold them back: live has its own."}</li>
        <li>Approvals, cooldowns, breakers and the blast radius hold. Dry run is one click away.</li>
      </ul>
    );
  }
  if (wanted === "dry") {
    return (
      <ul class="plain-list">
        <li>Once this is answered, <strong>nothing more starts</strong>, on any process.</li>
        <li>A command that runs already ends by itself; it is not killed.</li>
        <li>Alerts are still decided and recorded as what would have been done.</li>
      </ul>
    );
  }
  return (
    <ul class="plain-list">
      <li>Every alert is <strong>skipped</strong>; nothing is decided, nothing starts.</li>
      <li>A command that runs already ends by itself.</li>
      <li>To see what would be done, choose dry run instead.</li>
    </ul>
  );
}

function Missing({ names, wanted }: { names: string[]; wanted: ModeName }) {
  return (
    <Dialog title={`${MODES[wanted].word}, but not confirmed everywhere`} testid="dialog-unconfirmed" tone="danger">
      <div class="dialog-text">
        <p>These processes did not say that they know: frozen, or cut off. For some seconds they may still begin what they had leave for.</p>
        <ul class="plain-list">{names.map((name) => <li key={name}><code>{name}</code></li>)}</ul>
      </div>
      <footer class="dialog-foot"><button type="button" class="btn primary" onClick={closeDialog}>Understood</button></footer>
    </Dialog>
  );
}

/** The brake: in the header of every view while Autoheal is live. */
export function Brake({ now, label = "Dry run" }: { now: ModeName; label?: string }) {
  if (now !== "live") return null;
  return (
    <button type="button" class="btn brake" onClick={() => askMode("dry", now)} data-testid="brake" aria-label="Emergency brake: switch to dry run" aria-haspopup="dialog">
      <Icon name="pause" size={16} /> {label}
    </button>
  );
}

export function Unconfirmed() {
  const names = useStore(unconfirmed);
  if (names.length === 0) return null;
  return (
    <p class="strip bad" role="alert" data-testid="unconfirmed">
      <Icon name="warn" /> The mode was not confirmed by <strong>{names.join(", ")}</strong>: frozen or cut off, it may still begin what it had leave for.
      <button type="button" class="btn sm" onClick={() => unconfirmed.set([])}>Dismiss</button>
    </p>
  );
}
