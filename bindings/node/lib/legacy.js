'use strict';
// The calls of npm dynamo-lock 0.1.3, with the same callback values. A callback is called exactly once, and only
// after the call has returned. Without a callback, the calls return a promise that rejects with the errors of this
// package.

// From the module, because fake timers replace `process.nextTick` and the global timers.
const { setImmediate } = require('timers');
const logger = require('../logger');
const check = require('./check');
const { ArgumentError, LockHeldError } = require('./errors');
const { checkName } = require('./native');

/** Acquires a lock for `ms` milliseconds by this host's wall clock. */
function getLock(connection, name, ms, callback) {
  checkCallback(callback);
  const toValues = (error) => [error instanceof LockHeldError && !error.race ? error.message : 'ERROR'];
  return settle(acquire(connection, name, ms), callback, toValues);
}

async function acquire(connection, name, ms) {
  const nameError = checkName(check.text(name, 'the name of a lock'));
  if (nameError) throw new ArgumentError(nameError);
  // A numeric string is converted. npm dynamo-lock appended its digits to those of the current time.
  const number = typeof ms === 'string' && ms.trim() !== '' ? Number(ms) : ms;
  if (typeof number !== 'number' || !Number.isFinite(number)) {
    throw new ArgumentError(`the timeout of a lock must be a number of milliseconds, not ${String(ms)}`);
  }
  const bounded = Math.max(-Number.MAX_SAFE_INTEGER, Math.min(Number.MAX_SAFE_INTEGER, Math.trunc(number)));
  await connection.call('getLock', { name, ms: bounded });
  return 'SUCCESS';
}

/** Creates or deletes the table; `method` is `createTable` or `deleteTable`. */
function changeTable(connection, method, callback) {
  checkCallback(callback);
  const toValues = (error) => [error.code === 'TABLE_EXISTS' ? 'TABLE_EXISTS' : 'ERROR', null];
  return settle(connection.call(method, {}).then(() => 'SUCCESS'), callback, toValues);
}

/** Throws before any request is sent, so that a wrong argument neither acquires a lock nor deletes a table. */
function checkCallback(callback) {
  if (callback !== undefined) check.callable(callback, 'the callback');
}

function settle(promise, callback, toValues) {
  if (callback === undefined) return promise;
  promise.then(
    // Leave the promise chain, so that an exception of the callback is an uncaught exception and not a rejection.
    (success) => setImmediate(callback, null, success),
    (error) => {
      const values = toValues(error);
      // Separately, because the method may be the user's and throw.
      setImmediate(() => logger[values[0] === 'ERROR' ? 'error' : 'info'](error));
      setImmediate(callback, ...values);
    },
  );
}

module.exports = { getLock, changeTable };
