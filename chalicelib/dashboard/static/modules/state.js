/**
 * What the page shows, as the URL says it, in the API's own words where it has any. Only this module knows them. Pure.
 *
 * @typedef {object} View
 * @property {string|null} metric
 * @property {string} range      a length of time that ends now; without effect where there is a start
 * @property {string|null} start RFC 3339, together with `end`
 * @property {string|null} end
 * @property {string} step       "auto", or a duration
 * @property {string[]|null} groupBy null: whatever the metric's first dimension is
 * @property {Object<string, string[]>} where values by dimension
 * @property {string|null} measure
 * @property {string} sort       a column of the table, "-" before it for descending
 * @property {number} refresh    seconds; 0 is never
 */
import { RANGES, parseDuration } from "./time.js";

export const REFRESHES = [0, 5, 15, 60];
const DEFAULTS = { range: "1h", step: "auto", sort: "-window_start", refresh: 15 };

/** @returns {View} */
export function readView(search) {
  const given = new URLSearchParams(search);
  const isFixed = given.has("start") && given.has("end");
  const names = given.get("group_by");
  const refresh = Number(given.get("refresh") ?? DEFAULTS.refresh);
  return {
    metric: given.get("metric"),
    range: RANGES.includes(given.get("range")) ? given.get("range") : DEFAULTS.range,
    start: isFixed ? given.get("start") : null,
    end: isFixed ? given.get("end") : null,
    step: Number.isNaN(parseDuration(given.get("step"))) ? DEFAULTS.step : given.get("step"),
    groupBy: names === null ? null : names.split(",").filter(Boolean),
    where: Object.fromEntries(given.getAll("where").map(parseCondition)),
    measure: given.get("measure"),
    sort: given.get("sort") || DEFAULTS.sort,
    refresh: REFRESHES.includes(refresh) ? refresh : DEFAULTS.refresh,
  };
}

/** The part of a URL from its `?`. */
export function writeView(view) {
  const given = new URLSearchParams();
  const set = (name, value, usual) => value !== null && value !== usual && given.set(name, value);
  set("metric", view.metric);
  if (view.start === null) set("range", view.range, DEFAULTS.range);
  set("start", view.start);
  set("end", view.end);
  set("step", view.step, DEFAULTS.step);
  set("group_by", view.groupBy?.join(",") ?? null);
  for (const condition of conditions(view.where)) given.append("where", condition);
  set("measure", view.measure);
  set("sort", view.sort, DEFAULTS.sort);
  set("refresh", String(view.refresh), String(DEFAULTS.refresh));
  return `?${given}`;
}

/** `where` as the API takes it: a condition for each dimension. */
export function conditions(where) {
  const escaped = (value) => value.replace(/[\\,:]/g, "\\$&");
  return Object.entries(where).map(([dimension, values]) => `${dimension}:${values.map(escaped).join(",")}`);
}

/** @returns {[string, string[]]} dimension and values */
export function parseCondition(text) {
  const dimension = text.split(":", 1)[0];
  const values = [""];
  for (const [character] of text.slice(dimension.length + 1).matchAll(/\\?./gsu)) {
    if (character === ",") values.push("");
    else values[values.length - 1] += character.replace(/^\\(?=.)/su, "");
  }
  return [dimension, values];
}
