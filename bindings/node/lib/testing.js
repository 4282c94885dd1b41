'use strict';
// `@dynamo-lock/dynamo-lock/testing`: losses of locks, for tests of code that uses locks.

const check = require('./check');
const { ArgumentError, LockLostError } = require('./errors');
const { LOSE } = require('./held');

const REASONS = ['expired', 'takenOver', 'revoked', 'rowGone', 'maxHold', 'suspended', 'renewalStopped', 'other'];

/**
 * Loses a held lock or permit in this process: its signals are aborted and `isValid()` returns `false`, as after a loss
 * in earnest. The lock is released in the background, so that later tests can acquire it.
 */
function loseLock(held, reason = 'expired') {
  check.text(reason, 'reason');
  if (!REASONS.includes(reason)) throw new ArgumentError(`the reason is one of ${REASONS.join(', ')}`);
  if (typeof held?.[LOSE] !== 'function') throw new ArgumentError('held is a held lock, or a permit of a semaphore');
  held[LOSE]((name, token) => {
    const message = `lock "${name}" with token ${token} was lost by a test (${reason})`;
    return new LockLostError(message, 'LOCK_LOST', { reason, token });
  });
}

module.exports = { loseLock };
