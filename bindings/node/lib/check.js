'use strict';
// Checks of arguments, before any request is sent. Each check returns the value, or throws an ArgumentError whose
// message names the argument and the valid values.

const { ArgumentError } = require('./errors');

const typeName = (value) => (value === null ? 'null' : Array.isArray(value) ? 'an array' : typeof value);

function text(value, name) {
  if (typeof value !== 'string') throw new ArgumentError(`${name} must be a string, not ${typeName(value)}`);
  if (/\p{Surrogate}/u.test(value)) {
    throw new ArgumentError(`${name} must be valid Unicode: it contains an unpaired surrogate`);
  }
  return value;
}

/** Checks an array of strings. */
function texts(value, name) {
  if (!Array.isArray(value)) throw new ArgumentError(`${name} must be an array of strings, not ${typeName(value)}`);
  value.forEach((each, index) => text(each, `${name}[${index}]`));
  return value;
}

/**
 * Checks a number of milliseconds, 0 or more. Values above 2^53 are clamped, because they exceed every limit anyway.
 */
function millis(value, name) {
  if (typeof value !== 'number' || !Number.isFinite(value) || value < 0) {
    const found = typeof value === 'number' ? value : typeName(value);
    throw new ArgumentError(`${name} must be a number of milliseconds, 0 or more, not ${found}`);
  }
  return Math.min(value, Number.MAX_SAFE_INTEGER);
}

/** Checks a whole number. Its range is checked by the addon. */
function whole(value, name) {
  if (Number.isSafeInteger(value) && value >= 0) return value;
  const found = typeof value === 'number' ? value : typeName(value);
  throw new ArgumentError(`${name} must be a positive whole number, not ${found}`);
}

function callable(value, name) {
  if (typeof value !== 'function') throw new ArgumentError(`${name} must be a function, not ${typeName(value)}`);
  return value;
}

function flag(value, name) {
  if (typeof value !== 'boolean') throw new ArgumentError(`${name} must be true or false, not ${typeName(value)}`);
  return value;
}

function object(value, name) {
  if (typeof value !== 'object' || value === null) {
    throw new ArgumentError(`${name} must be an object, not ${typeName(value)}`);
  }
  return value;
}

/** Checks an object whose values are strings. */
function textFields(value, name) {
  for (const [key, each] of Object.entries(object(value, name))) text(each, `${name}.${key}`);
  return value;
}

function signal(value, name) {
  if (typeof value?.addEventListener !== 'function' || typeof value.aborted !== 'boolean') {
    throw new ArgumentError(`${name} must be an AbortSignal, for example \`AbortSignal.timeout(5000)\``);
  }
  return value;
}

/** Checks a fencing token and returns it as a bigint. Accepts a bigint or a safe integer. */
function token(value, name) {
  if (typeof value === 'bigint' && value >= 0n && value < 2n ** 64n) return value;
  if (Number.isSafeInteger(value) && value >= 0) return BigInt(value);
  throw new ArgumentError(`${name} must be a bigint from 0 to 2^64 - 1, for example \`token\` of a lock or its holder`);
}

const warned = new Set();

/** Emits a process warning. Each message is emitted once per process. */
function warnOnce(message) {
  if (warned.has(message)) return;
  warned.add(message);
  process.emitWarning(message, { type: 'DynamoLockWarning' });
}

/**
 * Checks an object of options and returns a copy with the known ones. `checks` has a check for each known option.
 * An unknown option causes a warning; an option that is `undefined` counts as missing.
 */
function options(value, name, checks) {
  if (value === undefined) return {};
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new ArgumentError(`${name} must be an object, not ${typeName(value)}`);
  }
  const checked = {};
  for (const [key, given] of Object.entries(value)) {
    if (!Object.hasOwn(checks, key)) {
      warnOnce(`${name}: \`${key}\` is unknown and has no effect; known options: ${Object.keys(checks).join(', ')}`);
    } else if (given !== undefined) {
      checked[key] = checks[key](given, `${name}.${key}`);
    }
  }
  return checked;
}

module.exports = { text, texts, millis, whole, callable, flag, object, textFields, signal, token, options, warnOnce };
