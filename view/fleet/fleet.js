/** The page of one fleet: polls the API and updates the parts of the page. */

import { Unauthorized, json } from "../common/api.js";
import { startCancel, updateCancel } from "./cancel.js";
import { startConsole, updateConsole } from "./vms/console.js";
import { detailIsOpen, openDetail, startDetail, updateDetail } from "./vms/details.js";
import { attr, byId, link, show, text } from "../common/dom.js";
import { ZONE, parseTime, seconds } from "../common/format.js";
import { startKeys } from "./vms/keyboard.js";
import { poller, start } from "../common/polling.js";
import { updateMoney } from "./cost.js";
import { updateFailures, updateSummary } from "./summary.js";
import { startTheme } from "../common/theme.js";
import { startTimeline, updateTimeline } from "./vms/timeline.js";
import { startTrialList } from "./trial_list.js";
import { updateTrials } from "./trials.js";
import { isTerminal } from "../common/describe.js";

const [, BASE, ASKED] = /^(.*)\/view\/([^/]+)\/?$/i.exec(location.pathname); // the API's base URL, and the fleet's ID or name
const MAX_MEASURES = 200;

const known = { progress: null, machines: [], number: null, name: null };
let path = `${BASE}/fleets/${ASKED}`; // the fleet's API URL
let resolved = false;
let clockSkew = 0; // milliseconds that the app's clock is ahead of the browser's

/** The fleet that `latest` or a name means now: later it may mean another one, so the page keeps the ID. */
async function resolve() {
  const fleet = await json(path);
  path = `${BASE}/fleets/${encodeURIComponent(fleet.id)}`;
  resolved = true;
  return fleet;
}

/** Returns whether the fleet has ended. Progress and VMs are optional; the status is not. */
async function poll() {
  const status = resolved ? json(path) : await resolve();
  const requests = [status, json(`${path}/progress`), json(`${path}/machines`)];
  const [fleet, progress, machines] = await Promise.allSettled(requests);
  for (const { reason } of [fleet, progress, machines]) if (reason instanceof Unauthorized) throw reason;
  if (fleet.status === "rejected") throw fleet.reason;
  if (progress.status === "fulfilled") take(progress.value);
  if (machines.status === "fulfilled") known.machines = machines.value.machines;
  const fault = machines.status === "rejected" ? `The VMs could not be loaded. ${machines.reason.message}` : "";
  render(merged(fleet.value), fault);
  const whole = progress.status === "fulfilled" && machines.status === "fulfilled";
  // The app's table has the end a moment later; without the table, the page does not wait for it.
  const over = isTerminal(fleet.value.phase) && (fleet.value.ended_at !== null || fleet.value.number === null);
  return over && whole;
}

/** With the newest counts of trials, of an ended fleet those at its end; with number and name also while the app's database is unavailable. */
function merged(fleet) {
  if (fleet.number !== null) [known.number, known.name] = [fleet.number, fleet.name];
  const counts = [known.progress?.trials, fleet.trials];
  const trials = isTerminal(fleet.phase) ? counts[1] ?? counts[0] : counts[0] ?? counts[1];
  return { ...fleet, number: known.number, name: known.name, trials };
}

/** Keep the last numbers while the database is unavailable. */
function take(progress) {
  const asOf = parseTime(progress.as_of);
  if (asOf !== null) clockSkew = asOf - Date.now();
  const before = known.progress;
  known.progress = progress.problem && before ? { ...before, ...progress, trials: progress.trials ?? before.trials, series: before.series, before: before.before } : progress;
}

function render(fleet, fault) {
  performance.mark("view:begin");
  const now = Date.now() + clockSkew;
  show(byId("body"), true);
  attr(byId("content"), "aria-busy", null);
  updateSummary(fleet, known.progress, known.machines, now);
  updateTrials(fleet, known.progress, now);
  updateFailures(fleet);
  updateTimeline(fleet, known.machines, now);
  updateDetail(fleet.portal);
  updateConsole(!isTerminal(fleet.phase));
  link(byId("portal"), fleet.portal);
  updateMoney(fleet, known.progress);
  updateCancel(fleet);
  show(byId("vms-problem"), fault);
  text(byId("vms-problem"), fault);
  text(byId("foot"), `As of ${seconds(now)}. Times are in ${ZONE}.`);
  measured();
}

function measured() {
  performance.measure("view:render", "view:begin");
  performance.clearMarks("view:begin");
  if (performance.getEntriesByName("view:render").length > MAX_MEASURES) performance.clearMeasures("view:render");
}

startTheme();
text(byId("name"), decodeURIComponent(ASKED));
attr(byId("all-fleets"), "href", `${BASE}/view`);
startTimeline(openDetail, detailIsOpen);
startKeys();
startDetail();
startConsole(() => path);
startTrialList(() => path);
const turn = poller(poll);
startCancel(() => path, turn);
start(turn);
