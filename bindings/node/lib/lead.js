'use strict';
// `Lock.lead`: terms of a leader.

// From the module, because test environments such as jsdom replace the global timers.
const { clearTimeout, setTimeout } = require('timers');
const { abortReason, newAbortController, onAbort } = require('./abort');
const { keepAlive } = require('./connection');
const { LockLostError, StoreError } = require('./errors');

/** Upper bound of the random pause after a loss, in milliseconds. */
const PAUSE_MAX = 1000;

/** Acquires a lock with `acquire`, calls `work`, and does so again after a loss. Resolves to the result of `work`. */
async function lead(acquire, work, signal, onRetry) {
  for (let lock = await acquire(); ; lock = await acquireAgain(acquire, signal, onRetry)) {
    const { isLost, error, output } = await keepAlive(() => runTerm(lock, work, signal));
    // Work that ended after the loss was noticed may have been stopped by it, so its result does not count.
    if (isLost) continue;
    try {
      await lock.release();
    } catch (releaseError) {
      // Work that failed may have failed because of the loss, for example after a call of `isValid()`.
      if (error && releaseError instanceof LockLostError) continue;
      if (error) throw error.value; // it is more important than the failed release
      // Keep the result, because the work itself has succeeded. It must not run again.
      throw Object.assign(releaseError, { output });
    }
    if (error) throw error.value;
    return output;
  }
}

/** Calls `work` with a signal that is aborted when the lock is lost or the caller's signal is aborted. */
async function runTerm(lock, work, signal) {
  const stop = newAbortController();
  const removers = [lock.signal, ...(signal ? [signal] : [])].map((each) => {
    const abort = () => stop.abort(abortReason(each));
    if (each.aborted) abort();
    return onAbort(each, abort);
  });
  try {
    const output = await work(lock, stop.signal);
    return { isLost: lock.signal.aborted, output };
  } catch (value) {
    return { isLost: lock.signal.aborted, error: { value } };
  } finally {
    removers.forEach((remove) => remove());
  }
}

/** Acquires the lock after a loss. Errors that may pass are reported to `onRetry`. */
async function acquireAgain(acquire, signal, onRetry) {
  for (;;) {
    await pause(Math.random() * PAUSE_MAX, signal);
    try {
      return await acquire();
    } catch (error) {
      if (signal?.aborted || !mayPass(error)) throw error;
      onRetry?.(error);
    }
  }
}

const mayPass = (error) => error instanceof StoreError && ['UNANSWERED', 'THROTTLED'].includes(error.code);

/** Waits, and rejects if `signal` is aborted. */
function pause(ms, signal) {
  if (signal?.aborted) return Promise.reject(abortReason(signal));
  return new Promise((resolve, reject) => {
    const done = (settle) => () => {
      clearTimeout(timer);
      remove();
      settle();
    };
    const timer = setTimeout(done(resolve), ms);
    const remove = signal ? onAbort(signal, done(() => reject(abortReason(signal)))) : () => {};
  });
}

module.exports = { lead };
