/** The colours of series: a group keeps its own as long as it is shown, whatever place the numbers give it. */
import { el } from "./dom.js";
import { SERIES_MAX } from "./picture.js";

const slots = new Map();

/** Give each of these groups a colour's number from 1; groups that are not shown any more give theirs back. */
export function assign(keys) {
  for (const key of slots.keys()) if (!keys.includes(key)) slots.delete(key);
  for (const key of keys) {
    const taken = new Set(slots.values());
    const free = Array.from({ length: SERIES_MAX }, (_, place) => place + 1).find((slot) => !taken.has(slot));
    if (!slots.has(key)) slots.set(key, free);
  }
}

/** The group's number, undefined where it has no series. */
export const slotOf = (key) => slots.get(key);

/** A custom property's colour as a canvas takes it, in the theme of the moment. */
export function colour(property) {
  const probe = document.documentElement;
  probe.style.setProperty("outline-color", `var(${property})`);
  const resolved = getComputedStyle(probe).outlineColor;
  probe.style.removeProperty("outline-color");
  return resolved;
}

/** The little mark of a series' colour, as its line is drawn. */
export function swatch(key) {
  return el("span", { className: "swatch", "data-slot": slotOf(key) ?? "none", "aria-hidden": "true" });
}
