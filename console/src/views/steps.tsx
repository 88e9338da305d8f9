// The steps of a remediation's ladder: command, outcome, output, and what the verification saw.
import { Code, Empty, Pill, Time } from "../components/ui";
import { duration, oneLine, visible } from "../lib/format";
import { unverified } from "../lib/story";
import type { Remediation, StepRow, TrailEvent } from "../types";
import { Output } from "./eventdetail";

export function StepCards({ one }: { one: Remediation }) {
  if (one.steps.length === 0) return <Empty icon="hourglass" title="Nothing was started">{one.ended_at === null ? "The command runs once the gates let it through." : "It ended before its command began."}</Empty>;
  return (
    <ol class="step-cards">
      {one.steps.map((step, at) => <StepCard key={at} step={step} one={one} last={at === one.steps.length - 1} />)}
      {one.steps.length < one.ladder && one.ended_at === null && <li class="dim">{one.ladder - one.steps.length} more {one.ladder - one.steps.length === 1 ? "step" : "steps"} if this does not help</li>}
    </ol>
  );
}

function StepCard({ step, one, last }: { step: StepRow; one: Remediation; last: boolean }) {
  const ended = (one.events ?? []).find((event) => event.kind.startsWith("action_") && event.kind !== "action_started" && event.step === step.step && event.ts >= step.started_at);
  const started = (one.events ?? []).find((event) => event.kind === "action_started" && event.step === step.step);
  return (
    <li class="step-card" data-testid="step" data-step={step.step + 1}>
      <div class="row-head">
        <strong>Step {step.step + 1}{one.ladder > 1 ? ` of ${one.ladder}` : ""}</strong>
        <Result step={step} running={last && one.state === "running"} />
        <span class="row-right dim">
          <Time ts={step.started_at} />
          {step.duration_seconds != null && <span class="num">took {duration(step.duration_seconds)}</span>}
          {step.rc != null && <span class="num" data-testid="rc">rc {step.rc}</span>}
        </span>
      </div>
      <Code text={step.cmd} />
      {step.error && <p class="note bad wrap"><bdi>{visible(step.error)}</bdi></p>}
      {typeof ended?.output === "string" && ended.output !== "" && <Output text={ended.output} />}
      {ended && ended.kind !== "action_unknown" && !ended.output && <p class="dim small">It wrote no output.</p>}
      <Verification step={step} one={one} last={last} started={started} />
    </li>
  );
}

function Result({ step, running }: { step: StepRow; running: boolean }) {
  if (step.result === "ok") return <Pill tone={step.verdict === "fail" ? "bad" : "ok"}>{step.verdict === "fail" ? "done, did not help" : "done"}</Pill>;
  if (step.result === "fail") return <Pill tone="bad">failed</Pill>;
  if (step.result === "unknown") return <Pill tone="unknown">unknown</Pill>;
  return running ? <Pill tone="busy">running</Pill> : <Pill tone="unknown">no outcome</Pill>;
}

function Verification({ step, one, last, started }: { step: StepRow; one: Remediation; last: boolean; started: TrailEvent | undefined }) {
  const spec = (last ? one.verify : null) ?? (started?.verify as Remediation["verify"] | undefined) ?? null;
  if (!spec) return step.result ? <p class="dim small">Nothing verifies this step.</p> : null;
  const why = unverified(step);
  if (why) return <p class="dim small" data-testid="verification">{why}</p>;
  const verdict = step.verdict === "ok" ? <Pill tone="ok">healed</Pill> : step.verdict === "fail" ? <Pill tone="bad">not healed</Pill> : step.verdict === "inconclusive" ? <Pill tone="unknown">cannot tell</Pill> : last && one.state === "verifying" ? <Pill tone="busy">looking</Pill> : null;
  return (
    <div class="verification" data-testid="verification">
      <p>
        <span class="dim">Verification</span> {verdict} <code class="wrap"><bdi>{spec.kind}{spec.target ? ` ${oneLine(spec.target)}` : ""}</bdi></code>
        <span class="dim"> every {duration(spec.every ?? 5)} for up to {duration(spec.within)}; three good answers in a row count</span>
      </p>
      {step.detail && <p class="wrap"><bdi>{visible(step.detail)}</bdi></p>}
      {step.verified_at !== undefined && <p class="dim small">told at <Time ts={step.verified_at} />, {duration(step.verified_at - (step.ended_at ?? step.started_at))} after the command</p>}
    </div>
  );
}
