import { ask, at, element } from "../shell.js";

const LIMIT = 100;
const MOST_ROWS = 5000;
const ID = /^[0-9a-f]{32}$/;
const LISTS = { recent: "", slow: "", failed: " status:>=500" };

const form = document.getElementById("search");
const state = document.getElementById("state");
const result = document.getElementById("result");
let latest = 0;

async function rowsOf(query) {
  const answer = await ask(`logs/select/logsql/query?${new URLSearchParams({ query, limit: MOST_ROWS })}`);
  if (!answer.ok) throw new Error(`the log store answers ${answer.status}`);
  return (await answer.text()).split("\n").filter(Boolean).map((line) => JSON.parse(line));
}

const instance = (row) => (row.replica ? `${row.service}-${row.replica}` : row.service);
// Milliseconds since the epoch. Date knows no fractions of them, and many operations take less than one.
const moment = (stamp) => Date.parse(stamp.replace(/\.\d+/, "")) + Number(/\.\d+/.exec(stamp)?.[0] || 0) * 1000;
const isError = (status) => Number(status) >= 500;

// As ops/traces/waterfall.py reads the same records.
function spanOf(id, row) {
  if (row.kind === "span") {
    return {
      id: row.span_id, parent: row.parent, name: row.name, start: moment(row.start), duration: Number(row.duration_ms),
      status: row["http.response.status_code"] || row["error.type"] || row.status, failed: row.status === "error",
      detail: row["db.query.text"] || row["db.statement"] || row["code.function.name"] || row["url.path"] || "",
    };
  }
  const edge = row.service === "nginx" && row.request_time;
  if (!edge && !row.duration_ms) return null;
  const duration = edge ? Number(row.request_time) * 1000 : Number(row.duration_ms);
  const own = id.slice(0, 16);
  return {
    id: edge ? own : "", parent: edge ? "" : own, name: `${row.method} ${row.path}`, duration, logged: !edge,
    start: moment(edge ? row.time : row._time) - duration, status: row.status, failed: isError(row.status), detail: "",
  };
}

function ordered(spans) {
  const ids = new Set(spans.map((span) => span.id).filter(Boolean));
  const below = Map.groupBy([...spans].sort((a, b) => a.start - b.start), (span) => (ids.has(span.parent) ? span.parent : ""));
  const walk = (parent, depth) => {
    const here = below.get(parent) || [];
    below.delete(parent);
    return here.flatMap((span) => [{ ...span, depth }, ...(span.id ? walk(span.id, depth + 1) : [])]);
  };
  return walk("", 0);
}

function cell(text, className = "") {
  return element("td", className, text);
}

function table(titles, rows) {
  const head = element("tr", "", ...titles.map(([title, className]) => element("th", className || "", title)));
  return element("table", "", element("thead", "", head), element("tbody", "", ...rows));
}

function rowOfSpan(span, first, whole) {
  const bar = element("div");
  bar.style.marginLeft = `${Math.min(99, ((span.start - first) / whole) * 100)}%`;
  bar.style.width = `${Math.max(0, Math.min(100, (span.duration / whole) * 100))}%`;
  const name = element("td", "operation", span.name);
  name.style.paddingLeft = `${0.6 + span.depth}rem`;
  if (span.detail) name.append(element("small", "mono", span.detail));
  const row = element("tr", span.failed ? "failed" : "", cell(span.service, "service"), name, cell(`${(span.start - first).toFixed(1)} ms`, "number wide"),
    cell(`${span.duration.toFixed(1)} ms`, "number"), cell(span.status || "", "wide"), element("td", "track", bar));
  return row;
}

