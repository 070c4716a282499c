/** The rows of the timeline: their order, replacements and segments. */

import { parseTime } from "../../common/format.js";
import { exists, stage } from "../../common/describe.js";

/** The segments of a bar, in order, and the field with their start. */
export const SEGMENTS = [
  ["accepted", "created_at"],
  ["role_assigned", "role_assigned_at"],
  ["running", "running_at"],
  ["installing", "working_at"],
  ["working", "first_trial_at"],
  ["ended", "ended_at"],
];

export const FILTERS = [
  ["all", "All", () => true],
  ["working", "Running trials", (row) => row.stage === "working"],
  ["starting", "Starting", (row) => ["accepted", "role_assigned", "running", "installing"].includes(row.stage)],
  ["failed", "Failed", (row) => row.failed],
  ["ended", "Ended", (row) => row.stage === "ended" || row.stage === "deleted"],
];

/** One row per VM: `{machine, stage, failed, segments, failedAt, replacement, depth}`. A replacement follows
 *  the VM that it replaces; `depth` is the number of VMs before it in that chain. */
export function rowsOf(machines, now) {
  const byOrdinal = new Map(machines.map((machine) => [machine.ordinal, machine]));
  const replacements = new Map();
  for (const { ordinal, replaces } of machines) if (byOrdinal.has(replaces)) replacements.set(replaces, ordinal);
  const rows = [];
  const seen = new Set();
  const follow = (machine) => {
    let depth = 0;
    for (let at = machine; at && !seen.has(at.ordinal); at = byOrdinal.get(replacements.get(at.ordinal))) {
      seen.add(at.ordinal);
      rows.push(rowOf(at, now, depth, replacements.get(at.ordinal) ?? null));
      depth += 1;
    }
  };
  for (const machine of machines) if (!byOrdinal.has(machine.replaces)) follow(machine);
  for (const machine of machines) follow(machine); // VMs that replace each other in a circle
  return rows;
}

function rowOf(machine, now, depth, replacement) {
  const what = stage(machine);
  const failed = what === "failed" || what === "refused";
  const segments = segmentsOf(machine, now);
  return { machine, stage: what, failed, segments, depth, replacement, failedAt: failed ? failure(machine, segments) : null };
}

/** `{kind, from, to}` for each stage of a VM. */
export function segmentsOf(machine, now) {
  const begun = [];
  let limit = Infinity;
  for (const [kind, member] of SEGMENTS.toReversed()) {
    const at = parseTime(machine[member]);
    // A role assigned after the VM has started does not change its stage: later stages win.
    if (at === null || at > limit) continue;
    begun.unshift({ kind, from: at });
    limit = at;
  }
  if (begun.length === 0) return [];
  const last = begun.at(-1);
  const end = parseTime(machine.deleted_at) ?? (exists(machine) || (last.kind === "ended" && machine.state === "failed") ? now : last.from);
  return begun
    .map(({ kind, from }, i) => ({ kind, from, to: Math.max(from, begun[i + 1]?.from ?? end) }))
    .filter(({ kind, from, to }) => to > from || kind !== "ended");
}

function failure(machine, segments) {
  return parseTime(machine.ended_at) ?? parseTime(machine.deleted_at) ?? segments.at(-1)?.to ?? null;
}

/** The rows that match a filter, and the number of matches of each filter. */
export function filtered(rows, name) {
  const counts = Object.fromEntries(FILTERS.map(([key, , test]) => [key, rows.filter(test).length]));
  const [, , test] = FILTERS.find(([key]) => key === name) ?? FILTERS[0];
  return { rows: rows.filter(test), counts };
}

/** The range of the axis. Its end moves in steps, so that the axis does not change on every poll. */
export function domain(rows, began, now, live) {
  const times = rows.flatMap(({ segments, failedAt }) => [...segments.flatMap(({ from, to }) => [from, to]), failedAt ?? NaN]);
  let [from, to] = [began ?? Infinity, live ? now : -Infinity];
  for (const at of times) {
    if (at < from) from = at;
    if (at > to) to = at;
  }
  if (!Number.isFinite(from)) from = now;
  const span = Math.max(10_000, to - from);
  const step = live ? 2 ** Math.floor(Math.log2(span)) / 8 : 1;
  return { from, to: from + Math.ceil(span / step) * step };
}

/** VMs by stage at `samples` times: `{accepted: [n, …], role_assigned: …}`. */
export function countsOverTime(rows, { from, to }, samples) {
  const changes = Object.fromEntries(SEGMENTS.map(([kind]) => [kind, new Array(samples + 1).fill(0)]));
  const index = (at) => Math.min(samples, Math.max(0, Math.round(((at - from) / (to - from)) * samples)));
  for (const { segments } of rows) {
    for (const segment of segments) {
      changes[segment.kind][index(segment.from)] += 1;
      changes[segment.kind][index(segment.to)] -= 1;
    }
  }
  for (const values of Object.values(changes)) {
    for (let i = 1; i < values.length; i += 1) values[i] += values[i - 1];
  }
  return changes;
}
