/** Changes the document. Nothing here parses HTML.
 *
 *  Unchanged nodes are not touched, so that nothing flickers, scrolls or loses focus. */

const SVG = "http://www.w3.org/2000/svg";

export const byId = (id) => document.getElementById(id);

/** Create an element; children are nodes or text. */
export function el(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) attr(node, name, value);
  node.append(...children);
  return node;
}

/** Set an attribute; null and false remove it. */
export function attr(node, name, value) {
  if (value === null || value === undefined || value === false) node.removeAttribute(name);
  else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value);
}

export function text(node, value) {
  if (node.textContent !== String(value)) node.textContent = value;
}

export function show(node, visible) {
  if (node.hidden === Boolean(visible)) node.hidden = !visible;
}

/** Show a link to another site; null hides it. */
export function link(node, url) {
  const safe = url?.startsWith("https:");
  attr(node, "href", safe ? url : null);
  show(node, safe);
}

/** Set a CSS property through the CSSOM: the Content-Security-Policy blocks style attributes. */
export function css(node, name, value) {
  if (node.style.getPropertyValue(name) !== value) node.style.setProperty(name, value);
}

const KEPT = new WeakMap();

/** Give `parent` one child per item, in order; a child is kept as long as its item's key exists.
 *  `keyOf(item, index)`; `make(item)` creates a child, `update(child, item)` updates it. */
export function keyed(parent, items, keyOf, make, update) {
  const before = KEPT.get(parent) ?? new Map();
  const after = new Map();
  let at = parent.firstChild;
  for (const [index, item] of items.entries()) {
    const key = keyOf(item, index);
    const child = before.get(key) ?? make(item);
    after.set(key, child);
    update(child, item);
    if (child === at) at = at.nextSibling;
    else parent.insertBefore(child, at);
  }
  for (const [key, child] of before) if (after.get(key) !== child) child.remove();
  KEPT.set(parent, after);
}

/** Buttons of which one is pressed, for `[value, words]` each. `choose(value)` runs after a click. */
export function choices(parent, options, pressed, choose) {
  const press = (value) => {
    for (const button of parent.children) attr(button, "aria-pressed", String(button.dataset.value === value));
  };
  for (const [value, words] of options) {
    const button = el("button", { type: "button", "data-value": value }, words);
    button.addEventListener("click", () => {
      press(value);
      choose(value);
    });
    parent.append(button);
  }
  press(pressed);
}

/** Announce text to screen readers. */
export function announce(words) {
  text(byId("announcer"), words);
}
