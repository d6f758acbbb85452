/** Joins the parts: a view is read from the URL, asked of the API, and drawn; a change makes another view. */
import { askForToken, initAccess, showForget } from "./access.js";
import { Problem, ask, noteClock, now } from "./api.js";
import { showCards } from "./cards.js";
import { Chart } from "./chart.js";
import { Controls } from "./controls.js";
import { $, say } from "./dom.js";
import { curlOf, saveCsv } from "./export.js";
import { parseExact } from "./format.js";
import { gather } from "./gather.js";
import { assign } from "./palette.js";
import { isZeroOfNothing, keyOf, seriesOf } from "./picture.js";
import * as questions from "./questions.js";
import { readView, writeView } from "./state.js";
import { showBanner, showEmpty, showOnly, showProblem } from "./states.js";
import { showNoStream, showStream, tell } from "./status.js";
import { Table } from "./table.js";
import { clock, instant, outward, rangeOf, span } from "./time.js";
import { showTop } from "./top.js";

const SLOW_MS = 400; // below, a sign of loading would only flicker
const TOAST_MS = 2_500;
const RETRY_MS = 5_000;
const WINDOWS_DRAWN_MAX = 3_000; // far more than there are pixels, and yet few pages of an answer
const NO_METRICS = {
  status: 404,
  title: "There is no metric to show",
  detail: "chalicelib/definitions.py is where they are declared.",
};

let view = readView(location.search);
let metrics = null;
let shown = null; // what was gathered for what is on the page
let loading = null;
let timer = null;

const chart = new Chart($("chart"), $("readout"), zoom, zoomOut);
const table = new Table($("table"), $("more"), sortBy);
const controls = new Controls(change, offerValues);

// ---- the view

function change(patch) {
  view = { ...view, ...patch };
  history.pushState(null, "", writeView(view));
  load();
}

function sortBy(sort) {
  view = { ...view, sort };
  history.replaceState(null, "", writeView(view));
  drawTable();
}

/** Give the view what its URL left open. */
function settle(metric) {
  const isKnown = metric.measures.some(({ name }) => name === view.measure);
  view = {
    ...view,
    metric: metric.name,
    groupBy: view.groupBy ?? metric.dimensions.slice(0, 1),
    measure: isKnown ? view.measure : metric.measures[0].name,
  };
  history.replaceState(null, "", writeView(view));
}

function zoom(fromMs, toMs) {
  const { startMs, endMs } = outward(fromMs, toMs, shown.metric.window);
  change({ start: instant(startMs), end: instant(endMs), step: "auto" });
}

function zoomOut() {
  if (!shown) return;
  const { startMs, endMs } = shown.range;
  const lengthMs = endMs - startMs;
  const latestMs = outward(now(), now() + 1, shown.metric.window).endMs;
  const toMs = Math.min(endMs + lengthMs / 2, Math.max(latestMs, endMs));
  zoom(toMs - 2 * lengthMs, toMs);
}

// ---- asking

async function load() {
  loading?.abort();
  clearTimeout(timer);
  showForget();
  const { signal } = (loading = new AbortController());
  const slow = setTimeout(() => setBusy(true), SLOW_MS);
  let waitMs = view.refresh * 1_000;
  try {
    loadStream(signal);
    draw(await answerView(signal));
  } catch (error) {
    if (signal.aborted) return;
    if (!(error instanceof Problem)) throw error;
    waitMs = handle(error, waitMs);
  } finally {
    clearTimeout(slow);
    if (!signal.aborted) {
      setBusy(false);
      if (waitMs && !document.hidden) timer = setTimeout(load, waitMs);
    }
  }
}

function setBusy(isBusy) {
  document.body.classList.toggle("is-slow", isBusy);
  $("main").setAttribute("aria-busy", isBusy);
}

async function loadStream(signal) {
  try {
    const answer = await ask(questions.STREAM, signal);
    noteClock(answer.headers);
    showStream(JSON.parse(answer.text));
  } catch (error) {
    if (signal.aborted) return;
    if (!(error instanceof Problem)) throw error;
    if (error.status !== 401) showNoStream(error); // the numbers' own 401 asks for a token
  }
}

/** Settle what the view asks, show it in the controls, and gather the answers. */
async function answerView(signal) {
  metrics ??= JSON.parse((await ask(questions.METRICS, signal)).text).metrics;
  if (!metrics.length) throw new Problem(NO_METRICS);
  const name = view.metric ?? metrics[0].name;
  const listed = metrics.find((metric) => metric.name === name);
  const metric = listed ?? JSON.parse((await ask(questions.describe(name), signal)).text); // whose problem says why not
  settle(metric);
  const range = rangeOf(view, metric.window, now());
  controls.show(view, metrics, metric, range);
  const windows = (range.endMs - range.startMs) / range.stepMs;
  if (windows > WINDOWS_DRAWN_MAX) {
    const detail = `The range has ${Math.ceil(windows)} windows of ${range.step}; ${WINDOWS_DRAWN_MAX} can be drawn.`;
    throw new Problem({ status: 400, title: "The step is too small for this range", detail });
  }
  return gather(view, metric, range, signal);
}

/** Show a problem; tell after how many milliseconds to ask again, 0 for never. */
function handle(problem, waitMs) {
  if (problem.status === 401) askForToken(problem);
  const isOfTheMoment = problem.status === 0 || problem.status >= 500;
  const isSameView = shown && questionOf(shown.view) === questionOf(view);
  if (isOfTheMoment && isSameView) showBanner(problem);
  else {
    showProblem(problem, {
      automatic: () => change({ step: "auto" }),
      reset: () => change({ range: "1h", start: null, end: null, step: "auto", where: {}, groupBy: null }),
      token: () => askForToken(null),
      first: () => change({ metric: null, groupBy: null, where: {}, measure: null }),
      retry: load,
    });
  }
  return isOfTheMoment ? Math.max(waitMs, problem.retryAfterMs ?? RETRY_MS) : 0;
}

