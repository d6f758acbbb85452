/** What is asked for, as form controls. They are shown from the view and tell what is changed; they keep nothing. */
import { $, el, put } from "./dom.js";
import { REFRESHES } from "./state.js";
import { RANGES, instant, outward, stepsOf } from "./time.js";

const CUSTOM = "custom";

export class Controls {
  /**
   * @param {(patch: object) => void} onChange
   * @param {(dimension: string) => Promise<string[]>} valuesOf known values, to choose from
   */
  constructor(onChange, valuesOf) {
    Object.assign(this, { onChange, valuesOf });
    $("metric").addEventListener("change", () =>
      onChange({ metric: $("metric").value, groupBy: null, where: {}, measure: null, step: "auto" }),
    );
    $("step").addEventListener("change", () => onChange({ step: $("step").value }));
    $("refresh").addEventListener("change", () => onChange({ refresh: Number($("refresh").value) }));
    $("custom").addEventListener("submit", (event) => this.#applyCustom(event));
    $("custom").addEventListener("input", () => $("end").setCustomValidity(""));
    $("filter").addEventListener("submit", (event) => this.#addFilter(event));
    $("filter-dimension").addEventListener("change", () => this.#offerValues());
    $("filter-value").addEventListener("focus", () => this.#offerValues());
  }

  /** @param range what the view comes to: its instants and the step */
  show(view, metrics, metric, range) {
    Object.assign(this, { view, metric, range });
    $("controls").hidden = $("refreshing").hidden = false; // until now there was nothing to choose from
    put($("metric"), ...metrics.map(({ name }) => el("option", { value: name }, name)));
    $("metric").value = metric.name;
    this.#showRange();
    const steps = [...new Set([...stepsOf(metric.window), ...(view.step === "auto" ? [] : [view.step])])];
    const automatic = el("option", { value: "auto" }, view.step === "auto" ? `auto (${range.step})` : "auto");
    put($("step"), automatic, ...steps.map((step) => el("option", { value: step }, step)));
    $("step").value = view.step;
    put($("group-by"), ...metric.dimensions.map((name) => this.#dimension(name)));
    for (const input of $("group-by").querySelectorAll("input")) input.checked = view.groupBy.includes(input.value);
    $("grouping").hidden = $("filtering").hidden = metric.dimensions.length === 0;
    put($("filter-dimension"), ...metric.dimensions.map((name) => el("option", { value: name }, name)));
    put($("filters"), ...Object.keys(view.where).map((name) => this.#chip(name)));
    put(
      $("refresh"),
      ...REFRESHES.map((seconds) => el("option", { value: seconds }, seconds ? `every ${seconds} s` : "off")),
    );
    $("refresh").value = view.refresh;
  }

  #showRange() {
    const chosen = this.view.start === null ? this.view.range : CUSTOM;
    const choices = [...RANGES, CUSTOM].map((range) => {
      const choose = () => (range === CUSTOM ? this.#openCustom() : this.onChange({ range, start: null, end: null }));
      const input = el("input", { type: "radio", name: "range", value: range, "data-key": range, onchange: choose });
      return el("label", {}, input, el("span", {}, range));
    });
    put($("range"), ...choices);
    for (const input of $("range").querySelectorAll("input")) input.checked = input.value === chosen;
    if (chosen === CUSTOM) this.#openCustom();
    else $("custom").hidden = true;
  }

  #openCustom() {
    const { startMs, endMs } = this.range;
    for (const [id, ms] of [
      ["start", startMs],
      ["end", endMs],
    ]) {
      if (Number.isFinite(ms)) $(id).value = instant(ms).slice(0, ms % 60_000 ? 19 : 16);
    }
    $("custom").hidden = false;
  }

  #applyCustom(event) {
    event.preventDefault();
    const [fromMs, toMs] = ["start", "end"].map((id) => Date.parse(`${$(id).value}Z`));
    $("end").setCustomValidity(fromMs <= toMs ? "" : "The end lies before the start.");
    if (!$("custom").reportValidity()) return;
    const { startMs, endMs } = outward(fromMs, toMs, this.metric.window);
    this.onChange({ start: instant(startMs), end: instant(endMs) });
  }

  #dimension(name) {
    const input = el("input", { type: "checkbox", value: name, "data-key": name });
    input.addEventListener("change", () => {
      const others = this.view.groupBy.filter((each) => each !== name);
      this.onChange({ groupBy: input.checked ? [...others, name] : others });
    });
    return el("label", {}, input, el("span", {}, name));
  }

  #chip(name) {
    const values = this.view.where[name].map((value) => value || "(empty)").join(", ");
    const { [name]: _, ...where } = this.view.where;
    const remove = el(
      "button",
      { type: "button", "aria-label": `Remove the filter ${name}: ${values}`, onclick: () => this.onChange({ where }) },
      "×",
    );
    return el("li", {}, el("span", {}, el("span", { className: "quiet" }, `${name}: `), values), remove);
  }

  #addFilter(event) {
    event.preventDefault();
    const [name, value] = [$("filter-dimension").value, $("filter-value").value];
    const values = [...new Set([...(this.view.where[name] ?? []), value])];
    $("filter-value").value = "";
    this.onChange({ where: { ...this.view.where, [name]: values } });
  }

  async #offerValues() {
    const values = await this.valuesOf($("filter-dimension").value);
    put($("filter-values"), ...values.map((value) => el("option", { value })));
  }
}
