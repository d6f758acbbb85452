/** The few helpers that the page's parts are made with. */

export const $ = (id) => document.getElementById(id);

/** An element with properties or attributes, whichever a name is, and children: nodes or text, never HTML. */
export function el(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in node) node[name] = value;
    else node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

/**
 * Replace what the element holds, if it differs. The focus stays on what has the same `data-key`: a refresh must not
 * take it away, nor have it announced anew for nothing.
 */
export function put(root, ...children) {
  const next = el("div", {}, ...children);
  if (next.innerHTML === root.innerHTML) return;
  const key = root.contains(document.activeElement) ? document.activeElement.dataset.key : undefined;
  root.replaceChildren(...next.childNodes);
  if (key !== undefined) root.querySelector(`[data-key="${CSS.escape(key)}"]`)?.focus({ preventScroll: true });
}

/** Set text only where it differs, so that nothing is announced or selected anew for nothing. */
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
