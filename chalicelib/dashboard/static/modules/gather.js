/** Asks a view's questions and joins the answers to what there is to draw. */
import { ask, askAll, now } from "./api.js";
import { parseExact } from "./format.js";
import { charted, narrowed } from "./picture.js";
import * as questions from "./questions.js";

/**
 * @returns the measure shown; the range as a whole (`total`, undefined where nothing happened); the largest groups, and
 *   whether they are all (`areAllKnown`); those of them that get a series (`charted`), with their windows (`rows`)
 */
export async function gather(view, metric, range, signal) {
  const [total, groups] = await Promise.all([
    ask(questions.total(view, range), signal),
    gatherGroups(view, range, signal),
  ]);
  const measure = metric.measures.find(({ name }) => name === view.measure);
  return { view, metric, measure, range, total: parseExact(total.text).data[0], nowMs: now(), ...groups };
}

async function gatherGroups(view, range, signal) {
  if (!view.groupBy.length) {
    const all = [{}];
    return { groups: all, areAllKnown: true, charted: all, ...(await gatherWindows(view, range, view.where, signal)) };
  }
  const answer = parseExact((await ask(questions.top(view, range), signal)).text);
  const areAllKnown = answer.next === null;
  const some = charted(answer.data, areAllKnown, view.groupBy);
  const areAllCharted = areAllKnown && some.length === answer.data.length;
  const where = areAllCharted ? view.where : narrowed(view.where, some, view.groupBy);
  return { groups: answer.data, areAllKnown, charted: some, ...(await gatherWindows(view, range, where, signal)) };
}

async function gatherWindows(view, range, where, signal) {
  const question = questions.windows(view, range, where);
  const read = ({ text }) => {
    const page = parseExact(text);
    return { part: page, next: page.next && `${question}&cursor=${page.next}` };
  };
  const pages = await askAll(question, read, signal);
  const complete = pages[0].complete_until;
  return { rows: pages.flatMap((page) => page.data), completeMs: complete && Date.parse(complete) };
}
