/** The errors of a request, each beside its field. */

import { attr, byId, text } from "../common/dom.js";
import { plural } from "../common/format.js";
import { FIELDS, durationFault } from "./request.js";

const NAMES = [...Object.keys(FIELDS), "more"];

export function clearFaults() {
  text(byId("form-fault"), "");
  for (const name of NAMES) setFault(name, []);
}

/** `faults`: `{pointer, detail}`. Those of a field without an input are beside "More fields". */
export function showFaults(faults) {
  const byName = Object.fromEntries(NAMES.map((name) => [name, []]));
  const rest = [];
  for (const { pointer, detail } of faults) {
    const [, name, ...inner] = pointer.split("/");
    if (!name) rest.push(detail);
    else if (name in FIELDS && !inner.length) byName[name].push(durationFault(name, byId(name).value.trim()) ?? detail);
    else byName.more.push(`${[name, ...inner].join("/")}: ${detail}`);
  }
  const marked = NAMES.filter((name) => setFault(name, byName[name]));
  const summary = marked.length ? `${plural(marked.length, "field")} ${marked.length === 1 ? "needs" : "need"} a correction.` : "";
  text(byId("form-fault"), [...rest, summary].filter(Boolean).join(" "));
  if (marked.length) byId(marked[0]).focus();
}

function setFault(name, details) {
  attr(byId(name), "aria-invalid", details.length ? "true" : null);
  text(byId(`${name}-fault`), details.join("\n"));
  return details.length > 0;
}
