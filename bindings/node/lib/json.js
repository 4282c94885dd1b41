'use strict';
// `toJSON` of public values, because JSON has no bigint.

/** Returns a copy of `fields` in which bigints are text. */
function withTextTokens(fields) {
  const toText = ([name, value]) => [name, typeof value === 'bigint' ? String(value) : value];
  return Object.fromEntries(Object.entries(fields).map(toText));
}

/** Adds `toJSON` to an object. It is not enumerable, so that it is not a field of the object. */
function withToJson(object) {
  const value = () => withTextTokens(object);
  return Object.defineProperty(object, 'toJSON', { value, configurable: true, writable: true });
}

module.exports = { withTextTokens, withToJson };
