/** The VMs of a fleet as rows of a timeline: their order, their lines of replacement, their pieces. */

import { moment } from "./format.js";
import { stage } from "./words.js";

/** The pieces of a bar, in the order of a VM's life; each member says when it began. */
export const PIECES = [
  ["accepted", "created_at"],
  ["role_assigned", "role_assigned_at"],
  ["running", "running_at"],
  ["working", "working_at"],
  ["ended", "ended_at"],
];

export const FILTERS = [
  ["all", "All", () => true],
  ["working", "Working", (row) => row.stage === "working"],
  ["booting", "Booting", (row) => ["accepted", "role_assigned", "running"].includes(row.stage)],
  ["failed", "Failed", (row) => row.stage === "failed" || row.stage === "refused"],
  ["ended", "Ended", (row) => row.stage === "ended" || row.stage === "deleted"],
];

/** One row per VM: `{machine, stage, pieces, failedAt, heir, depth}`. A VM stands below the one that
 *  it replaces; `heir` is the VM that replaces it, `depth` how many came before it in its line. */
export function rowsOf(machines, now) {
  const byOrdinal = new Map(machines.map((machine) => [machine.ordinal, machine]));
  const heirs = new Map();
  for (const { ordinal, replaces } of machines) if (byOrdinal.has(replaces)) heirs.set(replaces, ordinal);
  const rows = [];
  const seen = new Set();
  const follow = (machine) => {
    let depth = 0;
    for (let at = machine; at && !seen.has(at.ordinal); at = byOrdinal.get(heirs.get(at.ordinal))) {
      seen.add(at.ordinal);
      rows.push(rowOf(at, now, depth, heirs.get(at.ordinal) ?? null));
      depth += 1;
    }
  };
  for (const machine of machines) if (!byOrdinal.has(machine.replaces)) follow(machine);
  for (const machine of machines) follow(machine); // what is left replaces each other in a circle
  return rows;
}

function rowOf(machine, now, depth, heir) {
  const what = stage(machine);
  const failed = what === "failed" || what === "refused";
  const pieces = piecesOf(machine, now);
  return { machine, stage: what, pieces, depth, heir, failedAt: failed ? failure(machine, pieces) : null };
}

/** `{kind, from, to}`: what a VM did from when to when. */
export function piecesOf(machine, now) {
  const begun = [];
  let limit = Infinity;
  for (const [kind, member] of PIECES.toReversed()) {
    const at = moment(machine[member]);
    // A role that comes after the VM runs changes nothing of what it does: later stages win.
    if (at === null || at > limit) continue;
    begun.unshift({ kind, from: at });
    limit = at;
  }
  if (begun.length === 0) return [];
  const last = begun.at(-1);
  const alive = machine.state === "creating" || machine.state === "running";
  const end = moment(machine.deleted_at) ?? (alive || (last.kind === "ended" && machine.state === "failed") ? now : last.from);
  return begun
    .map(({ kind, from }, i) => ({ kind, from, to: Math.max(from, begun[i + 1]?.from ?? end) }))
    .filter(({ kind, from, to }) => to > from || kind !== "ended");
}

function failure(machine, pieces) {
  return moment(machine.ended_at) ?? moment(machine.deleted_at) ?? pieces.at(-1)?.to ?? null;
}

/** Which rows a filter leaves, and how many each of FILTERS would. */
export function filtered(rows, name) {
  const counts = Object.fromEntries(FILTERS.map(([key, , test]) => [key, rows.filter(test).length]));
  const [, , test] = FILTERS.find(([key]) => key === name) ?? FILTERS[0];
  return { rows: rows.filter(test), counts };
}

/** From when to when the axis goes. Its end moves in steps, so that bars grow and the axis rests. */
export function domain(rows, began, now, live) {
  const times = rows.flatMap(({ pieces, failedAt }) => [...pieces.flatMap(({ from, to }) => [from, to]), failedAt ?? NaN]);
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

/** How many VMs did what, at `samples` moments: `{accepted: [n, …], role_assigned: …}`. */
export function census(rows, { from, to }, samples) {
  const changes = Object.fromEntries(PIECES.map(([kind]) => [kind, new Array(samples + 1).fill(0)]));
  const place = (at) => Math.min(samples, Math.max(0, Math.round(((at - from) / (to - from)) * samples)));
  for (const { pieces } of rows) {
    for (const piece of pieces) {
      changes[piece.kind][place(piece.from)] += 1;
      changes[piece.kind][place(piece.to)] -= 1;
    }
  }
  for (const values of Object.values(changes)) {
    for (let i = 1; i < values.length; i += 1) values[i] += values[i - 1];
  }
  return changes;
}
