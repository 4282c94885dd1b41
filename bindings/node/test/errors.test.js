'use strict';
// Each failure is an error of a public class, with a code and a message that names the fix.

const test = require('node:test');
const assert = require('node:assert');
const { createServer } = require('node:http');
const { once } = require('node:events');
const { library, needsServer, awsConfig, tableName, start, directory } = require('./support');

const { createClient, connect, DynamoLockError, StoreError, ArgumentError } = library;

/** Asserts that `action` throws or rejects with this class and code, and with a one-line message that matches `fix`. */
async function assertFails(action, type, code, fix) {
  const error = await (async () => action())().then(
    () => assert.fail(`no failure: ${action}`),
    (error) => error,
  );
  assert.ok(error instanceof type, `${action}: ${error?.stack ?? error}`);
  assert.strictEqual(error.code, code, error.message);
  assert.strictEqual(error.name, type.name);
  assert.match(error.message, fix);
  assert.ok(!error.message.includes('\n'));
}

const assertRejected = (action, message) => assertFails(action, ArgumentError, 'INVALID_ARGUMENT', message);

test('error classes have their name, code and fields', () => {
  for (const name of ['LockHeldError', 'LockLostError', 'StoreError']) {
    const error = new library[name]('message', 'CODE', { extra: 1 });
    assert.ok(error instanceof DynamoLockError && error instanceof Error);
    assert.deepStrictEqual([error.name, error.message, error.code, error.extra], [name, 'message', 'CODE', 1]);
  }
  assert.ok(new ArgumentError('message') instanceof TypeError);
});

// JSON has no bigint, so `JSON.stringify` would throw in the code that handles an error.
test('errors, locks and inspections convert to JSON', async () => {
  const client = connect('memory:', { leaseMs: 1000 });
  const lock = client.lock('a');
  const parsed = (value) => JSON.parse(JSON.stringify(value));
  const failure = (promise) => promise.then(() => assert.fail('no failure'), (error) => error);
  const held = await lock.acquire({ data: 'x' });
  const token = String(held.token);
  assert.deepStrictEqual(parsed({ held }), { held: { name: 'a', token } });

  const { name, message, code, holder, waitedMs, ...rest } = parsed(await failure(lock.acquire({ waitMs: 1 })));
  assert.deepStrictEqual([name, code, holder.token, holder.data, typeof waitedMs, rest], ['LockHeldError', 'LOCK_HELD', token, 'x', 'number', {}]);
  assert.match(message, /another client holds it/);
  assert.strictEqual(new Date(holder.expiresAt).toISOString(), holder.expiresAt);
  assert.strictEqual(parsed(await failure(lock.hold(1000))).holder.token, token);
  const { state, mayEndMs, holder: inspected } = parsed(await lock.inspect());
  assert.deepStrictEqual([state, typeof mayEndMs.latest, inspected.token], ['held', 'number', token]);
  for await (const listed of client.list()) assert.deepStrictEqual([parsed(listed).name, parsed(listed).holder.token], ['a', token]);
  assert.deepStrictEqual(Object.keys(await lock.inspect()), ['state', 'holder', 'mayEndMs', 'last'], 'the conversion is not a field');

  await held.release();
  const { last } = await lock.inspect();
  const free = { state: 'free', token, data: 'x', last: parsed(last) };
  assert.deepStrictEqual(parsed(await lock.inspect()), free);
  for await (const listed of client.list()) assert.deepStrictEqual(parsed(listed), { name: 'a', ...free });
  assert.deepStrictEqual(parsed(await failure(lock.revoke(held.token - 1n))).code, 'LEASE_ENDED');

  const circular = {};
  circular.itself = circular;
  for (const output of [1n, circular]) {
    const lost = await failure(client.withLock('a', (lock) => client.lock('a').revoke(lock.token).then(() => output)));
    assert.strictEqual(lost.output, output);
    const { message, ...fields } = parsed(lost);
    assert.deepStrictEqual(fields, { name: 'LockLostError', code: 'LOCK_LOST', reason: 'revoked', token: String(lost.token) });
  }
  const failed = await failure(client.withLock('a', (lock) => client.lock('a').revoke(lock.token).then(() => assert.fail('work'))));
  assert.strictEqual(parsed(failed).releaseError.code, 'LOCK_LOST');
  const invalid = await failure(lock.hold('x'));
  assert.deepStrictEqual(parsed(invalid), { name: 'ArgumentError', message: invalid.message, code: 'INVALID_ARGUMENT' });
});

