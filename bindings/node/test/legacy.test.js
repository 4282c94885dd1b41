'use strict';
// The API of npm dynamo-lock 0.1.3, without its faults.

const test = require('node:test');
const assert = require('node:assert');
const { createRequire } = require('node:module');
const { join } = require('node:path');
const { library, needsServer, needsAll, awsConfig, onTable, tableName, row, putRow, recorder, until, start, v2 } = require('./support');

test('client without table name is rejected', () => {
  for (const table of [undefined, '', null, 7, {}]) {
    assert.throws(() => library.createClient(table), { name: 'ArgumentError', code: 'INVALID_ARGUMENT' });
  }
});

test('options that are not an object are ignored', () => {
  for (const options of [undefined, null, 'x', 7]) library.createClient('Lock', options);
});

test('awsConfig that is not set may be any falsy value', () => {
  for (const awsConfig of [undefined, null, false, 0, '']) library.createClient('Lock', { awsConfig, db: awsConfig });
});

const mock = () => {
  const getItem = (params, callback) => callback(null, {});
  return { getItem, putItem: (params, callback) => callback(null, {}) };
};

test('client has db and lockTableName', () => {
  const db = mock();
  const client = library.createClient('Lock', { db });
  assert.deepStrictEqual([client.db === db, client.lockTableName], [true, 'Lock']);
  assert.throws(() => { client.db = {}; }, TypeError, 'it has no effect, so it is refused');
  assert.deepStrictEqual(Object.keys(client), [], 'a logged client shows neither keys nor requests');
  const own = library.createClient('Lock', { awsConfig });
  assert.deepStrictEqual([own.db, own.lockTableName], [undefined, 'Lock']);
  const other = library.connect('memory:');
  assert.deepStrictEqual([other.db, other.lockTableName], [undefined, undefined]);
});

// npm dynamo-lock has no release, so its users delete the row.
test('lock is released by deleting its row through db', needsAll, async (t) => {
  const { name } = await onTable(t);
  const client = library.createClient(name, { db: v2() });
  assert.strictEqual(await client.getLock('a', 60_000), 'SUCCESS');
  await client.db.deleteItem({ TableName: client.lockTableName, Key: { name: { S: 'a' } } }).promise();
  assert.strictEqual(await client.getLock('a', 60_000), 'SUCCESS');
});

test('client works as a prototype and behind a proxy', async () => {
  const client = library.createClient('Lock', { db: mock() });
  const memory = library.connect('memory:');
  const bySubclass = (target) => {
    function Sub() {}
    Sub.prototype = target;
    return new Sub();
  };
  for (const wrap of [(target) => Object.create(target), (target) => new Proxy(target, {}), bySubclass]) {
    assert.strictEqual(wrap(client).lockTableName, 'Lock');
    assert.strictEqual(await wrap(client).getLock('a', 1), 'SUCCESS');
    await assert.rejects(wrap(memory).createLockTable(), { code: 'NOT_DYNAMODB' });
    assert.strictEqual(await wrap(memory).withLock('a', ({ name }) => name), 'a');
    for await (const { state } of wrap(memory).list()) assert.strictEqual(state, 'free');
    await wrap(memory).close();
  }
});

test('files of npm dynamo-lock can be required', async () => {
  const root = createRequire(join(__dirname, '..', 'here.js'));
  const { name } = root('./package.json');
  for (const path of ['/index', '/index.js']) assert.strictEqual(root(name + path), library);
  for (const path of ['/util', '/util.js']) {
    const { getRandomToken, getNMillisInFuture, isEmptyObject } = root(name + path);
    assert.match(getRandomToken(), /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}$/);
    assert.ok(Math.abs(getNMillisInFuture(5000) - Date.now() - 5000) < 1000);
    assert.deepStrictEqual([isEmptyObject({}), isEmptyObject({ a: 1 })], [true, false]);
  }
  const logger = root(`${name}/logger`);
  assert.strictEqual(root(`${name}/logger.js`), logger);
  for (const method of ['debug', 'info', 'warn', 'error']) assert.strictEqual(logger[method]('not printed'), undefined);
});

// In npm dynamo-lock, users replace the methods of the logger to silence or collect its lines.
test('replaced logger receives the errors behind ERROR', async () => {
  const logger = require('../logger');
  const { info, error } = logger;
  const logged = [];
  Object.assign(logger, { info: (value) => logged.push(['info', value.message]), error: (value) => logged.push(['error', value.message]) });
  const failing = library.createClient('Lock', { db: { ...mock(), putItem: (params, callback) => callback({ code: 'ValidationException', message: 'my error' }) } });
  const held = { guid: { S: 'g' }, expiresOn: { N: '99999999999999' } };
  const refused = library.createClient('Lock', { db: { ...mock(), getItem: (params, callback) => callback(null, { Item: held }) } });
  assert.strictEqual(await new Promise((resolve) => failing.getLock('a', 1, resolve)), 'ERROR');
  assert.match(await new Promise((resolve) => refused.getLock('a', 1, resolve)), /^Lock expires on /);
  Object.assign(logger, { info, error });
  assert.deepStrictEqual(logged.map(([level]) => level), ['error', 'info']);
  assert.match(logged[0][1], /my error/);
});

