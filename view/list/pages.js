/** The list of fleets as loaded so far. Polling reloads the first page only. */

import { json } from "../common/api.js";

const PAGE_SIZE = 50;

/** `path`: the URL of the API's list. */
export function pagedFleets(path) {
  let status = "", fleets = [], older = null, generation = 0;

  function page(cursor) {
    const query = new URLSearchParams({ limit: PAGE_SIZE });
    if (status) query.set("status", status);
    if (cursor) query.set("cursor", cursor);
    return json(`${path}?${query}`);
  }

  return {
    fleets: () => fleets,
    hasOlder: () => older !== null,

    /** Show fleets of this status only ("active", "ended"), or all (""). */
    filter(value) {
      [status, fleets, older] = [value, [], null];
      generation += 1;
    },

    /** Reload the first page. Returns false if the filter has changed meanwhile. */
    async refresh() {
      const begun = generation;
      const { fleets: newest, next } = await page(null);
      if (begun !== generation) return false;
      const kept = next === null ? [] : rest(fleets, newest);
      if (kept.length === 0) older = next;
      fleets = [...newest, ...kept];
      return true;
    },

    /** Load the page after the last one. */
    async loadOlder() {
      const begun = generation, cursor = older;
      if (cursor === null) return;
      const { fleets: loaded, next } = await page(cursor);
      if (begun !== generation || cursor !== older) return;
      const known = new Set(fleets.map(({ id }) => id));
      fleets = [...fleets, ...loaded.filter(({ id }) => !known.has(id))];
      older = next;
    },
  };
}

/** The loaded fleets that come after the first page: none if the two do not overlap, because fleets
 *  between them may be missing. Fleets within the first page that the app did not return no longer match
 *  the filter. */
function rest(fleets, newest) {
  const ids = new Set(newest.map(({ id }) => id));
  if (!fleets.some(({ id }) => ids.has(id))) return [];
  const last = Date.parse(newest.at(-1).created_at);
  return fleets.filter(({ id, created_at: created }) => !ids.has(id) && Date.parse(created) <= last);
}
