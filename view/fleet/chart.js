/** Trials over time: two stacked areas, and a dashed line to the expected end. */

import { attr, byId, css, el, keyed, show, svg, text } from "../common/dom.js";
import { clock, compact, seconds, tickLabel, tickSeconds, whole } from "../common/format.js";

const HEIGHT = 208; // pixels
const MARGIN = { top: 14, right: 12, bottom: 24, left: 44 };
const MAX_FUTURE = 3; // times the width of the past
const TABLE_ROWS = 12;

let drawn = null; // for hovering and resizing

/** `points`: `{at, complete, error}` in order of time. `of`: total, end (expected, or null), now, live. */
export function drawChart(points, of) {
  drawn = { points, of };
  const box = byId("chart");
  const telling = points.length > 1 && points.at(-1).complete + points.at(-1).error > 0;
  show(box, telling);
  show(byId("chart-details"), telling);
  if (!telling) return;
  const node = box.querySelector("svg") ?? begin(box);
  const width = Math.max(240, box.clientWidth);
  const last = points.at(-1);
  const from = points[0].at;
  const reach = of.end === null ? last.at : Math.min(of.end, last.at + MAX_FUTURE * (last.at - from));
  const to = Math.max(last.at, of.live ? Math.max(of.now, reach) : last.at, from + 1000);
  const top = Math.max(of.total, last.complete + last.error, 1);
  const scale = {
    x: (at) => MARGIN.left + ((at - from) / (to - from)) * (width - MARGIN.left - MARGIN.right),
    y: (n) => HEIGHT - MARGIN.bottom - (n / top) * (HEIGHT - MARGIN.top - MARGIN.bottom),
  };
  drawn.scale = scale;
  attr(node, "viewBox", `0 0 ${width} ${HEIGHT}`);
  attr(node, "width", width);
  attr(node, "aria-label", summary(points, of));
  axes(node, scale, { from, to, top, width, now: of.now });
  areas(node, scale, points);
  forecast(node, scale, last, of, { to, top, reach });
  table(points);
}

function begin(box) {
  const part = (name, ...children) => svg("g", { class: name }, ...children);
  const node = svg("svg", { role: "img", height: HEIGHT },
    part("grid"), part("areas", svg("path", { class: "area complete" }), svg("path", { class: "area error" }),
      svg("path", { class: "line error" }), svg("path", { class: "line complete" })),
    part("forecast", svg("path", { class: "expected" }), svg("text")),
    svg("line", { class: "cross", y1: MARGIN.top, y2: HEIGHT - MARGIN.bottom, visibility: "hidden" }));
  box.prepend(node);
  node.addEventListener("pointermove", (event) => hover(node, event));
  node.addEventListener("pointerleave", () => leave(node));
  new ResizeObserver(() => drawn && drawChart(drawn.points, drawn.of)).observe(box);
  return node;
}

const LABEL = 120; // pixels: "10:52:15 AM", and half of its neighbour at either end

function axes(node, { x, y }, { from, to, top, width, now }) {
  const step = tickSeconds((to - from) / 1000, Math.max(2, Math.floor(width / LABEL)));
  const ticks = [];
  for (let at = Math.ceil(from / 1000 / step) * step * 1000; at <= to; at += step * 1000) ticks.push(at);
  const grid = node.querySelector(".grid");
  const items = [
    ...yTicks(top).map((n) => ({ key: `y${n}`, line: [MARGIN.left, y(n), width - MARGIN.right, y(n)], words: n < 10_000 ? whole(n) : compact(n), at: [MARGIN.left - 8, y(n) + 4], anchor: "end" })),
    ...ticks.map((t) => ({ key: `x${t}`, line: [x(t), HEIGHT - MARGIN.bottom, x(t), HEIGHT - MARGIN.bottom + 5], words: tickLabel(t, step, now), at: [x(t), HEIGHT - 4], anchor: anchor(x(t), width) })),
  ];
  const make = () => svg("g", {}, svg("line"), svg("text"));
  keyed(grid, items, ({ key }) => key, make, (group, { line: [x1, y1, x2, y2], words, at, anchor: side }) => {
    for (const [name, value] of Object.entries({ x1, y1, x2, y2 })) attr(group.firstChild, name, value.toFixed(1));
    attr(group.lastChild, "x", at[0].toFixed(1));
    attr(group.lastChild, "y", at[1].toFixed(1));
    attr(group.lastChild, "text-anchor", side);
    text(group.lastChild, words);
  });
}

