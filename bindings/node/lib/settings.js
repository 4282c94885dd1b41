'use strict';
// Converts the arguments of `createClient` and `connect` into settings for the addon and handlers of its requests.

const check = require('./check');
const { ArgumentError } = require('./errors');
const { checkUrl } = require('./native');
const { fromAwsConfig } = require('./aws-config');
const { fromDb } = require('./db');

const CONNECT_OPTIONS = {
  owner: check.text,
  leaseMs: check.millis,
  heartbeatMs: check.millis,
  legacySkewMs: check.millis,
  serviceClock: check.flag,
};
const TABLE_OPTIONS = {
  ...CONNECT_OPTIONS,
  partitionKey: check.text,
  timeoutMs: check.millis,
  // npm dynamo-lock ignored every falsy value.
  awsConfig: (value, name) => (value ? check.object(value, name) : undefined),
  db: (value) => value,
  commands: check.object,
};

/** Returns `{ settings, db, credentials }` for a DynamoDB table. */
function forTable(table, options) {
  if (table === undefined) throw new ArgumentError('You need to include a value for lockTableName');
  if (check.text(table, 'lockTableName') === '') throw new ArgumentError('lockTableName must not be empty');
  // npm dynamo-lock ignored options that are not an object.
  const given = typeof options === 'object' && options !== null ? options : {};
  const { awsConfig = {}, db, commands, ...settings } = check.options(given, 'options', TABLE_OPTIONS);
  if (db) return fromDb(db, commands, { ...settings, table, db: true });
  return fromAwsConfig(awsConfig, { ...settings, table });
}

/** Returns `{ settings }` for a store URL. */
function forUrl(url, options) {
  const error = checkUrl(check.text(url, 'the URL of a store'));
  if (error) throw new ArgumentError(error);
  return { settings: { ...check.options(options, 'the options of connect', CONNECT_OPTIONS), url } };
}

module.exports = { forTable, forUrl };
