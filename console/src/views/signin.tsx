// The door: a token for this tab, and why one is not let in.
import { useEffect, useRef, useState } from "preact/hooks";
import { Icon } from "../components/icons";
import { oneLine } from "../lib/format";
import { begin } from "../live";
import { gate as gates, keepToken, type Gate } from "../session";

export function SignIn({ gate }: { gate: Extract<Gate, { open: false }> }) {
  const [token, setToken] = useState("");
  const [busy, setBusy] = useState(false);
  const field = useRef<HTMLInputElement>(null);
  useEffect(() => field.current?.focus(), []);
  const submit = async (event: Event) => {
    event.preventDefault();
    if (!token.trim() || busy) return;
    setBusy(true);
    keepToken(token.trim());
    gates.set({ open: true });
    await begin();
    setBusy(false);
  };
  return (
    <div class="signin" data-testid="signin" data-status={gate.status}>
      <h1 tabIndex={-1}>{gate.status === 403 ? "Not allowed" : "Sign in"}</h1>
      <p>
        {gate.status === 403
          ? "The server knows who you are, or where you come from, and does not let you see this."
          : "This console needs a token with the role ops or admin, such as the one in AUTOHEAL_ADMIN_TOKEN."}
      </p>
      {gate.why && (gate.tried || gate.status === 403) && <p class="note bad" role="alert" data-testid="signin-why"><Icon name="warn" size={15} /> {oneLine(gate.why)}</p>}
      <form onSubmit={submit}>
        <label class="field"><span>Token</span><input ref={field} type="password" value={token} autocomplete="current-password" onInput={(e) => setToken(e.currentTarget.value)} data-testid="signin-token" /></label>
        <button type="submit" class="btn primary" aria-disabled={busy || !token.trim()} data-testid="signin-submit">Sign in</button>
      </form>
      <p class="dim">It is kept in this tab alone and forgotten when the tab is closed.</p>
    </div>
  );
}