test('missing table is reported with its fix', needsServer, async () => {
  const client = createClient(tableName(), { awsConfig });
  const fix = /there is no table .*createTable/;
  const lock = client.lock('a');
  for (const action of [() => lock.acquire(), () => lock.tryAcquire(), () => lock.hold(1000), () => lock.inspect(), () => lock.revoke(1n)]) {
    await assertFails(action, StoreError, 'MISCONFIGURED', fix);
  }
  await assertFails(() => client.withLock('a', {}, () => {}), StoreError, 'MISCONFIGURED', fix);
  await assertFails(async () => { for await (const row of client.list()) assert.fail(row); }, StoreError, 'MISCONFIGURED', fix);
  await assertFails(() => client.getLock('a', 1000), StoreError, 'MISCONFIGURED', fix);
});

/**
 * Runs `script` in a process without AWS configuration. Returns the JSON that it prints; `print(error)` prints an
 * error.
 */
async function withoutAwsConfiguration(script, env = {}) {
  const none = Object.fromEntries(Object.keys(process.env).filter((name) => name.startsWith('AWS_')).map((name) => [name, undefined]));
  const home = directory();
  const all = { ...none, HOME: home, AWS_CONFIG_FILE: '/dev/null', AWS_SHARED_CREDENTIALS_FILE: '/dev/null', AWS_EC2_METADATA_DISABLED: 'true', ...env };
  const { output, errorOutput, code } = await start(`
    process.on('unhandledRejection', (error) => console.log('unhandled', error));
    const print = (error) => console.log(JSON.stringify([error.name, error.code, error.message]));
    ${script}`, { env: all }).ended;
  assert.strictEqual(code, 0, errorOutput);
  return JSON.parse(output);
}

test('missing Region is reported with its fix', async () => {
  const [name, code, message] = await withoutAwsConfiguration(`library.createClient('Lock').lock('a').acquire().catch(print);`);
  assert.deepStrictEqual([name, code], ['StoreError', 'MISCONFIGURED']);
  assert.match(message, /no AWS Region is configured; set `region` in awsConfig/);
});

test('unused client is closed without a Region', async () => {
  assert.strictEqual(await withoutAwsConfiguration(`library.createClient('Lock').close().then(() => console.log('"closed"'), print);`), 'closed');
});

test('missing credentials are reported with their fix', async () => {
  const [name, code, message] = await withoutAwsConfiguration(`library.createClient('Lock', { awsConfig: { region: 'eu-west-1' } }).lock('a').acquire().catch(print);`);
  assert.deepStrictEqual([name, code], ['StoreError', 'MISCONFIGURED']);
  assert.match(message, /no usable AWS credentials \(.+\); set AWS_PROFILE/);
});

test('refused connection is reported as unanswered', async () => {
  const client = createClient('Lock', { awsConfig: { ...awsConfig, endpoint: 'http://127.0.0.1:9' }, leaseMs: 1000 });
  await assertFails(() => client.lock('a').acquire(), StoreError, 'UNANSWERED', /refused.*check|check/);
  await assertFails(() => client.lock('a').inspect(), StoreError, 'UNANSWERED', /check/);
});

