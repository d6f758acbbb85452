/** The questions that a view asks of the API, as paths with their queries. Pure. */
import { conditions } from "./state.js";
import { instant } from "./time.js";

const ROWS_MAX = 10_000;
const GROUPS_MAX = 100; // enough to say how many there are, and to offer their values
export const METRICS = "v1/metrics";
export const STREAM = "v1/stream";

export const describe = (metric) => `v1/metrics/${encodeURIComponent(metric)}`;

/** One row of each window and group; `where` in place of the view's own conditions. */
export function windows(view, range, where = view.where) {
  return question(view, { ...span(view, range), step: range.step, group_by: view.groupBy }, where, ROWS_MAX);
}

/** One row: the range as a whole. */
export const total = (view, range) => question(view, { ...span(view, range), step: "all" }, view.where, 1);

/** One row of each group, the largest first. */
export function top(view, range) {
  const order = `-${view.measure}`;
  return question(
    view,
    { ...span(view, range), step: "all", group_by: view.groupBy, order_by: order },
    view.where,
    GROUPS_MAX,
  );
}

/** The values of one dimension, whatever the conditions on it are. */
export function valuesOf(view, range, dimension) {
  const { [dimension]: _, ...where } = view.where;
  const asked = {
    ...span(view, range),
    step: "all",
    group_by: [dimension],
    measures: view.measure,
    order_by: `-${view.measure}`,
  };
  return question(view, asked, where, GROUPS_MAX);
}

// A fixed range goes as it was written, so that the API can say what is wrong with it.
const span = (view, { startMs, endMs }) =>
  view.start === null ? { start: instant(startMs), end: instant(endMs) } : { start: view.start, end: view.end };

function question(view, parameters, where, limit) {
  const asked = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) if (value.length) asked.set(name, value);
  for (const condition of conditions(where)) asked.append("where", condition);
  asked.set("limit", limit);
  return `${describe(view.metric)}/windows?${asked}`;
}
