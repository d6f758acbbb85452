/** What stands in the place of numbers: a problem, or nothing to show; and a banner above numbers of a while ago. */
import { $, el, put } from "./dom.js";
import { span } from "./time.js";

/** What to do about a problem, by its status: words, and the names of the actions to offer. */
const ADVICE = {
  400: ["Choose another range, step, grouping or filter.", ["automatic", "reset"]],
  401: ["This stage tells its numbers only to those who have an access token.", ["token"]],
  403: ["The token may not read this metric. Choose another metric, or give another token.", ["first", "token"]],
  404: ["Choose another metric.", ["first"]],
  409: ["Whoever defined the metric has to give it a new name.", ["retry"]],
};
const ACTIONS = {
  automatic: "Choose the step automatically",
  reset: "Show the last hour, without filters",
  token: "Enter a token",
  first: "Show the first metric",
  retry: "Try again",
};

/** Show one of these sections and none of the others. */
export function showOnly(id) {
  for (const each of ["first-load", "picture", "empty", "problem"]) $(each).hidden = each !== id;
}

/** @param {Object<string, () => void>} actions by name */
export function showProblem(problem, actions) {
  const [advice, names] = ADVICE[problem.status] ?? ["Try again in a moment.", ["retry"]];
  const buttons = names.map((name) => el("button", { type: "button", onclick: actions[name] }, ACTIONS[name]));
  put(
    $("problem"),
    el("h2", {}, problem.title),
    el("p", { className: "detail" }, problem.detail),
    el("p", {}, advice),
    el("p", {}, ...buttons),
  );
  showOnly("problem");
}

/** @param {() => void} onLonger @param {() => void} onUnfiltered @param {() => void} onZoomOut */
export function showEmpty({ metric, view, range, onLonger, onUnfiltered, onZoomOut }) {
  const isFiltered = Object.keys(view.where).length > 0;
  const what = isFiltered
    ? "No event in this range has these values."
    : `No ${metric.event_type} event falls into this range.`;
  const isOfNow = view.start === null;
  const actions = [el("button", { type: "button", onclick: onLonger }, "Show the last 30 days")];
  if (isFiltered) actions.unshift(el("button", { type: "button", onclick: onUnfiltered }, "Remove the filters"));
  if (!isOfNow) actions.unshift(el("button", { type: "button", onclick: onZoomOut }, "Zoom out"));
  const command = el("code", {}, ".venv/bin/python -m loadtest.producer --stage local events.jsonl");
  const how = `On a local stage this puts events on its stream; those of type ${metric.event_type} show up here:`;
  const notice = [el("h2", {}, "Nothing counted here"), el("p", {}, `${what} ${span(range)} UTC`), el("p", {}, ...actions)];
  if (isOfNow && !isFiltered) notice.push(el("p", {}, how, command));
  const hadFocus = $("picture").contains(document.activeElement);
  put($("empty"), ...notice);
  showOnly("empty");
  if (hadFocus) $("empty").querySelector("button").focus(); // or the keyboard would be nowhere
}

/** Say above the numbers that they could not be renewed; null takes that back. */
export function showBanner(problem) {
  $("banner").hidden = problem === null;
  $("banner").textContent = problem
    ? `These numbers could not be renewed: ${problem.title}. ${problem.detail} It is tried again.`
    : "";
}