test('denied access is reported with the missing permission', async (t) => {
  const server = createServer((request, response) => {
    response.writeHead(400, { 'content-type': 'application/x-amz-json-1.0' });
    response.end(JSON.stringify({ __type: 'com.amazon.coral.service#AccessDeniedException', message: 'User is not authorized' }));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  const client = createClient('Lock', { awsConfig: { ...awsConfig, endpoint: `http://127.0.0.1:${server.address().port}` } });
  await assertFails(() => client.lock('a').acquire(), StoreError, 'ACCESS_DENIED', /access denied: dynamodb:UpdateItem .*; allow it/);
});

test('arguments of wrong types are rejected', async () => {
  const client = connect('memory:');
  const lock = client.lock('a');
  const wrong = [null, 7, true, {}, [], Symbol('x'), () => {}];
  for (const name of [...wrong, undefined, '', 'a\nb', 'x'.repeat(3000)]) {
    await assertRejected(() => client.lock(name), /lock/);
    await assertRejected(() => client.withLock(name, {}, () => {}), /lock/);
  }
  const times = [null, '5', NaN, -1, Infinity, 5n, {}];
  for (const ms of times) {
    await assertRejected(() => lock.hold(ms), /the time to hold must be a number of milliseconds/);
    for (const name of ['waitMs', 'leaseMs', 'maxHoldMs']) {
      await assertRejected(() => lock.acquire({ [name]: ms }), new RegExp(`${name} must be a number`));
    }
  }
  for (const options of [null, 7, 'x', []]) {
    await assertRejected(() => lock.acquire(options), /options of acquire must be an object/);
    await assertRejected(() => lock.tryAcquire(options), /options of tryAcquire must be an object/);
    await assertRejected(() => client.withLock('a', options, () => {}), /must be an object/);
  }
  for (const signal of [null, 7, {}, new EventTarget()]) await assertRejected(() => lock.acquire({ signal }), /AbortSignal/);
  for (const data of [null, 7, {}]) await assertRejected(() => lock.acquire({ data }), /data must be a string/);
  for (const token of [undefined, null, '1', 1.5, -1n, 2n ** 64n, NaN]) await assertRejected(() => lock.revoke(token), /bigint/);
  for (const work of [undefined, null, 7, {}]) await assertRejected(() => client.withLock('a', {}, work), /must be a function/);
  for (const callback of [null, 7, {}]) {
    await assertRejected(() => client.getLock('a', 1, callback), /callback must be a function/);
    await assertRejected(() => client.createLockTable(callback), /callback must be a function/);
    await assertRejected(() => client.deleteLockTable(callback), /callback must be a function/);
  }
  for (const ms of [undefined, null, {}, 'x', '', NaN, Infinity]) await assertRejected(() => client.getLock('b', ms), /number of milliseconds/);
});

test('invalid values are rejected with the valid range', async () => {
  const client = connect('memory:');
  const lock = client.lock('a');
  await assertRejected(() => lock.acquire({ leaseMs: 10 }), /lease/);
  await assertRejected(() => lock.acquire({ maxHoldMs: 10 }), /1 ?s|second/);
  await assertRejected(() => lock.hold(10), /1 ?s|second/);
  await assertRejected(() => lock.acquire({ data: 'x'.repeat(5000) }), /4096|4 KiB/);
  await assertRejected(() => lock.acquire({ data: 'half \ud83d' }), /data must be valid Unicode/);
  await assertRejected(() => client.lock('half \ud83d'), /name of a lock must be valid Unicode/);
  for (const ms of [1e10, 1e30, Number.MAX_VALUE]) {
    await assertRejected(() => lock.acquire({ leaseMs: ms }), /lease/);
    await assertRejected(() => lock.hold(ms), /30 d|2592000/);
    await assertRejected(() => connect('memory:', { leaseMs: ms }), /lease/);
  }
  for (const options of [{ leaseMs: 1 }, { leaseMs: 1e9 }, { heartbeatMs: 19_000 }, { owner: '' }, { owner: 'x'.repeat(300) }]) {
    await assertRejected(() => connect('memory:', options), /./);
    await assertRejected(() => createClient('Lock', options), /./);
  }
  for (const options of [{ owner: 7 }, { leaseMs: '1' }, { serviceClock: 'on' }, { heartbeatMs: null }]) {
    await assertRejected(() => connect('memory:', options), /must be/);
  }
  for (const url of [undefined, null, 7, '', 'redis://x', 'sqlite:x', 'dynamodb://', 'memory:x']) await assertRejected(() => connect(url), /./);
});

test('invalid awsConfig and table names are rejected', async () => {
  const configs = [
    7, 'x', { region: 7 }, { endpoint: 7 }, { endpoint: 'ftp://x' }, { endpoint: {} }, { endpoint: 'a b' }, { accessKeyId: 7, secretAccessKey: 'x' },
    { accessKeyId: 'x' }, { credentials: { accessKeyId: 7 } }, { httpOptions: 7 }, { httpOptions: { timeout: 'x' } }, { httpOptions: { connectTimeout: -1 } },
  ];
  for (const config of configs) await assertRejected(() => createClient('Lock', { awsConfig: config }), /awsConfig/);
  for (const table of [undefined, null, 7, '']) await assertRejected(() => createClient(table), /lockTableName/);
});

test('table calls are rejected by other stores', async () => {
  const client = connect('memory:');
  await assertFails(() => client.createLockTable(), StoreError, 'NOT_DYNAMODB', /not DynamoDB/);
  const held = await client.lock('a').acquire();
  await assertFails(() => held.conditionCheck(), StoreError, 'NOT_DYNAMODB', /lock\.token/);
  await held.release();
});

test('failures cause no unhandled rejection', async () => {
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
      lock.signal; // lost, without a listener
      await new Promise((resolve) => setTimeout(resolve, 1500));
      console.log(lock.isValid());
    })();`;
  assert.deepStrictEqual(await start(script).ended, { code: 0, signal: null, output: 'false\n', errorOutput: '' });
});
