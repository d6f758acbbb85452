/** Asks the API: relative to the page's base, with the token if there is one. What goes wrong is a Problem. */

const TOKEN = "highwater.token";
const SKEW_MS_MIN = 2_000; // a clock's own second, and the way of the answer
const PAGES_MAX = 50; // half a million rows
let skewMs = 0;

/** An answer that is none, in words for people: RFC 9457's, or ours where there was no such document. */
export class Problem extends Error {
  constructor({ status = 0, title, detail = "", parameter = null, retryAfterMs = null }) {
    super(title);
    Object.assign(this, { status, title, detail, parameter, retryAfterMs });
  }
}

// For the tab alone, and never in the URL.
export const token = {
  read: () => sessionStorage.getItem(TOKEN),
  keep: (text) => sessionStorage.setItem(TOKEN, text),
  forget: () => sessionStorage.removeItem(TOKEN),
};

/** The time by the stage's clock, as its answers told it: ranges that end "now" must not depend on a wrong one here. */
export const now = () => Date.now() + skewMs;

/** Set the clock by an answer that no cache has kept. */
export function noteClock(headers) {
  const differenceMs = Date.parse(headers.get("Date") ?? "") - Date.now();
  skewMs = Math.abs(differenceMs) > SKEW_MS_MIN ? differenceMs : 0;
}

/**
 * Ask, and return the answer's text and headers.
 *
 * @param {string} question a path without a slash before it, and its query
 * @throws {Problem}
 */
export async function ask(question, signal) {
  const headers = token.read() ? { Authorization: `Bearer ${token.read()}` } : {};
  let answer, text;
  try {
    answer = await fetch(question, { headers, signal });
    text = await answer.text();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem({ title: "The stage does not answer", detail: "Is it running, and is this machine online?" });
  }
  if (!answer.ok) throw problemOf(answer, text);
  return { text, headers: answer.headers };
}

/** Ask for every page of an answer. `read` makes of one its part, and the question for the next, null at the end. */
export async function askAll(question, read, signal) {
  const parts = [];
  let following = question;
  while (following && parts.length < PAGES_MAX) {
    const { part, next } = read(await ask(following, signal));
    parts.push(part);
    following = next;
  }
  if (following) {
    throw new Problem({
      status: 400,
      title: "The answer is too long",
      detail: "Take a larger step or a shorter range.",
    });
  }
  return parts;
}

function problemOf(answer, text) {
  const retryAfterMs = Number(answer.headers.get("Retry-After")) * 1_000 || null;
  const isProblem = answer.headers.get("Content-Type")?.startsWith("application/problem+json");
  const told = isProblem ? JSON.parse(text) : { title: `The stage answered ${answer.status}` };
  return new Problem({ ...told, status: answer.status, retryAfterMs });
}
