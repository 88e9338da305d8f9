// Dialogs: one at a time, on the browser's own <dialog>, which traps and returns focus and closes by Escape.
import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { told } from "../api";
import { createStore, useStore } from "../lib/store";
import { Icon } from "./icons";
import { Problem } from "./ui";

const current = createStore<{ make: () => ComponentChildren } | null>(null);

export function openDialog(make: () => ComponentChildren): void {
  current.set({ make });
}

export function closeDialog(): void {
  current.set(null);
}

export const dialogOpen = (): boolean => current.get() !== null;

/** Where dialogs appear; once, at the end of the page. */
export function DialogHost() {
  const shown = useStore(current);
  return shown && <>{shown.make()}</>;
}

interface DialogProps {
  title: string;
  testid: string;
  tone?: "plain" | "danger";
  children: ComponentChildren;
}

export function Dialog({ title, testid, tone = "plain", children }: DialogProps) {
  const element = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const box = element.current!;
    const before = document.activeElement as HTMLElement | null;
    if (!box.open) box.showModal();
    return () => {
      box.close();
      if (before?.isConnected) before.focus();
      else document.querySelector<HTMLElement>("main h1")?.focus();
    };
  }, []);
  return (
    <dialog
      ref={element}
      class={`dialog ${tone}`}
      aria-labelledby="dialog-title"
      data-testid={testid}
      onCancel={(cancel) => { cancel.preventDefault(); closeDialog(); }}
      onClick={(click) => { if (click.target === element.current) closeDialog(); }}
    >
      <div class="dialog-body">
        <header class="dialog-head">
          <h2 id="dialog-title">{title}</h2>
          <button type="button" class="btn icon-only ghost" aria-label="Close" onClick={closeDialog}><Icon name="cross" /></button>
        </header>
        {children}
      </div>
    </dialog>
  );
}

interface ConfirmProps {
  title: string;
  testid: string;
  tone?: "plain" | "danger";
  confirm: string;
  ready?: boolean;
  /** Why nothing is left to do: somebody else was faster. */
  over?: string;
  children: ComponentChildren;
  /** What the button does; the dialog closes when it is done, unless it gives back "stay". */
  act: () => Promise<void | "stay">;
}

/** A dialog with one deed: it shows that it is at work, what went wrong, and closes when it is done. */
export function Confirm({ title, testid, tone = "plain", confirm, ready = true, over = "", children, act }: ConfirmProps) {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState("");
  const submit = async (event: Event) => {
    event.preventDefault();
    if (busy || !ready || over) return;
    setBusy(true);
    setError("");
    try {
      if ((await act()) !== "stay") closeDialog();
    } catch (failed) {
      setError(told(failed));
    }
    setBusy(false);
  };
  return (
    <Dialog title={title} testid={testid} tone={tone}>
      <form onSubmit={submit}>
        <div class="dialog-text">{children}</div>
        {over && <Problem text={over} />}
        {error && !over && <Problem text={error} />}
        <footer class="dialog-foot">
          <button type="button" class="btn" onClick={closeDialog} data-testid="dialog-cancel">Cancel</button>
          <button type="submit" class={`btn ${tone === "danger" ? "danger" : "primary"}`} aria-disabled={busy || !ready || over !== ""} data-testid="dialog-confirm">
            {busy ? "Working…" : confirm}
          </button>
        </footer>
      </form>
    </Dialog>
  );
}
