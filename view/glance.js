/** The whole fleet at a glance: how many VMs did what, over the same time as the rows below. */

import { attr, byId, show, svg, text } from "./dom.js";
import { whole } from "./format.js";
import { census } from "./rows.js";

const HEIGHT = 56;
const SAMPLES = 160;
const LEAST = 12; // below so many VMs the rows say it better
const STACK = ["working", "running", "role_assigned", "accepted", "ended"]; // from the bottom

/** `until`: where the future begins. */
export function drawGlance(rows, domain, until) {
  const box = byId("glance");
  show(box, rows.length >= LEAST);
  if (rows.length < LEAST) return;
  const counts = census(rows, domain, SAMPLES);
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
  attr(node, "aria-label", `At most ${whole(top)} VMs stood at a time; ${whole(counts.working[samples - 1])} work at the end of the chart.`);
}

function begin(box) {
  const node = svg("svg", { role: "img", viewBox: `0 0 ${SAMPLES} ${HEIGHT}`, preserveAspectRatio: "none", height: HEIGHT },
    ...STACK.map((kind) => svg("path", { "data-kind": kind })));
  const label = document.createElement("p");
  attr(label, "class", "top");
  attr(label, "aria-hidden", "true");
  box.append(label, node);
  return node;
}

/** Steps, not slopes: a VM is there or it is not. */
function area(below, above, samples, top) {
  const y = (n) => (HEIGHT - (n / top) * (HEIGHT - 2)).toFixed(1);
  let path = `M0 ${y(below[0])}`;
  for (let i = 0; i < samples; i += 1) path += `V${y(above[i])}H${i + 1}`;
  for (let i = samples - 1; i >= 0; i -= 1) path += `V${y(below[i])}H${i}`;
  return `${path}Z`;
}
