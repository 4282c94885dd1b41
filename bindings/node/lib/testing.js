'use strict';
// The entry `dynamo-lock/testing`: losses of locks, for tests of code that uses locks.

const check = require('./check');
const { ArgumentError } = require('./errors');
const { LOSE } = require('./held');

const REASONS = ['expired', 'takenOver', 'revoked', 'rowGone', 'maxHold', 'suspended', 'renewalStopped', 'other'];

/**
 * Loses a held lock or permit in this process: its signals are aborted and `isValid()` returns `false`, as after a loss
 * in earnest, and `lost` is reported. The lock is released in the background, so that later tests can acquire it.
 */
function loseLock(held, reason = 'expired') {
  check.text(reason, 'reason');
  if (!REASONS.includes(reason)) throw new ArgumentError(`the reason is one of ${REASONS.join(', ')}`);
  if (typeof held?.[LOSE] !== 'function') throw new ArgumentError('held is a held lock, or a permit of a semaphore');
  held[LOSE](reason);
}

module.exports = { loseLock };
