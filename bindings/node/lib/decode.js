'use strict';
// Public values and errors from the JSON of the addon, which `src/json.rs` and `src/failure.rs` write.

const { DynamoLockError, LockHeldError, LockLostError, StoreError, ArgumentError } = require('./errors');
const { withToJson } = require('./json');

const CLASSES = { held: LockHeldError, lost: LockLostError, store: StoreError };

/** Returns the error for a failure. Its `cause` is for internal use only, because users act on `code`. */
function toError({ class: type, code, message, cause, ...rest }) {
  if (type === 'argument') return new ArgumentError(message);
  const { token, holder, ...fields } = rest;
  if (token !== undefined) fields.token = toToken(token);
  if (holder !== undefined) fields.holder = toHolder(holder);
  return new (CLASSES[type] ?? DynamoLockError)(message, code, fields);
}

function toInspection({ state, holder, token, mayEndMs, data, last, kind, slots, holders, ...success }) {
  if (kind) return withToJson({ state, kind, token: toToken(token), slots: slots ?? null, holders: holders.map(toSharedHolder) });
  if (state === 'free') return withToJson({ state, token: toToken(token), data: data ?? null, last: toLast(last) });
  if (state === 'held') return { state, holder: toHolder(holder), mayEndMs, last: toLast(last) };
  if (state === 'done') {
    return withToJson({ state, ...toSuccess({ token, ...success }), data: data ?? null, last: toLast(last) });
  }
  return { state, holder: toHolder(holder), last: toLast(last) };
}

function toLast(last) {
  if (!last) return null;
  const { owner, acquiredAtMs, heldMs, end, exitCode } = last;
  return { owner: owner ?? null, acquiredAt: toDate(acquiredAtMs), heldMs: heldMs ?? null, end, exitCode: exitCode ?? null };
}

function toSuccess({ token, by, startedAtMs, finishedAtMs, untilMs }) {
  const [startedAt, finishedAt, until] = [startedAtMs, finishedAtMs, untilMs].map(toDate);
  return withToJson({ token: toToken(token), by: by ?? null, startedAt, finishedAt, until });
}

/** Returns an entry of a listing. */
function toListed({ name, inspection, failure }) {
  const state = failure ? { state: 'unreadable', error: toError(failure) } : toInspection(inspection);
  return withToJson({ name, ...state });
}

function toHolder(holder) {
  if (!holder) return null;
  return withToJson({
    owner: holder.owner ?? null,
    token: toToken(holder.token),
    acquiredAt: toDate(holder.acquiredAtMs),
    leaseMs: holder.leaseMs ?? null,
    expiresAt: toDate(holder.expiresAtMs),
    data: holder.data ?? null,
    revoked: holder.revoked,
  });
}

/** Returns one holder of a lock that can have several. Token and data belong to the row. */
function toSharedHolder({ id, role, revoked, mayEndMs, ...rest }) {
  const { owner, acquiredAt, expiresAt, leaseMs } = toHolder(rest);
  return { id, role, owner, acquiredAt, expiresAt, leaseMs, revoked, expired: mayEndMs === null, mayEndMs };
}

const toToken = (text) => (text == null ? null : BigInt(text));

/** Returns `null` for a time outside the range of `Date`, which a row may contain. */
const toDate = (ms) => (ms == null || Math.abs(ms) > 8.64e15 ? null : new Date(ms));

module.exports = { toError, toHolder, toInspection, toListed, toSuccess, toToken };
