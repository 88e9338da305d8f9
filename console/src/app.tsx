// The frame around every view: header with mode and brake, navigation, what is wrong with the connection, dialogs.
import { useEffect } from "preact/hooks";
import { DialogHost } from "./components/dialog";
import { Icon, Mark, type IconName } from "./components/icons";
import { ConnectionStrip, ConnectionDot, useLost } from "./components/connection";
import { Brake, MODES, askMode, modeOf } from "./components/mode";
import { Notices } from "./components/notices";
import { askHelp } from "./components/help";
import { ThemeButton } from "./components/theme";
import { href, type View } from "./lib/route";
import { waitingCount } from "./lib/waiting";
import { useStore } from "./lib/store";
import { end, overview } from "./live";
import { route } from "./navigation";
import { gate, hasToken, keepToken } from "./session";
import { Ack } from "./views/ack";
import { Events } from "./views/events";
import { Explain } from "./views/explain";
import { Now } from "./views/now";
import { RemediationPage } from "./views/remediation";
import { Remediations } from "./views/remediations";
import { Rules } from "./views/rules";
import { SignIn } from "./views/signin";
import "./shortcuts";

const NAV: readonly (readonly [View, string, IconName])[] = [
  ["now", "Now", "pulse"],
  ["events", "Events", "list"],
  ["remediations", "Remediations", "wrench"],
  ["rules", "Rules", "rules"],
  ["ack", "Acknowledge", "bellOff"],
];

const TITLES: Record<View, string> = {
  now: "",
  events: "Events",
  remediations: "Remediations",
  remediation: "Remediation",
  rules: "Rules",
  ack: "Acknowledge",
  explain: "Why not?",
};

export function App() {
  const { view, params } = useStore(route);
  const open = useStore(gate);
  const stale = useLost();
  useTitle(open.open ? TITLES[view] : "Sign in");
  return (
    <>
      <a class="skip" href="#main" onClick={(e) => { e.preventDefault(); document.querySelector<HTMLElement>("main")?.focus(); }}>Skip to the content</a>
      <Header view={view} signedIn={open.open} />
      {open.open && <ConnectionStrip />}
      <main id="main" tabIndex={-1} class={stale && open.open ? "stale" : ""} data-view={view} data-testid="main">
        {!open.open && <SignIn gate={open} />}
        {open.open && view === "now" && <Now />}
        {open.open && view === "events" && <Events />}
        {open.open && view === "remediations" && <Remediations />}
        {open.open && view === "remediation" && <RemediationPage key={params.get("id")} id={params.get("id") ?? ""} />}
        {open.open && view === "rules" && <Rules />}
        {open.open && view === "ack" && <Ack />}
        {open.open && view === "explain" && <Explain key={params.toString()} />}
      </main>
      <Notices />
      <DialogHost />
    </>
  );
}

function Header({ view, signedIn }: { view: View; signedIn: boolean }) {
  const waits = useStore(overview, waitingCount);
  return (
    <header class="top">
      <div class="top-row">
        <a class="brand" href="?" aria-label="Autoheal, to the first screen"><Mark /><span>Autoheal</span></a>
        {signedIn && (
          <nav aria-label="Views" class="nav">
            {NAV.map(([name, title, icon]) => (
              <a key={name} href={href(name)} aria-current={view === name || (name === "remediations" && view === "remediation") ? "page" : undefined} data-testid={`nav-${name}`}>
                <Icon name={icon} />
                <span>{title}</span>
                {name === "now" && waits > 0 && <span class="count" title={`${waits} waiting for you`}>{waits}<span class="sr"> waiting</span></span>}
              </a>
            ))}
          </nav>
        )}
        <div class="top-right">
          {signedIn && <ConnectionDot />}
          {signedIn && <ModeBadge />}
          <ThemeButton />
          <button type="button" class="btn icon-only ghost help-button" aria-label="Keyboard shortcuts and help" onClick={askHelp} data-testid="help"><Icon name="keyboard" /></button>
          <SignOut />
        </div>
      </div>
    </header>
  );
}

function ModeBadge() {
  const shown = useStore(overview, (now) => now?.mode);
  const may = useStore(overview, (now) => now?.me.role === "admin");
  const stale = useLost() ? "stale" : "";
  if (!shown) return null;
  const name = modeOf(shown);
  return (
    <>
      {may ? (
        <button type="button" class={`mode-badge mode-${name} ${stale}`} onClick={() => askMode(null, name)} aria-haspopup="dialog" aria-label={`Mode: ${MODES[name].word}${stale && ", as last known"}. Change it`} data-testid="mode-badge">
          <Icon name={MODES[name].icon} size={14} /> {MODES[name].word}
        </button>
      ) : (
        <span class={`mode-badge mode-${name} ${stale}`} data-testid="mode-badge"><Icon name={MODES[name].icon} size={14} /> {MODES[name].word}</span>
      )}
      {may && <span class="header-brake"><Brake now={name} label="Dry run" /></span>}
    </>
  );
}

function SignOut() {
  const has = useStore(hasToken);
  if (!has) return null;
  const out = () => {
    keepToken("");
    end();
    gate.set({ open: false, status: 401, why: "", tried: false });
  };
  return <button type="button" class="btn icon-only ghost" aria-label="Sign out" title="Sign out" onClick={out} data-testid="sign-out"><Icon name="signout" /></button>;
}

function useTitle(page: string): void {
  const waits = useStore(overview, waitingCount);
  useEffect(() => {
    document.title = `${waits > 0 ? `(${waits}) ` : ""}${page ? `${page} · ` : ""}Autoheal`;
  }, [waits, page]);
}
