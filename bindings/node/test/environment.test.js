'use strict';
// Environments other than plain Node: the globals of a browser, fake timers, and loaders.

const test = require('node:test');
const assert = require('node:assert');
const { join } = require('node:path');
const { start } = require('./support');

const INDEX = JSON.stringify(join(__dirname, '..'));

/** Statements that define `db` and `rows`, a table with one row that has a binary attribute. */
const TABLE = `
  const rows = new Map([['a', { guid: { S: 'g' }, expiresOn: { N: '1' }, bytes: { B: Buffer.from([0, 255]) } }]]);
  const db = {
    getItem: ({ Key }, callback) => callback(null, rows.has(Key.name.S) ? { Item: rows.get(Key.name.S) } : {}),
    putItem: ({ Item }, callback) => (rows.set(Item.name.S, Item), callback(null, {})),
  };`;

/** Runs `script`, which loads the package itself, and asserts that it prints `output` and ends with code 0. */
async function assertPrints(script, output) {
  const child = start(script, { bare: true });
  const timer = setTimeout(() => child.kill('SIGKILL'), 60_000);
  assert.deepStrictEqual(await child.ended, { code: 0, signal: null, output, errorOutput: '' });
  clearTimeout(timer);
}

// Under jsdom, timers are numbers, `URL` may have no canParse, and buffers are not instances of the global Uint8Array.
test('globals of a browser are supported', async () => {
  await assertPrints(`
    const { runInNewContext } = require('vm');
    const { setTimeout: sleep } = require('timers');
    const { URL } = require('url');
    const date = new Date(0);
    let timers = 0;
    globalThis.setInterval = () => ++timers;
    globalThis.setTimeout = (callback, ms) => (sleep(callback, ms), ++timers);
    globalThis.URL = function (text) { return new URL(text); };
    for (const name of ['Uint8Array', 'Date']) globalThis[name] = runInNewContext(name);
    const library = require(${INDEX});
    ${TABLE}
    const created = [];
    db.createTable = (params, callback) => callback(null, {});
    db.describeTable = (params, callback) => {
      created.push(params);
      callback(null, { Table: { TableStatus: 'ACTIVE', CreationDateTime: date } });
    };
    library.createClient('Lock', { awsConfig: { endpoint: 'http://localhost:8000' } });
    (async () => {
      const client = library.createClient('Lock', { db });
      console.log(await client.getLock('a', 1), rows.get('a').bytes.B.toString('hex'));
      console.log(await client.createLockTable(), created.length);
      const lock = library.connect('memory:').lock('a');
      await lock.hold(1000);
      await (await lock.acquire()).release();
      console.log('waited');
    })();`, 'SUCCESS 00ff\nSUCCESS 1\nwaited\n');
});

test('callbacks are called under fake timers', async () => {
  await assertPrints(`
    const library = require(${INDEX});
    ${TABLE}
    for (const name of ['setTimeout', 'setInterval', 'setImmediate']) globalThis[name] = () => {};
    globalThis.queueMicrotask = process.nextTick = () => {};
    const client = library.createClient('Lock', { db });
    client.getLock('a', 60_000, (...values) => {
      console.log(...values);
      client.getLock('a', 60_000, (error) => console.log(error.slice(0, 16)));
    });`, 'null SUCCESS\nLock expires on \n');
});

// Jest 26 has no global AbortController, and the signals of older implementations have no reason.
test('missing and old AbortControllers are supported', async () => {
  await assertPrints(`
    const client = require(${INDEX}).connect('memory:');
    const { signal } = new AbortController();
    Object.defineProperty(signal, 'reason', { value: undefined });
    const aborted = Object.defineProperty(AbortSignal.abort(), 'reason', { value: undefined });
    delete globalThis.AbortController;
    (async () => {
      const lost = await client.lock('a').acquire({ maxHoldMs: 1000 });
      const calls = [signal, aborted].map((signal) => client.lock('a').acquire({ signal }));
      Object.defineProperty(signal, 'aborted', { value: true }).dispatchEvent(new Event('abort'));
      for (const { reason } of await Promise.allSettled(calls)) console.log(reason.name, reason.message);
      await new Promise((resolve) => lost.signal.addEventListener('abort', resolve));
      console.log(lost.signal.reason.code);
    })();
    setTimeout(() => {}, 1500);`, `${'AbortError This operation was aborted\n'.repeat(2)}LOCK_LOST\n`);
});

// Jest 26, for example, resolves built-in modules only by their plain names.
test('loaders that do not know the prefix node: are supported', async () => {
  await assertPrints(`
    const Module = require('module');
    const load = Module._load;
    Module._load = function (request, ...rest) {
      if (request.startsWith('node:')) throw new Error('ENOENT: no such file or directory, open ' + request);
      return load.call(this, request, ...rest);
    };
    require(${INDEX}).connect('memory:').lock('a').inspect().then(({ state }) => console.log(state));`, 'free\n');
});
