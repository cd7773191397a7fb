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

function alertItem(alert) {
  const item = document.createElement("li");
  const name = document.createElement("strong");
  name.textContent = alert.labels.alertname;
  name.className = alert.labels.severity === "critical" ? "bad" : "warn";
  const summary = alert.annotations.summary || alert.annotations.description || "";
  const since = new Date(alert.startsAt).toLocaleString();
  item.append(name, ` ${alert.labels.service || ""} – ${summary} (since ${since})`);
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
