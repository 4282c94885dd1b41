'use strict';
// The user's own `db`: each request of the addon becomes one call of it. Its parameters are DynamoDB's wire format,
// except that binary values are buffers. The first result, rejection or exception is the response; later ones are
// ignored.

const { isDate, isUint8Array } = require('util').types;
const { ArgumentError } = require('./errors');

/**
 * Error codes that mean that DynamoDB rejected the request, so that it had no effect. After any other error, and
 * after a status of 500 or more, the request may have been applied.
 */
const REJECTED =
  /Exception$|^Throttl|^AccessDenied|^(Credentials|Config)\w*Error$|^UnrecognizedClient|Parameter|^MultipleValidationErrors$|^ValidationError$/;

/** These versions return the row of a failed condition, which the lock API requires. */
const UPGRADE_SDK =
  'upgrade the SDK that `db` belongs to: aws-sdk 2.1409.0 or later, @aws-sdk/client-dynamodb 3.363.0 or later';

const SUPPORTED = 'AWS.DynamoDB (v2), DynamoDBClient or DynamoDB (v3)';

/** Returns `{ settings, db }`, where `db` is the handler for requests of the addon. */
function fromDb(db, commands, settings) {
  rejectDocumentClient(db);
  const send = sender(db, commands);
  const region = typeof db.config?.region === 'string' ? db.config.region : undefined;
  return { settings: { ...settings, region }, db: (request) => respond(send, request) };
}

function rejectDocumentClient(db) {
  if (typeof db !== 'object' && typeof db !== 'function') {
    throw new ArgumentError(`options.db must be a DynamoDB object: ${SUPPORTED}`);
  }
  const isV2 = typeof db.getItem !== 'function' && typeof db.get === 'function' && typeof db.put === 'function';
  if (isV2 || isV3DocumentClient(db)) {
    throw new ArgumentError(
      `options.db is a DocumentClient, which converts attribute values; give the client below it, ` +
        `\`db.service\` in SDK v2: ${SUPPORTED}`,
    );
  }
}

/** Checks the classes of `db`, because a DocumentClient shares its `config` with the client below it. */
function isV3DocumentClient(db) {
  for (let type = db.constructor; typeof type === 'function'; type = Object.getPrototypeOf(type)) {
    if (/^DynamoDBDocument(Client)?$/.test(type.name)) return true;
  }
  return false;
}

/** Returns `send(operation, params, callback)` for this `db`. */
function sender(db, commands) {
  if (typeof db.getItem === 'function') return methodSender(db);
  if (typeof db.send === 'function') return commandSender(db, commands ?? findCommands());
  throw new ArgumentError(`options.db has neither getItem nor send: give ${SUPPORTED}`);
}

/** A `db` with a method per operation. The method takes a callback, returns a promise, or both. */
function methodSender(db) {
  return (operation, params, callback) => {
    const method = operation[0].toLowerCase() + operation.slice(1);
    if (typeof db[method] !== 'function') return callback(unknownOperation(operation));
    const returned = db[method](params, callback);
    if (typeof returned?.then !== 'function') return undefined;
    const hasNoCallback = db[method].length < 2;
    return returned.then(
      (data) => (hasNoCallback && isResponse(data) ? callback(null, data) : undefined),
      (error) => callback(error ?? rejectedWithoutError()),
    );
  };
}

/**
 * Returns whether a resolved value is a response. An async function that also takes a callback, perhaps in `...args`,
 * resolves to nothing or to the request object of SDK v2; in this case the callback brings the response.
 */
const isResponse = (data) => typeof data === 'object' && data !== null && typeof data.send !== 'function';

/** A `DynamoDBClient` of SDK v3, which takes command objects. */
function commandSender(db, commands) {
  return (operation, params, callback) => {
    db.send(new commands[`${operation}Command`](params)).then(
      (data) => callback(null, data),
      (error) => callback(error ?? rejectedWithoutError()),
    );
  };
}

