/** Reads the console output of a VM: the end of it at first, later only the lines after it. */

import { request } from "../../common/api.js";

const LIMIT = 32 * 1024; // bytes shown, as in the API

/** Returns a function that resolves to the output so far: its last 32 KB. It throws api.js's errors. */
export function logOf(fleetPath, ordinal) {
  const path = `${fleetPath}/machines/${ordinal}/log`;
  let next = null; // the API's position after `lines`
  let lines = "", shown = "";
  return async () => {
    const response = await request(next ? `${path}?after=${encodeURIComponent(next)}` : path);
    const [part, before] = [await response.text(), next];
    next = response.headers.get("Log-Next");
    if (before && sourceOf(next) === sourceOf(before)) {
      if (part) shown = lines = end(lines + part);
    } else { // the first part, or the stored log of a VM that has been deleted
      shown = part;
      lines = sourceOf(next) === "console" ? complete(part) : part;
    }
    return shown;
  };
}

const sourceOf = (position) => position?.split("-")[0];

/** Without the incomplete line at the end, which the next part repeats. The LF of a CR LF may follow. */
const complete = (text) => text.slice(0, 1 + Math.max(text.lastIndexOf("\n"), text.slice(0, -1).lastIndexOf("\r")));

function end(text) {
  const bytes = new TextEncoder().encode(text);
  return bytes.length > LIMIT ? new TextDecoder().decode(bytes.subarray(-LIMIT)).replace(/^\uFFFD+/, "") : text;
}
