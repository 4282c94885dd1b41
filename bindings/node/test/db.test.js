'use strict';
// The option `db`: mocks with only getItem and putItem, and the clients of both SDKs.

const test = require('node:test');
const assert = require('node:assert');
const { library, needsAll, needsPackages, packages, awsConfig, tableName, onTable, recorder, until, v2, row, sleep, start, endpoint } = require('./support');

/**
 * An in-memory table with the two operations of npm dynamo-lock, as in tests of its users. It only accepts the
 * condition expressions of npm dynamo-lock.
 */
function mock({ deliver = (respond) => respond() } = {}) {
  const rows = new Map();
  const calls = [];
  const db = {
    getItem(params, callback) {
      calls.push(['getItem', params]);
      const Item = rows.get(params.Key.name.S);
      deliver(() => callback(null, Item ? { Item } : {}));
    },
    putItem(params, callback) {
      calls.push(['putItem', params]);
      const current = rows.get(params.Item.name.S);
      const expected = params.ExpressionAttributeValues?.[':oldguid'].S;
      assert.strictEqual(params.ConditionExpression, expected === undefined ? 'attribute_not_exists(guid)' : 'guid = :oldguid');
      const holds = current?.guid.S === expected;
      if (holds) rows.set(params.Item.name.S, params.Item);
      const failed = Object.assign(new Error('The conditional request failed'), { code: 'ConditionalCheckFailedException' });
      deliver(() => callback(holds ? null : failed, {}));
    },
  };
  return { db, rows, calls };
}

const get = async (db, { name = 'a', ms = 60_000, options = {} } = {}) => {
  const { callback, calls, called } = recorder();
  library.createClient('Lock', { db, ...options }).getLock(name, ms, callback);
  await called;
  await sleep(20);
  assert.strictEqual(calls.length, 1, 'the callback is called once');
  return calls[0];
};

// The response may arrive synchronously or later.
test('db with getItem and putItem is enough for getLock', async () => {
  for (const deliver of [(respond) => respond(), (respond) => setImmediate(respond), (respond) => setTimeout(respond, 5)]) {
    const { db, rows, calls } = mock({ deliver });
    assert.deepStrictEqual(await get(db), [null, 'SUCCESS']);
    assert.match((await get(db))[0], /^Lock expires on /);
    rows.get('a').expiresOn.N = '1000';
    assert.deepStrictEqual(await get(db), [null, 'SUCCESS']);
    assert.deepStrictEqual(calls.map(([method]) => method), ['getItem', 'putItem', 'getItem', 'getItem', 'putItem']);
    const [[, read], [, first], , , [, second]] = calls;
    assert.deepStrictEqual(read, { TableName: 'Lock', Key: { name: { S: 'a' } }, ConsistentRead: true });
    assert.deepStrictEqual(Object.keys(first).sort(), ['ConditionExpression', 'Item', 'TableName']);
    assert.deepStrictEqual(Object.keys(second).sort(), ['ConditionExpression', 'ExpressionAttributeValues', 'Item', 'TableName']);
  }
});

// A row without expiresOn is expired, and a failed put is an error.
test('db of the tests of npm dynamo-lock behaves the same', async () => {
  const getItem = (params, callback) => callback(null, { Item: { guid: { S: 'myguid' } } });
  assert.deepStrictEqual(await get({ getItem, putItem: (params, callback) => callback(null) }, { ms: 100 }), [null, 'SUCCESS']);
  const failing = { getItem, putItem: (params, callback) => callback('Error getting lock') };
  assert.deepStrictEqual(await get(failing, { ms: 100 }), ['ERROR']);
  assert.deepStrictEqual(await get(failing, { ms: 60_000 }), ['ERROR']);
});

test('db methods are called with db as this', async () => {
  const { db } = mock();
  class Db {
    #own = db;
    getItem(...args) {
      return this.#own.getItem(...args);
    }
    putItem(...args) {
      return this.#own.putItem(...args);
    }
  }
  assert.deepStrictEqual(await get(new Db()), [null, 'SUCCESS']);
});

test('db that returns promises is supported', async () => {
  const { db } = mock();
  const promised = (method) => (params) => new Promise((resolve, reject) => db[method](params, (e, data) => (e ? reject(e) : resolve(data))));
  assert.deepStrictEqual(await get({ getItem: promised('getItem'), putItem: promised('putItem') }), [null, 'SUCCESS']);
});

