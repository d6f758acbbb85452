/** How complete the numbers are, always in view: `complete_until`, and how far behind each shard is. */
import { now } from "./api.js";
import { $, el, say } from "./dom.js";
import { clock, dateAndTime, duration } from "./time.js";

const FAR_BEHIND_MS = 120_000; // a tick moves every shard on each minute: two missed ones are a fault
const NUMBERS_MAX = 8; // of more shards only the gauges are drawn
const DAY_MS = 86_400_000;
let completeMs = null;

/** @param stream the answer of `v1/stream` */
export function showStream(stream) {
  completeMs = stream.complete_until === null ? null : Date.parse(stream.complete_until);
  const shards = stream.shards.filter((shard) => shard.open);
  $("shards").replaceChildren(...shards.map(lagOf));
  $("shards").classList.toggle("many", shards.length > NUMBERS_MAX);
  say($("shard-count"), `${shards.length} ${shards.length === 1 ? "shard" : "shards"}`);
  say($("warning"), warningOf(shards));
  $("warning").hidden = !$("warning").textContent;
  tell();
}

/** Say that how complete the numbers are is not known at the moment. */
export function showNoStream(problem) {
  say($("warning"), `How complete the numbers are is not known: ${problem.title}. ${problem.detail}`);
  $("warning").hidden = false;
}

/** Say how long ago that was; called each second. */
export function tell() {
  const isToday = completeMs !== null && now() - completeMs < DAY_MS;
  const text =
    completeMs === null ? "not known yet" : isToday ? `${clock(completeMs)} UTC` : `${dateAndTime(completeMs)} UTC`;
  say($("complete-until"), text);
  say($("complete-age"), completeMs === null ? "" : `${duration(Math.max(0, now() - completeMs))} ago`);
}

function lagOf(shard) {
  const name = shard.shard_id.replace(/^shardId-0*(?=\d)/, "");
  const state = shard.behind_ms === null ? "none" : shard.behind_ms > FAR_BEHIND_MS ? "far" : "near";
  const lag = shard.behind_ms === null ? "no progress" : duration(shard.behind_ms);
  const fill = el("span", { className: "fill", "aria-hidden": "true" });
  fill.style.height = `${Math.min(1, (shard.behind_ms ?? FAR_BEHIND_MS) / FAR_BEHIND_MS) * 100}%`;
  const words = shard.behind_ms === null ? `shard ${name}: no progress yet` : `shard ${name}: ${lag} behind`;
  return el(
    "li",
    { "data-state": state, title: `${shard.shard_id}: ${lag}` },
    el("span", { className: "gauge", "aria-hidden": "true" }, fill),
    el("span", { "aria-hidden": "true" }, lag),
    el("span", { className: "unseen" }, words),
  );
}

function warningOf(shards) {
  const far = shards.filter((shard) => shard.behind_ms > FAR_BEHIND_MS);
  const none = shards.filter((shard) => shard.behind_ms === null);
  const of = (some) => (some.length === 1 ? `shard ${some[0].shard_id}` : `${some.length} of ${shards.length} shards`);
  const texts = [];
  if (far.length) {
    const most = duration(Math.max(...far.map((shard) => shard.behind_ms)));
    texts.push(`Counting is behind on ${of(far)}, by up to ${most}: newer events are not in these numbers yet.`);
  }
  if (none.length) texts.push(`No progress yet on ${of(none)}: a new stage knows after its first minute.`);
  return texts.join(" ");
}
