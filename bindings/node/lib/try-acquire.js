'use strict';

const check = require('./check');
const { toHolder } = require('./decode');

/** Option of the calls that do not wait. */
const TRY_ONLY = { onHeld: check.callable };

/**
 * Calls `acquire` with the options other than `onHeld`. Resolves to what describes the guard, or to null after a call
 * of `onHeld` with the holder.
 */
async function tryAcquire({ onHeld, ...options }, acquire) {
  const acquired = await acquire({ ...options, try: true });
  if (acquired.guard !== undefined) return acquired;
  onHeld?.(toHolder(acquired.holder));
  return null;
}

module.exports = { TRY_ONLY, tryAcquire };
