/** Describes phases, VM stages and failures in text. */

import { clip, clock, duration, parseTime, plural, quantity, roughly, whole } from "./format.js";

const PHASES = {
  plan: { sign: "ring", name: "Checking the plan", tone: "live" },
  network: { sign: "ring", name: "Creating the network", tone: "live" },
  create: { sign: "quarter", name: "Creating VMs", tone: "live" },
  boot: { sign: "half", name: "Waiting for VMs to boot", tone: "live" },
  provisioned: { sign: "most", name: "Running trials", tone: "live" },
  run: { sign: "most", name: "Running trials", tone: "live" },
  teardown: { sign: "dashed", name: "Deleting VMs", tone: "care" },
  done: { sign: "check", name: "Done", tone: "good" },
  cancelled: { sign: "barred", name: "Cancelled", tone: "quiet" },
  failed: { sign: "cross", name: "Failed", tone: "bad" },
};

const OUTCOMES = {
  some_trials_failed: { sign: "warning", name: "Done, some trials failed", tone: "care" },
  all_trials_failed: { sign: "cross", name: "Done, all trials failed", tone: "bad" },
};

/** The steps of a fleet, and their phases. */
export const STEPS = [
  ["Plan", ["plan"]],
  ["Network", ["network"]],
  ["Create", ["create"]],
  ["Boot", ["boot"]],
  ["Trials", ["provisioned", "run"]],
  ["Teardown", ["teardown"]],
];

/** A fleet's short ID: `fleet-7`. The full ID while the app cannot read the number. */
export const handle = ({ id, number }) => (number === null || number === undefined ? id : `fleet-${number}`);

/** The short ID and the name: `fleet-7 (nightly)`. */
export const label = (fleet) => (fleet.name ? `${handle(fleet)} (${fleet.name})` : handle(fleet));

const TERMINAL = new Set(["done", "cancelled", "failed"]);

export const isTerminal = (phase) => TERMINAL.has(phase);

/** A fleet's phase, or its outcome if trials failed. */
export function phaseOf({ phase, outcome, trials }) {
  const found = (isTerminal(phase) && OUTCOMES[outcome]) || PHASES[phase] || { sign: "ring", name: String(phase), tone: "quiet" };
  const installs = ["provisioned", "run"].includes(phase) && trials && !trials.running && !ended(trials);
  return installs ? { ...found, name: "Installing packages" } : found;
}

/** The VMs by state, with the missing ones: the words and sums of docs/view.md. */
export const vmCounts = ({ machines, missing }) => ({ ...machines, missing: sum(missing) });

export const sum = (counts) => Object.values(counts ?? {}).reduce((total, n) => total + n, 0);

export const STAGES = {
  accepted: { sign: "quarter", name: "accepted" },
  role_assigned: { sign: "half", name: "booting, role assigned" },
  running: { sign: "most", name: "running, setting up" },
  installing: { sign: "most", name: "installing packages" },
  working: { sign: "full", name: "running trials" },
  ended: { sign: "dashed", name: "ended, being deleted" },
  deleted: { sign: "ring", name: "deleted" },
  failed: { sign: "cross", name: "failed" },
  refused: { sign: "barred", name: "refused by Azure" },
};

/** Whether Azure has accepted a VM, and it has neither failed nor been deleted. */
export const exists = ({ state }) => state === "creating" || state === "running";

/** A VM's key in STAGES. */
export function stage(machine) {
  // The state says whether a VM failed: one that was deleted as planned may have a reason too.
  if (machine.state === "refused" || machine.state === "failed") return machine.state;
  if (machine.state === "deleted" || machine.deleted_at) return "deleted";
  if (machine.ended_at) return "ended";
  if (machine.first_trial_at) return "working";
  if (machine.working_at) return "installing";
  if (machine.state === "running" || machine.running_at) return "running";
  return machine.role_assigned_at ? "role_assigned" : "accepted";
}

const ACTIONS = {
  succeed: "Already done.",
  wait: "Waited as Azure requested.",
  retry: "Retried.",
  replace: "Created a replacement.",
  move: "Avoided the placement for a while.",
  fail_vm: "Gave up on this VM.",
  fail_fleet: "Failed the fleet.",
};

/** What the app did about a failure, as a sentence; the API has text or the name of an action. */
export function action(name) {
  return name ? ACTIONS[name] ?? sentenceCase(name) : "";
}

/** Text with a full stop. Not capitalised: a message may begin with the name of a VM. */
export function stopped(words) {
  const trimmed = String(words).trim();
  return !trimmed || /[.!?…]$/.test(trimmed) ? trimmed : `${trimmed}.`;
}

/** The app's own words as a sentence. */
export function sentenceCase(words) {
  const found = stopped(words);
  return found && found[0].toUpperCase() + found.slice(1);
}

/** "eastus/1 Standard_D2s_v5 Spot", as in the fleet's placements. */
export function placementLabel(placement) {
  const zone = placement.zone ? `/${placement.zone}` : "";
  const spot = placement.priority === "Spot" ? " Spot" : "";
  return `${placement.location}${zone} ${placement.vm_size}${spot}`;
}

const are = (n) => (n === 1 ? "is" : "are");

export const ended = (trials) => trials.complete + trials.error;

