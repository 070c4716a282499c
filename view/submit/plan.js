/** Shows a plan: the verdict, the cost, and a row for each check. */

import { attr, byId, el, keyed, show, text } from "../common/dom.js";
import { clip, duration, money, plural, whole } from "../common/format.js";
import { icon, setIcon } from "../common/icons.js";

const TEXT = 1000; // characters
/** Of each status of a check, the worst first. */
const SIGNS = { fault: "cross", warning: "warning", unknown: "ring", ok: "check" };

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
  text(byId("costs-note"), cost ? `Expected: ${clip(cost.basis, TEXT)}. List prices of the VMs with their disks.` : "The cost is unknown: see the check “cost”.");
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
  const rank = ({ status }) => Object.keys(SIGNS).indexOf(status);
  byId("checks").replaceChildren(...all.toSorted((a, b) => rank(a) - rank(b)).map(row));
}

function row({ name, status, detail, advice }) {
  const known = status in SIGNS ? status : "unknown";
  const node = el("li", { "data-status": status }, icon(SIGNS[known]), el("span", { class: "status" }, known),
    el("b", {}, clip(name, TEXT)), el("p", { dir: "auto" }, clip(detail, TEXT)));
  if (advice) node.append(el("p", { class: "todo", dir: "auto" }, clip(advice, TEXT)));
  return node;
}
