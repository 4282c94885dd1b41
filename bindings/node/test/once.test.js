'use strict';
// `Lock.once`: work that runs until it has succeeded once.

const test = require('node:test');
const assert = require('node:assert');
const { join } = require('node:path');
const { library, directory, needsServer, onTable, start } = require('./support');

const { connect, LockHeldError, StoreError } = library;

/** Functions that create a client of an empty store. */
const stores = {
  memory: () => connect('memory:'),
  sqlite: () => connect(`sqlite://${join(directory(), 'locks.db')}`),
};

for (const [store, open] of Object.entries(stores)) {
  test(`${store}: work runs once and its success is returned`, async () => {
    const lock = open().lock('job');
    let token;
    const work = async (held) => {
      assert.ok(held.isValid());
      token = held.token;
      return 7;
    };
    assert.deepStrictEqual(await lock.once(work), { ran: true, output: 7 });
    const { ran, success } = await lock.once(() => assert.fail('it runs again'));
    assert.ok(!ran && success.token === token && success.by.length > 0 && success.until === null);
    assert.ok(success.startedAt <= success.finishedAt && success.finishedAt <= new Date());
    const { state, data, last, ...inspected } = await lock.inspect();
    assert.deepStrictEqual([last.end, last.owner, last.exitCode], ['released', inspected.by, null]);
    assert.deepStrictEqual({ state, data, inspected }, { state: 'done', data: null, inspected: { ...success } });
    assert.strictEqual(JSON.parse(JSON.stringify(success)).token, String(token));
  });

  test(`${store}: failed work rejects and runs again`, async () => {
    const lock = open().lock('job');
    await assert.rejects(lock.once(() => Promise.reject(new Error('of the work'))), /of the work/);
    assert.strictEqual((await lock.inspect()).state, 'free');
    assert.strictEqual((await lock.once(() => 1)).output, 1);
  });

  test(`${store}: reset success may run again`, async () => {
    const lock = open().lock('job');
    await lock.once(() => 1);
    const { success } = await lock.once(() => 2);
    await lock.resetSuccess(success.token);
    await assert.rejects(lock.resetSuccess(success.token), (error) => {
      return error instanceof StoreError && error.code === 'NOT_DONE';
    });
    assert.deepStrictEqual(await lock.once(() => 3), { ran: true, output: 3 });
  });
}

test('calls beside each other run the work once', async () => {
  const lock = connect('memory:').lock('job');
  let runs = 0;
  const work = () => new Promise((resolve) => setTimeout(() => resolve(++runs), 30));
  const results = await Promise.all([1, 2, 3].map(() => lock.once(work)));
  assert.strictEqual(runs, 1);
  assert.strictEqual(results.filter(({ ran }) => ran).length, 1);
});

test('work in progress is awaited at most waitMs', async () => {
  const lock = connect('memory:').lock('job');
  await lock.once(async (held) => {
    for (const waitMs of [0, 20]) {
      await assert.rejects(lock.once(() => assert.fail('two runs'), { waitMs }), (error) => {
        return error instanceof LockHeldError && error.code === 'LOCK_HELD' && error.holder.token === held.token;
      });
    }
  });
});

test('success that is not recorded rejects with output', async () => {
  const client = connect('memory:');
  const lock = client.lock('job');
  const revoked = lock.once(async (held) => {
    await lock.forceRevoke(held.token);
    return 7;
  });
  await assert.rejects(revoked, (error) => {
    assert.match(error.message, /the work succeeded, but its success was not recorded, so it may run again: .*revoked/);
    return error instanceof StoreError && error.code === 'NOT_RECORDED' && error.output === 7;
  });
  const released = lock.once((held) => held.release());
  await assert.rejects(released, (error) => error.code === 'NOT_RECORDED' && error.output === undefined);
  assert.strictEqual((await lock.once(() => 8)).output, 8);
});

/** No other client has acquired the lock since, so the store still accepts the success. */
test('success after the loss of the lease is recorded', async () => {
  const lock = connect('memory:').lock('job');
  const work = async (held) => {
    await new Promise((resolve) => held.signal.addEventListener('abort', resolve));
    assert.ok(!held.isValid());
    return 7;
  };
  assert.deepStrictEqual(await lock.once(work, { maxHoldMs: 1000 }), { ran: true, output: 7 });
  assert.strictEqual((await lock.inspect()).state, 'done');
});

test('failure after the loss of the lease releases the lock', async () => {
  const lock = connect('memory:').lock('job');
  const work = async (held) => {
    await new Promise((resolve) => held.signal.addEventListener('abort', resolve));
    throw new Error('of the work');
  };
  await assert.rejects(lock.once(work, { maxHoldMs: 1000 }), /of the work/);
  assert.strictEqual((await lock.once(() => 8, { waitMs: 30_000 })).output, 8);
});

test('success counts for its time', async () => {
  const lock = connect('memory:').lock('job');
  await lock.once(() => 1, { forMs: 3_600_000 });
  const { success } = await lock.once(() => 2);
  const counts = success.until - success.startedAt;
  assert.ok(counts >= 3_600_000 && counts < 3_700_000, `${counts}`);
  await assert.rejects(lock.once(() => 3, { forMs: 10 }), { name: 'ArgumentError', message: /1s to 3650 days/ });
  await assert.rejects(lock.once(7), { name: 'ArgumentError', message: /the work of once must be a function/ });
});

test('aborted wait for work rejects with the reason', async () => {
  const lock = connect('memory:').lock('job');
  await lock.once(async () => {
    const waiting = lock.once(() => assert.fail('two runs'), { signal: AbortSignal.timeout(20) });
    await assert.rejects(waiting, { name: 'TimeoutError' });
  });
});

test('process stays alive until work has ended', async () => {
  const script = "const lock = library.connect('memory:').lock('job'); lock.once(() => new Promise((r) => setTimeout(r, 50).unref())).then(({ ran }) => console.log(ran));";
  const { output } = await start(script).ended;
  assert.match(output, /true/);
});

test('success on DynamoDB is skipped by another client', needsServer, async (t) => {
  const { name, client } = await onTable(t);
  assert.deepStrictEqual(await client.lock('job').once(() => 7), { ran: true, output: 7 });
  const other = library.createClient(name, { awsConfig: require('./support').awsConfig });
  assert.strictEqual((await other.lock('job').once(() => 8)).ran, false);
});