function findCommands() {
  const name = '@aws-sdk/client-dynamodb';
  try {
    return require(require.resolve(name, { paths: [process.cwd(), require.main?.path ?? __dirname, __dirname] }));
  } catch {
    throw new ArgumentError(`options.db is a DynamoDBClient: install ${name}, or pass it as options.commands`);
  }
}

const unknownOperation = (operation) => ({
  code: 'UnknownOperationException',
  message: `options.db has no ${operation}`,
});
const rejectedWithoutError = () => new Error('db rejected without an error');

/**
 * Sends one request to `db` and resolves to `{ status, body }`, or to `{ error }` if it is unknown whether the request
 * was applied. Never rejects.
 */
function respond(send, { operation, params }) {
  return new Promise((resolve) => {
    const toResponse = (error, data) => {
      return error ? errorResponse(error, operation) : { status: 200, body: toWire(data ?? {}) };
    };
    const callback = (error, data) => {
      try {
        resolve(toResponse(error, data));
      } catch (cause) {
        // Do not throw into the code of `db`, which has called this function.
        resolve({ error: `cannot read the response of options.db: ${cause}` });
      }
    };
    try {
      send(operation, toSdk(operation, params), callback);
    } catch (error) {
      callback(error ?? new Error('db threw no error'));
    }
  });
}

function errorResponse(error, operation) {
  const code = String(error.code ?? error.name ?? '');
  const status = error.statusCode ?? error.$metadata?.httpStatusCode;
  if (status >= 500) return { status, body: { __type: 'InternalServerError', message: String(error.message) } };
  if (!REJECTED.test(code)) return { error: `options.db failed: ${error.message || code || error}` };
  // A `db` written for npm dynamo-lock has no describeTable, because npm dynamo-lock did not wait for the table. The
  // addon does not wait either if access is denied.
  if (operation === 'DescribeTable' && code === 'UnknownOperationException') {
    return { status: 400, body: { __type: 'AccessDeniedException', message: 'options.db has no describeTable' } };
  }
  // Only the parameters of newer SDKs are unknown to an SDK.
  const fix = /^(UnexpectedParameter|MultipleValidationErrors)$/.test(code) ? `; ${UPGRADE_SDK}` : '';
  const message = `${error.message ?? error}${fix}`;
  const body = { __type: code, message };
  if (error.Item) body.Item = toWire(error.Item);
  return { status: 400, body };
}

/** Converts parameters from the wire format: binary values become buffers. */
function toSdk(operation, params) {
  // Send only the parameters that npm dynamo-lock sent, because mocks may check them, and old versions of SDK v2 reject
  // those that they do not know. The omitted parameters of CreateTable have their default values.
  if (operation === 'PutItem') delete params.ReturnValuesOnConditionCheckFailure;
  if (operation === 'CreateTable') {
    delete params.BillingMode;
    delete params.DeletionProtectionEnabled;
  }
  return convert(params, (key, value) => {
    if (key === 'B' && typeof value === 'string') return Buffer.from(value, 'base64');
    return key === 'BS' && Array.isArray(value) ? value.map((text) => Buffer.from(text, 'base64')) : undefined;
  });
}

/** Converts a response of `db` to the wire format. */
function toWire(data) {
  return convert(data, (key, value) => {
    if (isUint8Array(value)) return Buffer.from(value).toString('base64');
    if (key === 'N' && typeof value === 'number') return String(value); // only mocks return numbers
    if (isDate(value)) return value.getTime() / 1000;
    return key === '$metadata' ? null : undefined;
  });
}

/**
 * Returns a deep copy of `value` in which `change(key, value)` has replaced each value for which it returns another.
 */
function convert(value, change, key = '') {
  const changed = change(key, value);
  if (changed !== undefined) return changed;
  if (Array.isArray(value)) return value.map((item) => convert(item, change));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, convert(item, change, name)]));
}

module.exports = { fromDb, UPGRADE_SDK };
