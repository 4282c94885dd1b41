'use strict';
// Work under a lock, several, or a permit: `withLock`, `withLocks`, `withPermit`, `withRead` and `withWrite`.

const check = require('./check');
const { keepAlive } = require('./connection');
const { attachReleaseError } = require('./release-error');

/** Returns the arguments of `method` in the order `[options, work]`. The options can be left off. */
function optionsAndWork(options, work, method) {
  if (work === undefined && typeof options === 'function') [options, work] = [undefined, options];
  return [options, check.callable(work, `the work of ${method}`)];
}

/** Calls `work` with a held object, releases it, and returns the result. */
async function workUnder(held, work) {
  let output;
  try {
    output = await keepAlive(() => work(held));
  } catch (error) {
    await held.release().catch((releaseError) => attachReleaseError(error, releaseError));
    throw error;
  }
  try {
    await held.release();
  } catch (error) {
    // Keep the result, because the work itself has succeeded.
    throw Object.assign(error, { output });
  }
  return output;
}

module.exports = { optionsAndWork, workUnder };
