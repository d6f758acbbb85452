/** The largest groups of the range as bars, in the colours of their series. */
import { el, put } from "./dom.js";
import { grouped, percent } from "./format.js";
import { slotOf, swatch } from "./palette.js";
import { addsUp, keyOf, labelOf } from "./picture.js";

const BARS = 10;

/**
 * @param {object[]} groups  rows, the largest first
 * @param {string|null} total  of all of them, where shares of it mean something
 * @param {(row: object) => void} onPick
 */
export function showTop(root, groups, { view, measure, total, onPick }) {
  const rows = groups.slice(0, BARS);
  const largest = Math.max(...rows.map((row) => Math.abs(Number(row[measure.name]))), 0);
  const hasShares = addsUp(measure) && Number(total) > 0 && rows.every((row) => Number(row[measure.name]) >= 0);
  const bars = rows.map((row) => {
    const value = Number(row[measure.name]);
    const key = keyOf(row, view.groupBy);
    const label = labelOf(row, view.groupBy);
    const fill = el("span", { className: "fill", "data-slot": slotOf(key) ?? "none", "aria-hidden": "true" });
    fill.style.width = `${largest ? (Math.abs(value) / largest) * 100 : 0}%`;
    const isNamed = row[view.groupBy[0]] !== null; // no condition can name the others
    const name = isNamed
      ? el("button", { type: "button", "data-key": key, title: `Only ${label}`, onclick: () => onPick(row) }, label)
      : el("span", { className: "quiet" }, label);
    const share = hasShares ? el("span", { className: "share" }, percent(value / Number(total))) : "";
    const number = el("b", {}, row[measure.name] === null ? "–" : grouped(row[measure.name]));
    return el(
      "li",
      {},
      el("div", { className: "name" }, swatch(key), name),
      number,
      share,
      el("div", { className: "track" }, fill),
    );
  });
  put(root, ...bars);
}
