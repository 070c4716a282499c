/** What the API's short names mean, in words. */

import { clock, duration, moment, plural, roughly, whole } from "./format.js";

/** By phase: its sign, its name, the tone of its colour. */
export const PHASES = {
  plan: { sign: "ring", name: "Checking the plan", tone: "live" },
  network: { sign: "ring", name: "Making the network", tone: "live" },
  create: { sign: "quarter", name: "Creating VMs", tone: "live" },
  boot: { sign: "half", name: "Waiting for VMs to boot", tone: "live" },
  provisioned: { sign: "most", name: "Running trials", tone: "live" },
  run: { sign: "most", name: "Running trials", tone: "live" },
  teardown: { sign: "dashed", name: "Deleting VMs", tone: "care" },
  done: { sign: "check", name: "Done", tone: "good" },
  cancelled: { sign: "barred", name: "Cancelled", tone: "quiet" },
  failed: { sign: "cross", name: "Failed", tone: "bad" },
};

/** The way of every fleet, and the phases in which it is there. */
export const STEPS = [
  ["Plan", ["plan"]],
  ["Network", ["network"]],
  ["Create", ["create"]],
  ["Boot", ["boot"]],
  ["Trials", ["provisioned", "run"]],
  ["Teardown", ["teardown"]],
];

const TERMINAL = new Set(["done", "cancelled", "failed"]);

export const isTerminal = (phase) => TERMINAL.has(phase);

export const phaseOf = (name) => PHASES[name] ?? { sign: "ring", name: String(name), tone: "quiet" };

/** By what a VM does: its sign and name. `stage` finds it. */
export const STAGES = {
  accepted: { sign: "quarter", name: "accepted" },
  role_assigned: { sign: "half", name: "booting, role assigned" },
  running: { sign: "most", name: "runs, setting up" },
  working: { sign: "full", name: "working" },
  ended: { sign: "dashed", name: "has ended, being deleted" },
  deleted: { sign: "ring", name: "deleted" },
  failed: { sign: "cross", name: "failed" },
  refused: { sign: "barred", name: "refused by Azure" },
};

/** What a VM does now: a key of STAGES. */
export function stage(machine) {
  if (machine.state === "refused" || machine.state === "failed") return machine.state;
  if (machine.failure) return "failed";
  if (machine.state === "deleted" || machine.deleted_at) return "deleted";
  if (machine.ended_at) return "ended";
  if (machine.working_at) return "working";
  if (machine.state === "running" || machine.running_at) return "running";
  return machine.role_assigned_at ? "role_assigned" : "accepted";
}

const ACTIONS = {
  succeed: "It had been done already.",
  wait: "Waited as long as Azure asked.",
  retry: "Tried again.",
  replace: "Asked for another VM.",
  move: "Looked elsewhere.",
  fail_vm: "Gave this VM up.",
  fail_fleet: "Gave the fleet up.",
};

/** What was done about a failure, as a sentence: the API has words, or the name of an action. */
export function action(name) {
  return name ? ACTIONS[name] ?? sentenceCase(name) : "";
}

export function sentenceCase(words) {
  const trimmed = String(words).trim();
  if (!trimmed) return "";
  const first = trimmed[0].toUpperCase() + trimmed.slice(1);
  return /[.!?…]$/.test(first) ? first : `${first}.`;
}

/** A placement as the API's tables name it: "eastus/1 Standard_D2s_v5 Spot". */
export function placementLabel(placement) {
  const zone = placement.zone ? `/${placement.zone}` : "";
  const spot = placement.priority === "Spot" ? " Spot" : "";
  return `${placement.location}${zone} ${placement.vm_size}${spot}`;
}

export const ended = (trials) => trials.complete + trials.error;

/** Some sentences on how a fleet stands; `records` are those of its VMs. */
export function sentence(fleet, progress, records, now) {
  const tell = SENTENCES[fleet.phase] ?? SENTENCES.watch;
  return [tell(fleet, progress, now).trim(), trouble(fleet, records), silence(fleet)].filter(Boolean).join(" ");
}

function silence({ stale_seconds: seconds }) {
  return seconds ? `No news for ${duration(seconds)}; the host may be restarting.` : "";
}

const SENTENCES = {
  plan: ({ machines }) =>
    `Checking whether ${plural(machines.wanted, "VM")} can be had: quotas, sizes, addresses, rights and trials.`,
  network: ({ machines }) => `Making the network for ${plural(machines.wanted, "VM")}.`,
  create: ({ machines }) =>
    `Azure has accepted ${whole(machines.accepted)} of ${plural(machines.wanted, "VM")} so far.`,
  boot: ({ machines }) =>
    `${whole(machines.running)} of ${plural(machines.wanted, "VM")} run; the others boot.`,
  run: watching,
  provisioned: watching,
  teardown: ({ machines, trials }) =>
    `${done(trials)}The fleet's VMs, disks, network interfaces and roles are being deleted; ` +
    `${whole(machines.deleted)} of ${plural(machines.accepted, "VM")} are deleted.`,
  done: (fleet) => `${done(fleet.trials)}${after("The fleet ended", fleet)} ${left(fleet)}`,
  cancelled: (fleet) => `${after("Cancelled", fleet)} ${done(fleet.trials)}${left(fleet)}`,
  failed: (fleet) => `${after("The fleet gave up", fleet)} ${done(fleet.trials)}${left(fleet)}`,
};

function watching({ machines, trials }, progress, now) {
  const run = `${whole(machines.running)} of ${plural(machines.wanted, "VM")} ${machines.running === 1 ? "runs" : "run"}.`;
  if (!trials) return run;
  if (trials.total > 0 && ended(trials) >= trials.total) {
    return `${done(trials)}The VMs delete themselves; ${whole(machines.running)} still run.`;
  }
  const end = moment(progress?.expected_end);
  const rest = end === null
    ? "It is too early to tell when the rest will be."
    : `The rest should be by ${clock(end, now)}, in ${roughly((end - now) / 1000)}.`;
  return `${run} ${done(trials)}${rest}`;
}

function done(trials) {
  if (!trials) return "";
  const errors = trials.error ? `, ${whole(trials.error)} of them with an error` : "";
  if (trials.total > 0 && ended(trials) >= trials.total) {
    return `All ${plural(trials.total, "trial")} are done${errors}. `;
  }
  return `${whole(ended(trials))} of ${plural(trials.total, "trial")} are done${errors}. `;
}

function after(words, fleet) {
  const [from, to] = [moment(fleet.created_at), moment(fleet.updated_at)];
  return from === null || to === null ? `${words}.` : `${words} after ${duration((to - from) / 1000)}.`;
}

function left({ machines }) {
  if (machines.running > 0) return `${plural(machines.running, "VM")} still ${machines.running === 1 ? "stands" : "stand"}, and cost money.`;
  return machines.accepted > 0 ? "Nothing of it is left." : "";
}

/** VMs that Azure took back are deleted, not failed: their records say that something ended them. */
function trouble({ machines, missing }, records) {
  const failed = Math.max(machines.failed, records.filter((one) => one.failure).length);
  if (!failed) return "";
  const lost = Object.values(missing ?? {}).reduce((sum, n) => sum + n, 0);
  const stead = failed === 1 ? "another took its stead" : "others took their stead";
  const rest = lost ? `${whole(lost)} without another in ${lost === 1 ? "its" : "their"} stead` : stead;
  return `${plural(failed, "VM")} failed; ${rest}.`;
}
