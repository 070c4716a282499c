/** Light, dark, or the system's theme. */

import { attr, byId } from "./dom.js";
import { setIcon } from "./icons.js";

const NAME = "powerlift-fleet-theme";
const THEMES = ["system", "light", "dark"];
const SIGNS = { system: "contrast", light: "sun", dark: "moon" };

export function startTheme() {
  const button = byId("theme");
  apply(stored());
  button.addEventListener("click", () => {
    const next = THEMES[(THEMES.indexOf(stored()) + 1) % THEMES.length];
    localStorage.setItem(NAME, next);
    apply(next);
  });
}

function stored() {
  const name = localStorage.getItem(NAME);
  return THEMES.includes(name) ? name : "system";
}

function apply(theme) {
  attr(document.documentElement, "data-theme", theme);
  setIcon(byId("theme-sign"), SIGNS[theme]);
  attr(byId("theme"), "aria-label", `Theme: ${theme}. Change`);
}
