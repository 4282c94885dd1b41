'use strict';

const { withTextTokens } = require('./json');

/** Base class of the errors with a `code`. */
class DynamoLockError extends Error {
  constructor(message, code, fields) {
    super(message);
    this.code = code;
    Object.assign(this, fields);
  }
}

/** Another client holds the lock. */
class LockHeldError extends DynamoLockError {}
/** A held lock was lost; `reason` is the cause. */
class LockLostError extends DynamoLockError {}
/** The store rejected the request or did not respond. */
class StoreError extends DynamoLockError {}
/** Invalid argument. */
class ArgumentError extends TypeError {
  constructor(message) {
    super(message);
    this.code = 'INVALID_ARGUMENT';
  }
}
/** Omits `output` and `cause`, which are the user's values and may be impossible to convert. */
function toJSON() {
  const { output, cause, ...fields } = this;
  return { name: this.name, message: this.message, ...withTextTokens(fields) };
}

// On the prototypes, so that `console.log` does not show the name as a field of each error.
for (const type of [DynamoLockError, LockHeldError, LockLostError, StoreError, ArgumentError]) {
  Object.defineProperty(type.prototype, 'name', { value: type.name, configurable: true, writable: true });
  Object.defineProperty(type.prototype, 'toJSON', { value: toJSON, configurable: true, writable: true });
}

module.exports = { DynamoLockError, LockHeldError, LockLostError, StoreError, ArgumentError };
