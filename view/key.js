/** The form that asks for the app's function key. */

import { setKey } from "./api.js";
import { attr, byId, show, text } from "./dom.js";

/** Ask until there is one; it is kept in this tab. `refused`: the app did not take the last. */
export function askForKey(refused) {
  const [section, form, field] = ["key", "key-form", "key-field"].map(byId);
  text(byId("key-fault"), refused ? "The app refused the key. Is it this app's, and all of it?" : "");
  attr(field, "aria-invalid", refused ? "true" : null);
  attr(byId("pulse"), "data-state", "away");
  text(byId("pulse-words"), "Waiting for the key");
  show(byId("content"), false);
  show(section, true);
  field.focus();
  return new Promise((resolve) => {
    form.onsubmit = (event) => {
      event.preventDefault();
      if (!field.value.trim()) return;
      setKey(field.value.trim());
      field.value = "";
      show(section, false);
      show(byId("content"), true);
      resolve();
    };
  });
}
