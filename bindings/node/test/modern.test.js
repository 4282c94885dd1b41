'use strict';
// The API for today, on the stores that need no server, and on a DynamoDB server.

const test = require('node:test');
const assert = require('node:assert');
const { getEventListeners } = require('node:events');
const { existsSync } = require('node:fs');
const { join } = require('node:path');
const { library, needsAll, needsServer, onTable, directory, start, sleep, until, v2, packages, endpoint, awsConfig } = require('./support');
const { Connection } = require('../lib/connection');

const { connect, LockHeldError, LockLostError } = library;

/** Each store, with a client of a lease of its own. */
const stores = {
  memory: () => connect('memory:'),
  sqlite: () => connect(`sqlite://${join(directory(), 'locks.db')}`),
};

for (const [store, open] of Object.entries(stores)) {
  test(`${store}: acquire, refuse, release, and larger tokens`, async () => {
    const client = open();
    const lock = client.lock('orders/rebuild');
    const first = await lock.acquire();
    assert.strictEqual(typeof first.token, 'bigint');
    assert.strictEqual(first.name, 'orders/rebuild');
    assert.ok(first.isValid() && first.timeLeftMs > 0 && first.timeLeftMs < 20_000);
    assert.ok(first.signal instanceof AbortSignal && !first.signal.aborted);
    assert.strictEqual(await lock.tryAcquire(), null);
    await assert.rejects(lock.acquire({ waitMs: 20 }), (error) => {
      assert.ok(error instanceof LockHeldError && error.code === 'LOCK_HELD');
      return error.holder.token === first.token && error.waitedMs >= 20;
    });
    const released = first.release();
    assert.ok(!first.isValid() && first.timeLeftMs === 0, 'from the moment on that it is given up');
    await released;
    assert.ok(!first.isValid() && first.timeLeftMs === 0 && !first.signal.aborted);
    assert.strictEqual(first.release(), released, 'again: the same');
    const second = await lock.tryAcquire({ data: 'x' });
    assert.ok(second.token > first.token);
    await second.release();
  });

  test(`${store}: a waiter gets the lock when it is released`, async () => {
    const client = open();
    const first = await client.lock('a').acquire();
    const waiting = client.lock('a').acquire();
    await sleep(30);
    await first.release();
    const second = await waiting;
    assert.ok(second.token > first.token);
    await second.release();
  });

  test(`${store}: hold takes the lock for a time, and gives its token`, async () => {
    const client = open();
    const token = await client.lock('a').hold(1000);
    assert.strictEqual(typeof token, 'bigint');
    await assert.rejects(client.lock('a').hold(1000), (error) => {
      return error instanceof LockHeldError && error.holder.expiresAt instanceof Date && error.holder.token === token;
    });
    const next = await client.lock('a').acquire({ waitMs: 30_000 });
    assert.ok(next.token > token);
    await next.release();
  });

  test(`${store}: inspect tells what can be known`, async () => {
    const client = open();
    assert.deepStrictEqual(await client.lock('a').inspect(), { state: 'free', token: null, data: null });
    const held = await client.lock('a').acquire({ data: 'shard 7', leaseMs: 5000 });
    const { state, holder, mayEndMs } = await client.lock('a').inspect();
    assert.deepStrictEqual([state, holder.token, holder.data, holder.leaseMs], ['held', held.token, 'shard 7', 5000]);
    assert.ok(Math.abs(Date.now() - holder.acquiredAt) < 600_000 && Math.abs(Date.now() - holder.expiresAt) < 600_000);
    assert.ok(mayEndMs.earliest >= 0 && mayEndMs.latest <= 5000);
    await held.release();
    assert.deepStrictEqual(await client.lock('a').inspect(), { state: 'free', token: held.token, data: 'shard 7' });
  });

  test(`${store}: a revoked lock is lost, and its signal says why`, async () => {
    const client = open();
    const held = await client.lock('a').acquire({ leaseMs: 1000 });
    let heard;
    held.signal.addEventListener('abort', () => (heard = held.signal.reason));
    await client.lock('a').revoke(held.token);
    await until(() => heard, 'the signal');
    const lost = heard;
    assert.ok(lost instanceof LockLostError && lost.code === 'LOCK_LOST' && lost.reason === 'revoked', lost);
    assert.strictEqual(lost.token, held.token);
    assert.ok(!held.isValid() && held.timeLeftMs === 0);
    await assert.rejects(held.release(), (error) => error === lost);
    await client.lock('a').revoke(held.token); // it is: nothing more to do
    await assert.rejects(client.lock('a').revoke(held.token - 1n), { code: 'LEASE_ENDED' });
  });

  test(`${store}: a release that finds the lock lost says so, and its signal too`, async () => {
    const client = open();
    for (const end of ['release', Symbol.asyncDispose]) {
      const held = await client.lock('a').acquire({ leaseMs: 1000, waitMs: 60_000 });
      await client.lock('a').revoke(held.token);
      await assert.rejects(held[end](), (error) => error instanceof LockLostError && error.reason === 'revoked');
      assert.ok(held.signal.aborted && held.signal.reason.reason === 'revoked');
    }
  });

  test(`${store}: withLock works under the lock and releases it`, async () => {
    const client = open();
    const output = await client.withLock('a', { waitMs: 100 }, async (lock) => {
      assert.strictEqual(await client.lock('a').tryAcquire(), null);
      return lock.token;
    });
    assert.strictEqual(typeof output, 'bigint');
    const mine = new Error('mine');
    await assert.rejects(client.withLock('a', undefined, () => Promise.reject(mine)), (error) => error === mine);
    assert.strictEqual(await client.withLock('a', (lock) => lock.isValid()), true, 'options may be left out');
    assert.strictEqual((await client.lock('a').inspect()).state, 'free');
  });

  test(`${store}: a lock lost under withLock is an error that keeps what the work gave`, async () => {
    const client = open();
    const work = async (lock) => {
      await client.lock('a').revoke(lock.token);
      await until(() => lock.signal.aborted, 'the signal');
      return 'the output';
    };
    await assert.rejects(client.withLock('a', { leaseMs: 1000 }, work), { name: 'LockLostError', output: 'the output' });
    const mine = new Error('mine');
    await assert.rejects(client.withLock('b', { leaseMs: 1000 }, (lock) => {
      return client.lock('b').revoke(lock.token).then(() => until(() => !lock.isValid(), 'lost')).then(() => Promise.reject(mine));
    }), (error) => error === mine && error.releaseError instanceof LockLostError);
  });

  test(`${store}: list gives every lock, many pages of them, and may be left early`, async () => {
    const client = open();
    const names = Array.from({ length: 150 }, (_, at) => `lock-${String(at).padStart(3, '0')}`);
    for (const name of names) await client.lock(name).hold(1000);
    const listed = [];
    for await (const { name, state } of client.list()) listed.push([name, state]);
    assert.deepStrictEqual(listed.sort(), names.map((name) => [name, 'held']));
    for await (const { name } of client.list()) {
      assert.ok(name);
      break;
    }
  });

  test(`${store}: an aborted acquire rejects with the signal's reason and leaves no lock behind`, async () => {
    const client = open();
    const reason = { mine: true };
    await assert.rejects(client.lock('a').acquire({ signal: AbortSignal.abort(reason) }), (error) => error === reason);
    const held = await client.lock('a').acquire();
    await assert.rejects(client.lock('a').acquire({ signal: AbortSignal.abort(reason) }), (error) => error === reason);
    const aborter = new AbortController();
    const waiting = client.lock('a').acquire({ signal: aborter.signal });
    setTimeout(() => aborter.abort(reason), 20);
    await assert.rejects(waiting, (error) => error === reason);
    await held.release();
    const unused = new AbortController();
    await (await client.lock('a').acquire({ signal: unused.signal })).release();
    for (const { signal } of [aborter, unused]) assert.deepStrictEqual(getEventListeners(signal, 'abort'), []);
    // At any moment, also when the answer is on its way.
    for (let at = 0; at < 60; at++) {
      const abort = new AbortController();
      const ended = client.lock('b').acquire({ signal: abort.signal }).then((lock) => lock.release(), (error) => error);
      if (at % 3 === 0) abort.abort(reason);
      else if (at % 3 === 1) setImmediate(() => abort.abort(reason));
      else setTimeout(() => abort.abort(reason), at % 5);
      await ended;
    }
    await client.close();
    assert.strictEqual((await client.lock('b').inspect()).state, 'free');
  });
}

