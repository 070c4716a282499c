/** The cancel button and its confirmation, which says what will be deleted. */

import { NotFound, Unauthorized, request } from "../common/api.js";
import { byId, show, text } from "../common/dom.js";
import { plural, whole } from "../common/format.js";
import { isTerminal, label } from "../common/describe.js";

let latest = null;
let asked = false;

/** `path()`: the fleet's API URL. `after()` runs when the app has accepted the cancellation. */
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
      await request(path(), "DELETE");
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
  if (error instanceof Unauthorized) return "Your key does not permit cancelling fleets. Nothing was changed.";
  if (error instanceof NotFound) return error.message;
  return `The fleet may not have been cancelled. ${error.message} It is safe to try again.`;
}

export function updateCancel(fleet) {
  latest = fleet;
  const { machines, trials, phase } = fleet;
  const over = isTerminal(phase);
  if (phase === "teardown" || over) asked = false;
  const button = byId("cancel");
  show(button, phase !== "teardown" && (!over || machines.running > 0));
  button.disabled = asked;
  text(button, asked ? "Cancelling …" : over ? "Delete remaining resources" : "Cancel fleet");
  text(byId("cancel-title"), over ? `Delete the remaining resources of ${label(fleet)}?` : `Cancel ${label(fleet)}?`);
  text(byId("cancel-yes"), over ? "Delete" : "Cancel and delete");
  const existing = machines.creating + machines.running;
  const what = existing
    ? `${plural(existing, "VM")} with ${existing === 1 ? "its" : "their"} disks, network interfaces and role assignments will be deleted.`
    : "No VM exists yet, and none will be created.";
  const rest = trials && !over
    ? ` ${whole(trials.running)} running and ${whole(trials.ready)} ready trials will not finish: they return to the experiment's queue. Results are kept.`
    : "";
  text(byId("cancel-what"), what + rest);
}
