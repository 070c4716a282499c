/** The experiment's trials, as pages of a table. A page is loaded when it is opened, and not updated. */

import { json } from "../common/api.js";
import { byId, choices, el, show, text } from "../common/dom.js";
import { DASH, clip, duration, quantity, seconds } from "../common/format.js";
import { icon } from "../common/icons.js";
import { memory, processor } from "../common/describe.js";

const LIMIT = 50;
const DIGITS = 4; // of a measure
const NAME = 40; // characters
const STATES = [
  ["", "All"],
  ["complete", "Complete", "check"],
  ["failed", "Failed", "cross"],
  ["running", "Running", "full"],
  ["ready", "Ready", "ring"],
];
const SIGNS = Object.fromEntries(STATES.map(([state, , sign]) => [state, sign]));

/** `cursors`: of the pages from the first to the shown one. */
const view = { path: () => "", state: "", cursors: [null], next: null, request: 0 };

/** `path()`: the fleet's API URL. */
export function startTrialList(path) {
  view.path = path;
  const list = byId("trial-list");
  list.addEventListener("toggle", () => list.open && load([null]));
  choices(byId("trial-filters"), STATES, view.state, (state) => {
    view.state = state;
    load([null]);
  });
  byId("trials-before").addEventListener("click", () => turn(view.cursors.slice(0, -1)));
  byId("trials-after").addEventListener("click", () => turn([...view.cursors, view.next]));
}

/** The button may be hidden on the new page: the focus goes to its rows. */
async function turn(cursors) {
  await load(cursors);
  (byId("trial-table").hidden ? byId("trial-list").firstElementChild : byId("trial-table")).focus();
}

async function load(cursors) {
  view.request += 1;
  const mine = view.request;
  const query = new URLSearchParams({ limit: LIMIT, traceback: "true" });
  if (view.state) query.set("state", view.state);
  if (cursors.at(-1) !== null) query.set("cursor", cursors.at(-1));
  text(byId("trial-list-note"), "Loading.");
  let [page, fault] = [{ trials: [], next: null }, ""];
  try {
    page = await json(`${view.path()}/trials?${query}`);
  } catch (error) {
    fault = `The trials could not be loaded. ${error.message}`;
  }
  if (mine !== view.request) return; // another page was asked for meanwhile
  [view.cursors, view.next] = [cursors, page.next];
  const found = page.trials.length ? `Page ${cursors.length}, as of ${seconds(Date.now())}.` : "No matching trials.";
  text(byId("trial-list-note"), fault || found);
  byId("trial-rows").replaceChildren(...page.trials.map(row));
  show(byId("trial-table"), page.trials.length);
  show(byId("trials-before"), cursors.length > 1);
  show(byId("trials-after"), page.next !== null);
}

function row(trial) {
  const measures = Object.entries(trial.measures).map(([name, value]) => el("div", { dir: "auto" }, `${name} ${Number(value.toPrecision(DIGITS))}`));
  return el("tr", { "data-state": trial.state },
    el("th", { scope: "row", dir: "auto" }, trial.method),
    el("td", { dir: "auto" }, trial.task),
    el("td", {}, vmOf(trial), below(processor(trial.vm?.system.cpu_model))),
    el("td", {}, took(trial.seconds), below(used(trial.usage))),
    el("td", {}, ...measures),
    el("td", {}, icon(SIGNS[trial.state]), ` ${trial.state}`, ...errorOf(trial)));
}

/** Its number, or the name of another fleet's VM. */
const vmOf = ({ machine, vm }) => machine ?? clip(vm?.name || DASH, NAME);

const below = (words) => el("div", { class: "below", dir: "auto" }, words);

function used(usage) {
  if (!usage) return "";
  const { user_seconds: user, system_seconds: system, steal_seconds: steal, max_rss_bytes: peak } = usage;
  return [
    ...(user === null ? [] : [`CPU ${took(user + (system ?? 0))}`]),
    ...(peak === null ? [] : [memory(peak)]),
    ...(steal ? [`${took(steal)} stolen`] : []),
  ].join(", ");
}

function took(time) {
  if (time === null) return DASH;
  return time < 10 ? `${quantity(time)} s` : duration(time);
}

function errorOf({ error, traceback }) {
  if (error === null) return [];
  if (!traceback) return [el("div", { dir: "auto" }, error)];
  return [el("details", {}, el("summary", { dir: "auto" }, error), el("pre", {}, traceback))];
}
