/** The button that cancels: it asks first, and says what will be deleted. */

import { Missing, Refused, request } from "./api.js";
import { byId, show, text } from "./dom.js";
import { plural, whole } from "./format.js";
import { isTerminal } from "./words.js";

let latest = null;
let asked = false;

/** `path`: the API's address of the fleet. `after()` is called when the app has taken the cancel. */
export function startCancel(path, after) {
  const dialog = byId("cancel-dialog");
  byId("cancel").addEventListener("click", () => {
    text(byId("cancel-fault"), "");
    dialog.showModal();
  });
  byId("cancel-no").addEventListener("click", () => dialog.close());
  byId("cancel-yes").addEventListener("click", async () => {
    byId("cancel-yes").disabled = true;
    try {
      await request(path, "DELETE");
      asked = true;
      dialog.close();
      updateCancel(latest);
      after();
    } catch (error) {
      text(byId("cancel-fault"), fault(error));
    } finally {
      byId("cancel-yes").disabled = false;
    }
  });
}

function fault(error) {
  if (error instanceof Refused || error instanceof Missing) return error.message;
  return `Nobody can tell whether it was taken. ${error.message} Press again: twice does no harm.`;
}

export function updateCancel(fleet) {
  latest = fleet;
  const { machines, trials, phase } = fleet;
  const over = isTerminal(phase);
  if (phase === "teardown" || over) asked = false;
  const button = byId("cancel");
  show(button, phase !== "teardown" && (!over || machines.running > 0));
  button.disabled = asked;
  text(button, asked ? "Cancelling …" : over ? "Delete what is left" : "Cancel fleet");
  text(byId("cancel-title"), over ? `Delete what ${fleet.id} left?` : `Cancel ${fleet.id}?`);
  text(byId("cancel-yes"), over ? "Delete" : "Cancel and delete");
  const standing = Math.max(machines.running, over ? 0 : machines.accepted - machines.deleted - machines.failed);
  const what = standing
    ? `${plural(standing, "VM")} with ${standing === 1 ? "its" : "their"} disks, network interfaces and roles will be deleted.`
    : "No VM stands yet; none will be made.";
  const rest = trials && !over
    ? ` ${whole(trials.running)} running and ${whole(trials.ready)} waiting trials stay undone: they go back to the queue of the experiment. What is complete stays.`
    : "";
  text(byId("cancel-what"), what + rest);
}
