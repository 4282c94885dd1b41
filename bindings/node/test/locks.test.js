'use strict';
// Several locks at once: `withLocks`.

const test = require('node:test');
const assert = require('node:assert');
const { join } = require('node:path');
const { library, needsServer, onTable, directory, sleep, until } = require('./support');

const { connect, ArgumentError, LockHeldError, LockLostError, StoreError } = library;

const stores = {
  memory: () => connect('memory:'),
  sqlite: () => connect(`sqlite://${join(directory(), 'locks.db')}`),
};

for (const [store, open] of Object.entries(stores)) {
  test(`${store}: all locks are held during the work and released after it`, async () => {
    const client = open();
    const result = await client.withLocks(['b', 'a'], async (locks) => {
      assert.deepStrictEqual([...locks.tokens.keys()], ['a', 'b']);
      assert.ok(locks.isValid() && locks.timeLeftMs > 0 && !locks.signal.aborted);
      for (const name of ['a', 'b']) {
        assert.strictEqual((await client.lock(name).inspect()).holder.token, locks.tokens.get(name));
      }
      const { tokens } = JSON.parse(JSON.stringify(locks));
      assert.deepStrictEqual(tokens, { a: String(locks.tokens.get('a')), b: String(locks.tokens.get('b')) });
      return 7;
    });
    assert.strictEqual(result, 7);
    for (const name of ['a', 'b']) assert.strictEqual((await client.lock(name).inspect()).state, 'free');
  });

  test(`${store}: held lock is named and the others are free`, async () => {
    const client = open();
    const held = await client.lock('b').acquire();
    const waiting = client.withLocks(['c', 'b', 'a'], { waitMs: 50 }, () => assert.fail('not acquired'));
    await assert.rejects(waiting, (error) => {
      assert.ok(error instanceof LockHeldError && error.code === 'LOCK_HELD' && error.lockName === 'b', error);
      return error.holder.token === held.token && error.waitedMs >= 50 && /lock "b"/.test(error.message);
    });
    for (const name of ['a', 'c']) await (await client.lock(name).tryAcquire()).release();
    await held.release();
  });

  test(`${store}: loss of one lock releases the others and aborts the signal`, async () => {
    const client = open();
    const work = async (locks) => {
      await client.lock('b').revoke(locks.tokens.get('b'));
      await until(() => locks.signal.aborted, 'the loss');
      assert.ok(!locks.isValid() && locks.timeLeftMs === 0);
      const { reason } = locks.signal;
      assert.ok(reason instanceof LockLostError && reason.reason === 'revoked' && reason.token === locks.tokens.get('b'));
      await until(async () => (await client.lock('a').inspect()).state === 'free', 'the release of the other lock');
      return 'done';
    };
    await assert.rejects(client.withLocks(['a', 'b'], { leaseMs: 1000 }, work), (error) => {
      return error instanceof LockLostError && error.reason === 'revoked' && error.output === 'done';
    });
  });

  test(`${store}: overlapping calls in any order all complete`, async () => {
    const client = open();
    let [inside, done] = [0, 0];
    const worker = async (names) => {
      for (let round = 0; round < 5; round++) {
        await client.withLocks(names, async () => {
          assert.strictEqual(++inside, 1, 'all of them share b');
          await sleep(1);
          inside--;
        });
        done++;
      }
    };
    await Promise.all([worker(['a', 'b']), worker(['b', 'a']), worker(['b', 'c']), worker(['c', 'b', 'a'])]);
    assert.strictEqual(done, 20);
  });
}

test('abort ends the wait for several locks and leaves none behind', async () => {
  const client = connect('memory:');
  const held = await client.lock('b').acquire();
  const controller = new AbortController();
  const waiting = client.withLocks(['a', 'b'], { signal: controller.signal }, () => assert.fail('not acquired'));
  await until(async () => (await client.lock('a').inspect()).state === 'held', 'the first lock is held');
  controller.abort(new Error('enough'));
  await assert.rejects(waiting, /enough/);
  await client.close();
  assert.strictEqual((await client.lock('a').inspect()).state, 'free');
  await held.release();
});

test('work that fails releases all locks and rejects with its error', async () => {
  const client = connect('memory:');
  await assert.rejects(client.withLocks(['a', 'b'], () => Promise.reject(new Error('of the work'))), /of the work/);
  for (const name of ['a', 'b']) assert.strictEqual((await client.lock(name).inspect()).state, 'free');
});

test('release in the work is the release of withLocks', async () => {
  const client = connect('memory:');
  await client.withLocks(['a', 'b'], async (locks) => {
    await locks.release();
    assert.ok(!locks.isValid() && locks.timeLeftMs === 0);
    assert.throws(() => locks.conditionChecks(), (error) => error instanceof StoreError && error.code === 'RELEASED');
    await (await client.lock('a').tryAcquire()).release();
  });
});

test('only what was not released is named after a loss', async () => {
  const client = connect('memory:');
  const work = (locks) => client.lock('b').forceRevoke(locks.tokens.get('b'));
  await assert.rejects(client.withLocks(['a', 'b', 'c'], work), (error) => {
    assert.ok(error instanceof LockLostError, error);
    assert.deepStrictEqual(error.unreleased, ['b']);
    return /1 of 3 locks not released: lock "b"/.test(error.message);
  });
});

test('invalid arguments of withLocks are rejected', async () => {
  const client = connect('memory:');
  const work = () => assert.fail('not acquired');
  const cases = [
    [['a'], undefined, /work of withLocks must be a function/],
    ['a', work, /names of locks must be an array of strings, not string/],
    [['a', 7], work, /names of locks\[1\] must be a string, not number/],
    [[], work, /at least one/],
    [['a', 'b', 'a'], work, /lock "a" twice/],
    [Array.from({ length: 33 }, (_, index) => String(index)), work, /at most 32/],
    [['a', ''], work, /must not be empty/],
  ];
  for (const [names, given, message] of cases) {
    await assert.rejects(client.withLocks(names, given), (error) => error instanceof ArgumentError && message.test(error.message));
  }
  await assert.rejects(client.withLocks(['a'], { leaseMs: 1 }, work), ArgumentError);
});

test('condition checks of all locks pass only while they are held', needsServer, async (t) => {
  const { client, name } = await onTable(t);
  let checks;
  await client.withLocks(['b', 'a'], (locks) => {
    checks = locks.conditionChecks();
  });
  assert.deepStrictEqual(checks.map((check) => [check.TableName, check.Key.name.S]), [[name, 'a'], [name, 'b']]);
});
