/** Shows a plan: the verdict, the cost, and a row for each check. */

import { attr, byId, el, keyed, show, text } from "../common/dom.js";
import { clip, duration, money, plural, whole } from "../common/format.js";
import { setIcon } from "../common/icons.js";

const TEXT = 1000; // characters
const STATUSES = {
  fault: { sign: "cross", words: "fault" },
  warning: { sign: "warning", words: "warning" },
  unknown: { sign: "ring", words: "unknown" },
  ok: { sign: "check", words: "ok" },
};
const ORDER = Object.keys(STATUSES);

export function showPlan(plan) {
  const { sign, words, tone } = verdict(plan);
  attr(byId("verdict"), "data-tone", tone);
  setIcon(byId("verdict-sign"), sign);
  text(byId("verdict-words"), words);
  text(byId("result-facts"), facts(plan));
  costs(plan.cost);
  checks(plan.checks);
}

function verdict({ ok, checks }) {
  if (!ok) return { sign: "cross", words: "This fleet cannot run", tone: "bad" };
  const warnings = checks.filter(({ status }) => status === "warning").length;
  if (warnings) return { sign: "warning", words: `Can run, with ${plural(warnings, "warning")}`, tone: "care" };
  return { sign: "check", words: "Can run", tone: "good" };
}

function facts({ n_instances: vms, placements, trials }) {
  const where = placements.length ? ` in ${clip(placements.join(", then "), TEXT)}` : "";
  const work = trials ? `, for ${whole(trials.ready + trials.running)} of ${plural(trials.total, "trial")}` : "";
  return `${plural(vms, "VM")}${where}${work}.`;
}

function costs(cost) {
  show(byId("costs"), cost);
  text(byId("costs-note"), cost ? `Expected: ${clip(cost.basis, TEXT)}. List prices of the VMs with their disks.` : "The cost is unknown: see the check cost.");
  if (!cost) return;
  const amount = (value) => (value === null ? "unknown" : money(value, cost.currency));
  const time = cost.expected_seconds === null ? "" : ` in ${duration(cost.expected_seconds)}`;
  const rows = [
    ["per hour", amount(cost.per_hour)],
    [`expected${time}`, amount(cost.expected)],
    ["at most", amount(cost.at_most)],
  ];
  const make = () => el("div", {}, el("dt"), el("dd"));
  keyed(byId("costs"), rows, (_, i) => i, make, (node, [term, value]) => {
    text(node.firstChild, term);
    text(node.lastChild, value);
  });
}

function checks(all) {
  const rank = ({ status }) => ORDER.indexOf(status);
  const sorted = all.map((check, at) => ({ check, at })).sort((a, b) => rank(a.check) - rank(b.check) || a.at - b.at);
  byId("checks").replaceChildren(...sorted.map(({ check }) => row(check)));
}

function row({ name, status, detail, advice }) {
  const { sign, words } = STATUSES[status] ?? STATUSES.unknown;
  const mark = el("span", { class: "sign" });
  setIcon(mark, sign);
  const node = el("li", { "data-status": status }, mark, el("span", { class: "status" }, words),
    el("b", {}, clip(name, TEXT)), el("p", { dir: "auto" }, clip(detail, TEXT)));
  if (advice) node.append(el("p", { class: "todo", dir: "auto" }, clip(advice, TEXT)));
  return node;
}