async function showTrace(id) {
  const quoted = JSON.stringify(id);
  const rows = await rowsOf(`trace_id:=${quoted} or request_id:=${quoted} or ${quoted}`);
  if (!rows.length) return ["No record of this request. It may be older than the log store keeps lines; new records arrive within some seconds."];
  const found = rows.map((row) => [row, spanOf(id, row)]).filter(([, span]) => span).map(([row, span]) => ({ ...span, service: instance(row) }));
  const recorded = new Set(found.filter((span) => !span.logged).map((span) => span.service));
  const spans = ordered(found.filter((span) => !span.logged || !recorded.has(span.service)));
  const first = Math.min(...spans.map((span) => span.start));
  const whole = Math.max(1e-3, ...spans.map((span) => span.start + span.duration - first));
  const lines = rows.filter((row) => row.kind !== "span" && !(row.service === "nginx" && row.request_time))
    .sort((a, b) => (a._time < b._time ? -1 : 1))
    .map((row) => element("tr", row.level === "error" || row.level === "fatal" ? "failed" : "", cell(row._time.slice(11, 23), "service wide"),
      cell(instance(row), "service"), cell(row.level || "", "wide"), element("td", "operation", row._msg || "")));
  const children = [];
  if (spans.length) {
    const titles = [["Service"], ["Operation"], ["Start", "wide"], ["Duration"], ["Status", "wide"], [""]];
    children.push(table(titles, spans.map((span) => rowOfSpan(span, first, whole))));
  }
  if (lines.length) {
    children.push(element("h2", "", "Log lines of the request"), table([["Time", "wide"], ["Service"], ["Level", "wide"], ["Message"]], lines));
  }
  const sampled = rows.some((row) => row.kind === "span");
  const note = sampled ? "" : " This request was not sampled: what its services did is not recorded.";
  return [`${new Date(first || rows[0]._time).toISOString().replace("T", " ").slice(0, 23)} UTC, ${spans.length} operations.${note}`, ...children];
}

async function showList({ kind, time }) {
  const order = kind === "slow" ? "request_time" : "_time";
  const rows = await rowsOf(`_time:${time} service:="nginx" trace_flags:="01"${LISTS[kind]} | sort by (${order} desc) limit ${LIMIT}`);
  const key = kind === "slow" ? (row) => Number(row.request_time) : (row) => row._time;
  rows.sort((a, b) => (key(a) < key(b) ? 1 : -1));
  const made = rows.map((row) => {
    const link = element("a", "", row.path);
    link.href = `#id=${row.request_id}`;
    return element("tr", isError(row.status) ? "failed" : "", cell(row._time.slice(0, 19).replace("T", " "), "service wide"), cell(row.method),
      element("td", "operation", link), cell(row.status), cell(`${(Number(row.request_time) * 1000).toFixed(0)} ms`, "number"));
  });
  if (!made.length) return ["No traced request. Choose a longer time; the setting traces.sample says which share of the requests is traced."];
  return [`${made.length} requests. Times are UTC.`, table([["Time", "wide"], ["Method"], ["Path"], ["Status"], ["Duration"]], made)];
}

async function show() {
  const mine = ++latest;
  const wanted = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
  for (const name of ["id", "kind", "time"]) if (name in wanted) form.elements[name].value = wanted[name];
  if (!wanted.id) form.elements.id.value = "";
  const { id, kind, time } = form.elements;
  state.className = "note";
  state.textContent = "Searching …";
  try {
    if (id.value && !ID.test(id.value)) throw new Error("a request id has 32 hexadecimal digits");
    const [said, ...children] = id.value ? await showTrace(id.value) : await showList({ kind: kind.value, time: time.value });
    if (mine !== latest) return;
    state.textContent = said;
    result.replaceChildren(...children);
    if (id.value) {
      const link = element("a", "", "All log lines of this request");
      link.href = at(`logs/#${new URLSearchParams({ text: id.value, time: "30d" })}`);
      result.append(element("p", "", link));
    }
  } catch (error) {
    if (mine !== latest) return;
    state.className = "bad";
    state.textContent = `The search failed: ${error.message}`;
    result.replaceChildren();
  }
}

function search() {
  const id = form.elements.id.value.trim().toLowerCase();
  const fields = id ? { id } : { kind: form.elements.kind.value, time: form.elements.time.value };
  const hash = `#${new URLSearchParams(fields)}`;
  if (hash === location.hash) show();
  else location.hash = hash;
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  search();
});
for (const name of ["kind", "time"]) {
  form.elements[name].addEventListener("change", () => {
    form.elements.id.value = "";
    search();
  });
}
window.addEventListener("hashchange", show);
show();
