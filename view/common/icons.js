/** Icons as SVG, since a font may lack them. Text beside each has the same meaning. */

import { attr, el, svg } from "./dom.js";

const RING = ["circle", { cx: 8, cy: 8, r: 5.5, class: "stroke" }];
const path = (d, kind) => ["path", { d, class: kind }];

const SHAPES = {
  ring: [RING],
  quarter: [RING, path("M8 8V2.5A5.5 5.5 0 0 1 13.5 8Z", "solid")],
  half: [RING, path("M8 2.5A5.5 5.5 0 0 1 8 13.5Z", "solid")],
  most: [RING, path("M8 8V2.5A5.5 5.5 0 1 1 2.5 8Z", "solid")],
  full: [RING, ["circle", { cx: 8, cy: 8, r: 5.5, class: "solid" }]],
  dashed: [["circle", { cx: 8, cy: 8, r: 5.5, class: "stroke dashes" }]],
  check: [path("M3 8.6 6.4 12 13 4.6", "stroke")],
  cross: [path("M3.8 3.8l8.4 8.4M12.2 3.8l-8.4 8.4", "stroke")],
  barred: [RING, path("M4.2 11.8 11.8 4.2", "stroke")],
  contrast: [RING, path("M8 2.5A5.5 5.5 0 0 1 8 13.5Z", "solid")],
  sun: [["circle", { cx: 8, cy: 8, r: 3, class: "stroke" }], path("M8 1v1.5M8 13.5V15M1 8h1.5M13.5 8H15M3 3l1.1 1.1M11.9 11.9 13 13M13 3l-1.1 1.1M4.1 11.9 3 13", "stroke")],
  moon: [path("M13.2 9.8A5.6 5.6 0 0 1 6.2 2.8 5.6 5.6 0 1 0 13.2 9.8Z", "stroke")],
  warning: [path("M8 2.2 14.5 13.5H1.5ZM8 6.5v3.4M8 11.4v.6", "stroke")],
};

export function icon(name, className = "sign") {
  const node = el("span", { class: className });
  setIcon(node, name);
  return node;
}

export function setIcon(node, name) {
  if (node.getAttribute("data-icon") === name) return;
  attr(node, "data-icon", name);
  const shapes = (SHAPES[name] ?? SHAPES.ring).map(([tag, attributes]) => svg(tag, attributes));
  node.replaceChildren(svg("svg", { class: "icon", viewBox: "0 0 16 16", "aria-hidden": "true" }, ...shapes));
}
