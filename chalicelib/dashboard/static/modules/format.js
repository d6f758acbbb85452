/** Numbers as text, digit by digit: a decimal of the API may have more digits than a double. Pure. */

const STRING_OR_NUMBER = /"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;
const COMPACT = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });
const SMALL = new Intl.NumberFormat("en", { maximumSignificantDigits: 6 });

/** Parse JSON with every number as its text, exactly as it was written. */
export function parseExact(json) {
  return JSON.parse(json.replace(STRING_OR_NUMBER, (token) => (token.startsWith('"') ? token : `"${plain(token)}"`)));
}

/** The number without an exponent: "1.5E+3" is "1500". */
export function plain(number) {
  const [digits, exponent = "0"] = number.toLowerCase().split("e");
  if (exponent === "0") return digits;
  const sign = digits.startsWith("-") ? "-" : "";
  const [whole, fraction = ""] = digits.replace("-", "").split(".");
  const point = whole.length + Number(exponent);
  const all = (whole + fraction)
    .padEnd(point, "0")
    .padStart(whole.length + fraction.length - Math.min(point - 1, 0), "0");
  const place = Math.max(point, 1);
  return sign + [all.slice(0, place).replace(/^0+(?=\d)/, ""), all.slice(place)].filter(Boolean).join(".");
}

/** How many digits stand behind the point. */
export const decimalsOf = (number) => number.split(".")[1]?.length ?? 0;

/** Below, at or above 0 as the first number is below, equal to or above the second, to the last digit. */
export function compareNumbers(one, other) {
  const decimals = Math.max(decimalsOf(one), decimalsOf(other));
  const scaled = (number) => {
    const [whole, fraction = ""] = number.split(".");
    return BigInt(whole + fraction.padEnd(decimals, "0"));
  };
  const [left, right] = [scaled(one), scaled(other)];
  return left < right ? -1 : Number(left > right);
}

/** "1234567.50" as "1,234,567.50": every digit, in groups of three. */
export function grouped(number) {
  const [whole, fraction] = number.split(".");
  const groups = whole.replace(/\B(?=(\d{3})+$)/g, ",");
  return fraction === undefined ? groups : `${groups}.${fraction}`;
}

/** Spaces as wide as the digits that a number lacks behind its point, so that a column's points stand in line. */
export function decimalPadding(number, decimals) {
  const missing = decimals - decimalsOf(number);
  return (missing && !number.includes(".") ? "\u2008" : "") + "\u2007".repeat(missing);
}

/** For an axis: "1.2K", "0.05". */
export const compact = (number) => (Math.abs(number) < 1_000 ? SMALL : COMPACT).format(number);

/** The error of an approximate measure: "±1.6 % (95 %)"; for a quantile the error is of the rank. */
export function errorText(error) {
  if (!error) return "";
  const rank = error.kind === "rank" ? " of rank" : "";
  return `±${percent(error.bound)}${rank} (${percent(error.confidence)})`;
}

/** A fraction as a percentage: "1.6 %", "95 %", "<0.1 %". */
export const percent = (fraction) =>
  fraction > 0 && fraction < 0.001 ? "<0.1 %" : `${Number((fraction * 100).toPrecision(2))} %`;
