// Build the elements of the page. Text goes in as text nodes, never as HTML.

const SVG = "http://www.w3.org/2000/svg";

/** Make an element: attributes by name, `on…` listeners as functions, children as nodes or text. */
function el(tag, attributes = {}, ...children) {
  return furnish(document.createElement(tag), attributes, children);
}

function svg(tag, attributes = {}, ...children) {
  return furnish(document.createElementNS(SVG, tag), attributes, children);
}

function furnish(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value != null) node.setAttribute(name, value);
  }
  for (const child of children.flat(Infinity)) if (child != null && child !== false) node.append(child);
  return node;
}

const find = (id) => document.getElementById(id);

/** Control and bidirectional format characters, which would act on what stands around them. */
// eslint-disable-next-line no-control-regex
const ACTS = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]/g;

/** Return text as nodes, with characters that act written out. */
function plain(text) {
  const nodes = [];
  let at = 0;
  for (const found of text.matchAll(ACTS)) {
    if (found.index > at) nodes.push(text.slice(at, found.index));
    const code = found[0].charCodeAt(0).toString(16).padStart(4, "0").toUpperCase();
    nodes.push(el("span", { class: "acts", title: "a control character" }, `U+${code}`));
    at = found.index + 1;
  }
  if (at < text.length) nodes.push(text.slice(at));
  return nodes;
}

const MUCH = 20000;

/** Return a stretch of foreign text; of a very long one its begin, and a button for the rest. */
function stretch(text, tag = "div", kind = "text") {
  const node = el(tag, { class: kind, dir: "auto" }, plain(text.slice(0, MUCH)));
  if (text.length > MUCH) {
    const more = el("button", {
      type: "button",
      onclick: () => node.replaceChildren(...plain(text)),
    }, `show all ${text.length.toLocaleString("en")} characters`);
    node.append("… ", more);
  }
  return node;
}

const show = (value) =>
  value === null || value === undefined ? "–" : value === true ? "yes" : value === false ? "no" : String(value);
