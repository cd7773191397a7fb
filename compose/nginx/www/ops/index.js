import { ask, element, loopback, runbook } from "./shell.js";

const REFRESH_MS = 15000;
const SERVICES = "min by (service) (up) or min by (service) (cc03_container_healthy)";
const UNHEALTHY = "min by (service) (cc03_container_healthy)";

async function json(path) {
  const answer = await ask(path);
  if (!answer.ok) throw new Error(`${path.split("/")[0]} answered ${answer.status}`);
  return answer.json();
}

// The container, where the alert is about one: some rules know its slot, some its name, some its address.
function replicaOf(labels) {
  return labels.replica || labels.name || (labels.instance || "").replace(/:\d+$/, "") || labels.service || "";
}

function alertItem({ labels, annotations, startsAt }) {
  const name = element("strong", labels.severity === "critical" ? "bad" : "warn", labels.alertname);
  const since = new Date(startsAt).toLocaleString();
  const item = element("li", "", name, ` ${replicaOf(labels)} – ${annotations.summary || annotations.description || ""} (since ${since})`);
  const page = runbook(annotations.runbook_url);
  if (page) {
    const link = element("a", "", "runbook");
    link.href = page;
    item.append(" · ", link);
  }
  return item;
}

function alertList(alerts) {
  // The watchdog fires always, by design: its absence is what tells something (elsewhere).
  const shown = alerts.filter((alert) => alert.labels.alertname !== "Watchdog");
  return shown.length ? element("ul", "", ...shown.map(alertItem)) : element("span", "good", "None.");
}

async function values(query) {
  const found = await json(`prometheus/api/v1/query?${new URLSearchParams({ query })}`);
  return new Map(found.data.result.map(({ metric, value }) => [metric.service, Number(value[1])]));
}

async function services() {
  const [measured, healthy] = await Promise.all([values(SERVICES), values(UNHEALTHY)]);
  return [...measured.keys()].filter(Boolean).sort().map((name) => {
    const state = healthy.get(name) === 0 ? "unhealthy" : measured.get(name) === 0 ? "no metrics" : "healthy";
    return element("li", state === "healthy" ? "good" : "bad", element("strong", "", name), element("span", "", state));
  });
}

// What cannot be asked for is shown as not known: an empty place would look as if all were well.
async function show(id, make) {
  const place = document.getElementById(id);
  try {
    const made = await make();
    place.className = place.className.replace("soft", "").trim();
    place.replaceChildren(...[made].flat());
  } catch (problem) {
    place.replaceChildren(element(place.tagName === "UL" ? "li" : "span", "bad", `Not known: ${problem.message}`));
  }
}

function refresh() {
  if (document.hidden) return;
  show("alerts", async () => alertList(await json("alertmanager/api/v2/alerts?active=true&silenced=false&inhibited=false")));
  show("services", services);
}

document.getElementById("administration").hidden = !loopback;
document.addEventListener("visibilitychange", refresh);
setInterval(refresh, REFRESH_MS);
refresh();
