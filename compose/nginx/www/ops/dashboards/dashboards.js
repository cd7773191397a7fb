// The dashboards page: what is shown is in its address, what is visible is asked for, and asked for again after a while.

import { ask, at, element, loopback } from "../shell.js";
import { Chart, linesOf, moment } from "./chart.js";
import { showFigure, showTable } from "./figures.js";
import { RANGES, aligned, batches, deploysOf, filled, joined, separated, windowOf } from "./query.js";

const GATHER_MS = 8;
const RETRY_MS = 1000;
const $ = (id) => document.getElementById(id);
const controls = $("controls");
const FIRST = "min(prometheus_tsdb_lowest_timestamp_seconds)";
const API = "prometheus/api/v1";

let boards = [];
let deploys = "";
let board = null;
let views = [];
let choice = {};
let frame = { start: 0, end: 0, step: 30 };
let shownDeploys = [];
let first = 0;
let round = 0;
let timer = null;
let gathering = null;

async function prometheus(path, parameters) {
  const url = `${API}/${path}?${new URLSearchParams(parameters)}`;
  // Again where the network of the reader's computer has just changed.
  const answer = await ask(url).catch(() => ask(url));
  const said = await answer.json().catch(() => ({}));
  if (answer.ok) return said.data;
  throw new Error(said.error || (answer.status >= 500 ? "Prometheus does not answer" : `Prometheus answers ${answer.status}`));
}

// ---- What is shown: in the address

function readAddress() {
  const said = new URLSearchParams(location.search);
  const range = said.get("range");
  choice = {
    range: range in RANGES ? range : "6h", refresh: said.get("refresh") ?? "30",
    from: Number(said.get("from")) || 0, to: Number(said.get("to")) || 0,
    variables: Object.fromEntries([...said].filter(([name]) => name.startsWith("var-")).map(([name, value]) => [name.slice(4), value])),
  };
  board = boards.find((one) => `#${one.uid}` === location.hash) || boards[0];
}

function writeAddress() {
  const { variables, ...rest } = choice;
  const said = new URLSearchParams();
  for (const [name, value, usual] of [["range", rest.range, "6h"], ["refresh", rest.refresh, "30"], ["from", rest.from, 0], ["to", rest.to, 0]]) {
    if (value !== usual) said.set(name, value);
  }
  for (const [name, value] of Object.entries(variables)) if (value) said.set(`var-${name}`, value);
  history.replaceState(null, "", `${location.pathname}${said.size ? `?${said}` : ""}#${board.uid}`);
}

// ---- Panels

/** Where a panel leads to: [text, URL]. Prometheus' own page is reached on the host alone. */
function links(panel) {
  const chosen = (text) => text.replace(/\$\{?([a-z_]\w*)\}?/g, (_, name) => choice.variables[name] || "");
  const found = [];
  if (panel.logs) found.push(["Logs", `logs/#${chosen(panel.logs)}`]);
  for (const name of panel.runbooks || []) found.push([`Runbook: ${name}`, `docs/runbooks/${name}/`]);
  if (loopback) {
    const asked = new URLSearchParams();
    panel.queries.forEach(({ expr }, index) => {
      asked.set(`g${index}.expr`, filled(expr, frame, choice.variables));
      asked.set(`g${index}.tab`, panel.kind === "table" ? "1" : "0");
      asked.set(`g${index}.range_input`, `${Math.max(frame.end - frame.start, 300)}s`);
    });
    found.push(["Open in Prometheus", `prometheus/classic/graph?${asked}`]);
  }
  return found;
}

function aboutPanel(panel) {
  const queries = panel.queries.map(({ expr, legend }) => element("p", "query", legend ? `${legend}: ` : "",
    element("code", "", filled(expr, frame, choice.variables))));
  return [element("p", "", panel.description), ...links(panel).map(([text, path]) => {
    const link = element("a", "", text);
    link.href = at(path);
    return link;
  }), ...queries];
}

function viewOf(panel) {
  const body = element("div", "body"), note = element("p", "note"), menu = element("div", "menu");
  const more = element("details", "more", element("summary", "", "⋯"), menu);
  more.firstChild.setAttribute("aria-label", `About ${panel.title}`);
  // Made when it is opened: the query has the window of that moment.
  more.addEventListener("toggle", () => {
    if (!more.open) return;
    menu.replaceChildren(...aboutPanel(panel));
    more.classList.toggle("left", place.getBoundingClientRect().left < innerWidth / 3);
  });
  const place = element("section", `panel ${panel.kind}`, element("header", "", element("h3", "", panel.title), more), body, note);
  place.style.setProperty("--columns", panel.width);
  const view = { panel, place, body, note, visible: false, asked: 0, order: {}, chart: null };
  if (panel.kind === "timeseries") view.chart = new Chart(panel, body, zoom);
  return view;
}

