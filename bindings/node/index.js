'use strict';
// Locks shared by processes, on a DynamoDB table or an SQLite file. Includes the API of npm dynamo-lock 0.1.3.

const { Client } = require('./lib/client');
const { Connection } = require('./lib/connection');
const { DynamoLockError, LockHeldError, LockLostError, StoreError, ArgumentError } = require('./lib/errors');
const settings = require('./lib/settings');

/** Creates a client of a DynamoDB table. Sends no request. */
function createClient(lockTableName, options) {
  return client(settings.forTable(lockTableName, options), { lockTableName, db: options?.db || undefined });
}

/** Creates a client of the store at a URL, for example `sqlite:///path/locks.db`. The first call opens the store. */
function connect(storeUrl, options) {
  return client(settings.forUrl(storeUrl, options));
}

const client = ({ settings: native, ...handlers }, legacyFields) =>
  new Client(new Connection(native, handlers), legacyFields);

module.exports = { createClient, connect, DynamoLockError, LockHeldError, LockLostError, StoreError, ArgumentError };
