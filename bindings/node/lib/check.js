'use strict';
// Arguments, checked before anything happens: what is wrong, and what would be right.

const { ArgumentError } = require('./errors');

const kind = (value) => (value === null ? 'null' : Array.isArray(value) ? 'an array' : typeof value);

function text(value, what) {
  if (typeof value !== 'string') throw new ArgumentError(`${what} must be a string, not ${kind(value)}`);
  if (/\p{Surrogate}/u.test(value)) throw new ArgumentError(`${what} must be whole characters: it has half of a surrogate pair`);
  return value;
}

/** A number of milliseconds, 0 or more; so many that they are beyond all ages are as good as some fewer. */
function millis(value, what) {
  if (typeof value !== 'number' || !Number.isFinite(value) || value < 0) {
    const found = typeof value === 'number' ? value : kind(value);
    throw new ArgumentError(`${what} must be a number of milliseconds from 0, not ${found}`);
  }
  return Math.min(value, Number.MAX_SAFE_INTEGER);
}

function callable(value, what) {
  if (typeof value !== 'function') throw new ArgumentError(`${what} must be a function, not ${kind(value)}`);
  return value;
}

function flag(value, what) {
  if (typeof value !== 'boolean') throw new ArgumentError(`${what} must be true or false, not ${kind(value)}`);
  return value;
}

function signal(value, what) {
  if (typeof value?.addEventListener !== 'function' || typeof value.aborted !== 'boolean') {
    throw new ArgumentError(`${what} must be an AbortSignal, as \`new AbortController().signal\``);
  }
  return value;
}

/** A fencing token: a bigint, or a number that is one exactly. */
function token(value, what) {
  if (typeof value === 'bigint' && value >= 0n && value < 2n ** 64n) return value;
  if (Number.isSafeInteger(value) && value >= 0) return BigInt(value);
  throw new ArgumentError(`${what} must be a bigint, as \`lock.token\` or \`(await lock.inspect()).token\` gives it`);
}

const warned = new Set();

/** Warns once in a process for each thing. */
function warnOnce(message) {
  if (warned.has(message)) return;
  warned.add(message);
  process.emitWarning(message, { type: 'DynamoLockWarning' });
}

/** An object of options; each that is there is checked by its own function, others are warned of. */
function options(value, what, checks) {
  if (value === undefined) return {};
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new ArgumentError(`${what} must be an object, not ${kind(value)}`);
  }
  const checked = {};
  for (const [name, given] of Object.entries(value)) {
    if (!Object.hasOwn(checks, name)) {
      warnOnce(`${what}: \`${name}\` is unknown and has no effect; known are ${Object.keys(checks).join(', ')}`);
    } else if (given !== undefined) {
      checked[name] = checks[name](given, `${what}.${name}`);
    }
  }
  return checked;
}

module.exports = { text, millis, callable, flag, signal, token, options, warnOnce };
