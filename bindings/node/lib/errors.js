'use strict';

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
// On the prototypes, so that `console.log` does not show the name as a field of each error.
for (const type of [DynamoLockError, LockHeldError, LockLostError, StoreError, ArgumentError]) {
  Object.defineProperty(type.prototype, 'name', { value: type.name, configurable: true, writable: true });
}

module.exports = { DynamoLockError, LockHeldError, LockLostError, StoreError, ArgumentError };