const observer = new IntersectionObserver((entries) => {
  for (const entry of entries) views.find((view) => view.place === entry.target).visible = entry.isIntersecting;
  gather();
}, { rootMargin: "250px" });

function build() {
  observer.disconnect();
  views.forEach((view) => view.chart?.clear());
  views = [];
  $("panels").replaceChildren(...board.sections.map((section) => {
    const made = section.panels.map(viewOf);
    views.push(...made);
    return element("section", "", element("h2", "", section.title), element("div", "grid", ...made.map((view) => view.place)));
  }));
  document.title = `${board.title} – Dashboards`;
  $("title").textContent = board.title;
  $("about").textContent = board.description;
  for (const link of $("boards").children) link.toggleAttribute("aria-current", link.hash === `#${board.uid}`);
  controls.elements.board.value = board.uid;
  buildVariables();
  views.forEach((view) => observer.observe(view.place));
}

async function buildVariables() {
  const mine = board;
  const labels = (board.variables || []).map(({ name, title }) => {
    const select = element("select", "", new Option("all", ""));
    const chosen = choice.variables[name];
    if (chosen) select.append(new Option(chosen, chosen, true, true));
    select.name = `var-${name}`;
    select.addEventListener("change", () => change({ variables: { ...choice.variables, [name]: select.value } }));
    return element("label", "", `${title} `, select);
  });
  $("variables").replaceChildren(...labels);
  for (const [index, { metric, label, name }] of (board.variables || []).entries()) {
    const values = await prometheus(`label/${label}/values`, { "match[]": metric }).catch(() => []);
    if (mine !== board) return;
    const rest = values.filter((value) => value && value !== choice.variables[name]);
    labels[index].querySelector("select").append(...rest.map((value) => new Option(value)));
  }
}

// ---- What is asked for

/** Ask for what is visible and not of this round, all of it at once: panels become visible one after the other. */
function gather() {
  // Panels are seen before it is known when the data begins.
  if (!round) return;
  gathering ??= setTimeout(() => {
    gathering = null;
    const due = views.filter((view) => view.visible && view.asked !== round);
    due.forEach((view) => { view.asked = round; });
    load(due.filter((view) => view.panel.kind === "table"), "query", { time: frame.end });
    load(due.filter((view) => view.panel.kind !== "table"), "query_range", frame);
  }, GATHER_MS);
}

function load(due, path, when) {
  const queries = due.flatMap((view) => view.panel.queries.map(({ expr }, index) => ({
    key: `${views.indexOf(view)}.${index}`, expr: filled(expr, frame, choice.variables),
  })));
  const mine = round;
  const answers = new Map();
  for (const view of due) view.waits = view.panel.queries.length;
  return Promise.all(batches(queries).map(async (batch) => {
    const found = await askFor(batch, path, when);
    if (mine !== round) return;
    for (const { key } of batch) {
      const view = views[Number(key.split(".")[0])];
      answers.set(key, found[key] || []);
      if (--view.waits === 0) draw(view, view.panel.queries.map((_, index) => answers.get(`${views.indexOf(view)}.${index}`)));
    }
  }));
}

/** Key -> series, or an error. Where one query fails, each is asked for alone, so that only its own panel says so. */
async function askFor(batch, path, when) {
  try {
    const parameters = { query: joined(batch), ...when };
    return separated((await prometheus(path, parameters)).result);
  } catch (error) {
    if (batch.length === 1) return { [batch[0].key]: error };
    return Object.assign({}, ...await Promise.all(batch.map((one) => askFor([one], path, when))));
  }
}

function draw(view, answers) {
  const { panel, note, body } = view;
  const failed = answers.find((one) => one instanceof Error);
  view.place.classList.toggle("failed", Boolean(failed));
  if (failed) {
    note.textContent = failed.message;
    return;
  }
  const series = answers.map((one) => one.map(({ labels, values, value }) => ({ labels, value, values: values && aligned(values, frame) })));
  const lines = panel.kind === "timeseries" ? linesOf(panel, series) : [];
  const known = panel.kind === "timeseries" ? lines.length > 0
    : panel.kind === "stat" ? showFigure(body, panel, series[0]) : showTable(body, panel, series, view.order);
  if (lines.length) view.chart.show(lines, frame, shownDeploys);
  else view.chart?.clear();
  view.place.classList.toggle("empty", !known);
  note.textContent = known ? "" : `${(panel.empty || "no data in this range").replace(/^./, (one) => one.toUpperCase())}.`;
  view.place.dataset.drawn = String(round);
}

