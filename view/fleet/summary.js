/** The top of a fleet's page: name, phase, summary, and VMs by state. */

import { announce, attr, byId, el, keyed, show, text } from "../common/dom.js";
import { clip, clock, duration, parseTime, plural, roughly, setTime, whole } from "../common/format.js";
import { icon, setIcon } from "../common/icons.js";
import { STEPS, action, endOf, ended, handle, isTerminal, label, phaseOf, sentence, stopped, sum, vmCounts } from "../common/describe.js";

const CODE = 80, TEXT = 800; // characters

let shownPhase = null;

export function updateSummary(fleet, progress, records, now) {
  const name = progress?.experiment?.name;
  text(byId("experiment"), `Experiment ${fleet.experiment_id}${name ? ` · ${clip(name, TEXT)}` : ""}`);
  attr(byId("experiment"), "title", name ? clip(name, TEXT) : null);
  text(byId("name"), handle(fleet));
  attr(byId("name"), "title", fleet.id);
  text(byId("own-name"), fleet.name ?? "");
  show(byId("own-name"), fleet.name);
  setPhase(fleet);
  steps(fleet);
  text(byId("sentence"), sentence(fleet, progress, records, now));
  facts(fleet, now);
  reason(fleet);
  counts(vmCounts(fleet));
  document.title = title(fleet);
}

function setPhase(fleet) {
  const { sign, name, tone } = phaseOf(fleet);
  show(byId("phase"), true);
  attr(byId("phase"), "data-tone", tone);
  setIcon(byId("phase-sign"), sign);
  text(byId("phase-name"), name);
  if (shownPhase !== null && shownPhase !== name) announce(`${label(fleet)}: ${name}`);
  shownPhase = name;
}

function steps({ phase, ended_in: endedIn }) {
  const step = (name) => STEPS.findIndex(([, phases]) => phases.includes(name));
  // A fleet that failed or was cancelled did not reach later steps.
  const at = step(isTerminal(phase) ? endedIn ?? "plan" : phase);
  const state = (index) => {
    if (phase === "done" || index < at) return "done";
    if (index > at) return "todo";
    return { failed: "bad", cancelled: "done" }[phase] ?? "now";
  };
  keyed(byId("steps"), STEPS, ([name]) => name, ([name]) => el("li", {}, name, el("span", { class: "unseen" })), (node, step) => {
    const index = STEPS.indexOf(step);
    attr(node, "data-state", state(index));
    text(node.lastChild, { done: ", done", bad: ", failed" }[state(index)] ?? "");
    attr(node, "aria-current", state(index) === "now" ? "step" : null);
  });
}

function facts(fleet, now) {
  const [began, deadline] = [fleet.created_at, fleet.deadline].map(parseTime);
  const over = endOf(fleet);
  const items = [];
  if (began !== null) items.push(["began", "Created", began, clock(began, now)]);
  if (isTerminal(fleet.phase)) {
    if (over !== null) items.push(["ended", "Ended", over, clock(over, now)]);
  } else if (began !== null) {
    items.push(["runs", "Running for", null, duration((now - began) / 1000)]);
    if (deadline !== null) items.push(["deadline", "Deadline", deadline, deadline > now ? `${clock(deadline, now)} (in ${roughly((deadline - now) / 1000)})` : `${clock(deadline, now)} (passed)`]);
  }
  const make = () => el("span", {}, el("span"), " ", el("time"));
  keyed(byId("facts"), items, ([key]) => key, make, (node, [, what, at, words]) => {
    text(node.firstChild, what);
    setTime(node.lastChild, at, words);
  });
}

function reason(fleet) {
  const why = fleet.phase === "failed" ? fleet.reason : null;
  show(byId("reason"), why);
  if (!why) return;
  const group = fleet.failures.find((one) => one.code === why.code);
  text(byId("reason-message"), stopped(clip(why.message, TEXT)));
  text(byId("reason-advice"), clip(why.advice, TEXT));
  text(byId("reason-code"), [clip(why.code, CODE), clip(action(group?.action ?? why.action), TEXT)].filter(Boolean).join(" · "));
}

const COUNTS = [
  ["wanted", "wanted", ""],
  ["pending", "pending", "dashed"],
  ["creating", "creating", "half"],
  ["running", "running", "full"],
  ["deleted", "deleted", "ring"],
  ["missing", "missing", "warning"],
  ["failed", "failed", "cross"],
  ["refused", "refused", "barred"],
];

function counts(machines) {
  const make = ([, words, sign]) => el("div", {}, el("dt", {}, sign ? icon(sign) : "", words), el("dd"));
  keyed(byId("counts"), COUNTS, ([name]) => name, make, (node, [name]) => {
    attr(node, "data-kind", name);
    attr(node, "data-zero", machines[name] === 0);
    text(node.lastChild, whole(machines[name] ?? 0));
  });
}

function title(fleet) {
  const { trials } = fleet;
  const share = trials?.total ? `${Math.floor((100 * ended(trials)) / trials.total)} % ` : "";
  return `${share}${phaseOf(fleet).name} · ${label(fleet)}`;
}

/** The failures by code: Azure's message, the action taken, and advice. */
export function updateFailures({ failures, missing, warnings, reason: why }) {
  show(byId("failures-card"), failures.length);
  const lost = sum(missing);
  text(byId("missing"), lost ? `${plural(lost, "VM")} missing: ${codes(missing)}` : "");
  const make = () => el("li", {}, el("p", {}, el("b"), " ", el("span", { class: "code" })),
    el("p", { dir: "auto", class: "message" }), el("p", { class: "did", dir: "auto" }), el("p", { class: "todo", dir: "auto" }));
  keyed(byId("failures"), failures, (one) => one.code, make, (node, one) => {
    const [head, message, did, todo] = node.children;
    // What the reason says, at the top of the page, is not repeated.
    const said = why?.code === one.code && why.message.includes(one.message.replace(/(\.\.\.|…)$/, ""));
    text(head.firstChild, `${whole(one.count)}×`);
    text(head.lastChild, clip(one.code, CODE));
    text(message, said ? "" : stopped(clip(one.message, TEXT)));
    text(did, clip(action(one.action), TEXT));
    text(todo, said ? "" : clip(one.advice, TEXT));
    for (const part of [message, did, todo]) show(part, part.textContent);
  });
  show(byId("warnings-card"), warnings.length);
  const makeWarning = () => el("li", {}, icon("warning"), el("span", { dir: "auto" }));
  keyed(byId("warnings"), warnings, (_, at) => at, makeWarning, (node, words) => text(node.lastChild, clip(words, TEXT)));
}

export function codes(counts) {
  return Object.entries(counts ?? {}).map(([code, n]) => `${whole(n)}× ${clip(code, CODE)}`).join(", ");
}
