/** VM-hours and cost, in total and by placement. */

import { byId, el, keyed, show, text } from "../common/dom.js";
import { DASH, clip, money, quantity, whole } from "../common/format.js";
import { codes } from "./summary.js";
import { ended, isTerminal, placementLabel } from "../common/describe.js";

const LABEL = 80; // characters of a placement

export function updateMoney(fleet, progress) {
  const cost = progress?.cost ?? null;
  const hours = progress?.vm_hours ?? null;
  totals(fleet, hours, cost);
  text(byId("no-prices"), hours && !cost ? "Prices are unknown; VM-hours only" : "");
  const size = progress?.right_sizing?.message ?? "";
  text(byId("right-size"), size);
  show(byId("right-size"), size);
  const rows = placements(fleet.placements, hours?.by_placement ?? []);
  // The API rounds prices and hours: the rows are scaled, so that they add up to the total.
  const computed = rows.reduce((total, { bill }) => total + costOf(bill), 0);
  const scale = cost && computed ? cost.so_far / computed : 1;
  show(byId("money-card"), rows.length || !isTerminal(fleet.phase));
  const make = () => el("tr", { role: "row" }, el("th", { role: "rowheader", scope: "row" }, el("span", { class: "size" }), el("span", { class: "where" }), el("span", { class: "bad" })), ...[1, 2, 3, 4].map(() => el("td", { role: "cell", class: "n" })));
  keyed(byId("placements"), rows, (row) => row.label, make, (node, row) => placement(node, row, scale, cost?.currency ?? "USD"));
}

function totals(fleet, hours, cost) {
  const done = fleet.trials ? ended(fleet.trials) : 0;
  const ongoing = !isTerminal(fleet.phase);
  const soFar = ongoing || fleet.machines.running ? " so far" : "";
  const items = [["hours", `VM-hours${soFar}`, hours ? quantity(hours.so_far) : DASH]];
  if (cost) {
    items.push(["cost", `cost${soFar}`, money(cost.so_far, cost.currency)]);
    if (ongoing) items.push(["rate", "per hour now", money(cost.per_hour, cost.currency)]);
    if (ongoing && cost.expected !== null) items.push(["expected", "expected total", money(cost.expected, cost.currency)]);
    if (cost.per_trial !== null) items.push(["trial", "per trial", money(cost.per_trial, cost.currency)]);
    if (cost.saved_by_spot !== null) items.push(["saved", "saved by Spot", money(cost.saved_by_spot, cost.currency)]);
    if (cost.max_cost !== null) items.push(["limit", "at most", money(cost.max_cost, cost.currency)]);
  } else if (hours && done) {
    items.push(["trial", "VM-minutes per trial", quantity((60 * hours.so_far) / done)]);
  }
  keyed(byId("money"), items, ([key]) => key, () => el("div", {}, el("dt"), el("dd")), (node, [, words, value]) => {
    text(node.firstChild, words);
    text(node.lastChild, value);
  });
}

/** The placements of the status and of the cost, merged. */
function placements(known, billed) {
  const rows = new Map();
  for (const { placement: label, accepted, failed } of known) rows.set(label, { label, accepted, failed });
  for (const one of billed) {
    const label = placementLabel(one.placement);
    const before = rows.get(label)?.bill?.hours ?? 0;
    const bill = { price: one.price_per_hour, hours: before + one.vm_hours };
    rows.set(label, { label, accepted: null, failed: {}, ...rows.get(label), bill });
  }
  return [...rows.values()];
}

const costOf = (bill) => (bill?.price ?? 0) * (bill?.hours ?? 0);

function placement(node, { label, accepted, failed, bill }, scale, currency) {
  const [name, ...cells] = node.children;
  const [where, ...rest] = label.split(" ");
  text(name.children[0], clip(rest.join(" ") || where, LABEL));
  text(name.children[1], rest.length ? clip(where, LABEL) : "");
  text(name.children[2], codes(failed));
  show(name.children[2], Object.keys(failed ?? {}).length);
  const price = bill?.price ?? null;
  const values = [
    accepted === null ? DASH : whole(accepted),
    bill ? quantity(bill.hours) : DASH,
    price === null ? DASH : money(price, currency),
    price === null ? DASH : money(costOf(bill) * scale, currency),
  ];
  cells.forEach((cell, i) => text(cell, values[i]));
}
