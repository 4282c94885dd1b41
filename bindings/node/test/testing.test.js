'use strict';
// `loseLock` of the entry `testing`.

const test = require('node:test');
const assert = require('node:assert');
const { once } = require('node:events');
const { library } = require('./support');
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
