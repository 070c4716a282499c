/** The form for the function key. */

import { setKey } from "./api.js";
import { attr, byId, show, text } from "./dom.js";

/** Resolves when the user has entered a key, which this tab keeps. `rejected`: the last key was wrong. */
export function askForKey(rejected) {
  const [section, form, field] = ["key", "key-form", "key-field"].map(byId);
  text(byId("key-fault"), rejected ? "The app rejected the key. Check that it is complete and belongs to this app." : "");
  attr(field, "aria-invalid", rejected ? "true" : null);
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
