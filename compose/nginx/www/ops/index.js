"use strict";

const REFRESH_MS = 15000;
const TIMEOUT_MS = 5000;

function ask(path) {
  return fetch(path, { cache: "no-store", signal: AbortSignal.timeout(TIMEOUT_MS) });
}

async function probe(element) {
  let up = false;
  try {
    up = (await ask(element.dataset.probe)).ok;
  } catch {
    // An unreachable service is an answer too: it is down.
  }
  element.className = up ? "good" : "bad";
  element.textContent = up ? "up" : "down";
}

// The container, where the alert is about one: some rules know its slot, some its name, some its address.
function replicaOf(labels) {
  return labels.replica || labels.name || (labels.instance || "").replace(/:\d+$/, "") || labels.service || "";
}

// docs/runbooks/NAME.md in the checkout is served as /runbooks/NAME.md.
function runbookLink(url) {
  const path = /^docs(\/runbooks\/\w+\.md)$/.exec(url || "");
  if (!path) return [];
  const link = document.createElement("a");
  link.href = path[1];
  link.textContent = "runbook";
  return [" · ", link];
}

function alertItem(alert) {
  const item = document.createElement("li");
  const name = document.createElement("strong");
  name.textContent = alert.labels.alertname;
  name.className = alert.labels.severity === "critical" ? "bad" : "warn";
  const summary = alert.annotations.summary || alert.annotations.description || "";
  const since = new Date(alert.startsAt).toLocaleString();
  item.append(name, ` ${replicaOf(alert.labels)} – ${summary} (since ${since})`, ...runbookLink(alert.annotations.runbook_url));
  return item;
}

async function showAlerts() {
  const place = document.getElementById("alerts");
  try {
    const answer = await ask("/alertmanager/api/v2/alerts?active=true&silenced=false&inhibited=false");
    if (!answer.ok) throw new Error(`Alertmanager answered ${answer.status}`);
    // The watchdog fires always, by design: its absence is what tells something (elsewhere).
    const alerts = (await answer.json()).filter((alert) => alert.labels.alertname !== "Watchdog");
    if (alerts.length === 0) {
      place.className = "good";
      place.textContent = "None.";
      return;
    }
    const list = document.createElement("ul");
    list.append(...alerts.map(alertItem));
    place.className = "";
    place.replaceChildren(list);
  } catch (error) {
    place.className = "bad";
    place.textContent = `Not known: ${error.message}`;
  }
}

function refresh() {
  if (document.hidden) return;
  document.querySelectorAll("[data-probe]").forEach(probe);
  showAlerts();
}

document.addEventListener("visibilitychange", refresh);
setInterval(refresh, REFRESH_MS);
refresh();
