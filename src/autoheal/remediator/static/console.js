"use strict";
// The live list: newest first, at most 500 rows, text only (nothing from an alert is ever markup).
const rows = document.querySelector("#events tbody");
const link = document.querySelector("#link");
const mode = document.querySelector("#mode");
const good = new Set(["action_ok", "verify_ok"]);
const bad = new Set(["action_fail", "action_unknown", "verify_fail", "escalated", "webhook_rejected", "policy_rejected"]);

function detail(event) {
  const trace = event.trace ? Object.entries(event.trace).at(-1) : null;
  const why = trace ? `${trace[0]}: ${trace[1]}` : "";
  return [event.reason, event.cmd, event.error, event.detail, event.summary, event.kind === "decision_skip" ? why : ""]
    .filter(Boolean).join(" · ");
}

function add(event) {
  if (event.kind === "heartbeat") return;
  if (event.kind === "mode_changed") {
    mode.textContent = event.dry_run ? "dry run" : event.enabled ? "live" : "off";
  }
  const row = rows.insertRow(0);
  row.className = bad.has(event.kind) ? "bad" : good.has(event.kind) ? "good" : "";
  const time = new Date(event.ts * 1000).toLocaleTimeString();
  for (const text of [time, event.kind, event.alertname || "", detail(event)]) row.insertCell().textContent = text;
  while (rows.rows.length > 500) rows.deleteRow(-1);
}

async function start() {
  const answer = await fetch("/audit?n=100");
  if (!answer.ok) { link.textContent = `refused (${answer.status})`; return; }
  const { events } = await answer.json();
  events.forEach(add);
  const last = events.length ? events[events.length - 1].id : 0;
  const stream = new EventSource(`/events?last_event_id=${last}`);
  stream.onopen = () => { link.textContent = "live"; };
  stream.onerror = () => { link.textContent = "connection lost, trying again…"; };
  for (const kind of document.body.dataset.kinds?.split(" ") || []) stream.addEventListener(kind, (m) => add(JSON.parse(m.data)));
}
start();
