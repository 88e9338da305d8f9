// The rules of the policy: what each one matches and does, and how well that has gone.
import { useEffect, useState } from "preact/hooks";
import { get, told } from "../api";
import { Ago, Code, Empty, Left, Loading, Pill, Problem } from "../components/ui";
import { Icon } from "../components/icons";
import { count, duration, oneLine, percentBeside } from "../lib/format";
import { eventsHref, href } from "../lib/route";
import { useStore } from "../lib/store";
import { onEvents } from "../live";
import { route } from "../navigation";
import type { RuleRow } from "../types";
import { isOpen } from "./limits";

const AGAIN = 15_000;
/** The service level of actions that help. */
const TARGET = 0.95;

export function Rules() {
  const wanted = useStore(route, (now) => now.params.get("rule"));
  const [rules, setRules] = useState<RuleRow[] | null>(null);
  const [error, setError] = useState("");
  const read = () => {
    get<{ rules: RuleRow[] }>("rules").then(
      (found) => { setRules(found.rules); setError(""); },
      (failed) => setError(told(failed)),
    );
  };
  useEffect(() => {
    read();
    const timer = setInterval(read, AGAIN);
    const unsubscribe = onEvents((arrived) => {
      if (arrived.some(({ event }) => event.kind === "policy_loaded")) read();
    });
    return () => {
      clearInterval(timer);
      unsubscribe();
    };
  }, []);
  useEffect(() => {
    if (wanted && rules) document.getElementById(`rule-${wanted}`)?.scrollIntoView({ block: "start" });
  }, [wanted, rules !== null]);
  return (
    <>
      <div class="page-head">
        <h1 tabIndex={-1}>Rules</h1>
        {rules && <p class="dim">{rules.length} in the policy; the first that matches an alert holds</p>}
      </div>
      {error && <Problem text={error} retry={read} />}
      {!rules && !error && <Loading what="the rules" rows={5} />}
      {rules?.length === 0 && <Empty icon="rules" title="The policy has no rule" />}
      <ol class="rules" data-testid="rules">{rules?.map((rule) => <Rule key={rule.name} rule={rule} wanted={rule.name === wanted} />)}</ol>
    </>
  );
}

function Rule({ rule, wanted }: { rule: RuleRow; wanted: boolean }) {
  const { stats } = rule;
  return (
    <li id={`rule-${rule.name}`} class={`card rule ${wanted ? "wanted" : ""}`} data-testid="rule" data-rule={rule.name}>
      <header class="card-head">
        <h2>{rule.name}</h2>
        <div class="card-aside">
          {rule.breaker && isOpen(rule.breaker) && <Pill tone="bad">breaker open, <Left until={rule.breaker.open_until!} over="half open" /></Pill>}
          {rule.breaker && !isOpen(rule.breaker) && rule.breaker.failures > 0 && <Pill tone="quiet" icon="warn">{count(rule.breaker.failures, "failure")} in a row</Pill>}
          {rule.cooling > 0 && <Pill tone="quiet" icon="clock">{rule.cooling} cooling down</Pill>}
          <a href={eventsHref({ rule: rule.name })}>Events</a>
          <a href={href("remediations", { rule: rule.name })}>Remediations</a>
        </div>
      </header>
      <div class="rule-body">
        <div class="rule-what">
          <ul class="labels" aria-label="Matchers">{rule.match.map((one) => <li key={one}><code>{oneLine(one)}</code></li>)}</ul>
          <ol class="ladder" aria-label="Steps">
            {rule.steps.map((step, at) => (
              <li key={at}>
                <Code text={step.cmd} />
                <span class="dim">up to {duration(step.timeout)}{step.verify ? <>; verified by <code>{step.verify.kind}{step.verify.target ? ` ${oneLine(step.verify.target)}` : ""}</code> within {duration(step.verify.within)}</> : "; not verified"}</span>
              </li>
            ))}
          </ol>
          <p class="rule-terms dim">{terms(rule).join(" · ")}</p>
        </div>
        <dl class="figures">
          <Figure name="Success" value={stats.success_rate === null ? "–" : percentBeside(stats.success_rate, TARGET)} bad={stats.success_rate !== null && stats.success_rate < TARGET} />
          <Figure name="Median time to heal" value={duration(stats.median_time_to_heal)} />
          <Figure name="Healed" value={String(stats.healed)} />
          {stats.done !== undefined && <Figure name="Done, not verified" value={String(stats.done)} />}
          <Figure name="Failed" value={String(stats.failed)} />
          <Figure name="Unknown" value={String(stats.unknown)} bad={stats.unknown > 0} />
          <Figure name="False positives" value={String(stats.false_positives)} />
          <div><dt>Last start</dt><dd>{stats.last_started_at === null ? "never" : <Ago ts={stats.last_started_at} />}</dd></div>
        </dl>
      </div>
    </li>
  );
}

function Figure({ name, value, bad = false }: { name: string; value: string; bad?: boolean }) {
  return <div><dt>{name}</dt><dd class={`num ${bad ? "bad" : ""}`}>{bad && <Icon name="warn" size={13} />} {value}</dd></div>;
}

/** The terms under which a rule acts, in words. */
export function terms(rule: RuleRow): string[] {
  const by = rule.cooldown_by.length === 1 && rule.cooldown_by[0] === "alertname" ? "" : ` for each ${rule.cooldown_by.join(", ")}`;
  const set = rule.cooldown_set ? `, set by ${oneLine(rule.cooldown_set.by)} (the policy says ${duration(rule.cooldown_set.policy)})` : "";
  const found = [`cooldown ${duration(rule.cooldown)}${by}${set}`];
  if (rule.max_attempts) found.push(`at most ${rule.max_attempts.count} in ${duration(rule.max_attempts.per)}`);
  found.push(rule.approval === null ? "no approval needed" : `asks for approval, ${duration(rule.approval)}`);
  found.push(rule.opt_in ? "the alert must opt in" : "needs no opt-in");
  for (const window of rule.never_during) found.push(`never during ${window}`);
  if (rule.queue) found.push(`queue ${rule.queue}`);
  return found;
}
