'use strict';
// The user's own `db`: mocks with getItem and putItem alone, and the real clients of both SDKs.

const test = require('node:test');
const assert = require('node:assert');
const { library, needsAll, needsPackages, packages, awsConfig, tableName, onTable, heard, until, v2, row, sleep, start, endpoint } = require('./support');

/** A table in memory with the original's two calls, as its users' tests have them; it knows the original's words only. */
function mock({ deliver = (answer) => answer() } = {}) {
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
      const there = rows.get(params.Item.name.S);
      const old = params.ExpressionAttributeValues?.[':oldguid'].S;
      assert.strictEqual(params.ConditionExpression, old === undefined ? 'attribute_not_exists(guid)' : 'guid = :oldguid');
      const holds = there?.guid.S === old;
      if (holds) rows.set(params.Item.name.S, params.Item);
      const failed = Object.assign(new Error('The conditional request failed'), { code: 'ConditionalCheckFailedException' });
      deliver(() => callback(holds ? null : failed, {}));
    },
  };
  return { db, rows, calls };
}

const get = async (db, { name = 'a', ms = 60_000, options = {} } = {}) => {
  const { callback, calls, called } = heard();
  library.createClient('Lock', { db, ...options }).getLock(name, ms, callback);
  await called;
  await sleep(20);
  assert.strictEqual(calls.length, 1, 'the callback is called once');
  return calls[0];
};

