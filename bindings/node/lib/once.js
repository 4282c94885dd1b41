'use strict';
// `Lock.once`: work that runs until it has succeeded once.

const { keepAlive } = require('./connection');
const { SUCCEED } = require('./held');
const { attachReleaseError } = require('./release-error');

/** Calls `work` under its lock. Records its success in place of the release, or releases the lock after a failure. */
async function runOnce(lock, work) {
  let output;
  try {
    output = await keepAlive(() => work(lock));
  } catch (error) {
    await lock.release().catch((releaseError) => attachReleaseError(error, releaseError));
    throw error;
  }
  try {
    await lock[SUCCEED]();
  } catch (error) {
    // Keep the result, because the work itself has succeeded.
    throw Object.assign(error, { output });
  }
  return { ran: true, output };
}

module.exports = { runOnce };