const anchor = (x, width) => (x < MARGIN.left + 20 ? "start" : x > width - 40 ? "end" : "middle");

/** 0, the top, and round numbers between. */
function yTicks(top) {
  const rough = top / 4;
  const magnitude = 10 ** Math.floor(Math.log10(Math.max(rough, 1)));
  const step = [1, 2, 5, 10].map((n) => n * magnitude).find((n) => n >= rough);
  const ticks = [];
  for (let n = 0; n < top - step / 2; n += step) ticks.push(n);
  return [...ticks, top];
}

function areas(node, { x, y }, points) {
  const path = (value) => points.map((p, i) => `${i ? "L" : "M"}${x(p.at).toFixed(1)} ${y(value(p)).toFixed(1)}`).join("");
  const back = (value) => points.toReversed().map((p) => `L${x(p.at).toFixed(1)} ${y(value(p)).toFixed(1)}`).join("");
  const [complete, both, none] = [(p) => p.complete, (p) => p.complete + p.error, () => 0];
  const d = (name, value) => attr(node.querySelector(name), "d", value);
  d(".area.complete", `${path(complete)}${back(none)}Z`);
  d(".area.error", `${path(both)}${back(complete)}Z`);
  d(".line.complete", path(complete));
  d(".line.error", points.at(-1).error > 0 ? path(both) : null);
}

function forecast(node, { x, y }, last, { end, now, total }, { to, top, reach }) {
  const [line, words] = node.querySelector(".forecast").children;
  const done = last.complete + last.error;
  if (end === null || end <= last.at || done >= total) {
    attr(line, "d", null);
    text(words, "");
    return;
  }
  const height = done + (top - done) * ((reach - last.at) / (end - last.at));
  const right = x(Math.min(reach, to));
  const foot = HEIGHT - MARGIN.bottom;
  attr(line, "d", `M${x(last.at).toFixed(1)} ${y(done).toFixed(1)}L${right.toFixed(1)} ${y(height).toFixed(1)}${reach === end ? `V${foot}` : ""}`);
  attr(words, "x", (right - 7).toFixed(1));
  attr(words, "y", foot - 8);
  attr(words, "text-anchor", "end");
  text(words, `expected ${clock(end, now)}`);
}

function summary(points, { total, end, now }) {
  const last = points.at(-1);
  const expected = end === null ? "" : `; expected to finish at ${clock(end, now)}`;
  return `Chart: ${whole(last.complete)} of ${whole(total)} trials complete and ${whole(last.error)} failed${expected}.`;
}

function hover(node, event) {
  const { points, scale, of } = drawn;
  const at = event.clientX - node.getBoundingClientRect().left;
  const nearest = points.reduce((a, b) => (Math.abs(scale.x(b.at) - at) < Math.abs(scale.x(a.at) - at) ? b : a));
  const [cross, tip] = [node.querySelector(".cross"), byId("chart-tip")];
  for (const name of ["x1", "x2"]) attr(cross, name, scale.x(nearest.at).toFixed(1));
  attr(cross, "visibility", "visible");
  text(tip, `${clock(nearest.at, of.now)} · ${whole(nearest.complete)} complete · ${whole(nearest.error)} failed`);
  show(tip, true);
  const room = node.clientWidth - tip.offsetWidth;
  css(tip, "left", `${Math.max(0, Math.min(room, scale.x(nearest.at) - tip.offsetWidth / 2)).toFixed(0)}px`);
}

function leave(node) {
  attr(node.querySelector(".cross"), "visibility", "hidden");
  show(byId("chart-tip"), false);
}

/** The accessible alternative; updated only while it is open. */
function table(points) {
  if (!byId("chart-details").open) return;
  const every = Math.max(1, Math.ceil((points.length - 1) / TABLE_ROWS));
  const rows = points.filter((_, i) => i % every === 0 || i === points.length - 1);
  const make = () => el("tr", {}, el("th", { scope: "row" }), el("td", { class: "n" }), el("td", { class: "n" }));
  keyed(byId("chart-rows"), rows, (p) => p.at, make, (row, p) => {
    [seconds(p.at), whole(p.complete), whole(p.error)].forEach((words, i) => text(row.children[i], words));
  });
}

byId("chart-details")?.addEventListener("toggle", () => drawn && table(drawn.points));
