/** Asking again and again: often while somebody looks, seldom while nobody does. */

import { Away, Missing, Refused, findKey } from "./api.js";
import { announce, attr, byId, show, text } from "./dom.js";
import { askForKey } from "./key.js";
import { seconds } from "./format.js";

const VISIBLE = 2_000; // milliseconds from one answer to the next question
const HIDDEN = 30_000;
const LONGEST = 15_000;
const SHARE = 5; // we wait so many times longer than the app took: a large fleet is asked less often

/** Call `look` until it returns true (nothing more will change); `look` raises api.js's errors.
 *  Returns a function that starts again, at once. */
export function live(look) {
  let timer, looking = false, again = false, misses = 0, answered = null, ended = false;

  async function turn() {
    clearTimeout(timer);
    if (looking) {
      again = true;
      return;
    }
    looking = true;
    again = false;
    const begun = performance.now();
    let wait;
    try {
      ended = await look();
      back();
      wait = Math.min(LONGEST, Math.max(VISIBLE, SHARE * (performance.now() - begun)));
    } catch (error) {
      wait = await missed(error);
    }
    looking = false;
    if (again || wait === 0) turn();
    else if (ended) state("ended", "Ended");
    else timer = setTimeout(turn, document.hidden ? HIDDEN : wait);
  }

  function back() {
    if (misses > 0 && answered !== null) announce("The app answers again.");
    misses = 0;
    answered = Date.now();
    show(byId("away"), false);
    state("live", "Live");
  }

  async function missed(error) {
    ended = false;
    if (error instanceof Refused) {
      await askForKey(true);
      return 0;
    }
    misses += 1;
    if (!(error instanceof Away || error instanceof Missing)) console.error(error);
    const wait = Math.min(LONGEST, VISIBLE * 2 ** Math.min(misses - 1, 5));
    const words = error instanceof Missing ? error.message : `The app is away. ${error.message}`;
    away(words, wait);
    return wait;
  }

  function away(words, wait) {
    const then = answered === null ? "" : ` Below is how things stood at ${seconds(answered)}.`;
    text(byId("away-words"), `${words}${then} Asking again every ${Math.round(wait / 1000)} s.`);
    show(byId("away"), true);
    if (misses === 1) announce(words);
    state("away", "Away");
  }

  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && !ended) turn();
  });
  byId("again").addEventListener("click", turn);

  return turn;
}

/** Find the key, asking for it where there is none, and begin. */
export async function start(turn) {
  // Opened once more with a key, in this very tab: browsers then change the address alone.
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
