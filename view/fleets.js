/** The list of all fleets. */

import { json } from "./api.js";
import { attr, byId, css, el, keyed, show, text } from "./dom.js";
import { DASH, ZONE, clock, duration, parseTime, plural, seconds, setTime, whole } from "./format.js";
import { setIcon } from "./icons.js";
import { poller, start } from "./polling.js";
import { startTheme } from "./theme.js";
import { ended, isTerminal, phaseOf } from "./describe.js";

const PATH = location.pathname.replace(/\/view\/?$/i, ""); // the API's base URL
const PAGE_SIZE = 100;

let most = PAGE_SIZE;
let fleets = [];

async function poll() {
  fleets = (await json(`${PATH}/fleets`)).fleets;
  render();
  return false; // a new fleet may start at any time
}

function render() {
  const now = Date.now();
  const alive = fleets.filter(({ phase }) => !isTerminal(phase)).length;
  attr(byId("content"), "aria-busy", null);
  show(byId("table"), fleets.length);
  text(byId("sentence"), fleets.length ? `${whole(alive)} of ${plural(fleets.length, "fleet")} ${alive === 1 ? "is" : "are"} running.` : "No fleets yet.");
  keyed(byId("rows"), fleets.slice(0, most), ({ id }) => id, makeRow, (node, fleet) => updateRow(node, fleet, now));
  show(byId("more"), fleets.length > most);
  text(byId("more"), `Show ${plural(fleets.length - most, "older fleet")}`);
  text(byId("foot"), `As of ${seconds(now)}. Times are in ${ZONE}.`);
  document.title = alive ? `${plural(alive, "fleet")} running` : "Fleets";
}

function makeRow({ id, experiment_id: experiment }) {
  const cell = (name, ...children) => el("td", { role: "cell", class: name }, ...children);
  return el("tr", { role: "row" },
    el("th", { role: "rowheader", scope: "row" }, el("a", { href: `${PATH}/view/${encodeURIComponent(id)}` }, id), el("span", { class: "quiet" }, `Experiment ${experiment}`)),
    cell("phase", el("span"), " ", el("span")),
    cell("trials", el("span", { class: "number" }), el("span", { class: "mini", "aria-hidden": "true" }, el("i"), el("i"))),
    cell("vms", el("span", { class: "number" }), el("span", { class: "bad" })),
    cell("began", el("time"), el("span", { class: "quiet" })));
}

function updateRow(node, fleet, now) {
  const [, phase, trials, vms, began] = node.children;
  const { sign, name, tone } = phaseOf(fleet.phase);
  attr(phase, "data-tone", tone);
  setIcon(phase.firstChild, sign);
  text(phase.lastChild, name);
  bar(trials, fleet.trials);
  const { machines } = fleet;
  const over = isTerminal(fleet.phase);
  text(vms.firstChild, over ? plural(machines.accepted, "VM") : `${whole(machines.running)} of ${whole(machines.wanted)} running`);
  text(vms.lastChild, machines.failed ? `${whole(machines.failed)} failed` : "");
  const [from, to] = [parseTime(fleet.created_at), parseTime(fleet.updated_at)];
  setTime(began.firstChild, from, from === null ? DASH : clock(from, now));
  text(began.lastChild, from === null ? "" : over ? (to === null ? "" : `took ${duration((to - from) / 1000)}`) : `for ${duration((now - from) / 1000)}`);
}

function bar(node, trials) {
  const [number, { children: [complete, error] }] = node.children;
  const errors = trials?.error ? `, ${whole(trials.error)} failed` : "";
  text(number, trials ? `${whole(ended(trials))} / ${whole(trials.total)}${errors}` : DASH);
  css(complete, "width", `${trials?.total ? (100 * trials.complete) / trials.total : 0}%`);
  css(error, "width", `${trials?.total ? (100 * trials.error) / trials.total : 0}%`);
}

startTheme();
byId("more").addEventListener("click", () => {
  most += PAGE_SIZE;
  render();
});
start(poller(poll));