test('table is created and deleted once', needsServer, async () => {
  const client = library.createClient(tableName(), { awsConfig });
  const call = (method) => new Promise((resolve) => client[method]((...values) => resolve(values)));
  assert.deepStrictEqual(await call('createLockTable'), [null, 'SUCCESS']);
  assert.deepStrictEqual(await call('createLockTable'), ['TABLE_EXISTS', null]);
  assert.deepStrictEqual(await call('deleteLockTable'), [null, 'SUCCESS']);
  const second = recorder();
  client.deleteLockTable(second.callback);
  await second.called;
  await new Promise(setImmediate);
  assert.deepStrictEqual(second.calls.map(([error]) => error), ['ERROR'], 'npm dynamo-lock also called back with SUCCESS');
});

// The messages are those of npm dynamo-lock.
test('lock is refused until its timeout has passed', needsServer, async (t) => {
  const { client } = await onTable(t);
  const get = (ms) => new Promise((resolve) => client.getLock('a', ms, (...values) => resolve(values)));
  assert.deepStrictEqual(await get(60_000), [null, 'SUCCESS']);
  const [held, ...rest] = await get(10);
  assert.match(held, /^Lock expires on \d{13} currently its \d{13}$/);
  assert.deepStrictEqual(rest, []);
  assert.strictEqual(await client.getLock('b', 1), 'SUCCESS');
  await until(() => client.getLock('b', 60_000).then(() => true, () => false), 'the end of the timeout');
});

test('calls without callback return promises', needsServer, async (t) => {
  const { client, name } = await onTable(t);
  assert.strictEqual(await client.getLock('a', 60_000), 'SUCCESS');
  await assert.rejects(client.getLock('a', 1), (error) => {
    assert.ok(error instanceof library.LockHeldError && error.holder.expiresAt instanceof Date);
    return error.code === 'LOCK_HELD' && error.message.startsWith('Lock expires on ');
  });
  const again = library.createClient(name, { awsConfig });
  await assert.rejects(again.createLockTable(), { name: 'StoreError', code: 'TABLE_EXISTS' });
});

test('callback receives ERROR once for every failure', needsServer, async () => {
  const missing = library.createClient(tableName(), { awsConfig }); // npm dynamo-lock never called back
  const refused = library.createClient('Lock', { awsConfig: { ...awsConfig, endpoint: 'http://127.0.0.1:9' } });
  const calls = [
    (callback) => missing.getLock('a', 1000, callback),
    (callback) => missing.deleteLockTable(callback),
    (callback) => refused.getLock('a', 1000, callback),
    (callback) => refused.createLockTable(callback),
    (callback) => missing.getLock('', 1000, callback),
    (callback) => missing.getLock(7, 1000, callback),
    (callback) => missing.getLock('a', undefined, callback),
    (callback) => missing.getLock('a', NaN, callback),
    (callback) => missing.getLock('a', {}, callback),
  ];
  for (const call of calls) {
    const { callback, calls: recorded, called } = recorder();
    assert.strictEqual(call(callback), undefined);
    assert.deepStrictEqual(recorded, [], 'not before the call has returned');
    await called;
    await new Promise(setImmediate);
    assert.deepStrictEqual(recorded.map(([error]) => error), ['ERROR'], String(call));
  }
});

test('invalid callback throws and sends no request', needsAll, async (t) => {
  const { client, name } = await onTable(t);
  for (const callback of [null, 7, {}]) {
    const wrong = { name: 'ArgumentError', message: /the callback must be a function, not / };
    assert.throws(() => client.getLock('a', 60_000, callback), wrong);
    assert.throws(() => client.createLockTable(callback), wrong);
    assert.throws(() => client.deleteLockTable(callback), wrong);
  }
  // Requests that the calls above had sent would be complete after this call.
  assert.strictEqual(await client.getLock('b', 60_000), 'SUCCESS', 'the table exists');
  assert.strictEqual(await row(name, 'a'), undefined);
});