test('a db with getItem and putItem alone is enough, synchronous or not', async () => {
  for (const deliver of [(answer) => answer(), (answer) => setImmediate(answer), (answer) => setTimeout(answer, 5)]) {
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

test('the tests of the original pass: a row without expiresOn is over, a put that fails is an error', async () => {
  const getItem = (params, callback) => callback(null, { Item: { guid: { S: 'myguid' } } });
  assert.deepStrictEqual(await get({ getItem, putItem: (params, callback) => callback(null) }, { ms: 100 }), [null, 'SUCCESS']);
  const failing = { getItem, putItem: (params, callback) => callback('Error getting lock') };
  assert.deepStrictEqual(await get(failing, { ms: 100 }), ['ERROR']);
  assert.deepStrictEqual(await get(failing, { ms: 60_000 }), ['ERROR']);
});

test('`this` is the db', async () => {
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

test('a db of promises is one too', async () => {
  const { db } = mock();
  const promised = (method) => (params) => new Promise((resolve, reject) => db[method](params, (e, data) => (e ? reject(e) : resolve(data))));
  assert.deepStrictEqual(await get({ getItem: promised('getItem'), putItem: promised('putItem') }), [null, 'SUCCESS']);
});

test('an async db that takes callbacks answers by them, whatever its promise brings before', async () => {
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

test('SDK v2 in an async wrapper serves as db', needsAll, async (t) => {
  const { name } = await onTable(t);
  const below = v2();
  const db = { getItem: async (...args) => below.getItem(...args), async putItem(params, callback) { return below.putItem(params, callback); } };
  const client = library.createClient(name, { db });
  assert.strictEqual(await client.getLock('a', 60_000), 'SUCCESS');
  await assert.rejects(client.getLock('a', 60_000), { code: 'LOCK_HELD' });
});

test('a db that throws, fails or says nonsense is an error, once', async () => {
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

test('a db that never answers is bounded by a timeout', async () => {
  const never = () => {};
  const { db } = mock();
  const options = { timeoutMs: 50 };
  const begun = performance.now();
  assert.deepStrictEqual(await get({ ...db, getItem: never }, { options }), ['ERROR']);
  assert.deepStrictEqual(await get({ ...db, putItem: never }, { options }), ['ERROR']);
  assert.ok(performance.now() - begun < 4000, 'less than the 5 s of one request where nothing is said');
});

test('the calls for the table fail too if the db never answers, or throws', async () => {
  for (const one of [() => {}, () => { throw new Error('at once'); }]) {
    const client = library.createClient('Lock', { db: { ...mock().db, createTable: one, deleteTable: one }, timeoutMs: 50 });
    for (const method of ['createLockTable', 'deleteLockTable']) {
      const { callback, calls, called } = heard();
      client[method](callback);
      await called;
      await sleep(20);
      assert.deepStrictEqual(calls, [['ERROR', null]]);
    }
  }
});

test('for the new API too, a db that throws is an error, and one that answers twice is heard once', needsAll, async (t) => {
  const { name } = await onTable(t);
  const below = v2();
  const over = (updateItem) => library.createClient(name, { db: { ...mock().db, updateItem }, leaseMs: 1000 }).lock('a');
  const throwing = over(() => { throw Object.assign(new Error('at once'), { code: 'AccessDeniedException' }); });
  await assert.rejects(throwing.acquire(), { name: 'StoreError', code: 'ACCESS_DENIED', message: /UpdateItem/ });
  const answers = [];
  const twice = over((params, callback) =>
    below.updateItem(params, (...values) => {
      callback(...values);
      callback(new Error('again'));
      answers.push(setImmediate(callback, null, {}));
    }));
  const held = await twice.acquire();
  await until(() => answers.length > 2, 'renewals');
  assert.ok(held.isValid());
  await held.release();
  assert.strictEqual((await row(name, 'a')).expiresOn.N, '0');
});

test('a db that answers twice is heard once', async () => {
  const { db } = mock();
  const twice = (method) => (params, callback) =>
    db[method](params, (...values) => {
      callback(...values);
      callback(new Error('again'));
      setImmediate(callback, null, { Item: { guid: { S: 'later' } } });
    });
  assert.deepStrictEqual(await get({ getItem: twice('getItem'), putItem: twice('putItem') }), [null, 'SUCCESS']);
});

test('a number that a mock gives as one is read as the original read it', async () => {
  const { db, rows } = mock();
  const expires = Date.now() + 60_000;
  rows.set('a', { guid: { S: 'g' }, expiresOn: { N: expires } });
  assert.match((await get(db))[0], new RegExp(`^Lock expires on ${expires} `));
  rows.get('a').expiresOn.N = 1000;
  assert.deepStrictEqual(await get(db), [null, 'SUCCESS']);
});

test('a time that no Date can have is none', async () => {
  const { db, rows } = mock();
  rows.set('a', { guid: { S: 'g' }, expiresOn: { N: '99999999999999999' } });
  await assert.rejects(library.createClient('Lock', { db }).getLock('a', 1), (error) => error.code === 'LOCK_HELD' && error.holder.expiresAt === null);
});

test('a put whose answer was lost is recognised as ours', async () => {
  const { db, rows, calls } = mock();
  const errors = [new Error('socket hang up'), Object.assign(new Error('busy'), { code: 'ServiceUnavailableException', statusCode: 503 })];
  for (const [at, error] of errors.entries()) {
    let lost = 0;
    const losing = {
      getItem: db.getItem,
      putItem: (params, callback) => db.putItem(params, () => (lost++ ? assert.fail('put again') : callback(error))),
    };
    assert.deepStrictEqual(await get(losing, { name: `a${at}` }), [null, 'SUCCESS']);
    assert.deepStrictEqual(calls.splice(0).map(([method]) => method), ['getItem', 'putItem', 'getItem']);
  }
  // Repeated by the SDK below, the second is refused by what the first wrote.
  const { db: again } = mock();
  const repeating = { getItem: again.getItem, putItem: (params, callback) => again.putItem(params, () => again.putItem(params, callback)) };
  assert.deepStrictEqual(await get(repeating, { name: 'b' }), [null, 'SUCCESS']);
  assert.strictEqual(rows.size, errors.length);
});

test('control: a put that was lost before it took effect is sent again, and one that somebody else overtook is not ours', async () => {
  const { db, rows, calls } = mock();
  let lost = 0;
  const losing = { ...db, putItem: (params, callback) => (lost++ ? db.putItem(params, callback) : callback(new Error('reset'))) };
  assert.deepStrictEqual(await get(losing), [null, 'SUCCESS']);
  assert.strictEqual(calls.filter(([method]) => method === 'putItem').length, 1);
  const overtaken = {
    ...db,
    putItem(params, callback) {
      rows.set('b', { name: { S: 'b' }, guid: { S: 'theirs' }, expiresOn: { N: '99999999999999' } });
      callback(new Error('reset'));
    },
  };
  assert.deepStrictEqual(await get(overtaken, { name: 'b' }), ['ERROR']);
});

test('a table can be made and deleted by a db that has only these two', async () => {
  const answers = [null, Object.assign(new Error('there'), { code: 'ResourceInUseException' }), new Error('no')];
  let params;
  const db = { ...mock().db, createTable: (p, callback) => callback(answers.shift() ?? ((params = p), null), {}), deleteTable: (p, callback) => callback(null, {}) };
  const client = library.createClient('Lock', { db });
  assert.strictEqual(await client.createLockTable(), 'SUCCESS');
  assert.deepStrictEqual(params.ProvisionedThroughput, { ReadCapacityUnits: 1, WriteCapacityUnits: 1 });
  assert.deepStrictEqual(params.KeySchema, [{ AttributeName: 'name', KeyType: 'HASH' }]);
  await assert.rejects(client.createLockTable(), { code: 'TABLE_EXISTS' });
  await assert.rejects(client.createLockTable(), { name: 'StoreError' });
  assert.strictEqual(await client.deleteLockTable(), 'SUCCESS');
});

test('a DocumentClient, and what is no db, is refused with what to give', needsPackages, () => {
  const AWS = packages('aws-sdk');
  const commands = packages('@aws-sdk/client-dynamodb');
  const { DynamoDBClient, DynamoDB } = commands;
  const { DynamoDBDocumentClient, DynamoDBDocument } = packages('@aws-sdk/lib-dynamodb');
  class Mine extends DynamoDBDocumentClient {}
  const documents = [new AWS.DynamoDB.DocumentClient(awsConfig)];
  for (const options of [undefined, { marshallOptions: { removeUndefinedValues: true } }]) {
    const below = new DynamoDBClient({ region: 'us-east-1' });
    documents.push(DynamoDBDocumentClient.from(below, options), DynamoDBDocument.from(new DynamoDB({ region: 'us-east-1' }), options), new Mine(below, options));
    // A DocumentClient leaves its options on the one below.
    library.createClient('Lock', { db: below, commands });
  }
  for (const db of documents) {
    assert.throws(() => library.createClient('Lock', { db }), { code: 'INVALID_ARGUMENT', message: /DocumentClient.*give the client below/ });
  }
  for (const db of ['db', 7, {}, { putItem() {} }]) {
    assert.throws(() => library.createClient('Lock', { db }), { code: 'INVALID_ARGUMENT', message: /DynamoDBClient/ });
  }
});

for (const kind of ['AWS.DynamoDB of SDK v2', 'DynamoDBClient of SDK v3', 'DynamoDB of SDK v3']) {
  test(`${kind} serves as db, for both APIs`, needsAll, async (t) => {
    const v3 = packages('@aws-sdk/client-dynamodb');
    const config = { region: 'us-east-1', endpoint, credentials: { ...awsConfig } };
    const db = kind.endsWith('v2') ? v2() : kind.startsWith('DynamoDBClient') ? new v3.DynamoDBClient(config) : new v3.DynamoDB(config);
    t.after(() => db.destroy?.());
    const name = tableName();
    const client = library.createClient(name, { db, commands: v3 });
    const call = (method, ...args) => new Promise((resolve) => client[method](...args, (...values) => resolve(values)));
    assert.deepStrictEqual(await call('getLock', 'a', 1000), ['ERROR'], 'there is no table yet');
    await assert.rejects(client.lock('a').acquire(), { code: 'MISCONFIGURED', message: /there is no table/ });
    assert.deepStrictEqual(await call('createLockTable'), [null, 'SUCCESS']);
    assert.deepStrictEqual(await call('createLockTable'), ['TABLE_EXISTS', null]);
    assert.deepStrictEqual(await call('getLock', 'a', 60_000), [null, 'SUCCESS']);
    assert.match((await call('getLock', 'a', 60_000))[0], /^Lock expires on /);

    await v2().putItem({ TableName: name, Item: { name: { S: 'b' }, guid: { S: 'old' }, bytes: { B: Buffer.from([0, 255]) } } }).promise();
    assert.deepStrictEqual(await call('getLock', 'b', 1), [null, 'SUCCESS']);
    assert.deepStrictEqual((await row(name, 'b')).bytes, { B: Buffer.from([0, 255]) }, 'bytes survive the way there and back');

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

test('a db that does not say its Region is not said to be in another', needsAll, async (t) => {
  const commands = packages('@aws-sdk/client-dynamodb');
  const db = new commands.DynamoDBClient({ region: 'eu-west-1', endpoint, credentials: { ...awsConfig } });
  t.after(() => db.destroy());
  const lock = library.createClient('no-such-table', { db, commands }).lock('a');
  await assert.rejects(lock.inspect(), { code: 'MISCONFIGURED', message: /^there is no table no-such-table; / });
});

test('close waits until what an aborted acquire began is given back', needsAll, async (t) => {
  const { name } = await onTable(t);
  const below = v2();
  const asked = [];
  let go;
  const may = new Promise((resolve) => (go = resolve));
  const db = {
    getItem: (params, callback) => below.getItem(params, callback),
    putItem: (params, callback) => below.putItem(params, callback),
    updateItem: (params, callback) => void may.then(() => below.updateItem(params, callback), asked.push(params)),
  };
  const client = library.createClient(name, { db });
  const abort = new AbortController();
  const acquire = client.lock('a').acquire({ signal: abort.signal });
  await until(() => asked.length === 1, 'the write is on its way');
  abort.abort('mine');
  await assert.rejects(acquire, (reason) => reason === 'mine');
  const order = [];
  const closed = client.close().then(() => order.push('closed'));
  for (let turn = 0; turn < 20; turn++) await sleep(1);
  order.push('answered');
  go();
  await closed;
  assert.deepStrictEqual(order, ['answered', 'closed']);
  assert.strictEqual((await row(name, 'a')).expiresOn.N, '0');
});

test('a DynamoDBClient finds its commands by itself', needsAll, async () => {
  const { modules } = require('./support');
  const script = `
    const v3 = require(process.argv[1] + '/@aws-sdk/client-dynamodb');
    const db = new v3.DynamoDBClient({ region: 'us-east-1', endpoint: process.argv[2], credentials: { accessKeyId: 'a', secretAccessKey: 'b' } });
    library.createClient('no-such-table', { db }).getLock('a', 1, (error) => { console.log(error); db.destroy(); });`;
  const { said, complained } = await start(`process.chdir(process.argv[3]);${script}`, { args: [modules, endpoint, `${modules}/..`] }).ended;
  assert.strictEqual(said, 'ERROR\n', complained);
});
