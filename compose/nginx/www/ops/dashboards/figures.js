// Panels without axes: one figure with its course, and tables.

import { element } from "../shell.js";
import { format, grade } from "./units.js";

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 120;
const HEIGHT = 28;

/** The course of a figure, without axes: it says whether it moves, the figure says where it is. */
function course(values) {
  const known = values.filter((one) => one !== null);
  if (known.length < 3) return [];
  const low = Math.min(...known), span = Math.max(...known) - low || 1;
  let pen = "M";
  const path = values.map((value, at) => {
    if (value === null) {
      pen = "M";
      return "";
    }
    const point = `${pen}${(at / (values.length - 1) * WIDTH).toFixed(1)} ${(HEIGHT - 2 - (value - low) / span * (HEIGHT - 4)).toFixed(1)}`;
    pen = "L";
    return point;
  }).join("");
  const drawing = document.createElementNS(SVG, "svg"), line = document.createElementNS(SVG, "path");
  drawing.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  drawing.setAttribute("preserveAspectRatio", "none");
  drawing.setAttribute("aria-hidden", "true");
  line.setAttribute("d", path);
  drawing.append(line);
  return [drawing];
}

/** One figure: the newest value, if it is one of now. */
export function showFigure(place, panel, answer) {
  const values = answer[0]?.values || [];
  const value = values.at(-1) ?? values.at(-2) ?? NaN;
  const figure = element("div", `figure ${grade(value, panel)}`, format(value, panel.unit));
  place.replaceChildren(figure, ...course(values));
  return Number.isFinite(value);
}

/** Rows of a table: [labels, values], the series of all queries joined by the labels. */
export function rowsOf(panel, answers) {
  const rows = new Map();
  answers.forEach((series, index) => {
    for (const { labels, value } of series) {
      const key = JSON.stringify(panel.labels.map((name) => labels[name] || ""));
      if (!rows.has(key)) rows.set(key, [panel.labels.map((name) => labels[name] || ""), new Array(answers.length).fill(NaN)]);
      rows.get(key)[1][index] = Number(value[1]);
    }
  });
  return [...rows.values()].sort(([one], [other]) => one.join(" ").localeCompare(other.join(" "), "en", { numeric: true }));
}

const shown = (label) => label.replace(/_/g, " ").replace(/^./, (first) => first.toUpperCase());

function head(names, order, sortBy) {
  return names.map((name, index) => {
    const button = element("button", "", name);
    button.type = "button";
    button.addEventListener("click", () => sortBy(index));
    const cell = element("th", "", button);
    cell.scope = "col";
    if (order.by === index) cell.setAttribute("aria-sort", order.down ? "descending" : "ascending");
    return cell;
  });
}

function sorted(rows, labels, { by, down }) {
  if (by === undefined) return rows;
  const sign = down ? -1 : 1;
  const known = (value) => (Number.isFinite(value) ? value : -Infinity);
  return rows.toSorted(([ones, one], [others, other]) => sign * (
    by < labels ? ones[by].localeCompare(others[by], "en", { numeric: true }) : known(one[by - labels]) - known(other[by - labels])
  ));
}

/** A table whose columns sort it. `order`, {by, down}, is kept by the caller from one refresh to the next. */
export function showTable(place, panel, answers, order) {
  const rows = sorted(rowsOf(panel, answers), panel.labels.length, order);
  const sortBy = (index) => {
    Object.assign(order, { down: order.by === index ? !order.down : index >= panel.labels.length, by: index });
    showTable(place, panel, answers, order);
    place.querySelectorAll("th button")[index].focus();
  };
  const names = [...panel.labels.map(shown), ...panel.queries.map((query) => query.legend)];
  const body = rows.map(([labels, values]) => element("tr", "", ...labels.map((one) => element("td", "", one || "–")),
    ...values.map((value, index) => element("td", `figure ${grade(value, panel.queries[index])}`, format(value, panel.queries[index].unit)))));
  const made = element("table", "", element("thead", "", element("tr", "", ...head(names, order, sortBy))), element("tbody", "", ...body));
  place.replaceChildren(element("div", "scroll", made));
  return rows.length > 0;
}