test('of many processes’ worth of clients on one database one at a time is in', async () => {
  const url = `sqlite://${join(directory(), 'locks.db')}`;
  const clients = Array.from({ length: 4 }, () => connect(url));
  let inside = 0;
  let passes = 0;
  const tokens = [];
  const turn = async (client) => {
    for (let at = 0; at < 10; at++) {
      await client.withLock('a', {}, async ({ token }) => {
        assert.strictEqual(++inside, 1);
        tokens.push(token);
        await sleep(1);
        passes++;
        inside--;
      });
    }
  };
  await Promise.all(clients.map(turn));
  assert.strictEqual(passes, 40);
  assert.deepStrictEqual(tokens, [...tokens].sort((a, b) => (a < b ? -1 : 1)));
});

test('`await using` releases, by the method that it calls', async () => {
  const client = connect('memory:');
  const held = await client.lock('a').acquire();
  await held[Symbol.asyncDispose ?? Symbol.for('Symbol.asyncDispose')]();
  assert.strictEqual((await client.lock('a').inspect()).state, 'free');
});

test('closing a client and leaving a listing open no store for it', async () => {
  const file = join(directory(), 'locks.db');
  await connect(`sqlite://${file}`).close();
  await new Connection({ url: `sqlite://${file}` }).call('endList', { list: 1 }).catch(() => {});
  assert.ok(!existsSync(file));
});

