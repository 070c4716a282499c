/** Formats numbers, money and times. Times are milliseconds since 1970, durations are seconds. */

import { attr, text } from "./dom.js";

const WHOLE = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const TENTHS = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const HUNDREDTHS = new Intl.NumberFormat("en", { maximumFractionDigits: 2 });
const COMPACT = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const CLOCK = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const SECONDS = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
const DAY = new Intl.DateTimeFormat(undefined, { weekday: "short", day: "numeric", month: "short" });
const FULL = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });

export const ZONE = CLOCK.resolvedOptions().timeZone;
export const DASH = "–";

export const whole = (n) => WHOLE.format(n);
export const compact = (n) => COMPACT.format(n);

/** Text cut to `most` characters. */
export function clip(words, most) {
  const all = String(words ?? "");
  return all.length <= most ? all : `${all.slice(0, most - 1)}…`;
}

/** 1,234; 12.3; 0.25. */
export function quantity(n) {
  if (Math.abs(n) >= 100) return WHOLE.format(n);
  return (Math.abs(n) >= 10 ? TENTHS : HUNDREDTHS).format(n);
}

export function plural(n, one, many = `${one}s`) {
  return `${whole(n)} ${n === 1 ? one : many}`;
}

/** An amount of money; an unknown currency's code follows the number. */
export function money(amount, currency) {
  const small = Math.abs(amount) > 0 && Math.abs(amount) < 1;
  const digits = small ? Math.max(2, 1 - Math.floor(Math.log10(Math.abs(amount)))) + 1 : 2;
  try {
    const style = { style: "currency", currency, minimumFractionDigits: 2, maximumFractionDigits: Math.min(digits, 8) };
    return new Intl.NumberFormat("en", style).format(amount);
  } catch {
    return `${amount.toFixed(digits)} ${currency}`;
  }
}

/** ISO 8601 as milliseconds since 1970, or null. */
export function parseTime(iso) {
  const value = typeof iso === "string" ? Date.parse(iso) : NaN;
  return Number.isFinite(value) ? value : null;
}

const UNITS = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];

/** Seconds in their two largest units: "38 s", "4 min 10 s", "3 d 4 h". */
export function duration(seconds) {
  let rest = Math.max(0, Math.round(seconds));
  const first = UNITS.findIndex(([, size]) => rest >= size);
  if (first < 0) return "0 s";
  const parts = [];
  for (const [name, size] of UNITS.slice(first, first + 2)) {
    const n = Math.floor(rest / size);
    rest -= n * size;
    if (n > 0) parts.push(`${n} ${name}`);
  }
  return parts.join(" ");
}

/** "less than a minute", "about 18 minutes". */
export function roughly(seconds) {
  if (seconds < 55) return "less than a minute";
  if (seconds < 5400) return `about ${plural(Math.round(seconds / 60), "minute")}`;
  if (seconds < 36 * 3600) return `about ${plural(Math.round(seconds / 3600), "hour")}`;
  return `about ${plural(Math.round(seconds / 86400), "day")}`;
}

/** The time of day, with the date unless it is today. */
export function clock(at, now) {
  const today = new Date(at).toDateString() === new Date(now).toDateString();
  return today ? CLOCK.format(at) : `${DAY.format(at)}, ${CLOCK.format(at)}`;
}

export const seconds = (at) => SECONDS.format(at);

/** Fill a <time> with `words`; its tooltip has the full time. */
export function setTime(node, at, words) {
  attr(node, "datetime", at === null ? null : new Date(at).toISOString());
  attr(node, "title", at === null ? null : FULL.format(at));
  text(node, words);
}

const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400];

/** The smallest round step that gives `span` seconds at most `most` ticks. */
export function tickSeconds(span, most) {
  return STEPS.find((step) => span / step <= most) ?? 86400 * Math.ceil(span / 86400 / most);
}

/** A time on an axis whose ticks are `step` seconds apart. */
export function tickLabel(at, step, now) {
  if (step >= 86400) return DAY.format(at);
  return step < 60 ? SECONDS.format(at) : clock(at, now);
}
