/** The form that plans a fleet, and then submits it. */

import { NotFound, NotShown, Refused, Unauthorized, json } from "../common/api.js";
import { announce, attr, byId, show, text } from "../common/dom.js";
import { askForKey } from "../common/keyform.js";
import { handle } from "../common/describe.js";
import { start } from "../common/polling.js";
import { startTheme } from "../common/theme.js";
import { forgetBatch, keepBatch, newBatch, pendingBatch } from "./batch.js";
import { clearFaults, showFaults } from "./faults.js";
import { showPlan } from "./plan.js";
import { FIELDS, NotAnObject, requestOf } from "./request.js";

const BASE = location.pathname.replace(/\/submit\/?$/i, ""); // the API's base URL
const CHANGED = "The request has changed. Plan it again.";
const VERBS = { plan: "planning fleets", fleets: "submitting fleets" };

let batchId = pendingBatch() ?? newBatch();
let planned = null; // the request that was planned and may be submitted
let working = false;
let edits = 0;

function request() {
  const texts = Object.fromEntries(Object.keys(FIELDS).map((name) => [name, byId(name).value.trim()]));
  return requestOf(texts, byId("more").value.trim(), batchId);
}

async function plan() {
  const before = edits;
  planned = null;
  clearFaults();
  await post("plan", byId("plan"), "Planning …", request, (found, sent) => {
    showPlan(found);
    planned = found.ok && edits === before ? sent : null;
    text(byId("send-note"), edits !== before ? CHANGED : found.ok ? "" : "The faults above must be corrected first.");
    show(byId("result"), true);
    byId("result").focus({ preventScroll: true });
    byId("result").scrollIntoView({ block: "nearest" });
    announce(byId("verdict-words").textContent);
  });
}

async function submit() {
  const sending = planned;
  if (!sending) return;
  clearFaults();
  keepBatch(sending.batchId);
  await post("fleets", byId("send"), "Submitting …", () => sending, (fleet) => {
    forgetBatch();
    byId("form").reset();
    location.assign(pageOf(fleet));
  });
}

/** POST a request and handle the response. Nothing else can be sent meanwhile. */
async function post(route, button, words, read, then) {
  if (working) return;
  working = true;
  const label = button.textContent;
  text(button, words);
  enable();
  show(byId("earlier"), false);
  show(byId("other-key"), false);
  try {
    const sent = read();
    then(await json(`${BASE}/${route}`, "POST", sent.body), sent);
  } catch (error) {
    await failed(error, route);
  } finally {
    working = false;
    text(button, label);
    enable();
  }
}

function enable() {
  byId("plan").disabled = working;
  byId("send").disabled = working || planned === null;
}

async function failed(error, route) {
  if (error instanceof NotAnObject) return showFaults([{ pointer: "/more", detail: error.message }]);
  const submitting = route === "fleets";
  // A refusal says that there is no fleet; any other error may hide one.
  if (submitting && (error instanceof Refused || error instanceof Unauthorized)) forgetBatch();
  if (error instanceof Refused && error.errors.length) {
    planned = null;
    return showFaults(error.errors);
  }
  if (error instanceof Unauthorized) {
    show(byId("other-key"), true);
    return text(byId("form-fault"), `Your key is wrong, or does not permit ${VERBS[route]}. Nothing was created.`);
  }
  if (submitting && error instanceof NotShown) return used(error);
  const again = submitting && !(error instanceof Refused) ? " Submitting again is safe: it starts no second fleet." : "";
  return text(byId("form-fault"), `${error.message}${again}`);
}

/** 409: the name is taken, or an earlier click submitted another request with this batch ID. */
async function used(error) {
  const earlier = await submitted(pendingBatch()).catch(() => null);
  text(byId("form-fault"), error.message);
  forgetBatch();
  batchId = newBatch();
  planned = null;
  if (!earlier) return;
  text(byId("form-fault"), "This form has submitted an earlier version of the request. Plan again to submit a second fleet.");
  text(byId("earlier-link"), `Show ${handle(earlier)}`);
  attr(byId("earlier-link"), "href", pageOf(earlier));
  show(byId("earlier"), true);
}

const pageOf = (fleet) => `${BASE}/view/${encodeURIComponent(handle(fleet))}`;

/** The fleet with a batch ID, or null. */
async function submitted(id) {
  try {
    return await json(`${BASE}/fleets/fleet-${encodeURIComponent(id)}`);
  } catch (error) {
    if (error instanceof NotFound) return null;
    throw error;
  }
}

/** After a reload while the app's answer was unknown: show the fleet, if there is one. */
async function resume() {
  const pending = pendingBatch();
  if (pending === null) return;
  const fleet = await submitted(pending).catch(() => null);
  if (!fleet) return;
  forgetBatch();
  location.replace(pageOf(fleet));
}

startTheme();
attr(byId("all-fleets"), "href", `${BASE}/view`);
byId("form").addEventListener("submit", (event) => {
  event.preventDefault();
  plan();
});
byId("form").addEventListener("input", () => {
  edits += 1;
  if (planned) text(byId("send-note"), CHANGED);
  planned = null;
  enable();
});
byId("send").addEventListener("click", submit);
byId("other-key").addEventListener("click", async () => {
  await askForKey(true);
  show(byId("other-key"), false);
  text(byId("form-fault"), "");
});
start(resume);
