/** The trials: numbers, a bar, and the chart's data. */

import { drawChart } from "./chart.js";
import { attr, byId, css, el, keyed, show, text } from "../common/dom.js";
import { DASH, clip, parseTime, plural, quantity, whole } from "../common/format.js";
import { icon } from "../common/icons.js";
import { ended, isTerminal, processor } from "../common/describe.js";

const LINE = 300; // characters

const PARTS = [
  ["complete", "check", "complete"],
  ["error", "cross", "failed"],
  ["running", "full", "running"],
  ["ready", "ring", "ready"],
];

export function updateTrials(fleet, progress, now) {
  const { trials } = fleet;
  const problem = progress?.problem;
  show(byId("trials-problem"), problem);
  text(byId("trials-problem"), problem ? `${problem} The numbers are the last known.` : "");
  text(byId("trials-done"), trials ? whole(ended(trials)) : DASH);
  text(byId("trials-total"), trials ? `of ${whole(trials.total)} done` : "not counted yet");
  bar(trials);
  legend(trials);
  processors(progress?.cpu_models ?? []);
  errors(progress?.errors ?? []);
  const perHour = progress?.trials_per_hour;
  text(byId("rate"), perHour && !isTerminal(fleet.phase) ? `${quantity(perHour)} per hour` : "");
  drawChart(points(progress), {
    total: trials?.total ?? 0,
    end: isTerminal(fleet.phase) ? null : parseTime(progress?.expected_end),
    now,
    live: !isTerminal(fleet.phase),
  });
}

function bar(trials) {
  const node = byId("progress");
  const [total, done] = [trials?.total ?? 0, trials ? ended(trials) : 0];
  attr(node, "aria-valuemax", total || 1);
  attr(node, "aria-valuenow", done);
  attr(node, "aria-valuetext", trials ? `${whole(done)} of ${whole(total)}` : "unknown");
  keyed(node, PARTS.slice(0, 3), ([name]) => name, ([name]) => el("span", { "data-kind": name }), (part, [name]) => {
    css(part, "width", `${total ? ((100 * trials[name]) / total).toFixed(3) : 0}%`);
  });
}

function legend(trials) {
  const make = ([name, sign, words]) => el("li", { "data-kind": name }, icon(sign, "swatch"), el("b"), ` ${words}`);
  keyed(byId("trials-legend"), trials ? PARTS : [], ([name]) => name, make, (node, [name]) => {
    text(node.children[1], whole(trials[name]));
  });
}

/** A warning if trials ran on several kinds of processors. */
function processors(models) {
  const mixed = models.length > 1;
  show(byId("processors"), mixed);
  const each = models.map(({ model, machines, trials }) => `${processor(model)} (${plural(machines, "VM")}, ${plural(trials, "trial")})`);
  text(byId("processors"), mixed ? `Trials ran on different processors: ${each.join(", ")}. Do not compare their times.` : "");
}

function errors(groups) {
  show(byId("trial-errors-part"), groups.length);
  const make = () => el("li", {}, el("p", {}, el("b"), " ", el("span", { dir: "auto", class: "code" })));
  keyed(byId("trial-errors"), groups, (_, at) => at, make, ({ firstChild: line }, { count, message }) => {
    text(line.firstChild, `${whole(count)}×`);
    text(line.lastChild, clip(message, LINE) || "no error message");
  });
}

/** The chart's points `{at, complete, error}`; the first is the fleet's start. */
export function points(progress) {
  const series = progress?.series;
  const start = parseTime(series?.start);
  if (start === null || !series.complete?.length) return [];
  const before = { complete: 0, error: 0, ...progress.before };
  const rest = series.complete.map((complete, i) => ({
    at: start + 1000 * series.step * (i + 1),
    complete: before.complete + complete,
    error: before.error + (series.error?.[i] ?? 0),
  }));
  return [{ at: start, ...before }, ...rest];
}
