/** The batch ID of a submission: repeated with it, a request is the same fleet. This tab keeps the ID while
 *  the app's answer is unknown, so that neither a second click nor a reload makes a second fleet. */

const NAME = "powerlift-fleet-batch";

/** The ID of a submission without an answer, or null. */
export const pendingBatch = () => sessionStorage.getItem(NAME);

export const keepBatch = (batchId) => sessionStorage.setItem(NAME, batchId);

export const forgetBatch = () => sessionStorage.removeItem(NAME);

/** A random ID of 53 bits, which JSON numbers keep exactly. */
export function newBatch() {
  const [high, low] = crypto.getRandomValues(new Uint32Array(2));
  return (high % 2 ** 21) * 2 ** 32 + low;
}
