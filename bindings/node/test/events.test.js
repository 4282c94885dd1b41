'use strict';
// Events of a client: `client.on`, and the channels of `node:diagnostics_channel`.

const test = require('node:test');
const assert = require('node:assert');
const diagnostics = require('node:diagnostics_channel');
const { library, directory, start, until } = require('./support');

const { connect, ArgumentError } = library;
const TYPES = ['waiting', 'waitEnded', 'contended', 'takenOver', 'acquired', 'renewed', 'lost', 'released', 'requestFailed'];

/** Collects the events of a client. */
function collect(client) {
  const events = [];
  for (const type of TYPES) client.on(type, (event) => events.push(event));
  const types = () => events.filter((event) => event.type !== 'renewed').map((event) => event.type);
  return { events, types };
}

test('client reports acquisition, wait, contention and release', async () => {
  const client = connect('memory:');
  const { events, types } = collect(client);
  const lock = client.lock('a');
  const held = await lock.acquire();
  assert.strictEqual(await lock.tryAcquire(), null);
  const waiting = lock.acquire();
  await until(() => types().includes('waiting'), 'the wait');
  await held.release();
  const next = await waiting;
  await next.release();
  await until(() => types().filter((type) => type === 'released').length === 2, 'both releases');
  const count = (type) => types().filter((found) => found === type).length;
  assert.deepStrictEqual(
    ['acquired', 'contended', 'waiting', 'waitEnded', 'released', 'lost'].map(count), [2, 1, 1, 1, 2, 0], types().join(),
  );
  const [first] = events;
  assert.deepStrictEqual([first.type, first.name, first.token], ['acquired', 'a', held.token]);
  assert.strictEqual(typeof first.waitedMs, 'number');
  assert.strictEqual(JSON.parse(JSON.stringify(first)).token, String(held.token), 'a token is text in JSON');
  const contended = events.find((event) => event.type === 'contended');
  assert.strictEqual(contended.holder.token, held.token);
});

test('client reports a lost lock with its reason', async () => {
  const client = connect('memory:', { leaseMs: 1000 });
  const { events } = collect(client);
  const held = await client.lock('a').acquire();
  await client.lock('a').revoke(held.token);
  await until(() => events.some((event) => event.type === 'lost'), 'the event');
  const { name, token, reason, heldMs, lastError } = events.find((event) => event.type === 'lost');
  assert.deepStrictEqual([name, token, reason, lastError], ['a', held.token, 'revoked', null]);
  assert.ok(heldMs >= 0);
});

test('channels of diagnostics_channel receive the events of all clients', async () => {
  const events = [];
  const subscriber = (event, channel) => events.push([channel, event.type, event.name]);
  const channels = ['acquired', 'released'].map((type) => `dynamo-lock:${type}`);
  for (const channel of channels) diagnostics.subscribe(channel, subscriber);
  for (const name of ['a', 'b']) await (await connect('memory:').lock(name).acquire()).release();
  await until(() => events.length === 4, 'four events');
  for (const channel of channels) diagnostics.unsubscribe(channel, subscriber);
  const all = ['a', 'b'].flatMap((name) => ['acquired', 'released'].map((type) => [`dynamo-lock:${type}`, type, name]));
  assert.deepStrictEqual(events, all);
});

test('removed listener is not called, and unknown events are refused', async () => {
  const client = connect('memory:');
  const calls = [];
  const listener = (event) => calls.push(event);
  assert.strictEqual(client.on('acquired', listener).on('acquired', listener), client);
  await client.withLock('a', () => {});
  await until(() => calls.length > 0, 'the event');
  assert.strictEqual(calls.length, 1, 'a listener that was added twice');
  client.off('acquired', listener).off('acquired', listener).off('lost', listener);
  let released = false;
  client.on('released', () => (released = true));
  await client.withLock('a', () => {});
  await until(() => released, 'the release');
  assert.strictEqual(calls.length, 1);
  for (const type of ['error', 'Lost', undefined, 'constructor']) {
    assert.throws(() => client.on(type, listener), ArgumentError);
  }
  assert.throws(() => client.on('lost'), ArgumentError);
});

test('error of a listener stops no other listener and no call', async () => {
  const script = `
    const client = library.connect('memory:');
    process.on('uncaughtException', (error) => console.log('uncaught', error.message));
    client.on('acquired', () => { throw new Error('of the listener'); });
    client.on('acquired', () => console.log('second'));
    client.withLock('a', () => new Promise((resolve) => setTimeout(resolve, 100))).then(() => console.log('done'));
  `;
  const { code, output } = await start(script).ended;
  assert.deepStrictEqual([code, output.split('\n').filter(Boolean)], [0, ['second', 'uncaught of the listener', 'done']]);
});

test('listeners do not keep the process alive', async () => {
  const script = `
    const client = library.connect('memory:');
    client.on('lost', () => {});
    require('node:diagnostics_channel').subscribe('dynamo-lock:lost', () => {});
    client.lock('a').acquire().then(() => console.log('held'));
  `;
  const { code, output } = await start(script).ended;
  assert.deepStrictEqual([code, output], [0, 'held\n']);
});

test('takeover names the process that has crashed', { skip: process.platform !== 'linux' && 'SQLite on Linux' }, async () => {
  const url = `sqlite://${directory()}/locks.db`;
  const script = `library.connect(${JSON.stringify(url)}, { owner: 'crashed' }).lock('a').acquire().then(() => process.kill(process.pid, 'SIGKILL'));`;
  await start(script).ended;
  const client = connect(url);
  const { events } = collect(client);
  const held = await client.lock('a').acquire();
  await until(() => events.some((event) => event.type === 'acquired'), 'the event');
  const takeover = events.find((event) => event.type === 'takenOver');
  assert.match(takeover.holder.owner, /^crashed /);
  await held.release();
});
