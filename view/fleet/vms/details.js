/** The details of a VM: its record, why it ended, and its console output. */

import { attr, byId, el, keyed, link, show, text } from "../../common/dom.js";
import { clip, duration, parseTime, plural, seconds, setTime, whole } from "../../common/format.js";
import { setIcon } from "../../common/icons.js";
import { openConsole } from "./console.js";
import { choose, rowOfVm } from "./timeline.js";
import { STAGES, action, exists, memory, processor, sentenceCase } from "../../common/describe.js";

const MOMENTS = [
  ["created_at", "accepted by Azure"],
  ["role_assigned_at", "role assigned"],
  ["running_at", "running"],
  ["working_at", "startup script began"],
  ["first_trial_at", "first trial began"],
  ["ended_at", "ended"],
  ["deleted_at", "deleted"],
];

const TEXT = 600; // characters
const DIGEST = 12;

let shown = null; // ordinal
let portal = null;

export const detailIsOpen = () => shown !== null;

export function startDetail() {
  byId("detail-close").addEventListener("click", closeDetail);
  byId("detail").addEventListener("keydown", (event) => event.key === "Escape" && closeDetail());
  byId("log-get").addEventListener("click", () => openConsole(shown));
  for (const id of ["detail-before", "detail-after"]) {
    byId(id).addEventListener("click", (event) => choose(Number(event.currentTarget.dataset.ordinal), true, true));
  }
}

export function openDetail(ordinal, focus) {
  shown = ordinal;
  show(byId("detail"), true);
  updateDetail();
  if (focus) byId("detail-title").focus({ preventScroll: true });
  byId("detail").scrollIntoView({ block: "nearest" });
}

export function closeDetail() {
  if (shown === null) return;
  shown = null;
  show(byId("detail"), false);
  byId("vms").focus({ preventScroll: true });
}

/** `group`: the URL of the fleet's resource group in the Azure portal, or null. */
export function updateDetail(group = portal) {
  portal = group;
  const row = shown === null ? null : rowOfVm(shown);
  if (row === null) return;
  const { machine, failed } = row;
  text(byId("detail-title"), `VM ${machine.ordinal}`);
  setIcon(byId("detail-sign"), STAGES[row.stage].sign);
  text(byId("detail-words"), sentenceCase(STAGES[row.stage].name).slice(0, -1));
  attr(byId("detail-stage"), "data-tone", failed ? "bad" : row.stage === "working" ? "live" : "quiet");
  text(byId("detail-name"), clip(machine.name, TEXT));
  link(byId("detail-portal"), portal && exists(machine) ? `${portal}/providers/Microsoft.Compute/virtualMachines/${encodeURIComponent(machine.name)}` : null);
  show(byId("detail-ended"), machine.failure);
  attr(byId("detail-ended"), "data-failed", failed);
  text(byId("detail-why"), machine.failure ? `${clip(machine.failure.code, TEXT)}: ${clip(machine.failure.message, TEXT)}` : "");
  text(byId("detail-next"), machine.failure ? clip(action(machine.failure.action), TEXT) : "");
  line("detail-before", machine.replaces, "← Replaces VM");
  line("detail-after", row.replacement, "Replaced by VM");
  record(machine);
  times(machine);
}

function line(id, ordinal, words) {
  const known = ordinal !== null && ordinal !== undefined;
  show(byId(id), known);
  attr(byId(id), "data-ordinal", known ? ordinal : null);
  text(byId(id), known ? `${words} ${ordinal}${id === "detail-after" ? " →" : ""}` : "");
}

function record(machine) {
  const { placement, trials } = machine;
  const items = [
    ["Size", placement?.vm_size],
    ["Placement", placement && [placement.location, placement.zone && `zone ${placement.zone}`, placement.priority === "Spot" && "Spot"].filter(Boolean).join(", ")],
    ["Attempt", machine.attempt > 1 ? machine.attempt : null],
    ["Runner", machine.runner_id],
    ["Trials", trials && `${whole(trials.complete)} complete, ${whole(trials.error)} failed, ${whole(trials.running)} running`],
    ...system(machine.system),
    ["Outcome", machine.outcome],
  ].filter(([, value]) => value !== null && value !== undefined && value !== "");
  keyed(byId("detail-record"), items, ([name]) => name, ([name]) => el("div", {}, el("dt", {}, name), el("dd", { dir: "auto" })), (node, [, value]) => {
    text(node.lastChild, clip(value, TEXT));
  });
}

/** What the VM reports about itself. */
function system(known) {
  if (!known) return [];
  const { cpu_model: model, cpus, memory_bytes: bytes, image, image_version: version, lock_digest: digest } = known;
  const hardware = [processor(model), cpus && plural(cpus, "CPU"), bytes && memory(bytes)].filter(Boolean);
  return [
    ["Hardware", hardware.join(", ")],
    ["Image", [image, version].filter(Boolean).join(" ")],
    ["Kernel", known.kernel],
    ["Python", known.python],
    ["Packages", digest && `lock ${digest.slice(0, DIGEST)}`],
  ];
}

function times(machine) {
  const known = MOMENTS.map(([member, words]) => ({ member, words, at: parseTime(machine[member]) })).filter(({ at }) => at !== null);
  known.sort((a, b) => a.at - b.at);
  known.forEach((one, i) => (one.since = i ? `+${duration((one.at - known[i - 1].at) / 1000)}` : ""));
  const make = ({ words }) => el("li", {}, el("span", {}, words), el("time"), el("span", { class: "since" }));
  keyed(byId("detail-times"), known, ({ member }) => member, make, (node, { at, since }) => {
    setTime(node.children[1], at, seconds(at));
    text(node.lastChild, since);
  });
}
