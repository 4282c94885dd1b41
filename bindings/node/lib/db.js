'use strict';
// The user's own `db`: each request of the native half becomes one call. Parameters are the wire's JSON, but for binary
// values; what it answers, throws, or says twice becomes one answer.

const { ArgumentError } = require('./errors');

/** Errors that DynamoDB or an SDK names, and that mean that nothing happened. Others may have happened. */
const CERTAIN =
  /Exception$|^Throttl|^AccessDenied|^(Credentials|Config)\w*Error$|^UnrecognizedClient|Parameter|^MultipleValidationErrors$|^ValidationError$/;

function overDb(db, commands, settings) {
  refuseDocuments(db);
  const send = sender(db, commands);
  const region = db.config?.region;
  return { settings: { ...settings, region: typeof region === 'string' ? region : undefined }, db: (q) => ask(send, q) };
}

function refuseDocuments(db) {
  if (typeof db !== 'object' && typeof db !== 'function') {
    throw new ArgumentError('options.db must be a DynamoDB object: AWS.DynamoDB (v2), DynamoDBClient or DynamoDB (v3)');
  }
  const v2 = typeof db.getItem !== 'function' && typeof db.get === 'function' && typeof db.put === 'function';
  if (v2 || isDocumentOfV3(db)) {
    throw new ArgumentError(
      'options.db is a DocumentClient, which changes the values of items: give the client below it, ' +
        'AWS.DynamoDB (v2), DynamoDBClient or DynamoDB (v3)',
    );
  }
}

/** By its class, or one above it: its `config` is that of the client below. */
function isDocumentOfV3(db) {
  for (let type = db.constructor; typeof type === 'function'; type = Object.getPrototypeOf(type)) {
    if (/^DynamoDBDocument(Client)?$/.test(type.name)) return true;
  }
  return false;
}

/** `send(operation, params, callback)` for this `db`. */
function sender(db, commands) {
  if (typeof db.getItem === 'function') {
    return (operation, params, callback) => {
      const method = operation[0].toLowerCase() + operation.slice(1);
      if (typeof db[method] !== 'function') return callback(missing(operation));
      const returned = db[method](params, callback);
      if (typeof returned?.then !== 'function') return undefined;
      const only = db[method].length < 2;
      const rejected = (error) => callback(error ?? new Error('db rejected with nothing'));
      return returned.then((data) => (only && isAnswer(data) ? callback(null, data) : undefined), rejected);
    };
  }
  if (typeof db.send === 'function') {
    const known = commands ?? clientCommands();
    return (operation, params, callback) => {
      db.send(new known[`${operation}Command`](params)).then((data) => callback(null, data), (error) => callback(error ?? new Error('db rejected with nothing')));
    };
  }
  throw new ArgumentError('options.db has neither getItem nor send: give AWS.DynamoDB (v2), DynamoDBClient or DynamoDB (v3)');
}

/** From a db of promises. An async one that takes callbacks too, perhaps as `...args`, promises nothing, or the request of
 *  SDK v2: its callback is waited for. */
const isAnswer = (data) => typeof data === 'object' && data !== null && typeof data.send !== 'function';

function clientCommands() {
  const name = '@aws-sdk/client-dynamodb';
  try {
    return require(require.resolve(name, { paths: [process.cwd(), require.main?.path ?? __dirname, __dirname] }));
  } catch {
    throw new ArgumentError(`options.db is a DynamoDBClient: install ${name}, or give it as options.commands`);
  }
}

const missing = (operation) => ({ code: 'UnknownOperationException', message: `options.db has no ${operation}` });

/** Asks once, hears the first answer. */
function ask(send, { operation, params }) {
  return new Promise((resolve) => {
    const answer = (error, data) => (error ? failure(error, operation) : { status: 200, body: toWire(data ?? {}) });
    const hear = (...said) => {
      try {
        resolve(answer(...said));
      } catch (error) {
        // Not into the caller's own code.
        resolve({ status: 500, body: { __type: 'InternalServerError', message: `its answer cannot be read: ${error}` } });
      }
    };
    try {
      send(operation, toSdk(operation, params), hear);
    } catch (error) {
      hear(error ?? new Error('db threw nothing'));
    }
  });
}

function failure(error, operation) {
  const code = String(error.code ?? error.name ?? '');
  const status = error.statusCode ?? error.$metadata?.httpStatusCode;
  const certain = CERTAIN.test(code) && !(status >= 500);
  // The original looked at nothing after it had asked for a table: a db that cannot be looked at has it at once.
  if (operation === 'DescribeTable' && code === 'UnknownOperationException') return described();
  const body = { __type: certain ? code : 'InternalServerError', message: String(error.message ?? error) };
  if (error.Item) body.Item = toWire(error.Item);
  return { status: certain ? 400 : 500, body };
}

function described() {
  return { status: 400, body: { __type: 'AccessDeniedException', message: 'options.db has no describeTable' } };
}

const isAttribute = (key, value) => key === 'B' && typeof value === 'string';

/** Parameters as an SDK wants them: binary values as bytes. A put has only what the original's had. */
function toSdk(operation, params) {
  if (operation === 'PutItem') delete params.ReturnValuesOnConditionCheckFailure;
  return walk(params, (key, value) => {
    if (isAttribute(key, value)) return Buffer.from(value, 'base64');
    return key === 'BS' && Array.isArray(value) ? value.map((text) => Buffer.from(text, 'base64')) : undefined;
  });
}

/** What `db` gave, in the wire's JSON. */
function toWire(data) {
  return walk(data, (key, value) => {
    if (value instanceof Uint8Array) return Buffer.from(value).toString('base64');
    if (key === 'N' && typeof value === 'number') return String(value); // of a mock
    if (value instanceof Date) return value.getTime() / 1000;
    return key === '$metadata' ? null : undefined;
  });
}

/** A copy in which `change(key, value)` has changed what it gives a value for. */
function walk(value, change, key = '') {
  const changed = change(key, value);
  if (changed !== undefined) return changed;
  if (Array.isArray(value)) return value.map((one) => walk(one, change));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, walk(one, change, name)]));
}

module.exports = { overDb };