// An exception of the callback does not cause a second call.
test('exception of the callback is an uncaught exception', needsServer, async () => {
  const name = tableName();
  await library.createClient(name, { awsConfig }).createLockTable(); // the script deletes the table
  const script = `
    let calls = 0;
    process.on('uncaughtException', (error) => console.log(error.message, calls));
    process.on('unhandledRejection', () => console.log('unhandled'));
    const client = library.createClient(process.argv[1], { awsConfig: ${JSON.stringify(awsConfig)} });
    const next = [
      (callback) => client.getLock('a', 60000, callback), (callback) => client.getLock('', 60000, callback),
      (callback) => client.createLockTable(callback), (callback) => client.deleteLockTable(callback),
    ];
    const callback = () => { calls++; setImmediate(() => next.shift()?.(callback)); throw new Error('thrown'); };
    next.shift()(callback);`;
  const { output, code } = await start(script, { args: [name] }).ended;
  assert.deepStrictEqual([output, code], ['thrown 1\nthrown 2\nthrown 3\nthrown 4\n', 0]);
});

test('nothing is printed', needsServer, async (t) => {
  const { name } = await onTable(t);
  const script = `
    const client = library.createClient(process.argv[1], { awsConfig: ${JSON.stringify(awsConfig)} });
    client.getLock('a', 60000, () => client.getLock('a', 1, () => client.getLock('', 1, () => {})));`;
  assert.deepStrictEqual(await start(script, { args: [name] }).ended, { code: 0, signal: null, output: '', errorOutput: '' });
});

// The nonce has 128 random bits.
test('row has the format of npm dynamo-lock', needsAll, async (t) => {
  const { client, name } = await onTable(t);
  const nonces = new Set();
  for (let at = 0; at < 5; at++) {
    const before = Date.now();
    await client.getLock(`lock-${at}`, 1234);
    const item = await row(name, `lock-${at}`);
    assert.deepStrictEqual(Object.keys(item).sort(), ['expiresOn', 'guid', 'name']);
    const written = Number(item.expiresOn.N) - 1234;
    assert.ok(written >= before - 50 && written <= Date.now() + 50, `${before} ${written}`);
    assert.match(item.guid.S, /^[0-9a-f]{32}$/);
    nonces.add(item.guid.S);
  }
  assert.strictEqual(nonces.size, 5);
});

// These are the token, the payload and unknown attributes.
test('other attributes of the row are kept', needsAll, async (t) => {
  const { client, name } = await onTable(t);
  const held = await client.lock('a').acquire({ data: 'kept' });
  await held.release();
  const before = await row(name, 'a');
  await putRow(name, 'a', { ...before, note: { L: [{ BOOL: true }] }, bytes: { B: Buffer.from([1, 2, 255]) } });
  assert.strictEqual(await client.getLock('a', 1), 'SUCCESS');
  const { guid, expiresOn, ...rest } = await row(name, 'a');
  assert.ok(guid.S !== before.guid.S && expiresOn.N > 0);
  assert.deepStrictEqual(rest, {
    name: { S: 'a' },
    token: { N: String(held.token + 1n) },
    data: { S: 'kept' },
    note: { L: [{ BOOL: true }] },
    bytes: { B: Buffer.from([1, 2, 255]) },
    recentHoldsMs: before.recentHoldsMs,
    waiterEstimate: before.waiterEstimate,
  });
  assert.ok(before.recentHoldsMs && before.waiterEstimate, 'a release writes them');
  const next = await client.lock('a').acquire({ waitMs: 30_000 });
  assert.ok(next.token > held.token + 1n, 'tokens continue above it');
  await next.release();
});

test('row that is not a lock is refused and left unchanged', needsAll, async (t) => {
  const { client, name } = await onTable(t);
  const rows = [{ total: { N: '5' } }, { guid: { S: 'g' }, v: { N: '2' } }, { guid: { S: 'g' }, kind: { S: 'semaphore' } }];
  for (const attributes of rows) {
    await putRow(name, 'a', attributes);
    const { callback, called } = recorder();
    client.getLock('a', 1000, callback);
    assert.deepStrictEqual(await called, ['ERROR']);
    await assert.rejects(client.getLock('a', 1000), { code: 'BAD_ROW' });
    assert.deepStrictEqual(await row(name, 'a'), { name: { S: 'a' }, ...attributes });
  }
});

test("both APIs respect each other's locks", needsServer, async (t) => {
  const { client } = await onTable(t);
  const held = await client.lock('a').acquire();
  await assert.rejects(client.getLock('a', 1000), { code: 'LOCK_HELD' });
  await held.release();
  await client.getLock('b', 60_000);
  assert.strictEqual(await client.lock('b').tryAcquire(), null);
});

test('exactly one of many concurrent calls succeeds', needsServer, async (t) => {
  const { client } = await onTable(t);
  const ended = await Promise.allSettled(Array.from({ length: 20 }, () => client.getLock('a', 60_000)));
  assert.strictEqual(ended.filter(({ status }) => status === 'fulfilled').length, 1);
});
