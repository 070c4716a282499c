/** How many VMs were in each stage over time, on the axis of the timeline. */

import { attr, byId, el, show, svg, text } from "../../common/dom.js";
import { whole } from "../../common/format.js";
import { countsOverTime } from "./rows.js";

const HEIGHT = 56;
const SAMPLES = 160;
const MIN_VMS = 12; // fewer are clear from the rows
const STACK = ["working", "installing", "running", "role_assigned", "accepted", "ended"]; // bottom first

/** `until`: the current time. */
export function drawOverview(rows, domain, until) {
  const box = byId("overview");
  show(box, rows.length >= MIN_VMS);
  if (rows.length < MIN_VMS) return;
  const counts = countsOverTime(rows, domain, SAMPLES);
  const known = Math.round(((until - domain.from) / (domain.to - domain.from)) * SAMPLES);
  const samples = Math.max(1, Math.min(SAMPLES, known));
  const sums = new Array(SAMPLES + 1).fill(0);
  for (const kind of STACK) counts[kind].forEach((n, i) => (sums[i] += n));
  const top = Math.max(1, ...sums.slice(0, samples));
  const node = box.querySelector("svg") ?? begin(box);
  const below = new Array(SAMPLES + 1).fill(0);
  for (const kind of STACK) {
    const above = below.map((n, i) => n + counts[kind][i]);
    attr(node.querySelector(`[data-kind=${kind}]`), "d", area(below, above, samples, top));
    above.forEach((n, i) => (below[i] = n));
  }
  text(box.querySelector(".top"), whole(top));
  attr(node, "aria-label", `At most ${whole(top)} VMs existed at a time; ${whole(counts.working[samples - 1])} run trials at the end of the chart.`);
}

function begin(box) {
  const node = svg("svg", { role: "img", viewBox: `0 0 ${SAMPLES} ${HEIGHT}`, preserveAspectRatio: "none", height: HEIGHT },
    ...STACK.map((kind) => svg("path", { "data-kind": kind })));
  box.append(el("p", { class: "top", "aria-hidden": "true" }), node);
  return node;
}

/** Steps, not slopes: a VM exists or it does not. */
function area(below, above, samples, top) {
  const y = (n) => (HEIGHT - (n / top) * (HEIGHT - 2)).toFixed(1);
  let path = `M0 ${y(below[0])}`;
  for (let i = 0; i < samples; i += 1) path += `V${y(above[i])}H${i + 1}`;
  for (let i = samples - 1; i >= 0; i -= 1) path += `V${y(below[i])}H${i}`;
  return `${path}Z`;
}
