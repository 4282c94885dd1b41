'use strict';
// Shared locks on a DynamoDB table: the API of npm dynamo-lock 0.1.3, and one for today beside it.

const { Client } = require('./lib/client');
const { Connection } = require('./lib/connection');
const { DynamoLockError, LockHeldError, LockLostError, StoreError, ArgumentError } = require('./lib/errors');
const settings = require('./lib/settings');

/** A client of locks in this table. No request is sent yet. */
function createClient(lockTableName, options) {
  return client(settings.ofTable(lockTableName, options));
}

/** A client of locks in the store of this URL: `sqlite:///path/locks.db`, `dynamodb://TABLE?…`, `memory:`. */
function connect(storeUrl, options) {
  return client(settings.ofUrl(storeUrl, options));
}

const client = ({ settings: given, ...answers }) => new Client(new Connection(given, answers));

module.exports = { createClient, connect, DynamoLockError, LockHeldError, LockLostError, StoreError, ArgumentError };