async function loadDeploys() {
  const mine = round;
  const found = deploysOf((await prometheus("query_range", { query: deploys, ...frame })).result, frame);
  if (mine !== round || JSON.stringify(found) === JSON.stringify(shownDeploys)) return;
  shownDeploys = found;
  for (const { chart } of views) if (chart?.plot) Object.assign(chart, { deploys: found }).plot.redraw(false);
}

function describe() {
  const newest = shownDeploys.slice(-3).map(({ at, verb, outcome }) => `${verb} ${outcome === "good" ? "" : `(${outcome}) `}${moment(at)}`);
  const more = shownDeploys.length > newest.length ? `${shownDeploys.length} changes, the last ones: ` : "";
  $("state").className = "note";
  $("state").textContent = `${moment(frame.start)} – ${moment(frame.end)}, your time${newest.length ? ` · ▼ ${more}${newest.join(" · ")}` : ""}`;
}

async function refresh() {
  clearTimeout(timer);
  try {
    const time = Date.now() / 1000;
    first ||= Number((await prometheus("query", { query: FIRST, time })).result[0]?.value[1]) || 0;
    frame = windowOf(choice, time, first);
    round += 1;
    gather();
    await loadDeploys();
    describe();
  } catch (error) {
    $("state").className = "bad";
    $("state").textContent = `Not known: ${error.message}.`;
  }
  if (Number(choice.refresh)) timer = setTimeout(refreshVisible, Number(choice.refresh) * 1000);
}

function refreshVisible() {
  // A window in the past does not change.
  if (!document.hidden && !choice.to) refresh();
}

// ---- What a reader does

function change(wanted) {
  Object.assign(choice, wanted);
  controls.elements.range.value = choice.range;
  controls.elements.refresh.value = choice.refresh;
  $("reset").hidden = !choice.from;
  writeAddress();
  refresh();
}

function zoom(from, to) {
  if (from && to - from < 60) [from, to] = [(from + to) / 2 - 30, (from + to) / 2 + 30];
  change({ from: Math.round(from || 0), to: Math.round(to || 0) });
}

function lengthen(by) {
  const names = Object.keys(RANGES);
  const place = names.indexOf(choice.range) + by;
  if (names[place]) change({ range: names[place], from: 0, to: 0 });
}

function open(by) {
  const place = (boards.indexOf(board) + by + boards.length) % boards.length;
  location.hash = boards[place].uid;
}

const KEYS = {
  n: () => open(1), p: () => open(-1), r: () => refresh(), "+": () => lengthen(-1), "-": () => lengthen(1), Escape: () => leave(),
};

/** Close what is open, or leave the part that is zoomed into. */
function leave() {
  const more = document.querySelector("details.more[open]");
  if (more) {
    more.open = false;
    more.firstChild.focus();
  } else if (choice.from) {
    zoom();
  }
}

document.addEventListener("keydown", (event) => {
  const action = KEYS[event.key];
  if (!action || event.ctrlKey || event.metaKey || event.altKey || event.target.matches("select, input")) return;
  action();
});
document.addEventListener("click", (event) => {
  for (const more of document.querySelectorAll("details.more[open]")) if (!more.contains(event.target)) more.open = false;
});
document.addEventListener("visibilitychange", refreshVisible);
window.addEventListener("hashchange", () => {
  readAddress();
  build();
  change({});
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => views.forEach((view) => view.chart?.rebuild()));
controls.elements.board.addEventListener("change", () => { location.hash = controls.elements.board.value; });
controls.elements.range.addEventListener("change", () => change({ range: controls.elements.range.value, from: 0, to: 0 }));
controls.elements.refresh.addEventListener("change", () => change({ refresh: controls.elements.refresh.value }));
$("reset").addEventListener("click", () => zoom());

/** The description of the dashboards; asked for until it comes. */
async function described() {
  for (;;) {
    try {
      return await (await ask("dashboards/dashboards.json", { cache: "default" })).json();
    } catch (error) {
      $("state").className = "bad";
      $("state").textContent = `The dashboards cannot be read: ${error.message}.`;
      await new Promise((resolve) => { setTimeout(resolve, RETRY_MS); });
    }
  }
}

({ dashboards: boards, deploys } = await described());
controls.elements.board.append(...boards.map((one) => new Option(one.title, one.uid)));
$("boards").append(...boards.map((one) => {
  const link = element("a", "", one.title);
  link.href = `#${one.uid}`;
  return link;
}));
readAddress();
build();
change({});
