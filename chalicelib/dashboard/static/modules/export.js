/** The view's question for elsewhere: as a curl command, and its answer as a CSV file. */
import { askAll, token } from "./api.js";
import { el } from "./dom.js";

/** The command that asks the question from a shell. The token is named and never told. */
export function curlOf(question, hasToken = token.read() !== null) {
  const url = new URL(question, document.baseURI).href.replaceAll("'", "'\\''");
  const header = hasToken ? ' -H "Authorization: Bearer $HIGHWATER_TOKEN"' : "";
  return `curl -sS --fail-with-body${header} '${url}'`;
}

/** Save every page of the answer as one CSV file. */
export async function saveCsv(question, fileName) {
  const path = question.slice(0, question.indexOf("?"));
  const pages = await askAll(`${question}&format=csv`, ({ text, headers }) => {
    const following = /^<(\?[^>]*)>; rel="next"$/.exec(headers.get("Link") ?? "");
    return { part: text, next: following && path + following[1] };
  });
  const text = pages.map((page, place) => (place ? page.slice(page.indexOf("\n") + 1) : page)).join("");
  const address = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  el("a", { href: address, download: fileName }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000); // the download has its own hold of it by then
}