test('many calls may wait for one signal, and node has nothing to warn of', async () => {
  const script = `
    (async () => {
      const client = library.connect('memory:');
      await client.lock('a').acquire();
      const abort = new AbortController();
      const waiting = Array.from({ length: 20 }, () => client.lock('a').acquire({ signal: abort.signal }));
      await client.lock('b').inspect();
      abort.abort('mine');
      for (const { reason } of await Promise.allSettled(waiting)) console.log(reason);
    })();`;
  assert.deepStrictEqual(await start(script).ended, { code: 0, signal: null, said: 'mine\n'.repeat(20), complained: '' });
});

test('maxHoldMs ends a lock however well renewals go', async () => {
  const client = connect('memory:', { leaseMs: 1000 });
  const held = await client.lock('a').acquire({ maxHoldMs: 1500 });
  await until(() => held.signal.aborted, 'the signal');
  assert.strictEqual(held.signal.reason.reason, 'maxHold');
});

test('a signal that is asked for after the loss is aborted', async () => {
  const client = connect('memory:');
  const quiet = await client.lock('a').acquire({ maxHoldMs: 1000 });
  const other = await client.lock('b').acquire({ maxHoldMs: 1500 });
  await until(() => other.signal.aborted, 'the other is lost, later');
  assert.ok(quiet.signal.aborted && quiet.signal.reason instanceof LockLostError);
});

test('the condition check guards a transaction of the user’s own, with both SDKs', needsAll, async (t) => {
  const { client, name } = await onTable(t);
  const held = await client.lock('a').acquire();
  const check = held.conditionCheck();
  assert.deepStrictEqual(Object.getPrototypeOf(check), Object.prototype);
  assert.deepStrictEqual(check.Key, { name: { S: 'a' } });
  assert.strictEqual(check.TableName, name);
  const transaction = (id) => ({
    TransactItems: [{ ConditionCheck: check }, { Put: { TableName: name, Item: { name: { S: id }, guid: { S: 'x' } } } }],
  });
  const v3 = packages('@aws-sdk/client-dynamodb');
  const three = new v3.DynamoDBClient({ region: 'us-east-1', endpoint, credentials: { ...awsConfig } });
  t.after(() => three.destroy());
  await v2().transactWriteItems(transaction('by v2')).promise();
  await three.send(new v3.TransactWriteItemsCommand(transaction('by v3')));
  await held.release();
  await assert.rejects(v2().transactWriteItems(transaction('late')).promise(), { code: 'TransactionCanceledException' });
  await assert.rejects(three.send(new v3.TransactWriteItemsCommand(transaction('late'))), { name: 'TransactionCanceledException' });
  assert.throws(() => held.conditionCheck(), { code: 'RELEASED' });
});

test('connect opens a table by URL, and shares it with createClient', needsServer, async (t) => {
  const { client, name } = await onTable(t);
  const url = `dynamodb://${name}?region=us-east-1&endpoint=${encodeURIComponent(endpoint)}`;
  const other = connect(url, { owner: 'the other', leaseMs: 5000 });
  const held = await other.lock('a').acquire();
  const { holder } = await client.lock('a').inspect();
  assert.match(holder.owner, /^the other \(/);
  assert.strictEqual(holder.leaseMs, 5000);
  await held.release();
});

test('another partition key is a setting', needsAll, async (t) => {
  const { name } = await onTable(t, { partitionKey: 'id' });
  const client = library.createClient(name, { awsConfig, partitionKey: 'id' });
  const held = await client.lock('a').acquire();
  assert.deepStrictEqual(held.conditionCheck().Key, { id: { S: 'a' } });
  await held.release();
});
