'use strict';
// The lock API, on the stores that need no server and on a DynamoDB server.

const test = require('node:test');
const assert = require('node:assert');
const { getEventListeners } = require('node:events');
const { existsSync } = require('node:fs');
const { join } = require('node:path');
const { library, needsAll, needsServer, onTable, directory, start, sleep, until, v2, packages, endpoint, awsConfig } = require('./support');
const { Connection } = require('../lib/connection');

const { connect, LockHeldError, LockLostError } = library;

/** Functions that create a client of an empty store. */
const stores = {
  memory: () => connect('memory:'),
  sqlite: () => connect(`sqlite://${join(directory(), 'locks.db')}`),
};

for (const [store, open] of Object.entries(stores)) {
  test(`${store}: lock is acquired, refused and released`, async () => {
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
    assert.ok(!first.isValid() && first.timeLeftMs === 0, 'as soon as release is called');
    await released;
    assert.ok(!first.isValid() && first.timeLeftMs === 0 && !first.signal.aborted);
    assert.strictEqual(first.release(), released, 'the same promise');
    const second = await lock.tryAcquire({ data: 'x' });
    assert.ok(second.token > first.token);
    await second.release();
  });

  test(`${store}: waiter acquires lock when it is released`, async () => {
    const client = open();
    const first = await client.lock('a').acquire();
    const waiting = client.lock('a').acquire();
    await sleep(30);
    await first.release();
    const second = await waiting;
    assert.ok(second.token > first.token);
    await second.release();
  });

  test(`${store}: hold lasts for its time and returns token`, async () => {
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

  test(`${store}: inspect shows free and held lock`, async () => {
    const client = open();
    assert.deepStrictEqual(await client.lock('a').inspect(), { state: 'free', token: null, data: null, last: null });
    const held = await client.lock('a').acquire({ data: 'shard 7', leaseMs: 5000 });
    const { state, holder, mayEndMs, last } = await client.lock('a').inspect();
    assert.deepStrictEqual([last, state, holder.token, holder.data, holder.leaseMs], [null, 'held', held.token, 'shard 7', 5000]);
    assert.ok(Math.abs(Date.now() - holder.acquiredAt) < 600_000 && Math.abs(Date.now() - holder.expiresAt) < 600_000);
    assert.ok(mayEndMs.earliest >= 0 && mayEndMs.latest <= 5000);
    await held.release();
    const { last: ended, ...free } = await client.lock('a').inspect();
    assert.deepStrictEqual(free, { state: 'free', token: held.token, data: 'shard 7' });
    const { acquiredAt, heldMs, ...rest } = ended;
    assert.deepStrictEqual(rest, { owner: holder.owner, end: 'released', exitCode: null });
    assert.ok(acquiredAt.getTime() === holder.acquiredAt.getTime() && heldMs >= 0 && heldMs < 600_000);
  });

  test(`${store}: inspect shows that a held lock was revoked`, async () => {
    const client = open();
    const token = await client.lock('a').hold(60_000);
    assert.strictEqual((await client.lock('a').inspect()).holder.revoked, false);
    await client.lock('a').revoke(token);
    const { state, holder } = await client.lock('a').inspect();
    assert.deepStrictEqual([state, holder.revoked], ['held', true]);
  });

  test(`${store}: revoked lock is lost and aborts its signal`, async () => {
    const client = open();
    const held = await client.lock('a').acquire({ leaseMs: 1000 });
    let lost;
    held.signal.addEventListener('abort', () => (lost = held.signal.reason));
    await client.lock('a').revoke(held.token);
    await until(() => lost, 'the signal');
    assert.ok(lost instanceof LockLostError && lost.code === 'LOCK_LOST' && lost.reason === 'revoked', lost);
    assert.strictEqual(lost.token, held.token);
    assert.ok(!held.isValid() && held.timeLeftMs === 0);
    await assert.rejects(held.release(), (error) => error === lost);
    await client.lock('a').revoke(held.token); // already revoked
    await assert.rejects(client.lock('a').revoke(held.token - 1n), { code: 'LEASE_ENDED' });
  });

  test(`${store}: release of a lost lock rejects`, async () => {
    const client = open();
    for (const end of ['release', Symbol.asyncDispose]) {
      const held = await client.lock('a').acquire({ leaseMs: 1000, waitMs: 60_000 });
      await client.lock('a').revoke(held.token);
      await assert.rejects(held[end](), (error) => error instanceof LockLostError && error.reason === 'revoked');
      assert.ok(held.signal.aborted && held.signal.reason.reason === 'revoked');
    }
  });

  test(`${store}: forceRevoke frees the lock at once`, async () => {
    const client = open();
    const held = await client.lock('a').acquire({ leaseMs: 60_000 });
    await client.lock('a').forceRevoke(held.token);
    const next = await client.lock('a').tryAcquire();
    assert.ok(next.token > held.token);
    await assert.rejects(held.release(), LockLostError);
    await next.release();
    await assert.rejects(client.lock('a').forceRevoke(held.token), { code: 'LEASE_ENDED' });
  });

  test(`${store}: withLock releases after success and failure`, async () => {
    const client = open();
    const output = await client.withLock('a', { waitMs: 100 }, async (lock) => {
      assert.strictEqual(await client.lock('a').tryAcquire(), null);
      return lock.token;
    });
    assert.strictEqual(typeof output, 'bigint');
    const failure = new Error('failure of the work');
    await assert.rejects(client.withLock('a', undefined, () => Promise.reject(failure)), (error) => error === failure);
    assert.strictEqual(await client.withLock('a', (lock) => lock.isValid()), true, 'options are optional');
    assert.strictEqual((await client.lock('a').inspect()).state, 'free');
  });

  test(`${store}: withLock keeps the result if the lock is lost`, async () => {
    const client = open();
    const work = async (lock) => {
      await client.lock('a').revoke(lock.token);
      await until(() => lock.signal.aborted, 'the signal');
      return 'the output';
    };
    await assert.rejects(client.withLock('a', { leaseMs: 1000 }, work), { name: 'LockLostError', output: 'the output' });
    const failure = new Error('failure of the work');
    await assert.rejects(client.withLock('b', { leaseMs: 1000 }, (lock) => {
      return client.lock('b').revoke(lock.token).then(() => until(() => !lock.isValid(), 'lost')).then(() => Promise.reject(failure));
    }), (error) => error === failure && error.releaseError instanceof LockLostError);
  });

  test(`${store}: list returns all pages and may be left early`, async () => {
    const client = open();
    const names = Array.from({ length: 150 }, (_, at) => `lock-${String(at).padStart(3, '0')}`);
    for (const name of names) await client.lock(name).hold(600_000);
    const listed = [];
    for await (const { name, state } of client.list()) listed.push([name, state]);
    assert.deepStrictEqual(listed.sort(), names.map((name) => [name, 'held']));
    for await (const { name } of client.list()) {
      assert.ok(name);
      break;
    }
  });

  test(`${store}: aborted acquire rejects and leaves no lock`, async () => {
    const client = open();
    const reason = { reason: true };
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
    // The abort may come at any time, also when the response is already on its way.
    for (let at = 0; at < 60; at++) {
      const abort = new AbortController();
      const settled = client.lock('b').acquire({ signal: abort.signal }).then((lock) => lock.release(), (error) => error);
      if (at % 3 === 0) abort.abort(reason);
      else if (at % 3 === 1) setImmediate(() => abort.abort(reason));
      else setTimeout(() => abort.abort(reason), at % 5);
      await settled;
    }
    await client.close();
    assert.strictEqual((await client.lock('b').inspect()).state, 'free');
  });
}

test('clients on one database exclude each other', async () => {
  const url = `sqlite://${join(directory(), 'locks.db')}`;
  const clients = Array.from({ length: 4 }, () => connect(url));
  let inside = 0;
  let passes = 0;
  const tokens = [];
  const work = async (client) => {
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
  await Promise.all(clients.map(work));
  assert.strictEqual(passes, 40);
  assert.deepStrictEqual(tokens, [...tokens].sort((a, b) => (a < b ? -1 : 1)));
});

test('await using releases the lock', async () => {
  const client = connect('memory:');
  const held = await client.lock('a').acquire();
  await held[Symbol.asyncDispose ?? Symbol.for('Symbol.asyncDispose')]();
  assert.strictEqual((await client.lock('a').inspect()).state, 'free');
});

test('close and abandoned list do not open the store', async () => {
  const file = join(directory(), 'locks.db');
  await connect(`sqlite://${file}`).close();
  await new Connection({ url: `sqlite://${file}` }).call('endList', { list: 1 }).catch(() => {});
  assert.ok(!existsSync(file));
});

test('many calls share one signal without a warning', async () => {
  const script = `
    (async () => {
      const client = library.connect('memory:');
      await client.lock('a').acquire();
      const abort = new AbortController();
      const waiting = Array.from({ length: 20 }, () => client.lock('a').acquire({ signal: abort.signal }));
      await client.lock('b').inspect();
      abort.abort('my reason');
      for (const { reason } of await Promise.allSettled(waiting)) console.log(reason);
    })();`;
  assert.deepStrictEqual(await start(script).ended, { code: 0, signal: null, output: 'my reason\n'.repeat(20), errorOutput: '' });
});

test('maxHoldMs ends the lock despite renewals', async () => {
  const client = connect('memory:', { leaseMs: 1000 });
  const held = await client.lock('a').acquire({ maxHoldMs: 1500 });
  await until(() => held.signal.aborted, 'the signal');
  assert.strictEqual(held.signal.reason.reason, 'maxHold');
});

test('signal requested after the loss is aborted', async () => {
  const client = connect('memory:');
  const first = await client.lock('a').acquire({ maxHoldMs: 1000 });
  const other = await client.lock('b').acquire({ maxHoldMs: 1500 });
  await until(() => other.signal.aborted, 'the loss of the other lock');
  assert.ok(first.signal.aborted && first.signal.reason instanceof LockLostError);
});

test('condition check guards a transaction of both SDKs', needsAll, async (t) => {
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
  const v3Client = new v3.DynamoDBClient({ region: 'us-east-1', endpoint, credentials: { ...awsConfig } });
  t.after(() => v3Client.destroy());
  await v2().transactWriteItems(transaction('by v2')).promise();
  await v3Client.send(new v3.TransactWriteItemsCommand(transaction('by v3')));
  await held.release();
  await assert.rejects(v2().transactWriteItems(transaction('late')).promise(), { code: 'TransactionCanceledException' });
  await assert.rejects(v3Client.send(new v3.TransactWriteItemsCommand(transaction('late'))), { name: 'TransactionCanceledException' });
  assert.throws(() => held.conditionCheck(), { code: 'RELEASED' });
});

test('connect by URL shares the table with createClient', needsServer, async (t) => {
  const { client, name } = await onTable(t);
  const url = `dynamodb://${name}?region=us-east-1&endpoint=${encodeURIComponent(endpoint)}`;
  const other = connect(url, { owner: 'other', leaseMs: 5000 });
  const held = await other.lock('a').acquire();
  const { holder } = await client.lock('a').inspect();
  assert.match(holder.owner, /^other \(/);
  assert.strictEqual(holder.leaseMs, 5000);
  await held.release();
});

test('partitionKey selects the key of the table', needsAll, async (t) => {
  const { name } = await onTable(t, { partitionKey: 'id' });
  const client = library.createClient(name, { awsConfig, partitionKey: 'id' });
  const held = await client.lock('a').acquire();
  assert.deepStrictEqual(held.conditionCheck().Key, { id: { S: 'a' } });
  await held.release();
});

test('partitionKey that names an attribute of a lock is refused at once', () => {
  for (const partitionKey of ['token', 'guid', 'leaseId', '']) {
    const refused = { name: 'ArgumentError', code: 'INVALID_ARGUMENT', message: /partition key/ };
    assert.throws(() => library.createClient('Lock', { awsConfig, partitionKey }), refused, partitionKey);
  }
});
