/** The list of fleets: the newest page, which is polled, and older ones on request. */

import { attr, byId, choices, css, el, keyed, show, text } from "../common/dom.js";
import { DASH, ZONE, clip, clock, duration, money, parseTime, plural, seconds, setTime, whole } from "../common/format.js";
import { setIcon } from "../common/icons.js";
import { pagedFleets } from "./pages.js";
import { poller, start } from "../common/polling.js";
import { startTheme } from "../common/theme.js";
import { endOf, ended, handle, isTerminal, phaseOf } from "../common/describe.js";

const PATH = location.pathname.replace(/\/view\/?$/i, ""); // the API's base URL
const FILTERS = [["", "All"], ["active", "Active"], ["ended", "Ended"]];
const TEXT = 120; // characters

const list = pagedFleets(`${PATH}/fleets`);
let status = FILTERS.find(([value]) => value === new URL(location.href).searchParams.get("status"))?.[0] ?? "";

async function poll() {
  if (await list.refresh()) render();
  return false; // a new fleet may start at any time
}

function render() {
  const now = Date.now();
  const fleets = list.fleets();
  const alive = fleets.filter(({ phase }) => !isTerminal(phase)).length;
  attr(byId("content"), "aria-busy", null);
  show(byId("table"), fleets.length);
  text(byId("sentence"), sentence(fleets.length, alive));
  keyed(byId("rows"), fleets, ({ id }) => id, makeRow, (node, fleet) => updateRow(node, fleet, now));
  show(byId("more"), list.hasOlder());
  text(byId("foot"), `As of ${seconds(now)}. Times are in ${ZONE}.`);
  document.title = alive ? `${plural(alive, "fleet")} running` : "Fleets";
}

function sentence(count, alive) {
  const older = list.hasOlder();
  if (status === "active") return count ? `${older ? "More than " : ""}${plural(count, "fleet")} ${count === 1 ? "is" : "are"} running.` : "No fleet is running.";
  if (status === "ended") return count ? `${older ? "More than " : ""}${plural(count, "fleet")} ${count === 1 ? "has" : "have"} ended.` : "No fleet has ended.";
  if (!count) return "No fleets yet.";
  const of = older ? `the ${whole(count)} newest fleets` : plural(count, "fleet");
  return `${whole(alive)} of ${of} ${alive === 1 ? "is" : "are"} running.`;
}

function makeRow(fleet) {
  const cell = (name, ...children) => el("td", { role: "cell", class: name }, ...children);
  const link = el("a", { href: `${PATH}/view/${encodeURIComponent(handle(fleet))}` }, handle(fleet));
  return el("tr", { role: "row" },
    el("th", { role: "rowheader", scope: "row" }, link, el("span", { class: "own-name", dir: "auto" })),
    cell("experiment", el("span", { dir: "auto" }), el("span", { class: "quiet", dir: "auto" })),
    cell("phase", el("span"), " ", el("span")),
    cell("trials", el("span", { class: "number" }), el("span", { class: "mini", "aria-hidden": "true" }, el("i"), el("i"))),
    cell("vms", el("span", { class: "number" }), el("span", { class: "bad" })),
    cell("cost"),
    cell("began", el("time"), el("span", { class: "quiet" })));
}

function updateRow(node, fleet, now) {
  const [name, experiment, phase, trials, vms, cost, began] = node.children;
  const { sign, name: phaseName, tone } = phaseOf(fleet);
  if (fleet.purged_at) name.firstChild.removeAttribute("href");
  text(name.lastChild, clip(fleet.name, TEXT));
  const number = `Experiment ${fleet.experiment_id}`, who = `by ${clip(fleet.submitted_by, TEXT)}`;
  text(experiment.firstChild, clip(fleet.experiment_name, TEXT) || number);
  text(experiment.lastChild, fleet.experiment_name ? `${number} · ${who}` : who);
  attr(phase, "data-tone", tone);
  setIcon(phase.firstChild, sign);
  text(phase.lastChild, phaseName);
  bar(trials, fleet.trials);
  updateVms(vms, fleet);
  text(cost, fleet.cost === null ? "" : money(fleet.cost, "USD"));
  updateTimes(began, fleet, now);
}

function updateVms(node, { machines, phase }) {
  const over = isTerminal(phase);
  const counts = machines && (over ? plural(machines.accepted, "VM") : `${whole(machines.running)} of ${whole(machines.wanted)} running`);
  attr(node, "data-unknown", !machines);
  text(node.firstChild, counts ?? DASH);
  const parts = ["failed", "refused"].filter((state) => machines?.[state]).map((state) => `${whole(machines[state])} ${state}`);
  text(node.lastChild, parts.join(", "));
}

function updateTimes(node, fleet, now) {
  const [from, to] = [parseTime(fleet.created_at), endOf(fleet)];
  const [time, lasting] = node.children;
  setTime(time, from, from === null ? DASH : clock(from, now));
  const over = isTerminal(fleet.phase);
  const words = over ? (to === null ? "" : `took ${duration((to - from) / 1000)}`) : `for ${duration((now - from) / 1000)}`;
  text(lasting, from === null ? "" : fleet.purged_at ? `${words}; history deleted` : words);
}

function bar(node, trials) {
  const [number, { children: [complete, error] }] = node.children;
  attr(node, "data-unknown", !trials);
  show(node.lastChild, trials);
  const errors = trials?.error ? `, ${whole(trials.error)} failed` : "";
  text(number, trials ? `${whole(ended(trials))} / ${whole(trials.total)}${errors}` : DASH);
  css(complete, "width", `${trials?.total ? (100 * trials.complete) / trials.total : 0}%`);
  css(error, "width", `${trials?.total ? (100 * trials.error) / trials.total : 0}%`);
}

function startFilters(turn) {
  choices(byId("filters"), FILTERS, status, (value) => {
    status = value;
    const url = new URL(location.href);
    if (value) url.searchParams.set("status", value);
    else url.searchParams.delete("status");
    history.replaceState(history.state, "", url);
    list.filter(value);
    turn();
  });
  list.filter(status);
}

function startOlder(turn) {
  const more = byId("more");
  more.addEventListener("click", async () => {
    more.disabled = true;
    try {
      await list.loadOlder();
      render();
    } catch {
      turn(); // reports the error, and retries
    } finally {
      more.disabled = false;
    }
  });
}

startTheme();
attr(byId("submit"), "href", `${PATH}/submit`);
const turn = poller(poll);
startFilters(turn);
startOlder(turn);
start(turn);
