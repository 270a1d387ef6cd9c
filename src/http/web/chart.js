// Lines over time as SVG. A moment that was not seen is a gap, never a line.

import { s, h, put, compact, count, duration, rounded, now } from "./dom.js";

const known = (points, at = 1) => points.filter((point) => point[at] !== null && point[at] !== undefined);

/** Runs of neighbouring points that are known. */
function runs(points, at) {
  const all = [];
  let run = [];
  for (const point of points) {
    if (point[at] === null || point[at] === undefined) {
      if (run.length) all.push(run);
      run = [];
    } else run.push(point);
  }
  if (run.length) all.push(run);
  return all;
}

const line = (points) => points.map(([x, y], at) => `${at ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");

/** A small line without axes: points of [milliseconds, number or null], oldest first. */
export function sparkline(points, what) {
  const seen = known(points);
  if (seen.length < 2) return h("span", { class: "dim" }, "–");
  const [width, height] = [120, 28];
  const from = points[0][0], to = points[points.length - 1][0];
  const values = seen.map((point) => point[1]);
  const top = Math.max(1, ...values);
  const x = (at) => ((at - from) / Math.max(1, to - from)) * (width - 4) + 2;
  const y = (value) => height - 3 - (Math.max(0, value) / top) * (height - 6);
  const label = `${what} over the last ${duration((now() - from) / 1000)}: from ${count(values[0])} to ` +
    `${count(values[values.length - 1])}, at most ${count(Math.max(...values))}`;
  const drawing = s("svg", { class: "spark", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });
  for (const run of runs(points, 1)) {
    const path = run.map((point) => [x(point[0]), y(point[1])]);
    if (path.length > 1) {
      drawing.append(s("path", { class: "area", d: `${line(path)}L${path[path.length - 1][0].toFixed(1)} ${height}L${path[0][0].toFixed(1)} ${height}Z` }));
      drawing.append(s("path", { class: "line", d: line(path) }));
    }
  }
  const last = seen[seen.length - 1];
  drawing.append(s("circle", { class: "end", cx: x(last[0]).toFixed(1), cy: y(last[1]).toFixed(1), r: 2 }));
  return drawing;
}

/** A number that is good on an axis, not below `value`. */
function nice(value) {
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 1e-9)));
  return [1, 2, 2.5, 5, 10].map((step) => step * power).find((step) => step >= value);
}

const STEPS = [5, 10, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200].map((seconds) => seconds * 1000);
const tick = (at, step) => new Date(at).toLocaleTimeString(undefined,
  { hour: "2-digit", minute: "2-digit", hourCycle: "h23", ...(step < 60000 ? { second: "2-digit" } : {}) });

/**
 * A chart with axes, a cursor for pointer and arrow keys, and its values as a table.
 * `series`: [{name, kind, at}] where `at` is the place of its number in a point; `unit` stands behind numbers.
 */
export function chart(title, series, unit) {
  const drawing = s("svg", { class: "chart", role: "img", tabindex: "0" });
  const said = h("output", { class: "readout", "aria-live": "polite" });
  const rows = h("tbody");
  const table = h("table", { class: "values" }, h("caption", { class: "unseen" }, title),
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Time"), series.map((one) => h("th", { scope: "col", class: "number" }, one.name)))), rows);
  const details = h("details", {}, h("summary", {}, "Values as a table"), h("div", { class: "scroll" }, table));
  const legend = series.length < 2 ? null : h("ul", { class: "legend" }, series.map((one) => h("li", { class: one.kind }, h("span", { class: "key", "aria-hidden": "true" }), one.name)));
  const node = h("figure", {}, h("figcaption", {}, h("span", { class: "chart-title" }, title), legend, said), drawing, details);
  let points = [], chosen = null, place = () => 0, height = 0, cursor = null;

  const value = (point, one) => (point[one.at] === null || point[one.at] === undefined ? "not known" : `${rounded(point[one.at])}${unit}`);

  function choose(at) {
    chosen = at === null || points.length === 0 ? null : Math.max(0, Math.min(points.length - 1, at));
    const point = chosen === null ? null : points[chosen];
    said.textContent = point ? `${tick(point[0], 0)}  ${series.map((one) => `${one.name} ${value(point, one)}`).join(", ")}` : "";
    if (!cursor) return;
    cursor.classList.toggle("shown", Boolean(point));
    if (point) for (const end of ["x1", "x2"]) cursor.setAttribute(end, place(point[0]).toFixed(1));
  }

  drawing.addEventListener("pointermove", (event) => {
    if (points.length === 0) return;
    const x = event.offsetX;
    let nearest = 0;
    points.forEach((point, at) => { if (Math.abs(place(point[0]) - x) < Math.abs(place(points[nearest][0]) - x)) nearest = at; });
    choose(nearest);
  });
  drawing.addEventListener("pointerleave", () => choose(null));
  drawing.addEventListener("blur", () => choose(null));
  drawing.addEventListener("keydown", (event) => {
    const last = points.length - 1, from = chosen ?? last + 1;
    const to = { ArrowLeft: from - 1, ArrowRight: from + 1, Home: 0, End: last, Escape: null }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    choose(to);
  });
  details.addEventListener("toggle", tabulate);

  function tabulate() {
    if (!details.open) return;
    put(rows, [...points].reverse().map((point) => h("tr", {}, h("th", { scope: "row" }, tick(point[0], 0)),
      series.map((one) => h("td", { class: "number" }, value(point, one))))));
  }

  function draw() {
    const width = Math.max(260, Math.floor(node.clientWidth) - 30);
    const [left, right, top, bottom] = [54, 12, 10, 24];
    height = 190;
    drawing.setAttribute("viewBox", `0 0 ${width} ${height}`);
    drawing.setAttribute("width", width);
    drawing.setAttribute("height", height);
    const seen = series.flatMap((one) => known(points, one.at).map((point) => point[one.at]));
    const marks = [];
    cursor = null;
    if (points.length < 2 || seen.length < 2) {
      drawing.setAttribute("aria-label", `${title}: not enough was seen yet`);
      put(drawing, s("text", { x: width / 2, y: height / 2, class: "tick", "text-anchor": "middle" }, "Not enough was seen yet"));
      return;
    }
    const from = points[0][0], to = points[points.length - 1][0];
    const most = nice(Math.max(1, ...seen));
    place = (at) => left + ((at - from) / Math.max(1, to - from)) * (width - left - right);
    const y = (number) => height - bottom - (Math.max(0, number) / most) * (height - top - bottom);
    for (const part of [0, 0.5, 1]) {
      const at = y(most * part).toFixed(1);
      marks.push(s("line", { class: "grid", x1: left, x2: width - right, y1: at, y2: at }),
        s("text", { class: "tick", x: left - 8, y: Number(at) + 4, "text-anchor": "end" }, compact(most * part)));
    }
    const step = STEPS.find((length) => (to - from) / length <= width / 90) ?? 14400000;
    for (let at = Math.ceil(from / step) * step; at <= to; at += step) {
      const x = place(at);
      if (x > left + 14 && x < width - right - 14) marks.push(s("text", { class: "tick", x: x.toFixed(1), y: height - 7, "text-anchor": "middle" }, tick(at, step)));
    }
    for (const one of series) {
      for (const run of runs(points, one.at)) {
        const path = run.map((point) => [place(point[0]), y(point[one.at])]);
        if (series.length === 1 && path.length > 1) {
          marks.push(s("path", { class: `area ${one.kind}`, d: `${line(path)}L${path[path.length - 1][0].toFixed(1)} ${y(0)}L${path[0][0].toFixed(1)} ${y(0)}Z` }));
        }
        marks.push(path.length > 1 ? s("path", { class: `line ${one.kind}`, d: line(path) })
          : s("circle", { class: `end ${one.kind}`, cx: path[0][0], cy: path[0][1], r: 2 }));
      }
    }
    cursor = s("line", { class: "cursor", y1: top, y2: height - bottom, x1: 0, x2: 0 });
    put(drawing, marks, cursor);
    const about = series.map((one) => {
      const values = known(points, one.at).map((point) => point[one.at]);
      return values.length ? `${one.name} now ${rounded(values[values.length - 1])}${unit}, at most ${rounded(Math.max(...values))}${unit}` : `${one.name} not known`;
    });
    drawing.setAttribute("aria-label", `${title} over ${duration((to - from) / 1000)}: ${about.join("; ")}. Arrow keys read single values.`);
  }

  /** Shows these points, oldest first. A chosen moment stays chosen. */
  function update(next) {
    const kept = chosen === null ? null : points[chosen]?.[0];
    points = next;
    draw();
    tabulate();
    if (kept !== null) choose(points.findIndex((point) => point[0] >= kept));
  }
  return { node, update, draw };
}
