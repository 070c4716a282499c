/** The console output of a VM, at the full width of the page. It follows the VM until that, or the fleet, has
 *  ended; a hidden page reads nothing. */

import { NotFound } from "../../common/api.js";
import { attr, byId, show, text } from "../../common/dom.js";
import { DASH, seconds } from "../../common/format.js";
import { exists } from "../../common/describe.js";
import { rowOfVm } from "./timeline.js";
import { logOf } from "./log_source.js";

const INTERVAL = 10_000; // milliseconds between a response and the next request, which costs two of Azure's
const AT_END = 24; // pixels from the bottom, within which new lines scroll into view

let fleetPath = () => "";
let shown = null; // {ordinal, read}
let following = true, live = true, grew = false, reading = false, timer;

/** `path()`: the fleet's API URL. */
export function startConsole(path) {
  fleetPath = path;
  byId("log-close").addEventListener("click", closeConsole);
  byId("console").addEventListener("keydown", (event) => event.key === "Escape" && closeConsole());
  byId("log-follow").addEventListener("click", () => {
    following = !following;
    turn();
  });
  document.addEventListener("visibilitychange", turn);
}

/** `isLive`: the fleet has not ended. */
export function updateConsole(isLive) {
  live = isLive;
  const grows = mayGrow();
  if (grew && !grows && following && !document.hidden) readAnew(); // its first line says how the VM ended
  grew = grows;
  buttons();
}

export function openConsole(ordinal) {
  shown = { ordinal, read: logOf(fleetPath(), ordinal) };
  following = true;
  text(byId("console-title"), `Console output of VM ${ordinal}`);
  text(byId("log-note"), "Loading.");
  text(byId("log"), "");
  show(byId("log"), false);
  show(byId("console"), true);
  byId("console-title").focus({ preventScroll: true });
  byId("console").scrollIntoView({ block: "nearest" });
  read();
}

/** Read the whole output again, also if a part of it is being read. */
function readAnew() {
  shown = { ...shown, read: logOf(fleetPath(), shown.ordinal) };
  read();
}

function closeConsole() {
  shown = null;
  clearTimeout(timer);
  show(byId("console"), false);
  (byId("log-get").offsetParent ? byId("log-get") : byId("vms")).focus();
}

/** Whether more output may come. */
function mayGrow() {
  return shown !== null && live && exists(rowOfVm(shown.ordinal)?.machine ?? {});
}

function buttons() {
  const grows = mayGrow();
  show(byId("log-follow"), grows);
  attr(byId("log-follow"), "aria-pressed", String(following));
}

function turn() {
  buttons();
  clearTimeout(timer);
  if (following && mayGrow() && !document.hidden) read();
}

async function read() {
  if (reading) return;
  reading = true;
  const from = shown;
  try {
    const words = await from.read();
    if (shown === from) render(words);
  } catch (error) {
    if (shown === from) text(byId("log-note"), error instanceof NotFound ? error.message : `The log could not be loaded. ${error.message}`);
  }
  reading = false;
  if (shown === null) return;
  if (shown !== from) read();
  else if (following && mayGrow()) timer = setTimeout(turn, INTERVAL);
  buttons();
}

function render(words) {
  const log = byId("log");
  const first = log.hidden;
  const atEnd = first || log.scrollHeight - log.scrollTop - log.clientHeight < AT_END;
  show(log, true);
  text(log, words || DASH);
  if (atEnd) log.scrollTop = log.scrollHeight;
  if (first) byId("console").scrollIntoView({ block: "nearest" });
  text(byId("log-note"), `As of ${seconds(Date.now())}.`);
}
