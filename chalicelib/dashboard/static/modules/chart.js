/** The time series, drawn by uPlot: pointer and keys move a cursor that tells every value; a drag zooms. */
import { el, say } from "./dom.js";
import { compact, grouped } from "./format.js";
import { colour, slotOf, swatch } from "./palette.js";
import { clock, dateAndTime, day } from "./time.js";

const { uPlot } = window;
const DAY_S = 86_400;
const DRAG_PX_MIN = 6;
const PAGE_WINDOWS = 10;
const FONT = "12px system-ui, sans-serif";
const NOT_YET = "not complete yet";

export class Chart {
  /**
   * @param {HTMLElement} root  takes the focus and the keys
   * @param {HTMLElement} readout  a polite live region, for the cursor that keys move
   * @param {(fromMs: number, toMs: number) => void} onZoom
   * @param {() => void} onZoomOut
   */
  constructor(root, readout, onZoom, onZoomOut) {
    Object.assign(this, { root, readout, onZoom, onZoomOut, plot: null, form: null });
    this.tip = el("div", { className: "tip", hidden: true });
    root.addEventListener("keydown", (event) => this.#onKey(event));
    root.addEventListener("blur", () => this.#leave());
    root.addEventListener("dblclick", onZoomOut);
    new ResizeObserver(() => this.plot?.setSize(this.#size())).observe(root);
  }

  /** @param picture starts, series, range, completeMs, isFromZero: what there is to draw */
  show(picture) {
    this.picture = picture;
    const form = JSON.stringify([
      picture.series.map(({ key, label }) => [key, label, slotOf(key)]),
      picture.isFromZero,
    ]);
    if (form === this.form) {
      this.plot.setData(this.#data()); // the canvas and the cursor stay: no flicker
      const { left, top } = this.plot.cursor;
      if (left >= 0) queueMicrotask(() => this.plot.setCursor({ left, top })); // once uPlot has taken the data
    } else {
      this.form = form;
      this.repaint();
    }
  }

  /** Draw anew, in the theme of the moment. */
  repaint() {
    if (!this.picture) return;
    this.plot?.destroy();
    this.plot = new uPlot(this.#options(), this.#data(), this.root);
    this.plot.over.append(this.tip);
    this.tip.hidden = true;
  }

  #data() {
    const { starts, series } = this.picture;
    const numbers = series.map(({ texts }) => texts.map((text) => (text === null ? null : Number(text))));
    return [starts.map((startMs) => startMs / 1_000), ...numbers];
  }

  #size() {
    return { width: this.root.clientWidth, height: this.root.clientHeight };
  }

  #options() {
    const { series, isFromZero } = this.picture;
    const axis = {
      font: FONT,
      stroke: colour("--muted"),
      grid: { stroke: colour("--grid"), width: 1 },
      ticks: { show: false },
    };
    return {
      ...this.#size(),
      padding: [12, 20, 0, 0],
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1_000), "UTC"),
      legend: { show: false },
      cursor: {
        y: false,
        drag: { x: true, y: false, dist: DRAG_PX_MIN, setScale: false },
        focus: { prox: 24 },
        points: { size: 7 },
        bind: { dblclick: () => null }, // uPlot's own would undo a zoom that it does not know
      },
      focus: { alpha: 0.25 },
      scales: {
        x: { range: () => [this.picture.range.startMs / 1_000, this.picture.range.endMs / 1_000] },
        y: { range: (_, low, high) => heights(low, high, isFromZero) },
      },
      axes: [
        { ...axis, space: 72, values: (_, splits, __, ___, increment) => timeLabels(splits, increment) },
        { ...axis, space: 40, size: widthOf, values: (_, splits) => splits.map(compact) },
      ],
      series: [{}, ...series.map((each) => this.#line(each, series.length === 1))],
      hooks: {
        drawClear: [(plot) => this.#shade(plot)],
        setCursor: [(plot) => this.#pointAt(plot)],
        setSelect: [(plot) => this.#zoom(plot)],
      },
    };
  }

  #line({ key, label }, isAlone) {
    const stroke = colour(`--series-${slotOf(key)}`);
    return {
      label,
      stroke,
      width: 1.5,
      dash: slotOf(key) > 4 ? [6, 3] : undefined, // told apart without colours too
      fill: isAlone ? stroke.replace("rgb(", "rgba(").replace(")", ", 0.09)") : undefined,
      points: { show: true, size: 5, fill: stroke, width: 0, filter: lonely },
    };
  }

  /** Mark what may still change: all that is drawn to the right of the last complete window's value. */
  #shade(plot) {
    const { starts, range } = this.picture;
    const complete = starts.filter((startMs) => this.#isComplete(startMs));
    if (complete.length === starts.length) return;
    const from = plot.valToPos((complete.at(-1) ?? range.startMs) / 1_000, "x", true);
    plot.ctx.fillStyle = colour("--incomplete");
    plot.ctx.fillRect(from, plot.bbox.top, plot.bbox.left + plot.bbox.width - from, plot.bbox.height);
  }

  #zoom(plot) {
    const { left, width } = plot.select;
    if (width < DRAG_PX_MIN) return;
    plot.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
    this.onZoom(plot.posToVal(left, "x") * 1_000, plot.posToVal(left + width, "x") * 1_000);
  }

  /** Put the tip beside the cursor. */
  #pointAt(plot) {
    const { idx, left } = plot.cursor;
    const isThere = idx != null && idx < this.picture.starts.length && left >= 0; // of the old data it may lie beyond
    this.tip.hidden = !isThere;
    if (!isThere) return;
    const startMs = this.picture.starts[idx];
    const rows = this.picture.series.map(({ key, label }, place) =>
      el("li", {}, swatch(key), el("span", { className: "name" }, label), el("b", {}, this.#valueAt(place, idx))),
    );
    const when = el("p", {}, dateAndTime(startMs), this.#isComplete(startMs) ? "" : el("i", {}, ` ${NOT_YET}`));
    this.tip.replaceChildren(when, el("ul", {}, ...rows));
    const x = plot.valToPos(startMs / 1_000, "x");
    const isRight = x > plot.over.clientWidth / 2;
    this.tip.style.left = isRight ? "auto" : `${x + 12}px`;
    this.tip.style.right = isRight ? `${plot.over.clientWidth - x + 12}px` : "auto";
  }

  #valueAt(place, index) {
    const text = this.picture.series[place].texts[index];
    return text === null ? "–" : grouped(text);
  }

  #isComplete(startMs) {
    return startMs + this.picture.range.stepMs <= (this.picture.completeMs ?? 0);
  }

  #onKey(event) {
    if (!this.plot || event.ctrlKey || event.metaKey || event.altKey) return;
    const last = this.picture.starts.length - 1;
    const at = Math.min(this.plot.cursor.idx ?? last + 1, last + 1);
    const moves = {
      ArrowLeft: at - 1,
      ArrowRight: at + 1,
      PageUp: at - PAGE_WINDOWS,
      PageDown: at + PAGE_WINDOWS,
      Home: 0,
      End: last,
    };
    if (event.key in moves) this.#moveTo(Math.min(Math.max(moves[event.key], 0), last));
    else if (event.key === "+" || event.key === "Enter") this.#zoomAround(Math.min(at, last));
    else if (event.key === "-") this.onZoomOut();
    else if (event.key === "Escape") this.#leave();
    else return;
    event.preventDefault();
  }

  #moveTo(index) {
    const startMs = this.picture.starts[index];
    this.plot.setCursor({ left: this.plot.valToPos(startMs / 1_000, "x"), top: this.plot.over.clientHeight / 2 });
    const values = this.picture.series.map(
      ({ label }, place) => `${label} ${this.#valueAt(place, index).replace("–", "no value")}`,
    );
    say(
      this.readout,
      `${dateAndTime(startMs)}${this.#isComplete(startMs) ? "" : `, ${NOT_YET}`}: ${values.join(", ")}`,
    );
  }

  #zoomAround(index) {
    const quarterMs = (this.picture.range.endMs - this.picture.range.startMs) / 4;
    this.onZoom(this.picture.starts[index] - quarterMs, this.picture.starts[index] + quarterMs);
  }

  #leave() {
    this.plot?.setCursor({ left: -10, top: -10 });
    say(this.readout, "");
  }
}

/** Windows whose neighbours have no value: no line reaches them. */
function lonely(plot, place) {
  const values = plot.data[place];
  const isLonely = (at) => values[at] != null && values[at - 1] == null && values[at + 1] == null;
  return [...values.keys()].filter(isLonely);
}

function heights(low, high, isFromZero) {
  if (low === null) return [0, 1];
  if (!isFromZero) return uPlot.rangeNum(low, high, 0.1, true);
  return [Math.min(0, low * 1.08), Math.max(0, high * 1.08) || Number(low === 0)];
}

function timeLabels(splits, incrementS) {
  return splits.map((seconds, place) => {
    const ms = seconds * 1_000;
    if (incrementS >= DAY_S) return day(ms);
    const isNewDay = place === 0 || Math.floor(seconds / DAY_S) !== Math.floor(splits[place - 1] / DAY_S);
    return isNewDay ? `${clock(ms, incrementS < 60)}\n${day(ms)}` : clock(ms, incrementS < 60);
  });
}

function widthOf(_, labels) {
  return Math.max(...(labels ?? [""]).map((label) => label.length)) * 7.5 + 14;
}