// The promise of such a method may resolve earlier: to nothing, to the request of SDK v2, or to any object.
test('async db with callback responds by callback', async () => {
  const { db, rows } = mock({ deliver: setImmediate });
  const failing = { ...db, putItem: (params, callback) => setImmediate(callback, new Error('write')) };
  const request = { send() {} };
  request.itself = request;
  const wrappers = [
    (below) => async (...args) => { below(...args); },
    (below) => async (...args) => (below(...args), request),
    (below) => async (params, callback) => (below(params, callback), request),
    (below) => async (params, callback) => (below(params, callback), {}),
    (below) => async (params, callback) => { below(params, callback); },
  ];
  for (const wrapper of wrappers) {
    const wrapped = ({ getItem, putItem }) => ({ getItem: wrapper(getItem), putItem: wrapper(putItem) });
    rows.clear();
    assert.deepStrictEqual(await get(wrapped(failing)), ['ERROR'], String(wrapper));
    assert.deepStrictEqual(await get(wrapped(db)), [null, 'SUCCESS'], String(wrapper));
    assert.match((await get(wrapped(db)))[0], /^Lock expires on /, String(wrapper));
  }
});

test('SDK v2 in an async wrapper is supported as db', needsAll, async (t) => {
  const { name } = await onTable(t);
  const below = v2();
  const db = { getItem: async (...args) => below.getItem(...args), async putItem(params, callback) { return below.putItem(params, callback); } };
  const client = library.createClient(name, { db });
  assert.strictEqual(await client.getLock('a', 60_000), 'SUCCESS');
  await assert.rejects(client.getLock('a', 60_000), { code: 'LOCK_HELD' });
});

test('db that fails or returns nonsense is reported once as ERROR', async () => {
  const fails = (error) => (params, callback) => callback(error);
  const throws = (error) => () => {
    throw error;
  };
  const good = mock().db;
  const circular = {};
  circular.Item = circular;
  for (const db of [
    { ...good, getItem: throws(new Error('at once')) },
    { ...good, getItem: throws(undefined) },
    { ...good, getItem: throws('a string') },
    { ...good, getItem: fails(new Error('read')) },
    { ...good, getItem: fails(Object.assign(new Error('no'), { code: 'AccessDeniedException', statusCode: 400 })) },
    { ...good, getItem: fails(Object.assign(new Error('none'), { code: 'ResourceNotFoundException', statusCode: 400 })) },
    { ...good, getItem: (params, callback) => callback(null, 'nonsense') },
    { ...good, getItem: (params, callback) => callback(null, { Item: 7 }) },
    { ...good, getItem: (params, callback) => callback(null, { Item: { total: { N: '5' } } }) },
    { ...good, putItem: throws(new Error('at once')) },
    { ...good, putItem: fails(new Error('write')) },
    { ...good, getItem: async () => { throw new Error('rejected'); } },
    { ...good, getItem: () => Promise.reject() },
    { ...good, getItem: (params, callback) => callback(null, { Item: { guid: { S: 5n } } }) },
    { ...good, getItem: (params, callback) => setImmediate(callback, null, circular) },
    { ...good, getItem: (params, callback) => setImmediate(callback, null, { get Item() { throw new Error('a getter'); } }) },
    { ...good, putItem: undefined },
  ]) {
    assert.deepStrictEqual(await get(db), ['ERROR']);
  }
});

