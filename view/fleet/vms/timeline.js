/** The timeline: a bar per VM. Only visible rows are in the document. */

import { attr, byId, css, el, keyed, show, text } from "../../common/dom.js";
import { clip, parseTime, plural, tickLabel, tickSeconds, whole } from "../../common/format.js";
import { drawOverview } from "./overview.js";
import { icon, setIcon } from "../../common/icons.js";
import { FILTERS, SEGMENTS, domain, filtered, rowsOf } from "./rows.js";
import { STAGES, isTerminal } from "../../common/describe.js";

const HEIGHTS = { few: 30, many: 24 }; // pixels of a row
const FEW = 40;
const CODE = 60; // characters of an error code
const OVERSCAN = 4; // rows

const view = { all: [], rows: [], filter: "all", active: null, domain: null, now: 0, live: true, select: () => {}, open: () => false };

/** `select(ordinal, focus)` opens the details of a VM; `open()`: whether they are open. */
export function startTimeline(select, open) {
  view.select = select;
  view.open = open;
  const box = byId("vms");
  let waiting = false;
  const later = () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      draw();
    });
  };
  box.append(el("div", { class: "rows", role: "presentation" }));
  box.addEventListener("scroll", later, { passive: true });
  new ResizeObserver(later).observe(byId("timeline"));
  box.addEventListener("click", (event) => {
    const row = event.target.closest("[data-ordinal]");
    if (row) choose(Number(row.dataset.ordinal), true, false);
  });
  legend();
}

export function updateTimeline(fleet, machines, now) {
  const live = !isTerminal(fleet.phase);
  view.now = now;
  view.live = live;
  view.all = rowsOf(machines, now);
  view.domain = domain(view.all, parseTime(fleet.created_at), now, live);
  refilter();
  drawOverview(view.all, view.domain, live ? now : view.domain.to);
}

function refilter() {
  const { rows, counts } = filtered(view.all, view.filter);
  view.rows = rows;
  if (!rows.some(({ machine }) => machine.ordinal === view.active)) view.active = rows[0]?.machine.ordinal ?? null;
  filters(counts);
  show(byId("vms"), rows.length);
  show(byId("vms-none"), rows.length === 0);
  text(byId("vms-none"), view.all.length ? "No matching VMs." : view.live ? "No VMs yet." : "No VM was created.");
  attr(byId("vms"), "aria-label", `${plural(rows.length, "VM")} over time`);
  draw();
}

function filters(counts) {
  const shown = view.all.length > 1 ? FILTERS.filter(([name]) => name === "all" || counts[name] || name === view.filter) : [];
  const make = ([name, words]) => {
    const button = el("button", { type: "button" }, `${words} `, el("b"));
    button.addEventListener("click", () => {
      view.filter = name;
      byId("vms").scrollTop = 0;
      refilter();
    });
    return button;
  };
  keyed(byId("filters"), shown, ([name]) => name, make, (button, [name]) => {
    attr(button, "aria-pressed", String(name === view.filter));
    text(button.lastChild, whole(counts[name]));
  });
}

const rowHeight = () => (view.all.length <= FEW ? HEIGHTS.few : HEIGHTS.many);

function draw() {
  const box = byId("vms");
  const rows = box.firstChild;
  const height = rowHeight();
  css(rows, "height", `${view.rows.length * height}px`);
  if (!view.domain || view.rows.length === 0) return;
  const first = Math.max(0, Math.floor(box.scrollTop / height) - OVERSCAN);
  const end = Math.min(view.rows.length, Math.ceil((box.scrollTop + box.clientHeight) / height) + OVERSCAN);
  const shown = new Map();
  for (let i = first; i < end; i += 1) shown.set(i, view.rows[i]);
  const active = view.rows.findIndex(({ machine }) => machine.ordinal === view.active);
  if (active >= 0) shown.set(active, view.rows[active]); // aria-activedescendant must name an element
  const order = [...shown.keys()].sort((a, b) => a - b).map((index) => ({ index, row: shown.get(index) }));
  keyed(rows, order, ({ row }) => row.machine.ordinal, makeRow, (node, { index, row }) => updateRow(node, row, index, height));
  attr(box, "data-open", view.open());
  attr(box, "aria-activedescendant", active >= 0 ? `vm-${view.active}` : null);
  axis();
}

function makeRow({ row: { machine } }) {
  const label = el("span", { class: "label" }, el("span", { class: "elbow" }), el("span", { class: "sign" }), el("span", { class: "number" }, machine.ordinal));
  const mark = el("span", { class: "mark", dir: "auto" });
  const tally = el("span", { class: "tally" }, el("span"), el("span", { class: "bad" }));
  return el("div", { class: "vm", role: "option", id: `vm-${machine.ordinal}`, "data-ordinal": machine.ordinal },
    label, el("span", { class: "track" }, el("span", { class: "segments" }), mark), tally);
}

