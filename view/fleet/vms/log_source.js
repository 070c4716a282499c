/** Reads the console output of a VM. */

import { request } from "../../common/api.js";

/** Returns a function that resolves to the output so far: its last 32 KB. It throws api.js's errors. */
export const logOf = (fleetPath, ordinal) => async () => (await request(`${fleetPath}/machines/${ordinal}/log`)).text();