// The message could otherwise be taken for a rejection.
test('error of db without a code counts as unanswered', async () => {
  const errors = [
    [new Error('socket hang up'), /options\.db failed: socket hang up; check the network/],
    [new Error('expired credentials: token'), /options\.db failed: expired credentials: token; check/],
    [Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET' }), /options\.db failed: read ECONNRESET; check/],
    ['a string', /options\.db failed: a string; check/],
    [Object.assign(new Error('busy'), { name: 'ServiceUnavailable', $metadata: { httpStatusCode: 503 } }), /HTTP 503/],
  ];
  for (const [error, message] of errors) {
    const db = { ...mock().db, getItem: (params, callback) => callback(error) };
    const client = library.createClient('Lock', { db });
    await assert.rejects(client.lock('a').inspect(), { name: 'StoreError', code: 'UNANSWERED', message }, String(error));
  }
});

test('db that never responds is limited by timeoutMs', async () => {
  const never = () => {};
  const { db } = mock();
  const options = { timeoutMs: 50 };
  const start = performance.now();
  assert.deepStrictEqual(await get({ ...db, getItem: never }, { options }), ['ERROR']);
  assert.deepStrictEqual(await get({ ...db, putItem: never }, { options }), ['ERROR']);
  assert.ok(performance.now() - start < 4000, 'less than the default time limit of 5 s');
});

test('table calls fail if db never responds or throws', async () => {
  for (const method of [() => {}, () => { throw new Error('at once'); }]) {
    const client = library.createClient('Lock', { db: { ...mock().db, createTable: method, deleteTable: method }, timeoutMs: 50 });
    for (const call of ['createLockTable', 'deleteLockTable']) {
      const { callback, calls, called } = recorder();
      client[call](callback);
      await called;
      await sleep(20);
      assert.deepStrictEqual(calls, [['ERROR', null]]);
    }
  }
});

test('lock API handles db that throws or responds twice', needsAll, async (t) => {
  const { name } = await onTable(t);
  const below = v2();
  const over = (updateItem) => library.createClient(name, { db: { ...mock().db, updateItem }, leaseMs: 1000 }).lock('a');
  const throwing = over(() => { throw Object.assign(new Error('at once'), { code: 'AccessDeniedException' }); });
  await assert.rejects(throwing.acquire(), { name: 'StoreError', code: 'ACCESS_DENIED', message: /UpdateItem/ });
  const responses = [];
  const twice = over((params, callback) =>
    below.updateItem(params, (...values) => {
      callback(...values);
      callback(new Error('again'));
      responses.push(setImmediate(callback, null, {}));
    }));
  const held = await twice.acquire();
  await until(() => responses.length > 2, 'renewals');
  assert.ok(held.isValid());
  await held.release();
  assert.strictEqual((await row(name, 'a')).expiresOn.N, '0');
});

test('db that responds twice is counted once', async () => {
  const { db } = mock();
  const twice = (method) => (params, callback) =>
    db[method](params, (...values) => {
      callback(...values);
      callback(new Error('again'));
      setImmediate(callback, null, { Item: { guid: { S: 'later' } } });
    });
  assert.deepStrictEqual(await get({ getItem: twice('getItem'), putItem: twice('putItem') }), [null, 'SUCCESS']);
});

test('mock that returns numbers is read like npm dynamo-lock', async () => {
  const { db, rows } = mock();
  const expires = Date.now() + 60_000;
  rows.set('a', { guid: { S: 'g' }, expiresOn: { N: expires } });
  assert.match((await get(db))[0], new RegExp(`^Lock expires on ${expires} `));
  rows.get('a').expiresOn.N = 1000;
  assert.deepStrictEqual(await get(db), [null, 'SUCCESS']);
});

test('expiresOn outside the range of Date is null', async () => {
  const { db, rows } = mock();
  rows.set('a', { guid: { S: 'g' }, expiresOn: { N: '99999999999999999' } });
  await assert.rejects(library.createClient('Lock', { db }).getLock('a', 1), (error) => error.code === 'LOCK_HELD' && error.holder.expiresAt === null);
});

test('put with lost response is recognized as successful', async () => {
  const { db, rows, calls } = mock();
  const errors = [new Error('socket hang up'), Object.assign(new Error('busy'), { code: 'ServiceUnavailableException', statusCode: 503 })];
  for (const [at, error] of errors.entries()) {
    let lost = 0;
    const losing = {
      getItem: db.getItem,
      putItem: (params, callback) => db.putItem(params, () => (lost++ ? assert.fail('sent again') : callback(error))),
    };
    assert.deepStrictEqual(await get(losing, { name: `a${at}` }), [null, 'SUCCESS']);
    assert.deepStrictEqual(calls.splice(0).map(([method]) => method), ['getItem', 'putItem', 'getItem']);
  }
  // If the SDK below repeats the put, the second attempt is rejected because of the first one.
  const { db: again } = mock();
  const repeating = { getItem: again.getItem, putItem: (params, callback) => again.putItem(params, () => again.putItem(params, callback)) };
  assert.deepStrictEqual(await get(repeating, { name: 'b' }), [null, 'SUCCESS']);
  assert.strictEqual(rows.size, errors.length);
});

// If another client has overwritten the row meanwhile, the put counts as failed.
test('control: put that was not applied is sent again', async () => {
  const { db, rows, calls } = mock();
  let lost = 0;
  const losing = { ...db, putItem: (params, callback) => (lost++ ? db.putItem(params, callback) : callback(new Error('reset'))) };
  assert.deepStrictEqual(await get(losing), [null, 'SUCCESS']);
  assert.strictEqual(calls.filter(([method]) => method === 'putItem').length, 1);
  const overtaken = {
    ...db,
    putItem(params, callback) {
      rows.set('b', { name: { S: 'b' }, guid: { S: 'other' }, expiresOn: { N: '99999999999999' } });
      callback(new Error('reset'));
    },
  };
  assert.deepStrictEqual(await get(overtaken, { name: 'b' }), ['ERROR']);
});

test('db with createTable and deleteTable only is supported', async () => {
  const results = [null, Object.assign(new Error('exists'), { code: 'ResourceInUseException' }), new Error('no')];
  let params;
  const db = { ...mock().db, createTable: (p, callback) => callback(results.shift() ?? ((params = p), null), {}), deleteTable: (p, callback) => callback(null, {}) };
  const client = library.createClient('Lock', { db });
  assert.strictEqual(await client.createLockTable(), 'SUCCESS');
  // Exactly the parameters of npm dynamo-lock, because old versions of SDK v2 reject those that they do not know.
  assert.deepStrictEqual(params, {
    TableName: 'Lock',
    AttributeDefinitions: [{ AttributeName: 'name', AttributeType: 'S' }],
    KeySchema: [{ AttributeName: 'name', KeyType: 'HASH' }],
    ProvisionedThroughput: { ReadCapacityUnits: 1, WriteCapacityUnits: 1 },
  });
  await assert.rejects(client.createLockTable(), { code: 'TABLE_EXISTS' });
  await assert.rejects(client.createLockTable(), { name: 'StoreError' });
  assert.strictEqual(await client.deleteLockTable(), 'SUCCESS');
});

// SDK v2 before 2.1409 rejects the parameter, and SDK v3 before 3.363.0 drops the row.
test('db of an SDK that is too old is reported with its fix', async () => {
  const unknown = { code: 'UnexpectedParameter', message: "Unexpected key 'ReturnValuesOnConditionCheckFailure' found in params" };
  const without = { name: 'ConditionalCheckFailedException', message: 'The conditional request failed', $metadata: { httpStatusCode: 400 } };
  for (const error of [unknown, { ...unknown, code: 'MultipleValidationErrors' }, without]) {
    const db = { ...mock().db, updateItem: (params, callback) => callback(Object.assign(new Error(error.message), error)) };
    const lock = library.createClient('Lock', { db }).lock('a');
    await assert.rejects(lock.tryAcquire(), { name: 'StoreError', code: 'REFUSED', message: /; upgrade the SDK that `db` belongs to/ });
  }
});

test('DocumentClient and other values are rejected as db', needsPackages, () => {
  const AWS = packages('aws-sdk');
  const commands = packages('@aws-sdk/client-dynamodb');
  const { DynamoDBClient, DynamoDB } = commands;
  const { DynamoDBDocumentClient, DynamoDBDocument } = packages('@aws-sdk/lib-dynamodb');
  class Subclass extends DynamoDBDocumentClient {}
  const documents = [new AWS.DynamoDB.DocumentClient(awsConfig)];
  for (const options of [undefined, { marshallOptions: { removeUndefinedValues: true } }]) {
    const below = new DynamoDBClient({ region: 'us-east-1' });
    documents.push(DynamoDBDocumentClient.from(below, options), DynamoDBDocument.from(new DynamoDB({ region: 'us-east-1' }), options), new Subclass(below, options));
    // The DocumentClient has stored its options in the client below it, which is still accepted as db.
    library.createClient('Lock', { db: below, commands });
  }
  for (const db of documents) {
    assert.throws(() => library.createClient('Lock', { db }), { code: 'INVALID_ARGUMENT', message: /DocumentClient.*give the client below/ });
  }
  for (const db of ['db', 7, {}, { putItem() {} }]) {
    assert.throws(() => library.createClient('Lock', { db }), { code: 'INVALID_ARGUMENT', message: /DynamoDBClient/ });
  }
});

// Users of npm dynamodb-lock-client have a DocumentClient, and store the token through it.
test('client below a DocumentClient of SDK v2 is supported', needsAll, async (t) => {
  const { name } = await onTable(t);
  const documents = new (packages('aws-sdk').DynamoDB.DocumentClient)({ service: v2() });
  assert.throws(() => library.createClient(name, { db: documents }), { message: /DocumentClient.*give the client below it, `db\.service` in SDK v2/ });
  const client = library.createClient(name, { db: documents.service });
  await client.withLock('a', async (lock) => {
    const fence = Number(lock.token);
    assert.strictEqual(BigInt(fence), lock.token);
    await documents.put({ TableName: name, Item: { name: 'resource', fence } }).promise();
    const { Item } = await documents.get({ TableName: name, Key: { name: 'resource' } }).promise();
    assert.strictEqual(Item.fence, fence);
  });
});

for (const kind of ['AWS.DynamoDB of SDK v2', 'DynamoDBClient of SDK v3', 'DynamoDB of SDK v3']) {
  test(`${kind} is supported as db by both APIs`, needsAll, async (t) => {
    const v3 = packages('@aws-sdk/client-dynamodb');
    const config = { region: 'us-east-1', endpoint, credentials: { ...awsConfig } };
    const db = kind.endsWith('v2') ? v2() : kind.startsWith('DynamoDBClient') ? new v3.DynamoDBClient(config) : new v3.DynamoDB(config);
    t.after(() => db.destroy?.());
    const name = tableName();
    const client = library.createClient(name, { db, commands: v3 });
    const call = (method, ...args) => new Promise((resolve) => client[method](...args, (...values) => resolve(values)));
    assert.deepStrictEqual(await call('getLock', 'a', 1000), ['ERROR'], 'the table does not exist yet');
    await assert.rejects(client.lock('a').acquire(), { code: 'MISCONFIGURED', message: /there is no table/ });
    assert.deepStrictEqual(await call('createLockTable'), [null, 'SUCCESS']);
    assert.deepStrictEqual(await call('createLockTable'), ['TABLE_EXISTS', null]);
    assert.deepStrictEqual(await call('getLock', 'a', 60_000), [null, 'SUCCESS']);
    assert.match((await call('getLock', 'a', 60_000))[0], /^Lock expires on /);

    await v2().putItem({ TableName: name, Item: { name: { S: 'b' }, guid: { S: 'old' }, bytes: { B: Buffer.from([0, 255]) } } }).promise();
    assert.deepStrictEqual(await call('getLock', 'b', 1), [null, 'SUCCESS']);
    assert.deepStrictEqual((await row(name, 'b')).bytes, { B: Buffer.from([0, 255]) }, 'binary values are converted in both directions');

    const held = await client.lock('c').acquire({ data: 'x' });
    assert.strictEqual(await client.lock('c').tryAcquire(), null);
    assert.strictEqual((await client.lock('c').inspect()).state, 'held');
    await held.release();
    const listed = [];
    for await (const { name: lock } of client.list()) listed.push(lock);
    assert.deepStrictEqual(listed.sort(), ['a', 'b', 'c']);
    assert.deepStrictEqual(await call('deleteLockTable'), [null, 'SUCCESS']);
    assert.deepStrictEqual(await call('deleteLockTable'), ['ERROR', null]);
  });
}

// The client of SDK v3 has an async function as its Region, which cannot be shown in a message.
test('db without a known Region is not reported in another', needsAll, async (t) => {
  const commands = packages('@aws-sdk/client-dynamodb');
  const db = new commands.DynamoDBClient({ region: 'eu-west-1', endpoint, credentials: { ...awsConfig } });
  t.after(() => db.destroy());
  const lock = library.createClient('no-such-table', { db, commands }).lock('a');
  await assert.rejects(lock.inspect(), { code: 'MISCONFIGURED', message: /^there is no table no-such-table; / });
});

test('close waits for the clean-up of an aborted acquire', needsAll, async (t) => {
  const { name } = await onTable(t);
  const below = v2();
  const writes = [];
  let go;
  const mayWrite = new Promise((resolve) => (go = resolve));
  const db = {
    getItem: (params, callback) => below.getItem(params, callback),
    putItem: (params, callback) => below.putItem(params, callback),
    updateItem: (params, callback) => void mayWrite.then(() => below.updateItem(params, callback), writes.push(params)),
  };
  const client = library.createClient(name, { db });
  const abort = new AbortController();
  const acquire = client.lock('a').acquire({ signal: abort.signal });
  await until(() => writes.length === 1, 'the write');
  abort.abort('my reason');
  await assert.rejects(acquire, (reason) => reason === 'my reason');
  const order = [];
  const closed = client.close().then(() => order.push('closed'));
  for (let turn = 0; turn < 20; turn++) await sleep(1);
  order.push('response');
  go();
  await closed;
  assert.deepStrictEqual(order, ['response', 'closed']);
  assert.strictEqual((await row(name, 'a')).expiresOn.N, '0');
});

test('commands of a DynamoDBClient are found automatically', needsAll, async () => {
  const { modules } = require('./support');
  const script = `
    const v3 = require(process.argv[1] + '/@aws-sdk/client-dynamodb');
    const db = new v3.DynamoDBClient({ region: 'us-east-1', endpoint: process.argv[2], credentials: { accessKeyId: 'a', secretAccessKey: 'b' } });
    library.createClient('no-such-table', { db }).getLock('a', 1, (error) => { console.log(error); db.destroy(); });`;
  const { output, errorOutput } = await start(`process.chdir(process.argv[3]);${script}`, { args: [modules, endpoint, `${modules}/..`] }).ended;
  assert.strictEqual(output, 'ERROR\n', errorOutput);
});
