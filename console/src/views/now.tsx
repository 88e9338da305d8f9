// The first screen: is it on, is it healthy, what waits for me, what is happening, what happened.
import { MODES, Unconfirmed, askMode, modeOf } from "../components/mode";
import { Icon } from "../components/icons";
import { Ago, Card, Empty, Loading, Problem } from "../components/ui";
import { useCoarseNow } from "../clock";
import { count, full, iso, minute } from "../lib/format";
import { eventsHref, href } from "../lib/route";
import { useStore } from "../lib/store";
import { waitingCount } from "../lib/waiting";
import { link, overview, overviewError, refresh } from "../live";
import type { Overview } from "../types";
import { Active } from "./active";
import { Acks, Breakers, Cooldowns } from "./limits";
import { Slos } from "./slos";
import { History } from "./history";
import { Latest } from "./latest";
import { Waiting } from "./waiting";

export function Now() {
  const shown = useStore(overview);
  const error = useStore(overviewError);
  return (
    <>
      <h1 class="sr" tabIndex={-1}>Now</h1>
      {!shown && !error && <Loading what="the overview" rows={6} />}
      {!shown && error && <Problem text={error} retry={refresh} />}
      {shown && <Screen shown={shown} />}
    </>
  );
}

function Screen({ shown }: { shown: Overview }) {
  const waits = waitingCount(shown);
  return (
    <div class="now">
      <Unconfirmed />
      <ModeBanner shown={shown} />
      <Slos slos={shown.slos} />
      <div class="now-columns">
        <div class="now-main">
          <Card id="waiting" title="Waiting for you" count={waits} class={waits > 0 ? "urgent" : ""}>
            <Waiting waiting={shown.waiting} />
          </Card>
          <Card
            id="active"
            title="Happening now"
            count={shown.active_total}
            aside={shown.deferred > 0 && <span class="dim">{count(shown.deferred, "skipped alert")} will be decided again</span>}
          >
            <Active active={shown.active} total={shown.active_total} />
          </Card>
          <Card id="cooldowns" title="Cooldowns" count={shown.cooldowns_total}>
            <Cooldowns cooldowns={shown.cooldowns} total={shown.cooldowns_total} />
          </Card>
        </div>
        <div class="now-side">
          <History />
          <Card id="latest-card" title="Latest" aside={<a href={eventsHref()}>All events</a>}><Latest /></Card>
          {shown.breakers.length > 0 && (
            <Card id="breakers" title="Breakers" count={shown.breakers.length}><Breakers breakers={shown.breakers} /></Card>
          )}
          <Card id="acks" title="Acknowledged" count={shown.acks.length} aside={<a href={href("ack")}>Acknowledge…</a>}>
            {shown.acks.length === 0 ? <Empty icon="bell" title="No acknowledgement of ours">Alertmanager may hold silences that others made.</Empty> : <Acks acks={shown.acks} />}
          </Card>
        </div>
      </div>
    </div>
  );
}

function ModeBanner({ shown }: { shown: Overview }) {
  const now = modeOf(shown.mode);
  const { mode, me } = shown;
  const may = me.role === "admin";
  return (
    <section class={`mode-banner mode-${now}`} aria-label="Mode" data-testid="mode-banner" data-mode={now}>
      <div class="mode-word">
        <Icon name={MODES[now].icon} size={26} />
        <strong data-testid="mode-word">{MODES[now].word}</strong>
      </div>
      <div class="mode-text">
        <p class="mode-says">{MODES[now].says}</p>
        <p class="mode-since">
          {mode.since ? <>since <Since ts={mode.since} /> (<Ago ts={mode.since} />)</> : "since the start"}
          {mode.by && <> by <bdi>{mode.by}</bdi></>}
          {mode.source === "env" && mode.by !== "environment" && ", from the environment"}
        </p>
      </div>
      <Health shown={shown} />
      <div class="mode-deeds">
        {may ? (
          <button type="button" class="btn" onClick={() => askMode(now === "dry" ? "live" : null, now)} aria-haspopup="dialog" data-testid="mode-change">
            {now === "dry" ? "Go live…" : "Change mode…"}
          </button>
        ) : (
          <p class="dim">Only an admin may switch the mode.</p>
        )}
        {may && now === "dry" && (
          <button type="button" class="btn ghost" onClick={() => askMode("off", now)} aria-haspopup="dialog" data-testid="mode-off">Turn off…</button>
        )}
      </div>
    </section>
  );
}

function Since({ ts }: { ts: number }) {
  const now = useCoarseNow(60);
  return <time dateTime={iso(ts)} title={full(ts)}>{minute(ts, now)}</time>;
}

function Health({ shown }: { shown: Overview }) {
  const phase = useStore(link, (now) => now.phase);
  const live = phase === "live";
  const known = shown.slos.filter((slo) => slo.ok !== null);
  const met = known.filter((slo) => slo.ok).length;
  return (
    <dl class="health" data-testid="health">
      <div>
        <dt>Service</dt>
        <dd class={shown.ready.ok ? "good" : "bad"} data-testid="ready">
          <Icon name={shown.ready.ok ? "check" : "warn"} size={14} /> {shown.ready.ok ? "Ready" : shown.ready.reason || "Not ready"}
        </dd>
      </div>
      <div>
        <dt>Stream</dt>
        <dd class={live ? "good" : "bad"}>
          <Icon name={live ? "check" : "warn"} size={14} /> {live ? "Connected" : "Not connected"}
        </dd>
      </div>
      <div class="health-levels">
        <dt>Levels</dt>
        {known.length === 0 ? <dd>No data</dd> : <dd class={met === known.length ? "good" : "bad"}><Icon name={met === known.length ? "check" : "warn"} size={14} /> {met} of {known.length} met</dd>}
      </div>
      <div class="health-trail">
        <dt>Trail</dt>
        <dd><a href={eventsHref()} class="num">#{shown.last_event_id}</a></dd>
      </div>
    </dl>
  );
}
