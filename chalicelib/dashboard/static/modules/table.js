/** The rows as a table: what the chart draws, exact to the last digit, and sortable. */
import { el, put } from "./dom.js";
import { compareNumbers, decimalPadding, decimalsOf, grouped } from "./format.js";
import { dateAndTime } from "./time.js";

const ROWS_AT_ONCE = 100;

export class Table {
  /** @param {(sort: string) => void} onSort told the column, "-" before it for descending */
  constructor(root, more, onSort) {
    Object.assign(this, { root, more, onSort, shown: ROWS_AT_ONCE });
    more.addEventListener("click", () => {
      this.shown += ROWS_AT_ONCE;
      this.#fill();
    });
  }

  /** @param picture rows, dimensions, measures, sort, and whether a window that starts then is complete */
  show(picture) {
    const isOther = JSON.stringify(this.picture?.dimensions) !== JSON.stringify(picture.dimensions);
    if (isOther) this.shown = ROWS_AT_ONCE;
    this.picture = picture;
    this.#fill();
  }

  #fill() {
    const { rows, dimensions, measures, sort, isComplete } = this.picture;
    const names = ["window_start", ...dimensions, ...measures];
    const sorted = sortRows(rows, names.includes(sort.replace("-", "")) ? sort : "-window_start", measures);
    const visible = sorted.slice(0, this.shown);
    const decimals = measures.map((name) => Math.max(0, ...visible.map((row) => decimalsOf(row[name] ?? ""))));
    const cells = (row) => [
      el(
        "th",
        { scope: "row", className: "when" },
        dateAndTime(Date.parse(row.window_start)),
        isComplete(row) ? "" : unfinished(),
      ),
      ...dimensions.map((name) => dimensionCell(row, name, dimensions)),
      ...measures.map((name, place) => numberCell(row[name], decimals[place])),
    ];
    put(this.root.tHead, el("tr", {}, ...names.map((name) => this.#heading(name, measures.includes(name)))));
    this.root.tBodies[0].replaceChildren(...visible.map((row) => el("tr", {}, ...cells(row))));
    this.more.hidden = visible.length === rows.length;
    this.more.textContent = `Show more (${grouped(String(rows.length - visible.length))} rows are below)`;
  }

  #heading(name, isNumber) {
    const { sort } = this.picture;
    const direction = sort === name ? "ascending" : sort === `-${name}` ? "descending" : "none";
    const first = isNumber || name === "window_start" ? `-${name}` : name; // the largest, or the newest, is looked for
    const next = { none: first, ascending: `-${name}`, descending: name }[direction];
    const text = name === "window_start" ? "window (UTC)" : name;
    const button = el("button", { type: "button", "data-key": name, onclick: () => this.onSort(next) }, text);
    return el("th", { scope: "col", className: isNumber ? "number" : "", "aria-sort": direction }, button);
  }
}

/** Rows in the order of a column, null at the end; equal ones as they came. Pure. */
export function sortRows(rows, sort, measures) {
  const name = sort.replace("-", "");
  const sign = sort.startsWith("-") ? -1 : 1;
  const compare = measures.includes(name) ? compareNumbers : (one, other) => (one < other ? -1 : Number(one > other));
  return [...rows].sort(({ [name]: one }, { [name]: other }) => {
    if (one === null || other === null) return Number(one === null) - Number(other === null);
    return sign * compare(one, other);
  });
}

function dimensionCell(row, name, dimensions) {
  if (dimensions.every((each) => row[each] === null)) return el("td", { className: "quiet" }, "other groups");
  return el("td", {}, row[name] || el("i", { className: "quiet" }, "(empty)"));
}

function numberCell(text, decimals) {
  if (text === null) return el("td", { className: "number quiet" }, "–", decimalPadding("0", decimals));
  return el("td", { className: "number" }, grouped(text), decimalPadding(text, decimals));
}

const unfinished = () => el("span", { className: "unfinished" }, " not complete yet");
