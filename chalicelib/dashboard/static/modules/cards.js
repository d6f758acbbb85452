/** The measures of the metric, each with its value over the whole range: a choice of what the chart shows. */
import { el, put, say } from "./dom.js";
import { errorText, grouped } from "./format.js";
import { isZeroOfNothing } from "./picture.js";

/** @param {object|undefined} total the row of the whole range; there is none where nothing happened */
export function showCards(root, { metric, view, total, onPick }) {
  const cards = metric.measures.map(({ name, error }) => {
    const input = el("input", {
      type: "radio",
      name: "measure",
      value: name,
      "data-key": name,
      onchange: () => onPick(name),
    });
    const bound = error ? el("small", {}, errorText(error)) : "";
    return el("label", { className: "card" }, input, el("span", { className: "name" }, name), el("output", {}), bound);
  });
  if (root.dataset.metric !== metric.name) put(root, ...cards); // otherwise they stay, and only their values change
  root.dataset.metric = metric.name;
  for (const measure of metric.measures) {
    const input = root.querySelector(`input[value="${measure.name}"]`);
    const text = total?.[measure.name] ?? (isZeroOfNothing(measure) ? "0" : null);
    input.checked = measure.name === view.measure;
    say(input.parentElement.querySelector("output"), text === null ? "–" : grouped(text));
  }
}
