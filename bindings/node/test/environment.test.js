'use strict';
// Environments other than plain Node: the globals of a browser, fake timers, and loaders.

const test = require('node:test');
const assert = require('node:assert');
const { spawnSync } = require('node:child_process');
const { cpSync, writeFileSync } = require('node:fs');
const { join } = require('node:path');
const { directory, start } = require('./support');
const platform = require('../lib/platform');

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

// Jest can install them before the package is loaded (`fakeTimers.enableGlobally`).
test('callbacks are called under fake timers', async () => {
  const install = `
    for (const name of ['setTimeout', 'setInterval', 'setImmediate']) globalThis[name] = () => {};
    globalThis.queueMicrotask = process.nextTick = () => {};`;
  const load = `const library = require(${INDEX});`;
  const script = `
    ${TABLE}
    const client = library.createClient('Lock', { db });
    client.getLock('a', 60_000, (...values) => {
      console.log(...values);
      client.getLock('a', 60_000, (error) => console.log(error.slice(0, 16)));
    });`;
  await assertPrints(load + install + script, 'null SUCCESS\nLock expires on \n');
  await assertPrints(install + load + script, 'null SUCCESS\nLock expires on \n');
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

/** Returns the message of the error with which a copy of the package without its addon fails to load. */
function loadError({ addon, flags = [] }) {
  const folder = directory();
  for (const file of ['lib', 'index.js', 'logger.js', 'package.json']) cpSync(join(__dirname, '..', file), join(folder, file), { recursive: true });
  if (addon !== undefined) writeFileSync(join(folder, `dynamo-lock.${platform()}.node`), addon);
  const script = `try { require(${JSON.stringify(folder)}); } catch ({ code, message, cause }) { console.log(JSON.stringify([code, message, cause?.code])); }`;
  const { stdout, stderr } = spawnSync(process.execPath, [...flags, '-e', script], { encoding: 'utf8' });
  assert.strictEqual(stderr, '');
  const [code, message, cause] = JSON.parse(stdout);
  assert.strictEqual(code, 'NO_ADDON', message);
  assert.ok(!message.includes('\n'), message);
  return [message, cause];
}

test('addon that cannot be loaded is reported with its fix', () => {
  const [missing, notFound] = loadError({});
  assert.match(missing, /; install @dynamo-lock\/dynamo-lock-.* optional dependencies .* bundler .*`--external:dynamo-lock`/);
  assert.strictEqual(notFound, 'MODULE_NOT_FOUND');
  const [broken, failed] = loadError({ addon: 'not a library' });
  assert.match(broken, /: the system rejects it: .*dynamo-lock\..*\.node: .*; (?!install)/);
  assert.strictEqual(failed, 'ERR_DLOPEN_FAILED');
  const [disabled, isDisabled] = loadError({ addon: '', flags: ['--no-addons'] });
  assert.match(disabled, /: Node does not permit addons in this process; .*`--no-addons`.*`--allow-addons`/);
  assert.strictEqual(isDisabled, 'ERR_DLOPEN_DISABLED');
});

// Small images have no ldd, and some runtimes have no process.report.
test('platform is found without ldd and process.report', { skip: process.platform !== 'linux' && 'Linux' }, () => {
  for (const report of ['undefined', '{ getReport() { throw new Error(); } }']) {
    const script = `
      const fs = require('fs');
      const { readFileSync } = fs;
      let files;
      fs.readFileSync = (path, ...rest) => readFileSync(path.endsWith('/ldd') ? '/no such file' : path, ...rest);
      fs.readdirSync = () => files ?? readFileSync('/no such file');
      Object.defineProperty(process, 'report', { value: ${report} });
      const platform = require(${JSON.stringify(join(__dirname, '..', 'lib', 'platform'))});
      for (files of [undefined, ['ld-linux-x86-64.so.2'], ['ld-musl-x86_64.so.1']]) console.log(platform().split('-')[2]);`;
    const { stdout, stderr } = spawnSync(process.execPath, ['-e', script], { encoding: 'utf8' });
    assert.deepStrictEqual([stdout, stderr], ['gnu\ngnu\nmusl\n', '']);
  }
});