/** A fleet's state in a few sentences; `records`: its VMs. */
export function sentence(fleet, progress, records, now) {
  const describe = SENTENCES[fleet.phase] ?? SENTENCES.run;
  return [describe(fleet, progress, now).trim(), failures(fleet, records), silence(fleet)].filter(Boolean).join(" ");
}

function silence({ stale_seconds: seconds }) {
  return seconds ? `No update for ${duration(seconds)}; the host may be restarting.` : "";
}

const SENTENCES = {
  plan: ({ machines }) =>
    `Checking whether ${plural(machines.wanted, "VM")} can be created: quotas, sizes, addresses, permissions and trials.`,
  network: ({ machines }) => `Creating the network for ${plural(machines.wanted, "VM")}.`,
  create: ({ machines }) =>
    `Azure has created ${whole(machines.creating + machines.running + machines.deleted)} of ${plural(machines.wanted, "VM")}.`,
  boot: ({ machines }) =>
    `${whole(machines.running)} of ${plural(machines.wanted, "VM")} ${are(machines.running)} running; the others are booting.`,
  run: running,
  provisioned: running,
  teardown: ({ machines, trials }) =>
    `${done(trials)}Deleting VMs, disks, network interfaces and role assignments; ` +
    `${whole(machines.creating + machines.running)} of ${plural(machines.accepted, "VM")} ${are(machines.creating + machines.running)} left.`,
  done: (fleet) => `${done(fleet.trials)}${after("Finished", fleet)} ${left(fleet)}`,
  cancelled: (fleet) => `${after("Cancelled", fleet)} ${done(fleet.trials)}${left(fleet)}`,
  failed: (fleet) => `${after("Failed", fleet)} ${done(fleet.trials)}${left(fleet)}`,
};

/** Whether a fleet starts no more trials, to keep its `max_cost`. */
const drains = ({ failures }) => failures.some(({ code }) => code === "MaxCostReached");

function expectation(fleet, progress, now) {
  const [end, deadline] = [parseTime(progress?.expected_end), parseTime(fleet.deadline)];
  if (drains(fleet)) return "Close to its max_cost, the fleet starts no more trials.";
  if (deadline !== null && deadline <= now) return "The deadline has passed: the remaining VMs are being deleted.";
  if (end === null) return "It is too early to predict the end.";
  if (deadline !== null && end > deadline) {
    return `At this pace, the deadline at ${clock(deadline, now)}, in ${roughly((deadline - now) / 1000)}, comes before the last trial.`;
  }
  return `Expected to finish at ${clock(end, now)}, in ${roughly((end - now) / 1000)}.`;
}

function running(fleet, progress, now) {
  const { machines, trials } = fleet;
  const run = `${whole(machines.running)} of ${plural(machines.wanted, "VM")} ${are(machines.running)} running.`;
  if (!trials) return run;
  if (trials.total > 0 && ended(trials) >= trials.total) {
    return `${done(trials)}VMs are deleting themselves; ${whole(machines.running)} ${are(machines.running)} left.`;
  }
  return `${run} ${done(trials)}${expectation(fleet, progress, now)}`;
}

function done(trials) {
  if (!trials) return "";
  const errors = trials.error ? `, ${whole(trials.error)} of them failed` : "";
  if (trials.total > 0 && ended(trials) >= trials.total) {
    return `All ${plural(trials.total, "trial")} are done${errors}. `;
  }
  return `${whole(ended(trials))} of ${plural(trials.total, "trial")} are done${errors}. `;
}

/** When a fleet ended, as the list and the page show it; null before. */
export const endOf = (fleet) => (isTerminal(fleet.phase) ? parseTime(fleet.ended_at ?? fleet.updated_at) : null);

function after(words, fleet) {
  const [from, to] = [parseTime(fleet.created_at), endOf(fleet)];
  return from === null || to === null ? `${words}.` : `${words} after ${duration((to - from) / 1000)}.`;
}

function left({ machines }) {
  if (machines.running > 0) return `${plural(machines.running, "VM")} still ${machines.running === 1 ? "exists and costs" : "exist and cost"} money.`;
  return machines.accepted > 0 ? "All resources are deleted." : "";
}

function failures({ machines, missing }, records) {
  const failed = machines.failed + machines.refused;
  if (!failed) return "";
  const successors = new Set(records.map((one) => one.replaces));
  const replaced = records.length
    ? records.filter((one) => one.failure && successors.has(one.ordinal)).length
    : Math.max(0, failed - sum(missing));
  const rest = replaced <= 0 ? "none" : replaced === failed ? (failed === 1 ? "it" : "all") : whole(replaced);
  const kind = machines.refused ? `failed or ${machines.refused === 1 ? "was" : "were"} refused` : "failed";
  return `${plural(failed, "VM")} ${kind}; ${rest} ${replaced === 1 || replaced <= 0 ? "was" : "were"} replaced.`;
}

/** A processor's model without what all names have: `AMD EPYC 7763`. */
export const processor = (model) => clip((model ?? "").replace(/\((?:R|TM)\)| CPU @.*| \d+-Core Processor/g, ""), 60);

/** 394 MiB, 31.3 GiB. */
export const memory = (bytes) => (bytes < 2 ** 30 ? `${whole(bytes / 2 ** 20)} MiB` : `${quantity(bytes / 2 ** 30)} GiB`);
