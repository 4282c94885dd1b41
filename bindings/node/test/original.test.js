'use strict';
// The original API, without its faults.

const test = require('node:test');
const assert = require('node:assert');
const { library, needsServer, needsAll, awsConfig, onTable, tableName, row, plant, heard, until, start } = require('./support');

test('a client is not made without a table name', () => {
  for (const table of [undefined, '', null, 7, {}]) {
    assert.throws(() => library.createClient(table), { name: 'ArgumentError', code: 'INVALID_ARGUMENT' });
  }
});

test('what is no object counts as no options, as with the original', () => {
  for (const options of [undefined, null, 'x', 7]) library.createClient('Lock', options);
});

test('the table is created once, and deleted once', needsServer, async () => {
  const client = library.createClient(tableName(), { awsConfig });
  const call = (method) => new Promise((resolve) => client[method]((...values) => resolve(values)));
  assert.deepStrictEqual(await call('createLockTable'), [null, 'SUCCESS']);
  assert.deepStrictEqual(await call('createLockTable'), ['TABLE_EXISTS', null]);
  assert.deepStrictEqual(await call('deleteLockTable'), [null, 'SUCCESS']);
  const again = heard();
  client.deleteLockTable(again.callback);
  await again.called;
  await new Promise(setImmediate);
  assert.deepStrictEqual(again.calls.map(([error]) => error), ['ERROR'], 'once, where the original said SUCCESS too');
});

test('a lock is got, refused within its timeout and got after it, in the words of the original', needsServer, async (t) => {
  const { client } = await onTable(t);
  const get = (ms) => new Promise((resolve) => client.getLock('a', ms, (...values) => resolve(values)));
  assert.deepStrictEqual(await get(60_000), [null, 'SUCCESS']);
  const [held, ...rest] = await get(10);
  assert.match(held, /^Lock expires on \d{13} currently its \d{13}$/);
  assert.deepStrictEqual(rest, []);
  const got = (name, ms) => client.getLock(name, ms);
  assert.strictEqual(await got('b', 1), 'SUCCESS');
  await until(() => got('b', 60_000).then(() => true, () => false), 'got after the timeout');
});

test('without a callback it is a promise, which rejects with errors', needsServer, async (t) => {
  const { client, name } = await onTable(t);
  assert.strictEqual(await client.getLock('a', 60_000), 'SUCCESS');
  await assert.rejects(client.getLock('a', 1), (error) => {
    assert.ok(error instanceof library.LockHeldError && error.holder.expiresAt instanceof Date);
    return error.code === 'LOCK_HELD' && error.message.startsWith('Lock expires on ');
  });
  const again = library.createClient(name, { awsConfig });
  await assert.rejects(again.createLockTable(), { name: 'StoreError', code: 'TABLE_EXISTS' });
});

test('the callback is called once, later, with ERROR, whatever fails', needsServer, async () => {
  const missing = library.createClient(tableName(), { awsConfig }); // the original never called back
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
    const { callback, calls: heards, called } = heard();
    assert.strictEqual(call(callback), undefined);
    assert.deepStrictEqual(heards, [], 'not before it has returned');
    await called;
    await new Promise(setImmediate);
    assert.deepStrictEqual(heards.map(([error]) => error), ['ERROR'], String(call));
  }
});

test('with a callback that is none it throws, and begins nothing', needsAll, async (t) => {
  const { client, name } = await onTable(t);
  for (const callback of [null, 7, {}]) {
    const wrong = { name: 'ArgumentError', message: /the callback must be a function, not / };
    assert.throws(() => client.getLock('a', 60_000, callback), wrong);
    assert.throws(() => client.createLockTable(callback), wrong);
    assert.throws(() => client.deleteLockTable(callback), wrong);
  }
  // What had been begun would be done before this.
  assert.strictEqual(await client.getLock('b', 60_000), 'SUCCESS', 'the table is there');
  assert.strictEqual(await row(name, 'a'), undefined);
});

