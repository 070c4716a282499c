/** Keyboard control of the timeline. */

import { byId } from "../../common/dom.js";
import { closeDetail, detailIsOpen } from "./details.js";
import { activeRow, choose } from "./timeline.js";

const DIGIT_TIMEOUT = 900; // milliseconds between digits of a number

/** Open details follow the active row. */
export function startKeys() {
  let typed = "", typedAt = 0;
  byId("vms").addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { index, rows, page } = activeRow();
    const row = rows[index];
    const to = {
      ArrowDown: index + 1, ArrowUp: index - 1, PageDown: index + page, PageUp: index - page,
      Home: 0, End: rows.length - 1,
    }[event.key];
    if (to !== undefined) {
      choose(rows[Math.max(0, Math.min(rows.length - 1, to))].machine.ordinal, detailIsOpen(), false);
    } else if (event.key === "Enter" || event.key === " ") {
      choose(row.machine.ordinal, true, true);
    } else if (event.key === "ArrowLeft" && Number.isInteger(row.machine.replaces)) {
      choose(row.machine.replaces, detailIsOpen(), false);
    } else if (event.key === "ArrowRight" && row.replacement !== null) {
      choose(row.replacement, detailIsOpen(), false);
    } else if (event.key === "Escape") {
      closeDetail();
    } else if (/^\d$/.test(event.key)) {
      typed = event.timeStamp - typedAt < DIGIT_TIMEOUT ? typed + event.key : event.key;
      typedAt = event.timeStamp;
      choose(Number(typed), detailIsOpen(), false);
    } else {
      return;
    }
    event.preventDefault();
  });
}
