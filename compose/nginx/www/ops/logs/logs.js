import { at, loopback } from "../shell.js";

const LIMIT = 500;
const FOLLOW_MS = 3000;
const TIMEOUT_MS = 30000;
const ID = /^(?:[0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$/i;
const LEVELS = { warn: "level:in(warn,error,fatal)", error: "level:in(error,fatal)" };
// These stand in the headline of a line already, or only repeat it.
const HEADLINE = new Set(["_time", "_msg", "_stream", "_stream_id", "service", "level", "message", "time"]);

const form = document.getElementById("search");
const list = document.getElementById("lines");
const state = document.getElementById("state");
let running = null;
let timer = null;

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function fieldsOf() {
  return Object.fromEntries(["service", "level", "time", "text", "expert"].map((name) => [name, form.elements[name].value.trim()]));
}

// LogsQL. A request id is looked for as a field and, for lines that are not JSON, as a word of the message.
function queryOf({ service, level, time, text, expert }) {
  const parts = [`_time:${time}`];
  // Spans are on the page of traces.
  if (!expert.includes("kind:")) parts.push("!kind:=span");
  if (service) parts.push(`service:=${JSON.stringify(service)}`);
  if (level) parts.push(LEVELS[level]);
  if (ID.test(text)) parts.push(`(request_id:=${JSON.stringify(text)} or ${JSON.stringify(text)})`);
  else if (text) parts.push(...text.split(/\s+/).map((word) => `i(${JSON.stringify(word)}*)`));
  if (expert) parts.push(`(${expert})`);
  return `${parts.join(" ")} | sort by (_time desc) limit ${LIMIT}`;
}

async function ask(endpoint, parameters, signal) {
  const answer = await fetch(at(`logs/select/logsql/${endpoint}?${new URLSearchParams(parameters)}`), {
    signal: AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]),
  });
  const text = await answer.text();
  if (answer.ok) return text;
  // VictoriaLogs begins with the client's address and the whole request; the reason comes last.
  throw new Error(answer.status >= 502 ? `the log store does not answer (${answer.status})` : text.replace(/^[^]*?(?=cannot )/, "").trim());
}

function marked(text, word) {
  const made = element("span", "message");
  const at = word ? text.toLowerCase().indexOf(word.toLowerCase()) : -1;
  if (at < 0) made.textContent = text;
  else made.append(text.slice(0, at), element("mark", "", text.slice(at, at + word.length)), text.slice(at + word.length));
  return made;
}

function searchButton(label, text) {
  const button = element("button", "", label);
  button.type = "button";
  button.addEventListener("click", () => {
    form.elements.text.value = text;
    form.elements.service.value = "";
    form.elements.level.value = "";
    form.elements.expert.value = "";
    search();
  });
  return button;
}

function detailsOf(row) {
  const made = element("dl");
  for (const name of Object.keys(row).filter((key) => !HEADLINE.has(key) && row[key] !== "").sort()) {
    const value = element("dd", "", row[name]);
    if (name === "request_id") value.append(searchButton("all lines of this request", row[name]));
    made.append(element("dt", "", name), value);
  }
  return made;
}

function lineOf(row, word) {
  const tone = { warn: "warn", error: "bad", fatal: "bad" }[row.level] || "soft";
  const summary = element("summary");
  const time = element("time", "soft", row._time.slice(0, 23).replace("T", " "));
  time.dateTime = row._time;
  const service = row.replica ? `${row.service}-${row.replica}` : row.service;
  summary.append(time, element("span", "", service), element("span", tone, row.level), marked(row._msg || "", word));
  const details = element("details");
  details.append(summary);
  details.addEventListener("toggle", () => {
    if (details.open && !details.querySelector("dl")) details.append(detailsOf(row));
  });
  const item = element("li");
  item.dataset.key = keyOf(row);
  item.append(details);
  return item;
}

const keyOf = (row) => `${row._time} ${row._stream_id} ${row._msg}`;

// Lines that stay keep their element, so a followed list does not close what is being read.
function show(rows, word) {
  const known = new Map([...list.children].map((item) => [item.dataset.key, item]));
  const top = list.getBoundingClientRect().top;
  const before = list.scrollHeight;
  list.replaceChildren(...rows.map((row) => known.get(keyOf(row)) || lineOf(row, word)));
  if (form.elements.follow.checked && top < 0) window.scrollBy(0, list.scrollHeight - before);
}

async function search(quiet = false) {
  clearTimeout(timer);
  running?.abort();
  running = new AbortController();
  const mine = running;
  const fields = fieldsOf();
  if (!quiet) {
    list.replaceChildren();
    state.className = "note";
    state.textContent = "Searching …";
    history.replaceState(null, "", `#${new URLSearchParams(fields)}`);
  }
  try {
    const started = performance.now();
    const text = await ask("query", { query: queryOf(fields) }, mine.signal);
    const rows = text.split("\n").filter(Boolean).map((line) => JSON.parse(line));
    show(rows, fields.text.split(/\s+/)[0]);
    const more = rows.length === LIMIT ? ", the newest; narrow the search for older ones" : "";
    state.className = "note";
    state.textContent = rows.length === 0
      ? "No line matches. Try a longer time or fewer words."
      : `${rows.length} lines${more}, in ${Math.round(performance.now() - started)} ms. Times are UTC.`;
  } catch (error) {
    if (mine !== running) return;
    state.className = "bad";
    state.textContent = `The search failed: ${error.message}`;
  }
  if (mine === running && form.elements.follow.checked) timer = setTimeout(() => search(true), FOLLOW_MS);
}

async function fillServices() {
  const select = form.elements.service;
  const chosen = new URLSearchParams(location.hash.slice(1)).get("service") || "";
  try {
    const text = await ask("field_values", { query: "_time:7d", field: "service", limit: "100" }, new AbortController().signal);
    const names = JSON.parse(text).values.map((entry) => entry.value).filter(Boolean).sort();
    select.append(...names.map((name) => new Option(name)));
  } catch {
    // The search that follows says what is wrong; a service can still come in by the page's address.
  }
  if (chosen && ![...select.options].some((option) => option.value === chosen)) select.append(new Option(chosen));
  select.value = chosen;
}

function restore() {
  const wanted = new URLSearchParams(location.hash.slice(1));
  for (const name of ["level", "time", "text", "expert"]) if (wanted.has(name)) form.elements[name].value = wanted.get(name);
}

function step(by) {
  const lines = [...list.querySelectorAll("summary")];
  const at = lines.indexOf(document.activeElement);
  lines[Math.min(Math.max(at + by, 0), lines.length - 1)]?.focus();
}

document.addEventListener("keydown", (event) => {
  const typing = event.target.matches("input:not([type=checkbox]), select");
  if (event.key === "Escape" && typing) {
    // A browser would also empty the search field.
    event.preventDefault();
    event.target.blur();
  }
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  const action = {
    "/": () => form.elements.text.focus(),
    j: () => step(1),
    k: () => step(-1),
    f: () => form.elements.follow.click(),
  }[event.key];
  if (!action) return;
  event.preventDefault();
  action();
});

form.addEventListener("submit", (event) => {
  event.preventDefault();
  search();
});
for (const name of ["service", "level", "time", "follow"]) form.elements[name].addEventListener("change", () => search());

// It asks by POST, which the public name does not take.
document.getElementById("store").hidden = !loopback;
restore();
fillServices().then(() => search());