test('what the callback throws is thrown as it was, and the callback is not called again', needsServer, async () => {
  const name = tableName();
  await library.createClient(name, { awsConfig }).createLockTable(); // the script deletes it
  const script = `
    let calls = 0;
    process.on('uncaughtException', (error) => console.log(error.message, calls));
    process.on('unhandledRejection', () => console.log('unhandled'));
    const client = library.createClient(process.argv[1], { awsConfig: ${JSON.stringify(awsConfig)} });
    const next = [
      (callback) => client.getLock('a', 60000, callback), (callback) => client.getLock('', 60000, callback),
      (callback) => client.createLockTable(callback), (callback) => client.deleteLockTable(callback),
    ];
    const callback = () => { calls++; setImmediate(() => next.shift()?.(callback)); throw new Error('mine'); };
    next.shift()(callback);`;
  const { said, code } = await start(script, { args: [name] }).ended;
  assert.deepStrictEqual([said, code], ['mine 1\nmine 2\nmine 3\nmine 4\n', 0]);
});

test('nothing is written to standard output or error', needsServer, async (t) => {
  const { name } = await onTable(t);
  const script = `
    const client = library.createClient(process.argv[1], { awsConfig: ${JSON.stringify(awsConfig)} });
    client.getLock('a', 60000, () => client.getLock('a', 1, () => client.getLock('', 1, () => {})));`;
  assert.deepStrictEqual(await start(script, { args: [name] }).ended, { code: 0, signal: null, said: '', complained: '' });
});

test('the row is the original’s, and its nonce is of 128 random bits', needsAll, async (t) => {
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

test('what the row already carried is carried on: token, data, and what is not ours', needsAll, async (t) => {
  const { client, name } = await onTable(t);
  const held = await client.lock('a').acquire({ data: 'kept' });
  await held.release();
  const before = await row(name, 'a');
  await plant(name, 'a', { ...before, note: { L: [{ BOOL: true }] }, bytes: { B: Buffer.from([1, 2, 255]) } });
  assert.strictEqual(await client.getLock('a', 1), 'SUCCESS');
  const { guid, expiresOn, ...rest } = await row(name, 'a');
  assert.ok(guid.S !== before.guid.S && expiresOn.N > 0);
  assert.deepStrictEqual(rest, {
    name: { S: 'a' },
    token: { N: String(held.token + 1n) },
    data: { S: 'kept' },
    note: { L: [{ BOOL: true }] },
    bytes: { B: Buffer.from([1, 2, 255]) },
  });
  const next = await client.lock('a').acquire({ waitMs: 30_000 });
  assert.ok(next.token > held.token + 1n, 'tokens go on above');
  await next.release();
});

test('a row that is no lock, or of another version, is refused and left as it is', needsAll, async (t) => {
  const { client, name } = await onTable(t);
  const rows = [{ total: { N: '5' } }, { guid: { S: 'g' }, v: { N: '2' } }, { guid: { S: 'g' }, kind: { S: 'semaphore' } }];
  for (const attributes of rows) {
    await plant(name, 'a', attributes);
    const { callback, called } = heard();
    client.getLock('a', 1000, callback);
    assert.deepStrictEqual(await called, ['ERROR']);
    await assert.rejects(client.getLock('a', 1000), { code: 'BAD_ROW' });
    assert.deepStrictEqual(await row(name, 'a'), { name: { S: 'a' }, ...attributes });
  }
});

test('a lock that we hold is refused to getLock, and a legacy lock to us', needsServer, async (t) => {
  const { client } = await onTable(t);
  const held = await client.lock('a').acquire();
  await assert.rejects(client.getLock('a', 1000), { code: 'LOCK_HELD' });
  await held.release();
  await client.getLock('b', 60_000);
  assert.strictEqual(await client.lock('b').tryAcquire(), null);
});

test('of many calls at once exactly one gets the lock', needsServer, async (t) => {
  const { client } = await onTable(t);
  const ended = await Promise.allSettled(Array.from({ length: 20 }, () => client.getLock('a', 60_000)));
  assert.strictEqual(ended.filter(({ status }) => status === 'fulfilled').length, 1);
});
