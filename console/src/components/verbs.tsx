// What a person may decide about a remediation, each behind a dialog that says what will happen.
import { useEffect, useRef, useState } from "preact/hooks";
import { Failed, get, post } from "../api";
import { serverNow } from "../clock";
import { whatBecame } from "../lib/decided";
import { onEvents, refresh } from "../live";
import { notify } from "../notices";
import { Confirm, openDialog } from "./dialog";
import { Code, LabelChips, Left } from "./ui";
import type { Verb } from "../lib/story";
import type { Labels, Remediation } from "../types";

/** What the dialogs need to know of a remediation. */
export interface Subject {
  id: string;
  alertname: string;
  rule: string;
  cmd: string;
  labels: Labels;
  until?: number | null;
}

interface Words {
  title: string;
  confirm: string;
  says: string;
  done: string;
  danger?: boolean;
}

const WORDS: Record<Verb, Words> = {
  approve: {
    title: "Approve this action?",
    confirm: "Approve and run",
    says: "All gates are asked once more with fresh facts. If they let it through, the command runs at once.",
    done: "Approved",
  },
  reject: {
    title: "Reject this action?",
    confirm: "Reject",
    says: "Nothing runs. The remediation ends as rejected; the alert may be decided again when it is heard again.",
    done: "Rejected",
    danger: true,
  },
  cancel: {
    title: "Cancel this remediation?",
    confirm: "Cancel the remediation",
    says: "What has not started will not start, and a verification is no longer waited for. A command that runs already ends by itself.",
    done: "Cancelled",
    danger: true,
  },
  settle: {
    title: "How did it end?",
    confirm: "Settle",
    says: "Nobody knows how this ended. Look at the service itself, then say what you found. Until then nothing more is done for this alert.",
    done: "Settled",
  },
  mark: {
    title: "Mark as a false positive?",
    confirm: "Mark as false positive",
    says: "Say so when this alert should not have led to an action. It counts in the false positives of the rule; nothing is undone.",
    done: "Marked as false positive",
  },
  close: {
    title: "Close this escalation?",
    confirm: "Close it",
    says: "Say so when somebody has taken care. Alertmanager is told that the escalation is over; the remediation stays as it ended.",
    done: "Escalation closed",
  },
};

export function askVerb(verb: Verb, subject: Subject, after?: () => void): void {
  openDialog(() => <VerbDialog verb={verb} subject={subject} {...(after ? { after } : {})} />);
}

function VerbDialog({ verb, subject, after }: { verb: Verb; subject: Subject; after?: () => void }) {
  const words = WORDS[verb];
  const [note, setNote] = useState("");
  const [outcome, setOutcome] = useState<"" | "healed" | "failed">(verb === "close" ? "failed" : "");
  const settles = verb === "settle" || verb === "close";
  const [over, setOver] = useState("");
  const acting = useRef(false);
  useEffect(() => onEvents((arrived) => {
    if (acting.current) return;
    const own = arrived.map(({ event }) => event).filter((event) => event.remediation_id === subject.id);
    const became = whatBecame(verb, own, serverNow());
    if (became) setOver((before) => before || became);
  }), [verb, subject.id]);
  const act = async () => {
    const path = `remediations/${encodeURIComponent(subject.id)}/${verb === "close" ? "settle" : verb}`;
    acting.current = true;
    try {
      await post(path, settles ? { note, outcome } : { note });
    } catch (failed) {
      acting.current = false;
      if (!(failed instanceof Failed) || ![404, 409].includes(failed.status)) throw failed;
      const found = await get<Remediation>(`remediations/${encodeURIComponent(subject.id)}`).catch(() => null);
      const became = whatBecame(verb, found?.events ?? [], serverNow());
      if (!became) throw failed;
      setOver(became);
      refresh();
      return "stay" as const;
    }
    notify(`${words.done}: ${subject.alertname}`);
    refresh();
    after?.();
    return undefined;
  };
  return (
    <Confirm
      title={words.title}
      testid={`dialog-${verb}`}
      tone={words.danger ? "danger" : "plain"}
      confirm={words.confirm}
      ready={!settles || outcome !== ""}
      act={act}
      over={over}
    >
      <div class="subject">
        <p class="subject-name"><strong><bdi>{subject.alertname}</bdi></strong> <span class="dim">{subject.id} · rule {subject.rule}</span></p>
        {subject.cmd && <Code text={subject.cmd} />}
        <LabelChips labels={subject.labels} without={["alertname"]} most={8} />
      </div>
      <p>{words.says}</p>
      {verb === "approve" && subject.until && <p class="dim">Time left to decide: <Left until={subject.until} over="none" /></p>}
      {verb === "settle" && <Outcome value={outcome} set={setOutcome} />}
      <label class="field">
        <span>Note <span class="dim">(kept in the trail)</span></span>
        <textarea rows={2} maxLength={1000} value={note} onInput={(e) => setNote(e.currentTarget.value)} data-testid="verb-note" />
      </label>
    </Confirm>
  );
}

function Outcome({ value, set }: { value: string; set: (value: "healed" | "failed") => void }) {
  const choices = [
    ["healed", "It is healed", "The service is well; the case is closed."],
    ["failed", "It failed", "It did not help; this counts as a failure."],
  ] as const;
  return (
    <fieldset class="choices">
      <legend>What did you find?</legend>
      {choices.map(([name, title, says]) => (
        <label key={name} class="choice">
          <input type="radio" name="outcome" value={name} checked={value === name} onChange={() => set(name)} data-testid={`settle-${name}`} />
          <span><strong>{title}</strong><span class="dim">{says}</span></span>
        </label>
      ))}
    </fieldset>
  );
}
