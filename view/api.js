/** The app's HTTP API. Every request carries the function key in a header, never in an address. */

const PATIENCE = 20_000; // milliseconds for an answer
const NAME = "powerlift-fleet-key";
const ASK = 150; // milliseconds that the other tabs have to hand their key over

/** The key was missing or wrong: the Functions host says so with a 401 and no body. */
export class Refused extends Error {}
/** There is nothing at this address. */
export class Missing extends Error {}
/** The app did not answer, or not in time, or with a fault of its own. */
export class Away extends Error {}

const channel = new BroadcastChannel(NAME);
channel.onmessage = ({ data }) => {
  if (data === "ask" && key()) channel.postMessage({ key: key() });
};

export const key = () => sessionStorage.getItem(NAME);

export function setKey(value) {
  sessionStorage.setItem(NAME, value);
}

/** The key from the address (`#key=`, else `?code=`), which then loses it; else from this tab's
 *  storage; else from another tab of ours that is open. Null where nobody has it. */
export async function findKey() {
  const address = new URL(location.href);
  const given = parameter(address.hash, "key") || parameter(address.search, "code");
  if (address.hash || address.searchParams.has("code")) {
    address.hash = "";
    address.searchParams.delete("code");
    history.replaceState(history.state, "", address.pathname + address.search);
  }
  if (given) setKey(given);
  return key() ?? (await otherTab());
}

/** A parameter as it was written; a plus in a key is a plus, where URLSearchParams reads a space. */
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
    const timer = setTimeout(() => resolve(null), ASK);
    channel.addEventListener("message", ({ data }) => {
      if (!data?.key || key()) return;
      setKey(data.key);
      clearTimeout(timer);
      resolve(data.key);
    });
    channel.postMessage("ask");
  });
}

/** GET (or another method) below this page's fleet or list; returns the Response.
 *  Raises Refused, Missing, Away. */
export async function request(path, method = "GET") {
  let answer;
  try {
    answer = await fetch(path, {
      method,
      headers: { "x-functions-key": key() ?? "" },
      cache: "no-store",
      credentials: "omit",
      redirect: "error",
      signal: AbortSignal.timeout(PATIENCE),
    });
  } catch (error) {
    throw new Away(error.name === "TimeoutError" ? "It took too long to answer." : "It cannot be reached.");
  }
  if (answer.status === 401 || answer.status === 403) throw new Refused("The app refused the key.");
  if (answer.status === 404) throw new Missing(await detail(answer));
  if (!answer.ok) throw new Away(await detail(answer));
  return answer;
}

/** The JSON of a GET. */
export async function json(path) {
  const answer = await request(path);
  try {
    return await answer.json();
  } catch {
    throw new Away("Its answer was cut short.");
  }
}

/** The words of a problem (RFC 9457), or the status. */
async function detail(answer) {
  try {
    const problem = await answer.json();
    return String(problem.detail || problem.title);
  } catch {
    return `It answered ${answer.status}.`;
  }
}
