/** Durations, ranges and windows, in UTC, as the API counts them. Pure: the clock is an argument. */

const UNIT_MS = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const DAY_MS = UNIT_MS.d;
const WINDOWS_MAX = 300; // more points than this say nothing more on a screen
export const RANGES = ["15m", "1h", "6h", "24h", "7d", "30d"];
const STEPS = ["1m", "5m", "15m", "1h", "6h", "1d"];

/** "5m" in milliseconds; NaN of what is no duration. */
export function parseDuration(text) {
  const match = /^(\d{1,9})([smhd])$/.exec(text);
  return match ? Number(match[1]) * UNIT_MS[match[2]] : NaN;
}

/** The steps to choose from: the metric's own window, and what is a multiple of it. */
export function stepsOf(window) {
  const windowMs = parseDuration(window);
  const larger = STEPS.filter((step) => parseDuration(step) > windowMs && parseDuration(step) % windowMs === 0);
  return [window, ...larger];
}

/** The smallest step that cuts the range into no more windows than a chart can show. */
export function automaticStep(rangeMs, window) {
  const steps = stepsOf(window);
  return steps.find((step) => rangeMs <= parseDuration(step) * WINDOWS_MAX) ?? steps.at(-1);
}

/**
 * What is asked for: `[startMs, endMs)` in windows of `step`.
 *
 * A range that ends now ends with the window that is under way, as the API's own default does. One with a start and an
 * end is left as it is: whether it falls on windows is for the API to say.
 */
export function rangeOf(view, window, nowMs) {
  const isFixed = view.start !== null;
  const lengthMs = isFixed ? Date.parse(view.end) - Date.parse(view.start) : parseDuration(view.range);
  const step = view.step === "auto" ? automaticStep(lengthMs, window) : view.step;
  const stepMs = parseDuration(step);
  if (isFixed) return { startMs: Date.parse(view.start), endMs: Date.parse(view.end), step, stepMs };
  const unitMs = DAY_MS % stepMs === 0 ? stepMs : parseDuration(window);
  const endMs = (Math.floor(nowMs / unitMs) + 1) * unitMs;
  return { startMs: endMs - Math.ceil(lengthMs / unitMs) * unitMs, endMs, step, stepMs };
}

/** The starts of the answer's windows: aligned to midnight where the step divides a day, else to the range's start. */
export function windowStarts({ startMs, endMs, stepMs }) {
  const originMs = DAY_MS % stepMs === 0 ? 0 : startMs;
  const starts = [];
  let nextMs = originMs + Math.floor((startMs - originMs) / stepMs) * stepMs;
  for (; nextMs < endMs; nextMs += stepMs) starts.push(Math.max(startMs, nextMs));
  return starts;
}

/** The smallest range of whole windows around two instants. */
export function outward(fromMs, toMs, window) {
  const windowMs = parseDuration(window);
  const startMs = Math.floor(fromMs / windowMs) * windowMs;
  return { startMs, endMs: Math.max(Math.ceil(toMs / windowMs) * windowMs, startMs + windowMs) };
}

/** RFC 3339, to the second where there is no more to it. */
export const instant = (ms) => new Date(ms).toISOString().replace(".000Z", "Z");
/** "2026-11-25 21:10", with seconds where they matter. */
export const dateAndTime = (ms) => `${instant(ms).slice(0, 10)} ${clock(ms, ms % UNIT_MS.m !== 0)}`;
/** "21:10:05", or without the seconds. */
export const clock = (ms, withSeconds = true) => instant(ms).slice(11, withSeconds ? 19 : 16);
/** "25 Nov". */
export const day = (ms) =>
  new Date(ms).toLocaleDateString("en-GB", { day: "numeric", month: "short", timeZone: "UTC" });

/** "2026-11-25 20:10 – 21:10", with the second day where it is another. */
export function span({ startMs, endMs }) {
  const isOneDay = Math.floor(startMs / DAY_MS) === Math.floor((endMs - 1) / DAY_MS);
  return `${dateAndTime(startMs)} – ${isOneDay ? dateAndTime(endMs).slice(11) : dateAndTime(endMs)}`;
}

/** A length of time in a word or two: "12 s", "3 min", "2 h 5 min", "4 d". */
export function duration(ms) {
  const seconds = Math.round(ms / 1_000);
  if (seconds < 120) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 120) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours >= 48) return `${Math.floor(hours / 24)} d`;
  return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
}
