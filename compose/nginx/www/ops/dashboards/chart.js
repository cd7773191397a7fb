// A chart over time, by uPlot: stacked or not, with thresholds, deploys, a legend that shows values, and zoom by dragging.

import { element } from "../shell.js";
import { legendOf } from "./query.js";
import { format, increments } from "./units.js";

const HEIGHT = 190;
const CURSOR = uPlot.sync("dashboards");
const DAY = 86400;

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const colour = (index) => css(`--series-${index % 12}`);

const clock = (at, options) => new Date(at * 1000).toLocaleString("en-GB", options);
const MINUTE = { hour: "2-digit", minute: "2-digit" };

/** A moment in the reader's time zone. */
export const moment = (at, seconds) => clock(at, { day: "numeric", month: "short", ...MINUTE, ...(seconds ? { second: "2-digit" } : {}) });

/** Times below the axis: the day where it changes, hours and minutes elsewhere. */
function timeLabels(splits, distance) {
  let last = "";
  return splits.map((at) => {
    const day = clock(at, { day: "numeric", month: "short" });
    const label = distance >= DAY || (last && day !== last) ? day : clock(at, distance < 60 ? { ...MINUTE, second: "2-digit" } : MINUTE);
    last = day;
    return label;
  });
}

/** Values on top of each other; a gap counts as nothing, and stays one where all have it. */
function stack(lines) {
  const sums = new Array(lines[0]?.values.length || 0).fill(0);
  return lines.map(({ values }) => values.map((value, at) => {
    sums[at] += value || 0;
    return lines.every((line) => line.values[at] === null) ? null : sums[at];
  }));
}

/** {name, values} of each series of a panel's queries. */
export function linesOf(panel, answers) {
  const lines = panel.queries.flatMap(({ legend = "" }, index) => answers[index].map(({ labels, values }) => ({
    name: legendOf(legend || panel.title, labels), values,
  })));
  return lines.sort((one, other) => one.name.localeCompare(other.name, "en", { numeric: true }));
}

