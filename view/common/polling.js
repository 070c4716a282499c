/** Polls often while the page is visible, rarely while it is hidden. */

import { Unavailable, NotFound, NotShown, Unauthorized, findKey } from "./api.js";
import { announce, attr, byId, show, text } from "./dom.js";
import { askForKey } from "./keyform.js";
import { seconds } from "./format.js";

const VISIBLE = 2_000; // milliseconds between a response and the next request
const HIDDEN = 30_000;
const LONGEST = 15_000;
const UNKNOWN_TRIES = 6; // in about a minute
const LATENCY_FACTOR = 5; // wait this many times the last latency, to spare the app large responses

/** Returns a function that starts polling: it calls `poll` until that returns true (the fleet has
 *  ended). `poll` throws api.js's errors. */
export function poller(poll) {
  let timer, polling = false, again = false, failures = 0, answered = null, ended = false, stopped = false;

  async function turn() {
    clearTimeout(timer);
    if (polling) {
      again = true;
      return;
    }
    polling = true;
    again = stopped = false;
    const begun = performance.now();
    let wait;
    try {
      ended = await poll();
      succeeded();
      wait = Math.min(LONGEST, Math.max(VISIBLE, LATENCY_FACTOR * (performance.now() - begun)));
    } catch (error) {
      wait = await failed(error);
    }
    polling = false;
    if (again || wait === 0) turn();
    else if (wait === null) stopped = true;
    else if (ended) state("ended", "Ended");
    else timer = setTimeout(turn, document.hidden ? HIDDEN : wait);
  }

  function succeeded() {
    if (failures > 0 && answered !== null) announce("The app responds again.");
    failures = 0;
    answered = Date.now();
    show(byId("away"), false);
    state("live", "Live");
  }

  async function failed(error) {
    ended = false;
    if (error instanceof Unauthorized) {
      await askForKey(true);
      return 0;
    }
    failures += 1;
    const wait = Math.min(LONGEST, VISIBLE * 2 ** Math.min(failures - 1, 5));
    const isUnknown = error instanceof NotFound && answered === null;
    if (error instanceof NotShown || isUnknown) {
      refused(error.message, isUnknown ? "Not found" : "Not available");
      // A fleet that a queue message asks for, or a host that restarts, may need a minute to appear.
      return isUnknown && failures < UNKNOWN_TRIES ? wait : null;
    }
    if (!(error instanceof Unavailable || error instanceof NotFound)) console.error(error);
    const words = error instanceof NotFound ? error.message : `The app is unavailable. ${error.message}`;
    away(words, wait);
    return wait;
  }

  function away(words, wait) {
    const then = answered === null ? "" : ` The page shows the state at ${seconds(answered)}.`;
    text(byId("away-words"), `${words}${then} Retrying every ${Math.round(wait / 1000)} s.`);
    show(byId("away"), true);
    if (failures === 1) announce(words);
    state("away", "Unavailable");
  }

  /** A response that another poll would probably repeat. */
  function refused(words, name) {
    if (byId("away-words").textContent !== words) announce(words);
    text(byId("away-words"), words);
    show(byId("away"), true);
    state("away", name);
  }

  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && !ended && !stopped) turn();
  });
  byId("again").addEventListener("click", turn);

  return turn;
}

/** Find or ask for the key, then start polling. */
export async function start(turn) {
  // A link with a key, opened in this tab, changes the fragment only.
  addEventListener("hashchange", async () => {
    if (!location.hash.includes("key=")) return;
    await findKey();
    location.reload();
  });
  if (!(await findKey())) await askForKey(false);
  turn();
}

function state(name, words) {
  attr(byId("pulse"), "data-state", name);
  text(byId("pulse-words"), words);
}
