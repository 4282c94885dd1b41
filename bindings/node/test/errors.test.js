'use strict';
// What goes wrong is a real class with a code, and says what to do; nothing is rejected behind anybody's back.

const test = require('node:test');
const assert = require('node:assert');
const { createServer } = require('node:http');
const { once } = require('node:events');
const { library, needsServer, awsConfig, tableName, start, directory } = require('./support');

const { createClient, connect, DynamoLockError, StoreError, ArgumentError } = library;

/** It rejects, or throws, with this class and code, and a message that names the mend. */
async function fails(act, type, code, mend) {
  const error = await (async () => act())().then(
    () => assert.fail(`it does not fail: ${act}`),
    (error) => error,
  );
  assert.ok(error instanceof type, `${act}: ${error?.stack ?? error}`);
  assert.strictEqual(error.code, code, error.message);
  assert.strictEqual(error.name, type.name);
  assert.match(error.message, mend);
  assert.ok(!error.message.includes('\n'));
}

const argument = (act, mend) => fails(act, ArgumentError, 'INVALID_ARGUMENT', mend);

test('the classes are what they look like', () => {
  for (const name of ['LockHeldError', 'LockLostError', 'StoreError']) {
    const error = new library[name]('what', 'CODE', { more: 1 });
    assert.ok(error instanceof DynamoLockError && error instanceof Error);
    assert.deepStrictEqual([error.name, error.message, error.code, error.more], [name, 'what', 'CODE', 1]);
  }
  assert.ok(new ArgumentError('what') instanceof TypeError);
});

test('a table that is missing', needsServer, async () => {
  const client = createClient(tableName(), { awsConfig });
  const mend = /there is no table .*createLockTable/;
  const lock = client.lock('a');
  for (const act of [() => lock.acquire(), () => lock.tryAcquire(), () => lock.hold(1000), () => lock.inspect(), () => lock.revoke(1n)]) {
    await fails(act, StoreError, 'MISCONFIGURED', mend);
  }
  await fails(() => client.withLock('a', {}, () => {}), StoreError, 'MISCONFIGURED', mend);
  await fails(async () => { for await (const row of client.list()) assert.fail(row); }, StoreError, 'MISCONFIGURED', mend);
  await fails(() => client.getLock('a', 1000), StoreError, 'MISCONFIGURED', mend);
});

/** In a process without any configuration of AWS. */
async function bare(script, env = {}) {
  const none = Object.fromEntries(Object.keys(process.env).filter((name) => name.startsWith('AWS_')).map((name) => [name, undefined]));
  const home = directory();
  const all = { ...none, HOME: home, AWS_CONFIG_FILE: '/dev/null', AWS_SHARED_CREDENTIALS_FILE: '/dev/null', AWS_EC2_METADATA_DISABLED: 'true', ...env };
  const { said, complained, code } = await start(`
    process.on('unhandledRejection', (error) => console.log('unhandled', error));
    const tell = (error) => console.log(JSON.stringify([error.name, error.code, error.message]));
    ${script}`, { env: all }).ended;
  assert.strictEqual(code, 0, complained);
  return JSON.parse(said);
}

test('no region', async () => {
  const [name, code, message] = await bare(`library.createClient('Lock').lock('a').acquire().catch(tell);`);
  assert.deepStrictEqual([name, code], ['StoreError', 'MISCONFIGURED']);
  assert.match(message, /no AWS Region is configured; set `region` in awsConfig/);
});

test('a client that was never used needs no region to be closed', async () => {
  assert.strictEqual(await bare(`library.createClient('Lock').close().then(() => console.log('"closed"'), tell);`), 'closed');
});

test('no credentials', async () => {
  const [name, code, message] = await bare(`library.createClient('Lock', { awsConfig: { region: 'eu-west-1' } }).lock('a').acquire().catch(tell);`);
  assert.deepStrictEqual([name, code], ['StoreError', 'MISCONFIGURED']);
  assert.match(message, /no usable AWS credentials; set AWS_PROFILE/);
});

test('a refused connection', async () => {
  const client = createClient('Lock', { awsConfig: { ...awsConfig, endpoint: 'http://127.0.0.1:9' }, leaseMs: 1000 });
  await fails(() => client.lock('a').acquire(), StoreError, 'UNANSWERED', /refused.*check|check/);
  await fails(() => client.lock('a').inspect(), StoreError, 'UNANSWERED', /check/);
});

