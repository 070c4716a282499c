/** The request that the form makes. The app validates it: a text that is not a number is sent unchanged, and
 *  the app says what it expects. */

const NUMBER = /^-?\d+(\.\d+)?$/;
const DURATION = /^(\d+(?:\.\d+)?)\s*([smhdw])$/i; // as on the command line
const SECONDS = { s: 1, m: 60, h: 3600, d: 86400, w: 604800 };

const number = (text) => (NUMBER.test(text) ? Number(text) : text);

function seconds(text) {
  const [, amount, unit] = DURATION.exec(text) ?? [];
  return unit ? Number(amount) * SECONDS[unit.toLowerCase()] : number(text);
}

/** How the text of each field is read. */
export const FIELDS = {
  experiment_id: number, n_instances: number, name: String, vm_size: String, location: String, priority: String,
  timeout: seconds, max_lifetime: seconds, max_cost: number,
};

/** What is wrong with the text of a duration, in the form's words: the app's are those of JSON. Else null. */
export function durationFault(name, words) {
  if (FIELDS[name] !== seconds || !words || seconds(words) > 0) return null;
  return `'${words}' is not a duration. Use seconds (300), or a number with a unit: 90s, 30m, 12h, 7d or 2w.`;
}

/** The text of "More fields" is not a JSON object. */
export class NotAnObject extends Error {}

/** The request as JSON, and its batch ID: `batchId`, unless "More fields" has one. `texts`: those of the
 *  fields. Throws NotAnObject. */
export function requestOf(texts, more, batchId) {
  const own = {};
  for (const [name, read] of Object.entries(FIELDS)) if (texts[name]) own[name] = read(texts[name]);
  const extra = more ? object(more) : {};
  if (Object.hasOwn(extra, "batch_id")) batchId = extra.batch_id;
  else own.batch_id = batchId;
  // Joined as text, so that long numbers keep their digits and the app sees a field that is given twice.
  const parts = [JSON.stringify(own), more || "{}"].map((part) => part.trim().slice(1, -1).trim());
  return { body: `{${parts.filter(Boolean).join(", ")}}`, batchId: String(batchId) };
}

function object(text) {
  let found, where = "";
  try {
    found = JSON.parse(text);
  } catch (error) {
    where = /\(line \d+ column \d+\)/.exec(error.message)?.[0] ?? "";
  }
  if (found === null || typeof found !== "object" || Array.isArray(found)) {
    throw new NotAnObject(`Expected a JSON object, such as {"zones": ["1", "2"]}${where && ` ${where}`}.`);
  }
  return found;
}
