'use strict';

/** The base of errors with a `code` to act on. */
class DynamoLockError extends Error {
  constructor(message, code, fields) {
    super(message);
    this.code = code;
    Object.assign(this, fields);
  }
}

/** Somebody else holds the lock. */
class LockHeldError extends DynamoLockError {}
/** A lock that was held is not to be trusted any more; `reason` says why. */
class LockLostError extends DynamoLockError {}
/** The store said no, or nothing. */
class StoreError extends DynamoLockError {}
/** An argument cannot be. */
class ArgumentError extends TypeError {
  constructor(message) {
    super(message);
    this.code = 'INVALID_ARGUMENT';
  }
}
// On the prototypes, so that they are not listed among an error's fields.
for (const type of [DynamoLockError, LockHeldError, LockLostError, StoreError, ArgumentError]) {
  Object.defineProperty(type.prototype, 'name', { value: type.name, configurable: true, writable: true });
}

const CLASSES = { held: LockHeldError, lost: LockLostError, store: StoreError };

/** Returns the error for a failure that the addon reports. Its `cause` is internal: users act on `code`. */
function fromFailure({ class: kind, code, message, cause, ...rest }) {
  if (kind === 'argument') return new ArgumentError(message);
  const { lockToken, holder, untilMs, ...fields } = rest;
  if (lockToken !== undefined) fields.token = token(lockToken);
  if (holder !== undefined) fields.holder = toHolder(holder);
  if (untilMs !== undefined) fields.until = date(untilMs);
  return new (CLASSES[kind] ?? DynamoLockError)(message, code, fields);
}

function toHolder(by) {
  if (!by) return null;
  return {
    owner: by.owner ?? null,
    token: token(by.lockToken),
    since: date(by.sinceMs),
    leaseMs: by.leaseMs ?? null,
    data: by.data ?? null,
  };
}

const token = (text) => (text == null ? null : BigInt(text));
/** As far as a Date goes; a row may say more. */
const date = (ms) => (ms == null || Math.abs(ms) > 8.64e15 ? null : new Date(ms));

module.exports = { DynamoLockError, LockHeldError, LockLostError, StoreError, ArgumentError, fromFailure, toHolder, token, date };