test('access that is denied', async (t) => {
  const server = createServer((request, response) => {
    response.writeHead(400, { 'content-type': 'application/x-amz-json-1.0' });
    response.end(JSON.stringify({ __type: 'com.amazon.coral.service#AccessDeniedException', message: 'User is not authorized' }));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  const client = createClient('Lock', { awsConfig: { ...awsConfig, endpoint: `http://127.0.0.1:${server.address().port}` } });
  await fails(() => client.lock('a').acquire(), StoreError, 'ACCESS_DENIED', /access denied: dynamodb:UpdateItem .*; allow it/);
});

test('every argument of a wrong type', async () => {
  const client = connect('memory:');
  const lock = client.lock('a');
  const wrong = [null, 7, true, {}, [], Symbol('x'), () => {}];
  for (const name of [...wrong, undefined, '', 'a\nb', 'x'.repeat(3000)]) {
    await argument(() => client.lock(name), /lock/);
    await argument(() => client.withLock(name, {}, () => {}), /lock/);
  }
  const times = [null, '5', NaN, -1, Infinity, 5n, {}];
  for (const ms of times) {
    await argument(() => lock.hold(ms), /the time to hold must be a number of milliseconds/);
    for (const name of ['waitMs', 'leaseMs', 'maxHoldMs']) {
      await argument(() => lock.acquire({ [name]: ms }), new RegExp(`${name} must be a number`));
    }
  }
  for (const options of [null, 7, 'x', []]) {
    await argument(() => lock.acquire(options), /options of acquire must be an object/);
    await argument(() => lock.tryAcquire(options), /options of tryAcquire must be an object/);
    await argument(() => client.withLock('a', options, () => {}), /must be an object/);
  }
  for (const signal of [null, 7, {}, new EventTarget()]) await argument(() => lock.acquire({ signal }), /AbortSignal/);
  for (const data of [null, 7, {}]) await argument(() => lock.acquire({ data }), /data must be a string/);
  for (const token of [undefined, null, '1', 1.5, -1n, 2n ** 64n, NaN]) await argument(() => lock.revoke(token), /bigint/);
  for (const work of [undefined, null, 7, {}]) await argument(() => client.withLock('a', {}, work), /must be a function/);
  for (const callback of [null, 7, {}]) {
    await argument(() => client.getLock('a', 1, callback), /callback must be a function/);
    await argument(() => client.createLockTable(callback), /callback must be a function/);
    await argument(() => client.deleteLockTable(callback), /callback must be a function/);
  }
  for (const ms of [undefined, null, {}, 'x', '', NaN, Infinity]) await argument(() => client.getLock('b', ms), /number of milliseconds/);
});

test('values that cannot be, each with what can', async () => {
  const client = connect('memory:');
  const lock = client.lock('a');
  await argument(() => lock.acquire({ leaseMs: 10 }), /lease/);
  await argument(() => lock.acquire({ maxHoldMs: 10 }), /1 ?s|second/);
  await argument(() => lock.hold(10), /1 ?s|second/);
  await argument(() => lock.acquire({ data: 'x'.repeat(5000) }), /4096|4 KiB/);
  await argument(() => lock.acquire({ data: 'half \ud83d' }), /data must be valid Unicode/);
  await argument(() => client.lock('half \ud83d'), /name of a lock must be valid Unicode/);
  for (const ms of [1e10, 1e30, Number.MAX_VALUE]) {
    await argument(() => lock.acquire({ leaseMs: ms }), /lease/);
    await argument(() => lock.hold(ms), /30 d|2592000/);
    await argument(() => connect('memory:', { leaseMs: ms }), /lease/);
  }
  for (const options of [{ leaseMs: 1 }, { leaseMs: 1e9 }, { heartbeatMs: 19_000 }, { owner: '' }, { owner: 'x'.repeat(300) }]) {
    await argument(() => connect('memory:', options), /./);
    await argument(() => createClient('Lock', options), /./);
  }
  for (const options of [{ owner: 7 }, { leaseMs: '1' }, { serviceClock: 'on' }, { heartbeatMs: null }]) {
    await argument(() => connect('memory:', options), /must be/);
  }
  for (const url of [undefined, null, 7, '', 'redis://x', 'sqlite:x', 'dynamodb://', 'memory:x']) await argument(() => connect(url), /./);
});

test('settings of AWS that cannot be', async () => {
  const configs = [
    7, 'x', { region: 7 }, { endpoint: 7 }, { endpoint: 'ftp://x' }, { endpoint: {} }, { endpoint: 'a b' }, { accessKeyId: 7, secretAccessKey: 'x' },
    { accessKeyId: 'x' }, { credentials: { accessKeyId: 7 } }, { httpOptions: 7 }, { httpOptions: { timeout: 'x' } }, { httpOptions: { connectTimeout: -1 } },
  ];
  for (const config of configs) await argument(() => createClient('Lock', { awsConfig: config }), /awsConfig/);
  for (const table of [undefined, null, 7, '']) await argument(() => createClient(table), /lockTableName/);
});

test('a table of a store that has none', async () => {
  const client = connect('memory:');
  await fails(() => client.createLockTable(), StoreError, 'NOT_DYNAMODB', /not DynamoDB/);
  const held = await client.lock('a').acquire();
  await fails(() => held.conditionCheck(), StoreError, 'NOT_DYNAMODB', /lock\.token/);
  await held.release();
});

test('nothing is rejected that nobody hears of', async () => {
  const script = `
    process.on('unhandledRejection', (error) => { console.log('unhandled', error); });
    const client = library.createClient('Lock', { awsConfig: { accessKeyId: 'a', secretAccessKey: 'b', region: 'us-east-1', endpoint: 'http://127.0.0.1:9' }, leaseMs: 1000 });
    client.getLock('a', 1, () => {});
    client.createLockTable(() => {});
    client.deleteLockTable(() => {});
    client.getLock(7, 1, () => {});
    try { client.getLock('a', 1, null); } catch {}
    const memory = library.connect('memory:', { leaseMs: 1000 });
    (async () => {
      const lock = await memory.lock('a').acquire({ maxHoldMs: 1000 });
      lock.signal; // lost, and nobody listens
      await new Promise((resolve) => setTimeout(resolve, 1500));
      console.log(lock.isValid());
    })();`;
  assert.deepStrictEqual(await start(script).ended, { code: 0, signal: null, said: 'false\n', complained: '' });
});