function updateRow(node, row, index, height) {
  const [label, track, tally] = node.children;
  css(node, "top", `${index * height}px`);
  css(node, "height", `${height}px`);
  attr(node, "data-stage", row.stage);
  attr(node, "data-depth", row.depth > 0 ? row.depth : null);
  attr(node, "aria-selected", String(row.machine.ordinal === view.active));
  attr(node, "aria-setsize", view.rows.length);
  attr(node, "aria-posinset", index + 1);
  attr(node, "aria-label", spoken(row));
  setIcon(label.children[1], STAGES[row.stage].sign);
  keyed(track.firstChild, row.segments, ({ kind }) => kind, ({ kind }) => el("span", { "data-kind": kind }), (segment, { from, to }) => {
    css(segment, "left", percent(from));
    css(segment, "width", `calc(${((100 * (to - from)) / (view.domain.to - view.domain.from)).toFixed(3)}% + 1px)`);
  });
  mark(track.lastChild, row);
  const { complete = 0, error = 0 } = row.machine.trials ?? {};
  text(tally.firstChild, complete + error ? whole(complete + error) : "");
  text(tally.lastChild, error ? `−${whole(error)}` : "");
}

const share = (at) => (at - view.domain.from) / (view.domain.to - view.domain.from);
const percent = (at) => `${(100 * share(at)).toFixed(3)}%`;

/** The label of a failed VM: its error code and its replacement. */
function mark(node, { machine, stage, failed, segments, failedAt, replacement }) {
  text(node, failed ? `${clip(machine.failure?.code ?? STAGES[stage].name, CODE)}${replacement === null ? "" : ` → ${replacement}`}` : "");
  if (!failed) return;
  const at = share(Math.max(failedAt ?? view.domain.from, segments.at(-1)?.to ?? 0));
  css(node, "max-width", `${Math.max(100 * at, 100 - 100 * at).toFixed(1)}%`);
  attr(node, "data-side", at > 0.6 ? "before" : "after");
  css(node, "left", at > 0.6 ? "auto" : `${(100 * at).toFixed(3)}%`);
  css(node, "right", at > 0.6 ? `${(100 - 100 * at).toFixed(3)}%` : "auto");
}

function spoken({ machine, stage, replacement }) {
  const parts = [`VM ${machine.ordinal}`, STAGES[stage].name];
  if (machine.failure) parts.push(clip(machine.failure.code, CODE));
  if (machine.replaces !== null && machine.replaces !== undefined) parts.push(`replaces ${machine.replaces}`);
  if (replacement !== null) parts.push(`replaced by ${replacement}`);
  const { complete = 0, error = 0 } = machine.trials ?? {};
  if (complete + error) parts.push(plural(complete + error, "trial"));
  return parts.join(", ");
}

function axis() {
  const { from, to } = view.domain;
  const width = byId("axis").clientWidth || 600;
  const step = tickSeconds((to - from) / 1000, Math.max(2, Math.floor(width / 120)));
  const ticks = [];
  for (let at = Math.ceil(from / 1000 / step) * step * 1000; at <= to; at += step * 1000) {
    if (share(at) * width < width - (step < 60 ? 62 : 44)) ticks.push(at);
  }
  keyed(byId("axis"), ticks, (at) => at, () => el("span"), (node, at) => {
    css(node, "left", percent(at));
    text(node, tickLabel(at, step, view.now));
  });
}

function legend() {
  const items = [...SEGMENTS.map(([kind]) => [kind, STAGES[kind].name]), ["failed", "failed → replaced by"]];
  for (const [kind, words] of items) {
    const swatch = kind === "failed" ? icon("cross", "swatch") : el("span", { class: "swatch" });
    byId("vms-legend").append(el("li", { "data-kind": kind }, swatch, words));
  }
}

/** Make a VM active and scroll to it; `open`: open its details. */
export function choose(ordinal, open, focus) {
  let index = view.rows.findIndex(({ machine }) => machine.ordinal === ordinal);
  if (index < 0) {
    if (!view.all.some(({ machine }) => machine.ordinal === ordinal)) return;
    view.filter = "all";
    refilter();
    index = view.rows.findIndex(({ machine }) => machine.ordinal === ordinal);
  }
  view.active = ordinal;
  const [box, height] = [byId("vms"), rowHeight()];
  if (index * height < box.scrollTop) box.scrollTop = index * height;
  if ((index + 1) * height > box.scrollTop + box.clientHeight) box.scrollTop = (index + 1) * height - box.clientHeight;
  if (open) view.select(ordinal, focus);
  draw();
}

/** The index of the active row, all rows, and the rows per page. */
export function activeRow() {
  const index = view.rows.findIndex(({ machine }) => machine.ordinal === view.active);
  return { index, rows: view.rows, page: Math.max(1, Math.floor(byId("vms").clientHeight / rowHeight()) - 1) };
}

export const rowOfVm = (ordinal) => view.all.find(({ machine }) => machine.ordinal === ordinal) ?? null;