/** Chart of one panel in `place`. `zoom(from, to)` is called when a part of it is chosen, without arguments to go back. */
export class Chart {
  constructor(panel, place, zoom) {
    Object.assign(this, { panel, place, zoom, lines: [], deploys: [], hidden: new Set(), plot: null, shape: "" });
    this.canvas = element("div", "canvas");
    this.canvas.tabIndex = 0;
    this.canvas.setAttribute("role", "img");
    this.legend = element("div", "legend");
    place.append(this.canvas, this.legend);
    this.canvas.addEventListener("keydown", (event) => this.#key(event));
    new ResizeObserver(() => this.#resize()).observe(this.canvas);
  }

  show(lines, frame, deploys) {
    Object.assign(this, { lines, frame, deploys });
    const shape = JSON.stringify(lines.map((line) => line.name));
    this.times = Array.from({ length: lines[0].values.length }, (_, at) => frame.start + at * frame.step);
    if (shape === this.shape && this.plot) {
      this.plot.setData(this.#data(), true);
    } else {
      this.shape = shape;
      this.rebuild();
    }
    this.#describe();
  }

  /** Also when the colours of the page have changed. */
  rebuild() {
    this.plot?.destroy();
    this.plot = null;
    if (!this.lines.length) return;
    this.#buildLegend();
    this.plot = new uPlot(this.#options(), this.#data(), this.canvas);
  }

  clear() {
    this.plot?.destroy();
    Object.assign(this, { plot: null, shape: "", lines: [] });
    this.legend.replaceChildren();
  }

  #visible() {
    return this.lines.filter((line) => !this.hidden.has(line.name));
  }

  #data() {
    const visible = this.#visible();
    return [this.times, ...(this.panel.stacked ? stack(visible) : visible.map((line) => line.values))];
  }

  #options() {
    const visible = this.#visible();
    const { unit, stacked } = this.panel;
    const soft = css("--soft"), grid = { stroke: css("--grid"), width: 1 };
    const font = "12px system-ui, sans-serif";
    const axis = { stroke: soft, font, grid, ticks: { ...grid, size: 4 } };
    return {
      width: this.canvas.clientWidth || 300, height: HEIGHT, legend: { show: false },
      padding: [8, 8, 0, 0],
      cursor: { sync: { key: CURSOR.key }, drag: { x: true, y: false, setScale: false }, points: { size: 6 }, bind: { dblclick: () => () => this.zoom() } },
      scales: { x: { time: true, range: () => [this.frame.start, this.frame.end] }, y: { range: (_, low, high) => this.#range(low, high) } },
      axes: [
        { ...axis, size: 30, space: 64, values: (_, splits, __, ___, distance) => timeLabels(splits, distance) },
        { ...axis, size: (_, labels) => Math.max(46, ...(labels || []).map((one) => one.length * 6.8 + 14)), space: 32, incrs: increments(unit), values: (_, splits) => splits.map((one) => format(one, unit)) },
      ],
      series: [{}, ...visible.map((line) => {
        const stroke = colour(this.lines.indexOf(line));
        return { stroke, width: stacked ? 1 : 1.75, fill: stacked ? `${stroke}99` : visible.length === 1 ? `${stroke}22` : undefined,
          points: { show: this.times.length < 3, size: 5 }, spanGaps: false };
      })],
      bands: stacked ? visible.slice(1).map((_, at) => ({ series: [at + 2, at + 1] })) : [],
      hooks: {
        setSelect: [(plot) => this.#selected(plot)],
        setCursor: [(plot) => this.#values(plot.cursor.idx)],
        draw: [(plot) => this.#marks(plot)],
      },
    };
  }

  #range(low, high) {
    if (this.panel.unit === "bool_yes_no") return [0, 1];
    // Years of a certificate or days of uptime would be a flat line on an axis from zero only where they hardly move.
    const top = Number.isFinite(high) && high > 0 ? high : 1;
    return [Math.min(0, low || 0), top * 1.08];
  }

  #selected(plot) {
    const { left, width } = plot.select;
    if (width < 4) return;
    const from = plot.posToVal(left, "x"), to = plot.posToVal(left + width, "x");
    plot.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
    this.zoom(from, to);
  }

  /** Thresholds from side to side, deploys from top to bottom. */
  #marks(plot) {
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.lineWidth = devicePixelRatio;
    ctx.setLineDash([5 * devicePixelRatio, 4 * devicePixelRatio]);
    for (const [limit, name] of [[this.panel.warn, "--warn"], [this.panel.bad, "--bad"]]) {
      if (limit === undefined || limit > plot.scales.y.max) continue;
      const y = Math.round(plot.valToPos(limit, "y", true));
      this.#line(ctx, css(name), bbox.left, y, bbox.left + bbox.width, y);
    }
    for (const { at, outcome } of this.deploys) {
      const x = Math.round(plot.valToPos(at, "x", true));
      const stroke = css(outcome === "good" ? "--deploy" : "--bad");
      ctx.globalAlpha = 0.45;
      this.#line(ctx, stroke, x, bbox.top, x, bbox.top + bbox.height);
      ctx.globalAlpha = 1;
      ctx.fillStyle = stroke;
      ctx.beginPath();
      const size = 5 * devicePixelRatio;
      ctx.moveTo(x - size, bbox.top);
      ctx.lineTo(x + size, bbox.top);
      ctx.lineTo(x, bbox.top + size * 1.4);
      ctx.fill();
    }
    ctx.restore();
  }

  #line(ctx, stroke, ...[x1, y1, x2, y2]) {
    ctx.strokeStyle = stroke;
    ctx.beginPath();
    ctx.moveTo(x1, y1);
    ctx.lineTo(x2, y2);
    ctx.stroke();
  }

  #buildLegend() {
    this.values = new Map();
    this.when = element("span", "when");
    this.legend.replaceChildren(...this.lines.map((line, index) => {
      const key = element("i"), value = element("b");
      key.style.background = colour(index);
      const button = element("button", "", key, `${line.name} `, value);
      button.type = "button";
      button.setAttribute("aria-pressed", String(!this.hidden.has(line.name)));
      button.addEventListener("click", (event) => this.#toggle(line.name, event.ctrlKey || event.metaKey));
      this.values.set(line.name, value);
      return button;
    }), this.when);
    this.#values(null);
  }

  /** Hide or show a line; `only`: it alone, or all of them. */
  #toggle(name, only) {
    const others = this.lines.map((line) => line.name).filter((one) => one !== name);
    if (only) this.hidden = new Set(others.every((one) => this.hidden.has(one)) ? [] : others);
    else if (!this.hidden.delete(name)) this.hidden.add(name);
    const focused = [...this.legend.children].indexOf(document.activeElement);
    this.rebuild();
    this.legend.children[focused]?.focus();
  }

  /** Values at a place of the cursor, or the last ones. */
  #values(at) {
    if (!this.values) return;
    const { unit } = this.panel;
    const chosen = at === null || at === undefined;
    for (const { name, values } of this.lines) {
      const value = chosen ? values.findLast((one) => one !== null) : values[at];
      this.values.get(name).textContent = format(value ?? NaN, unit);
    }
    this.when.textContent = chosen ? "" : moment(this.times[at], true);
  }

  #describe() {
    const { unit, title } = this.panel;
    const said = this.lines.slice(0, 12).map(({ name, values }) => `${name} ${format(values.findLast((one) => one !== null) ?? NaN, unit)}`);
    this.canvas.setAttribute("aria-label", `${title}: ${said.join(", ")}`);
    if (this.plot && this.plot.cursor.idx === null) this.#values(null);
  }

  #key(event) {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by || !this.plot) return;
    event.preventDefault();
    const at = Math.min(Math.max((this.plot.cursor.idx ?? this.times.length - 1) + by, 0), this.times.length - 1);
    this.plot.setCursor({ left: this.plot.valToPos(this.times[at], "x"), top: 10 });
  }

  #resize() {
    const width = this.canvas.clientWidth;
    if (this.plot && width && width !== this.plot.width) this.plot.setSize({ width, height: HEIGHT });
  }
}