/** What of a view is asked of the API. */
const questionOf = (some) => writeView({ ...some, sort: "", refresh: 0 });

async function offerValues(dimension) {
  if (!shown) return [];
  try {
    const answer = parseExact((await ask(questions.valuesOf(view, shown.range, dimension))).text);
    return answer.data.map((row) => row[dimension]).filter((value) => value !== null);
  } catch (error) {
    if (error instanceof Problem) return []; // a value can be typed as well
    throw error;
  }
}

// ---- drawing

function draw(picture) {
  shown = picture;
  const { metric, measure, range, rows, total } = picture;
  showBanner(null);
  say($("updated"), clock(now()));
  document.title = `${measure.name} of ${metric.name} – Highwater`;
  if (!rows.length && !total) {
    const onLonger = () => change({ range: "30d", start: null, end: null, step: "auto" });
    showEmpty({ metric, view, range, onLonger, onUnfiltered: () => change({ where: {} }), onZoomOut: zoomOut });
    return;
  }
  showOnly("picture");
  showCards($("cards"), { metric, view, total, onPick: (name) => change({ measure: name }) });
  assign(picture.charted.map((row) => keyOf(row, view.groupBy)));
  drawHeadings(picture);
  chart.show({ ...seriesOf(picture), range, completeMs: picture.completeMs, isFromZero: isZeroOfNothing(measure) });
  $("top-panel").hidden = !view.groupBy.length;
  if (view.groupBy.length) {
    showTop($("top"), picture.groups, { view, measure, total: total?.[measure.name] ?? null, onPick: narrowTo });
  }
  drawTable();
}

function drawHeadings({ measure, range, groups, areAllKnown, charted, completeMs }) {
  const by = view.groupBy.length ? ` by ${view.groupBy.join(", ")}` : "";
  say($("chart-title"), `${measure.name}${by}`);
  say($("chart-range"), `${span(range)} UTC, windows of ${range.step}`);
  say($("top-title"), `Largest ${measure.name}`);
  const many = areAllKnown ? groups.length : `more than ${groups.length}`;
  const note =
    charted.length < groups.length ? `The ${charted.length} largest of ${many} groups; the CSV file has them all.` : "";
  say($("groups-note"), note);
  say($("table-note"), note);
  $("incomplete-note").hidden = completeMs >= range.endMs;
}

function drawTable() {
  const { metric, range, rows, charted, completeMs } = shown;
  const keys = new Set(charted.map((row) => keyOf(row, view.groupBy)));
  table.show({
    rows: rows.filter((row) => keys.has(keyOf(row, view.groupBy))), // conditions also let in other combinations
    dimensions: view.groupBy,
    measures: metric.measures.map(({ name }) => name),
    sort: view.sort,
    isComplete: (row) => Date.parse(row.window_start) + range.stepMs <= completeMs,
  });
}

function narrowTo(row) {
  const values = view.groupBy.map((dimension) => [dimension, [row[dimension]]]);
  change({ where: { ...view.where, ...Object.fromEntries(values) } });
}

// ---- exports and the rest of the page

async function copyCurl() {
  const command = curlOf(questions.windows(shown.view, shown.range));
  try {
    await navigator.clipboard.writeText(command);
    toast("Copied the curl command of this view");
  } catch {
    $("command").value = command; // no leave to write to the clipboard, or no secure context
    $("copy").showModal();
    $("command").select();
  }
}

async function downloadCsv() {
  const { view: asked, metric, range } = shown;
  const name = `${metric.name}-${instant(range.startMs)}-${instant(range.endMs)}.csv`.replaceAll(":", "");
  try {
    await saveCsv(questions.windows(asked, range), name);
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    toast(`No file: ${error.title}. ${error.detail}`);
  }
}

let toasting = null;
function toast(text) {
  say($("toast"), text);
  clearTimeout(toasting);
  toasting = setTimeout(() => say($("toast"), ""), TOAST_MS);
}

function initTheme() {
  const { dataset } = document.documentElement;
  $("theme").value = dataset.theme ?? "";
  $("theme").addEventListener("change", () => {
    const chosen = $("theme").value;
    if (chosen) dataset.theme = chosen;
    else delete dataset.theme;
    if (chosen) localStorage.setItem("highwater.theme", chosen);
    else localStorage.removeItem("highwater.theme");
    chart.repaint();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => chart.repaint());
}

initTheme();
initAccess(() => {
  metrics = null; // which ones there are to see depends on the token
  load();
});
$("now").addEventListener("click", load);
$("zoom-out").addEventListener("click", zoomOut);
$("curl").addEventListener("click", copyCurl);
$("csv").addEventListener("click", downloadCsv);
$("copy-close").addEventListener("click", () => $("copy").close());
$("skip").addEventListener("click", (event) => {
  event.preventDefault(); // with a base, "#chart" would be another page
  ($("picture").hidden ? $("main") : $("chart")).focus();
});
addEventListener("popstate", () => {
  view = readView(location.search);
  load();
});
document.addEventListener("visibilitychange", () => {
  clearTimeout(timer);
  if (!document.hidden && view.refresh) load();
});
setInterval(tell, 1_000);
load();
