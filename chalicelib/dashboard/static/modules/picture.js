/** What the answers to a view's questions mean: groups, series, and what is not known yet. Pure. */
import { parseDuration, windowStarts } from "./time.js";

export const SERIES_MAX = 8; // as many colours as can be told apart

/** Whether windows without an event have the value 0: a count or a sum of nothing. A mean of nothing is none. */
export const isZeroOfNothing = (measure) => measure.type === "integer" || measure.kind === "sum";

/** Whether the values of groups add up to that of all: a customer can be in two groups, and counts once in all. */
export const addsUp = (measure) => measure.kind === "count" || measure.kind === "sum";

/** The values of a row's dimensions. */
export const keyOf = (row, groupBy) => JSON.stringify(groupBy.map((dimension) => row[dimension]));

/** "EUR · standard". The group whose dimensions are null holds the groups beyond the metric's limit. */
export function labelOf(row, groupBy) {
  if (!groupBy.length) return "all events";
  return groupBy.every((dimension) => row[dimension] === null)
    ? "other groups"
    : groupBy.map((dimension) => row[dimension] || "(empty)").join(" · ");
}

/** The groups that get a series: the largest. Where there are more, what no condition can name stays out. */
export function charted(groups, areAllKnown, groupBy) {
  if (areAllKnown && groups.length <= SERIES_MAX) return groups;
  return groups.filter((row) => row[groupBy[0]] !== null).slice(0, SERIES_MAX);
}

/** The view's conditions, narrowed to the values of these groups. */
export function narrowed(where, groups, groupBy) {
  const values = groupBy.map((dimension) => [dimension, [...new Set(groups.map((row) => row[dimension]))]]);
  return { ...where, ...Object.fromEntries(values) };
}

/**
 * The rows of what was gathered, as series over the range's windows.
 *
 * A window without a row is 0 for a count or a sum, if it is complete and still kept; otherwise nothing is known of it.
 *
 * @returns {{starts: number[], series: {key: string, label: string, texts: (string|null)[]}[]}}
 */
export function seriesOf({ rows, charted: groups, view, measure, range, completeMs, metric, nowMs }) {
  const starts = windowStarts(range);
  const values = new Map(groups.map((row) => [keyOf(row, view.groupBy), new Map()]));
  for (const row of rows) {
    values.get(keyOf(row, view.groupBy))?.set(Date.parse(row.window_start), row[measure.name]);
  }
  const keptFromMs = nowMs - parseDuration(metric.retention);
  const nothing = (startMs) => {
    const isKnown = startMs + range.stepMs <= completeMs && startMs >= keptFromMs;
    return isKnown && isZeroOfNothing(measure) ? "0" : null;
  };
  const series = groups.map((row) => {
    const key = keyOf(row, view.groupBy);
    const ofWindow = values.get(key);
    return {
      key,
      label: labelOf(row, view.groupBy),
      texts: starts.map((startMs) => (ofWindow.has(startMs) ? ofWindow.get(startMs) : nothing(startMs))),
    };
  });
  return { starts, series };
}
