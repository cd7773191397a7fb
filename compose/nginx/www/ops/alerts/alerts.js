import { ask, at, element, runbook } from "../shell.js";

const REFRESH_MS = 15000;
const HIDDEN = new Set(["alertname", "severity", "service", "stack"]);

async function json(path) {
  const answer = await ask(path);
  if (!answer.ok) throw new Error(`${path.split("/")[0]} answered ${answer.status}`);
  return answer.json();
}

function ago(time) {
  const minutes = Math.round((Date.now() - new Date(time)) / 60000);
  const [size, unit] = [[1440, "d"], [60, "h"], [1, "min"]].find(([size]) => Math.abs(minutes) >= size) || [1, "min"];
  return `${Math.round(Math.abs(minutes) / size)} ${unit}`;
}

function moment(time) {
  const shown = element("time", "", new Date(time).toLocaleString());
  shown.dateTime = time;
  return shown;
}

function link(href, text) {
  const made = element("a", "", text);
  made.href = href;
  return made;
}

// Without the label that Prometheus adds on the way to Alertmanager (external_labels).
const keyOf = (labels) => JSON.stringify(Object.entries(labels).filter(([name]) => name !== "stack").sort());

// Prometheus' value of an alert: Alertmanager has its labels only.
function valueOf(alert, measured) {
  const found = measured.get(keyOf(alert.labels));
  if (found === undefined) return "";
  const value = Number(found.value);
  return Number.isFinite(value) ? String(Number(value.toPrecision(4))) : found.value;
}

function labelsOf(labels) {
  const shown = Object.entries(labels).filter(([name]) => !HIDDEN.has(name));
  return element("p", "note mono", shown.map(([name, value]) => `${name}=${value}`).join("  "));
}

function card(alert, measured, notes) {
  const { labels, annotations } = alert;
  const tone = { critical: "bad", warning: "warn" }[labels.severity] || "soft";
  const head = element("h3", "", element("span", tone, labels.alertname), element("span", "soft", ` ${labels.service || ""} · ${labels.severity || ""}`));
  const links = element("p");
  const page = runbook(annotations.runbook_url);
  if (page) links.append(link(page, "Runbook"));
  if (labels.service) links.append(page ? " · " : "", link(at(`logs/#service=${encodeURIComponent(labels.service)}&time=1h`), "Logs"));
  const value = valueOf(alert, measured);
  const since = element("p", "note", "since ", moment(alert.startsAt || alert.activeAt), ` (${ago(alert.startsAt || alert.activeAt)})`, value && ` · value ${value}`);
  const item = element("li", tone, head, element("p", "", annotations.summary || annotations.description || ""), since);
  if (annotations.summary && annotations.description) item.append(element("p", "note", annotations.description));
  item.append(...notes.map((note) => element("p", "warn", note)), labelsOf(labels), links);
  return item;
}

function silenceCard(silence) {
  const what = silence.matchers.map((one) => `${one.name}${one.isEqual ? "=" : "!="}${one.isRegex ? "~" : ""}"${one.value}"`).join(", ");
  const until = element("p", "note", `${silence.status.state}, by ${silence.createdBy}, until `, moment(silence.endsAt));
  return element("li", "soft", element("h3", "mono", what), element("p", "", silence.comment || "no reason given"), until);
}

// Why an alert notifies nobody: its silence with the author, or the alert that inhibits it.
function reasons(alert, silences, names) {
  const by = alert.status.silencedBy.map((id) => silences.find((one) => one.id === id)).filter(Boolean);
  return [
    ...by.map((one) => `Silenced by ${one.createdBy} until ${new Date(one.endsAt).toLocaleString()}: ${one.comment}`),
    ...alert.status.inhibitedBy.map((id) => `Not sent, because ${names.get(id) || "another alert"} fires and names the cause.`),
  ];
}

function fill(id, items, none) {
  document.getElementById(id).replaceChildren(...(items.length ? items : [element("li", "none soft", none)]));
}

const RANK = { critical: 0, warning: 1 };
const worst = (one, other) => (RANK[one.labels.severity] ?? 2) - (RANK[other.labels.severity] ?? 2) || one.labels.alertname.localeCompare(other.labels.alertname);

async function refresh() {
  if (document.hidden) return;
  const state = document.getElementById("state");
  try {
    const [all, silences, rules] = await Promise.all([
      json("alertmanager/api/v2/alerts"), json("alertmanager/api/v2/silences"), json("prometheus/api/v1/alerts"),
    ]);
    // The watchdog fires always, by design: its absence is what tells something (elsewhere).
    const alerts = all.filter((alert) => alert.labels.alertname !== "Watchdog").sort(worst);
    const measured = new Map(rules.data.alerts.map((alert) => [keyOf(alert.labels), alert]));
    const names = new Map(all.map((alert) => [alert.fingerprint, alert.labels.alertname]));
    const cards = (chosen) => chosen.map((alert) => card(alert, measured, reasons(alert, silences, names)));
    const active = alerts.filter((alert) => alert.status.state !== "suppressed");
    fill("firing", cards(active), "Nothing fires.");
    fill("muted", cards(alerts.filter((alert) => alert.status.state === "suppressed")), "None.");
    const pending = rules.data.alerts.filter((alert) => alert.state === "pending").sort(worst);
    fill("pending", pending.map((alert) => card(alert, measured, [])), "None.");
    fill("silences", silences.filter((one) => one.status.state !== "expired").map(silenceCard), "None.");
    state.className = "note";
    state.textContent = `${active.length} firing, ${pending.length} about to fire. Read at ${new Date().toLocaleTimeString()}, again every ${REFRESH_MS / 1000} s.`;
  } catch (problem) {
    state.className = "bad";
    state.textContent = `Not known: ${problem.message}. What is shown below may be old.`;
  }
}

document.addEventListener("visibilitychange", refresh);
setInterval(refresh, REFRESH_MS);
refresh();
