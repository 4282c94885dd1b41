'use strict';
// `loseLock` of the entry `testing`.

const test = require('node:test');
const assert = require('node:assert');
const diagnostics = require('node:diagnostics_channel');
const { once } = require('node:events');
const { library, sleep, until } = require('./support');
const { loseLock } = require('../lib/testing');
const manifest = require('../package.json');

test('lost lock aborts its signals and is free again', async () => {
  const client = library.connect('memory:');
  const lock = await client.lock('a').acquire();
  const aborted = once(lock.signal, 'abort');
  const atRisk = lock.riskSignal(1);
  loseLock(lock, 'revoked');
  await aborted;
  const error = lock.signal.reason;
  assert.ok(error instanceof library.LockLostError && atRisk.reason === error);
  assert.deepStrictEqual([error.code, error.reason, error.token], ['LOCK_LOST', 'revoked', lock.token]);
  assert.deepStrictEqual([lock.isValid(), lock.timeLeftMs], [false, 0]);
  await assert.rejects(lock.release(), error);
  const next = await client.lock('a').acquire();
  assert.ok(next.isValid() && next.token > lock.token);
  loseLock(lock);
  assert.ok(next.isValid(), 'only the lock of the call is lost');
  await next.release();
  await client.close();
});

test('work of withLock is aborted by loseLock', async () => {
  const client = library.connect('memory:');
  const work = async (lock) => {
    loseLock(lock);
    return lock.signal.aborted;
  };
  const error = await client.withLock('a', work).then(assert.fail, (error) => error);
  assert.deepStrictEqual([error.code, error.reason, error.output], ['LOCK_LOST', 'expired', true]);
  await client.close();
});

test('lost lock is reported as an event, before its release', async () => {
  const client = library.connect('memory:');
  const [events, published] = [[], []];
  for (const type of ['lost', 'released']) client.on(type, (event) => events.push(event));
  const subscriber = (event) => published.push(event);
  diagnostics.subscribe('dynamo-lock:lost', subscriber);
  const lock = await client.lock('a').acquire();
  for (const reason of ['revoked', 'expired']) loseLock(lock, reason);
  await until(() => events.length === 2, 'the release');
  diagnostics.unsubscribe('dynamo-lock:lost', subscriber);
  assert.deepStrictEqual(events.map(({ type }) => type), ['lost', 'released']);
  const [{ heldMs, ...lost }] = events;
  assert.deepStrictEqual(lost, { type: 'lost', name: 'a', token: lock.token, reason: 'revoked', lastError: null });
  assert.ok(Number.isInteger(heldMs) && heldMs >= 0);
  assert.deepStrictEqual(published, [events[0]]);
});

/** Track record: without `releaseError`, the loss was only the `cause` of an error that the work had not thrown itself. */
test('error of work that was aborted by the loss has the loss', async () => {
  const client = library.connect('memory:');
  const failure = (work) => client.withLock('a', work).then(assert.fail, (error) => error);
  const aborted = await failure((lock) => {
    const slept = sleep(60_000, undefined, { signal: lock.signal });
    loseLock(lock);
    return slept;
  });
  assert.deepStrictEqual([aborted.name, aborted.releaseError.reason], ['AbortError', 'expired']);
  assert.strictEqual(aborted.releaseError, aborted.cause);
  const lost = await failure((lock) => {
    loseLock(lock);
    lock.signal.throwIfAborted();
  });
  assert.deepStrictEqual([lost.code, 'releaseError' in lost], ['LOCK_LOST', false]);
  await client.close();
});

test('permits and several locks can be lost, other values cannot', async () => {
  const client = library.connect('memory:');
  const permit = await client.semaphore('s', 1).acquire();
  loseLock(permit);
  assert.strictEqual(permit.isValid(), false);
  const work = async (locks) => {
    loseLock(locks, 'takenOver');
    return [locks.isValid(), locks.signal.aborted, locks.tokens.get('b')];
  };
  const error = await client.withLocks(['b', 'c'], work).then(assert.fail, (error) => error);
  const [isValid, aborted, token] = error.output;
  assert.deepStrictEqual([isValid, aborted, error.reason, error.token], [false, true, 'takenOver', token]);
  assert.throws(() => loseLock({}), library.ArgumentError);
  const lock = await client.lock('a').acquire();
  assert.throws(() => loseLock(lock, 'gone'), /the reason is one of expired/);
  assert.ok(lock.isValid());
  await lock.release();
  await client.close();
});

test('testing is an entry of its own', () => {
  assert.strictEqual(library.loseLock, undefined);
  assert.deepStrictEqual(manifest.exports['./testing'], { types: './lib/testing.d.ts', default: './lib/testing.js' });
});
