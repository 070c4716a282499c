/** The app's HTTP API. Every request carries the function key in a header, never in a URL. */

const TIMEOUT = 20_000; // milliseconds
const LONG_TIMEOUT = 60_000; // of a POST: a plan waits up to 20 s for Azure
const NAME = "powerlift-fleet-key";
const OTHER_TAB_TIMEOUT = 150; // milliseconds

/** 401 or 403: the Functions host rejected the key, without a body. */
export class Unauthorized extends Error {}
/** 404. */
export class NotFound extends Error {}
/** 409 or 410: the fleet is ambiguous, or its history was deleted. */
export class NotShown extends Error {}
/** No response, a timeout, or an error of the app. */
export class Unavailable extends Error {}
/** 400, 413 or 429: the same request will be refused again; `errors`: its faults, by JSON pointer. */
export class Refused extends Unavailable {}

const ERRORS = { 400: Refused, 401: Unauthorized, 403: Unauthorized, 404: NotFound, 409: NotShown, 410: NotShown, 413: Refused, 429: Refused };

const channel = new BroadcastChannel(NAME);
channel.onmessage = ({ data }) => {
  if (data === "ask" && key()) channel.postMessage({ key: key() });
};

export const key = () => sessionStorage.getItem(NAME);

export function setKey(value) {
  sessionStorage.setItem(NAME, value);
}

/** The key from the URL (`#key=`, or `?code=`), which is then removed from it; else from this tab's
 *  storage; else from another open tab; else null. */
export async function findKey() {
  const url = new URL(location.href);
  const given = parameter(url.hash, "key") || parameter(url.search, "code");
  if (url.hash || url.searchParams.has("code")) {
    url.hash = "";
    url.searchParams.delete("code");
    history.replaceState(history.state, "", url.pathname + url.search);
  }
  if (given) setKey(given);
  return key() ?? (await otherTab());
}

/** A parameter as it was written: URLSearchParams would turn a plus in a key into a space. */
function parameter(part, name) {
  const found = part.slice(1).split("&").find((one) => one.startsWith(`${name}=`));
  try {
    return found && decodeURIComponent(found.slice(name.length + 1));
  } catch {
    return found.slice(name.length + 1);
  }
}

function otherTab() {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(null), OTHER_TAB_TIMEOUT);
    channel.addEventListener("message", ({ data }) => {
      if (!data?.key || key()) return;
      setKey(data.key);
      clearTimeout(timer);
      resolve(data.key);
    });
    channel.postMessage("ask");
  });
}

/** Send a request; returns the Response. Throws Unauthorized, NotFound, NotShown, Refused, Unavailable. */
export async function request(path, method = "GET", body = undefined) {
  let response;
  try {
    response = await fetch(path, {
      method,
      body,
      headers: { "x-functions-key": key() ?? "", ...(body && { "Content-Type": "application/json" }) },
      cache: "no-store",
      credentials: "omit",
      redirect: "error",
      signal: AbortSignal.timeout(body ? LONG_TIMEOUT : TIMEOUT),
    });
  } catch (error) {
    throw new Unavailable(error.name === "TimeoutError" ? "The request timed out." : "The connection failed.");
  }
  if (response.ok) return response;
  throw await problem(response);
}

export async function json(path, method = "GET", body = undefined) {
  const response = await request(path, method, body);
  try {
    return await response.json();
  } catch {
    throw new Unavailable("The response was incomplete.");
  }
}

/** An error with the detail and the errors of a problem (RFC 9457), or with the HTTP status. */
async function problem(response) {
  const Kind = ERRORS[response.status] ?? Unavailable;
  const found = (await response.json().catch(() => null)) ?? {};
  const words = Kind === Unauthorized ? "The app rejected the key." : found.detail || found.title;
  const error = new Kind(String(words || `The app responded with status ${response.status}.`));
  error.errors = Array.isArray(found.errors) ? found.errors : [];
  return error;
}
