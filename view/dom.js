/** Building and changing a page. Text is only ever text: nothing here parses HTML.
 *
 *  What has not changed is not touched, so that nothing flickers, scrolls or loses the focus. */

const SVG = "http://www.w3.org/2000/svg";

export const byId = (id) => document.getElementById(id);

/** An element with attributes and children (nodes or texts). */
export function el(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** The same in SVG. */
export function svg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) attr(node, name, value);
  node.append(...children);
  return node;
}

/** Set an attribute; null and false take it away. */
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

/** A CSS property; through the CSSOM, since our Content-Security-Policy refuses style attributes. */
export function css(node, name, value) {
  if (node.style.getPropertyValue(name) !== value) node.style.setProperty(name, value);
}

const KEPT = new WeakMap();

/** Give `parent` one child per item, in their order; a child stays as long as its item's key does.
 *  `make(item)` makes a child, `update(child, item)` brings it up to date. */
export function keyed(parent, items, keyOf, make, update) {
  const before = KEPT.get(parent) ?? new Map();
  const after = new Map();
  let at = parent.firstChild;
  for (const item of items) {
    const key = keyOf(item);
    const child = before.get(key) ?? make(item);
    after.set(key, child);
    update(child, item);
    if (child === at) at = at.nextSibling;
    else parent.insertBefore(child, at);
  }
  for (const [key, child] of before) if (after.get(key) !== child) child.remove();
  KEPT.set(parent, after);
}

/** Say something to those who listen to the page instead of seeing it. */
export function announce(words) {
  text(byId("announcer"), words);
}
