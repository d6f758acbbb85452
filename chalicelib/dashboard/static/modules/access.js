/** The dialog that asks for an access token, and the button that forgets it. The token stays in this tab. */
import { token } from "./api.js";
import { $ } from "./dom.js";

const TOKEN = /^[!-~]+$/; // what a header can hold

/** @param {() => void} onChange a token was given, or forgotten */
export function initAccess(onChange) {
  $("access-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const given = $("access-token").value.trim().replace(/^bearer +/i, "");
    if (!TOKEN.test(given)) {
      $("access-error").textContent = "This is no token: one is letters, digits and signs, without spaces.";
      return;
    }
    token.keep(given);
    $("access-token").value = "";
    $("access").close();
    onChange();
  });
  $("access-cancel").addEventListener("click", () => $("access").close());
  $("forget").addEventListener("click", () => {
    token.forget();
    onChange();
  });
}

/** Ask for a token; one that was there already was not accepted, which is said, and is forgotten. */
export function askForToken(problem) {
  const wasWrong = problem?.status === 401 && token.read() !== null;
  $("access-error").textContent = wasWrong ? `The stage did not accept this token. ${problem.detail}` : "";
  if (wasWrong) token.forget();
  showForget();
  if (!$("access").open) $("access").showModal();
}

export const showForget = () => ($("forget").hidden = token.read() === null);
