'use strict';
// The calls of npm dynamo-lock 0.1.3, with its callback values: each callback is called once, and not before the call
// has returned. Without a callback they return a promise that rejects with errors as elsewhere here.

const { debuglog } = require('node:util');
const check = require('./check');
const { ArgumentError, LockHeldError } = require('./errors');
const { checkName } = require('./native');

// Where the original logged; on stderr, and only with NODE_DEBUG=dynamo-lock.
const debug = debuglog('dynamo-lock');

function getLock(connection, name, ms, callback) {
  checkCallback(callback);
  const words = (error) => [error instanceof LockHeldError && !error.race ? error.message : 'ERROR'];
  return settle(take(connection, name, ms), callback, words);
}

async function take(connection, name, ms) {
  const wrong = checkName(check.text(name, 'the name of a lock'));
  if (wrong) throw new ArgumentError(wrong);
  // Text is a number here; the original put its digits behind those of the time.
  const whole = typeof ms === 'string' && ms.trim() !== '' ? Number(ms) : ms;
  if (typeof whole !== 'number' || !Number.isFinite(whole)) {
    throw new ArgumentError(`the timeout of a lock must be a number of milliseconds, not ${String(ms)}`);
  }
  const bounded = Math.max(-Number.MAX_SAFE_INTEGER, Math.min(Number.MAX_SAFE_INTEGER, Math.trunc(whole)));
  await connection.call('getLock', { name, ms: bounded });
  return 'SUCCESS';
}

function table(connection, method, callback) {
  checkCallback(callback);
  const words = (error) => [error.code === 'TABLE_EXISTS' ? 'TABLE_EXISTS' : 'ERROR', null];
  return settle(connection.call(method, {}).then(() => 'SUCCESS'), callback, words);
}

/** Before anything is begun: a mistake takes no lock and deletes no table. */
function checkCallback(callback) {
  if (callback !== undefined) check.callable(callback, 'the callback');
}

function settle(promise, callback, words) {
  if (callback === undefined) return promise;
  promise.then(
    // Not within the promise: what the callback throws is thrown, as it was.
    (success) => process.nextTick(callback, null, success),
    (error) => {
      debug('%s', error);
      process.nextTick(callback, ...words(error));
    },
  );
}

module.exports = { getLock, table };
