/** The page of one fleet: asks the API and hands what it says to the parts of the page. */

import { Refused, json } from "./api.js";
import { startCancel, updateCancel } from "./cancel.js";
import { closeDetail, detailIsOpen, openDetail, startDetail, updateDetail } from "./detail.js";
import { attr, byId, show, text } from "./dom.js";
import { ZONE, moment, seconds } from "./format.js";
import { startKeys } from "./keys.js";
import { live, start } from "./live.js";
import { updateMoney } from "./money.js";
import { updateFailures, updateSummary } from "./summary.js";
import { startTheme } from "./theme.js";
import { startTimeline, updateTimeline } from "./timeline.js";
import { updateTrials } from "./trials.js";
import { isTerminal } from "./words.js";

const PATH = location.pathname.replace(/\/view\/([^/]+)\/?$/i, "/fleets/$1"); // the API's address of this fleet
const MEASURES = 200; // so many renderings are kept for whoever measures

const known = { progress: null, machines: [] };
let clockSkew = 0; // milliseconds that the app's clock is ahead of ours

/** One look; returns whether the fleet has ended. The status counts, the rest may be missing. */
async function look() {
  const asked = [json(PATH), json(`${PATH}/progress`), json(`${PATH}/machines`)];
  const [fleet, progress, machines] = await Promise.allSettled(asked);
  for (const { reason } of [fleet, progress, machines]) if (reason instanceof Refused) throw reason;
  if (fleet.status === "rejected") throw fleet.reason;
  if (progress.status === "fulfilled") take(progress.value);
  if (machines.status === "fulfilled") known.machines = machines.value.machines;
  const fault = machines.status === "rejected" ? `The records of the VMs could not be had just now. ${machines.reason.message}` : "";
  render(fleet.value, fault);
  const whole = progress.status === "fulfilled" && machines.status === "fulfilled";
  return isTerminal(fleet.value.phase) && whole;
}

/** A database that is away takes nothing that we knew: the last numbers stay. */
function take(progress) {
  const asOf = moment(progress.as_of);
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
  updateDetail();
  updateMoney(fleet, known.progress);
  updateCancel(fleet);
  show(byId("vms-problem"), fault);
  text(byId("vms-problem"), fault);
  text(byId("foot"), `As of ${seconds(now)}. Times are those of ${ZONE}.`);
  measured();
}

function measured() {
  performance.measure("view:render", "view:begin");
  performance.clearMarks("view:begin");
  if (performance.getEntriesByName("view:render").length > MEASURES) performance.clearMeasures("view:render");
}

startTheme();
text(byId("name"), decodeURIComponent(PATH.split("/").pop()));
attr(byId("all-fleets"), "href", PATH.replace(/fleets\/[^/]+$/, "view"));
startTimeline(openDetail, detailIsOpen);
startKeys(detailIsOpen, closeDetail);
startDetail(PATH);
const turn = live(look);
startCancel(PATH, turn);
start(turn);
