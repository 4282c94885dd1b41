'use strict';
// Locks with several holders: `client.semaphore` and `client.rwLock`.

const test = require('node:test');
const assert = require('node:assert');
const { join } = require('node:path');
const { library, needsAll, onTable, directory, sleep, start, until, v2, packages, endpoint, awsConfig } = require('./support');

const { connect, ArgumentError, LockHeldError, LockLostError, StoreError } = library;

/** Functions that create two clients of an empty store. A store in memory has one client. */
const stores = {
  memory: () => Array(2).fill(connect('memory:')),
  sqlite: () => {
    const url = `sqlite://${join(directory(), 'locks.db')}`;
    return [connect(url), connect(url)];
  },
};

/** Returns the lease IDs of the holders. */
const ids = async (handle) => ((await handle.inspect()).holders ?? []).map(({ id }) => id).sort();

for (const [store, open] of Object.entries(stores)) {
  test(`${store}: semaphore has at most its number of holders`, async () => {
    const handles = open().map((client) => client.semaphore('jobs', 3));
    let [inside, most, done] = [0, 0, 0];
    const job = async () => {
      inside++;
      most = Math.max(most, inside);
      await until(() => most >= 3, 'three holders at once');
      await sleep(10);
      inside--;
      done++;
    };
    await Promise.all(Array.from({ length: 24 }, (_, index) => handles[index % 2].withPermit(job)));
    assert.deepStrictEqual([most, done, inside], [3, 24, 0]);
    assert.deepStrictEqual(await ids(handles[0]), []);
  });

  test(`${store}: permit is acquired, refused and released`, async () => {
    const [one, two] = open().map((client) => client.semaphore('jobs', 2));
    const first = await one.acquire({ leaseMs: 5000 });
    const second = await two.tryAcquire();
    assert.ok(first.isValid() && first.timeLeftMs > 0 && first.timeLeftMs <= 5000 && !first.signal.aborted);
    assert.deepStrictEqual([first.name, typeof first.leaseId, 'token' in first], ['jobs', 'string', false]);
    assert.notStrictEqual(first.leaseId, second.leaseId);
    assert.deepStrictEqual(JSON.parse(JSON.stringify(first)), { name: 'jobs', leaseId: first.leaseId });
    assert.strictEqual(await one.tryAcquire(), null);
    await assert.rejects(two.acquire({ waitMs: 20 }), (error) => {
      return error instanceof LockHeldError && error.code === 'LOCK_HELD' && error.waitedMs >= 20;
    });
    const waiting = one.acquire();
    const released = second.release();
    assert.ok(!second.isValid() && second.timeLeftMs === 0);
    assert.strictEqual(second.release(), released, 'the same promise');
    const third = await waiting;
    assert.deepStrictEqual(await ids(two), [first.leaseId, third.leaseId].sort());
    await Promise.all([first.release(), released, third.release()]);
    assert.deepStrictEqual(await ids(two), []);
  });

  test(`${store}: readers hold together and a writer alone`, async () => {
    const [one, two] = open().map((client) => client.rwLock('tables'));
    const readers = [await one.read(), await two.tryRead()];
    assert.strictEqual(readers[0].token, readers[1].token);
    assert.strictEqual(await one.tryWrite(), null);
    await assert.rejects(two.write({ waitMs: 20 }), LockHeldError);
    assert.deepStrictEqual(await ids(one), readers.map(({ leaseId }) => leaseId).sort(), 'the writer has left');
    await Promise.all(readers.map((reader) => reader.release()));

    const writer = await two.tryWrite();
    assert.ok(writer.token > readers[0].token);
    assert.deepStrictEqual([await one.tryRead(), await one.tryWrite()], [null, null]);
    await assert.rejects(one.read({ waitMs: 20 }), LockHeldError);
    assert.deepStrictEqual(JSON.parse(JSON.stringify(writer)), { name: 'tables', token: String(writer.token) });
    await writer.release();
    const next = await one.read();
    assert.ok(next.token > writer.token);
    await next.release();
  });

  test(`${store}: reader and writer are never inside together`, async () => {
    const handles = open().map((client) => client.rwLock('tables'));
    let [readers, writers, done] = [0, 0, 0];
    let together = false;
    await Promise.all(handles.map((lock) => lock.withRead(async () => {
      together = ++readers === 2 || together;
      await until(() => together, 'both readers');
      readers--;
    })));
    const read = async () => {
      readers++;
      assert.strictEqual(writers, 0);
      await sleep(10);
      readers--;
      done++;
    };
    const write = async () => {
      assert.deepStrictEqual([++writers, readers], [1, 0]);
      await sleep(10);
      writers--;
      done++;
    };
    const worker = async (lock) => {
      for (let round = 0; round < 4; round++) {
        await Promise.all([lock.withRead(read), lock.withRead(read)]);
        await lock.withWrite(write);
      }
    };
    await Promise.all([...handles, ...handles].map(worker));
    assert.deepStrictEqual([done, readers, writers], [48, 0, 0]);
  });

  test(`${store}: waiting writer bars readers until it is aborted`, async () => {
    const [one, two] = open().map((client) => client.rwLock('tables'));
    const reader = await one.read();
    const controller = new AbortController();
    const writing = two.write({ signal: controller.signal, waitMs: 20_000 });
    const roles = async () => (await one.inspect()).holders.map(({ role }) => role).sort();
    await until(async () => (await roles()).includes('waiting'), 'the writer waits');
    assert.deepStrictEqual(await roles(), ['shared', 'waiting']);
    assert.strictEqual(await one.tryRead(), null);
    controller.abort(new Error('enough'));
    await assert.rejects(writing, /enough/);
    await until(async () => (await roles()).length === 1, 'the writer has left');
    await (await one.tryRead()).release();
    await reader.release();
  });

  test(`${store}: inspection and listing show all holders`, async () => {
    const [one, two] = open();
    const [semaphore, lock] = [one.semaphore('jobs', 2), two.rwLock('tables')];
    assert.deepStrictEqual(await semaphore.inspect(), { state: 'free', token: null, data: null, last: null }, 'no row');
    const permits = [await semaphore.acquire({ leaseMs: 5000 }), await two.semaphore('jobs', 3).acquire()];
    const writer = await lock.write();

    const jobs = await one.lock('jobs').inspect();
    assert.deepStrictEqual(Object.keys(jobs), ['state', 'kind', 'token', 'slots', 'holders']);
    assert.deepStrictEqual([jobs.state, jobs.kind, typeof jobs.token, jobs.slots], ['held', 'semaphore', 'bigint', 3]);
    const { owner, acquiredAt, mayEndMs, ...rest } = jobs.holders.find(({ id }) => id === permits[0].leaseId);
    const entry = { id: permits[0].leaseId, role: 'shared', expiresAt: null, leaseMs: 5000, revoked: false, expired: false };
    assert.deepStrictEqual(rest, entry);
    assert.ok(owner.length > 0 && Math.abs(Date.now() - acquiredAt) < 600_000);
    assert.ok(mayEndMs.earliest >= 0 && mayEndMs.latest <= 5000);
    assert.strictEqual(JSON.parse(JSON.stringify(jobs)).token, String(jobs.token));

    const tables = await lock.inspect();
    const { kind, token, slots, holders } = tables;
    assert.deepStrictEqual([kind, token, slots, holders.length], ['rwlock', writer.token, 64, 1]);
    assert.deepStrictEqual([holders[0].id, holders[0].role], [writer.leaseId, 'exclusive']);
    const listed = {};
    for await (const { name, state, holders } of one.list()) listed[name] = [state, holders.length];
    assert.deepStrictEqual(listed, { jobs: ['held', 2], tables: ['held', 1] });

    await Promise.all([...permits, writer].map((held) => held.release()));
    const free = await lock.inspect();
    assert.deepStrictEqual([free.state, free.kind, free.holders], ['free', 'rwlock', []]);
    assert.ok(free.token > writer.token, 'so that the next reader has a greater token');
  });

  test(`${store}: revocation ends one holder`, async () => {
    const [one, two] = open().map((client) => client.semaphore('jobs', 2));
    const [revoked, kept] = [await one.acquire({ leaseMs: 1000 }), await one.acquire()];
    await two.revokeHolder(revoked.leaseId);
    await until(() => revoked.signal.aborted, 'the signal');
    const { reason } = revoked.signal;
    assert.ok(reason instanceof LockLostError && reason.reason === 'revoked', reason);
    await assert.rejects(revoked.release(), (error) => error === reason);
    assert.ok(!revoked.isValid() && kept.isValid() && !kept.signal.aborted);
    await (await two.acquire()).release();
    await kept.release();
    await assert.rejects(two.revokeHolder(kept.leaseId), (error) => {
      return error instanceof StoreError && error.code === 'LEASE_ENDED' && error.message.includes(kept.leaseId);
    });
  });

  test(`${store}: revocation by force frees a slot at once`, async () => {
    const [one, two] = open().map((client) => client.semaphore('jobs', 1));
    const held = await one.acquire({ leaseMs: 60_000 });
    await two.revokeHolder(held.leaseId, { force: false });
    assert.strictEqual((await two.inspect()).holders[0].revoked, true);
    assert.strictEqual(await two.tryAcquire(), null, 'the lease has not expired');
    await two.revokeHolder(held.leaseId, { force: true });
    await (await two.tryAcquire()).release();
    await assert.rejects(held.release(), LockLostError);
  });

  test(`${store}: revoked reader leaves the lock to a writer`, async () => {
    const [one, two] = open().map((client) => client.rwLock('tables'));
    const reader = await one.read({ leaseMs: 60_000 });
    await two.revokeHolder(reader.leaseId, { force: true });
    const writer = await two.tryWrite();
    assert.ok(writer.token > reader.token);
    await assert.rejects(reader.release(), (error) => error instanceof LockLostError && error.token === reader.token);
    await writer.release();
  });

  test(`${store}: rows of another kind are refused until converted`, async () => {
    const [client] = open();
    const [lock, rwLock, semaphore] = [client.lock('a'), client.rwLock('a'), client.semaphore('a', 2)];
    const held = await lock.acquire();
    const refused = (promise, found, requested) => assert.rejects(promise, (error) => {
      assert.match(error.message, new RegExp(`lock "a": the row of this name is that of ${found}, but ${requested} was`));
      return error instanceof StoreError && error.code === 'BAD_ROW';
    });
    await refused(rwLock.read(), 'a plain lock', 'a read/write lock');
    await refused(semaphore.tryAcquire(), 'a plain lock', 'a semaphore');
    const isHeld = (error) => error instanceof LockHeldError && /cannot change the kind of a lock that is held/.test(error.message);
    await assert.rejects(rwLock.convert(), isHeld);
    await held.release();

    await rwLock.convert();
    await refused(lock.acquire(), 'a read/write lock', 'a plain lock');
    const writer = await rwLock.write();
    assert.ok(writer.token > held.token);
    await assert.rejects(lock.reset(), isHeld);
    await writer.release();
    await lock.reset();
    const again = await lock.acquire();
    assert.ok(again.token > writer.token);
    await again.release();
  });
}

test('holder whose process was killed is expired', { skip: process.platform !== 'linux' }, async () => {
  const url = `sqlite://${join(directory(), 'locks.db')}`;
  const script = `library.connect(process.argv[1]).semaphore('jobs', 1).acquire().then(({ leaseId }) => {
    console.log(leaseId);
    process.stdin.resume();
  });`;
  const child = start(script, { args: [url] });
  await until(() => child.output.endsWith('\n'), 'the permit');
  const id = child.output.trim();
  child.kill('SIGKILL');
  await child.ended;
  const semaphore = connect(url).semaphore('jobs', 1);
  const { state, holders } = await semaphore.inspect();
  assert.deepStrictEqual([state, holders.length], ['free', 1]);
  assert.deepStrictEqual([holders[0].id, holders[0].expired, holders[0].mayEndMs], [id, true, null]);
  const permit = await semaphore.tryAcquire();
  assert.deepStrictEqual(await ids(semaphore), [permit.leaseId], 'the expired holder is removed');
  await permit.release();
});

test('abort ends the wait for a permit and leaves none behind', async () => {
  const semaphore = connect('memory:').semaphore('jobs', 1);
  const held = await semaphore.acquire();
  await assert.rejects(semaphore.acquire({ signal: AbortSignal.timeout(20), waitMs: 20_000 }), { name: 'TimeoutError' });
  await assert.rejects(semaphore.withPermit({ signal: AbortSignal.abort(new Error('enough')) }, () => 1), /enough/);
  assert.deepStrictEqual(await ids(semaphore), [held.leaseId]);
  await held[Symbol.asyncDispose ?? Symbol.for('Symbol.asyncDispose')]();
  assert.deepStrictEqual(await ids(semaphore), []);
});

test('work under a permit, a reader or a writer returns its result', async () => {
  const client = connect('memory:');
  const [semaphore, lock] = [client.semaphore('jobs', 1), client.rwLock('tables')];
  for (const [handle, method] of [[semaphore, 'withPermit'], [lock, 'withRead'], [lock, 'withWrite']]) {
    assert.strictEqual(await handle[method]({ waitMs: 1000 }, async (held) => held.isValid()), true);
    assert.strictEqual(await handle[method]((held) => held.name), handle.name);
    await assert.rejects(handle[method](() => Promise.reject(new Error('of the work'))), /of the work/);
    const revoked = handle[method](async (held) => {
      await handle.revokeHolder(held.leaseId, { force: true });
      return 7;
    });
    await assert.rejects(revoked, (error) => error instanceof LockLostError && error.output === 7);
    assert.deepStrictEqual(await ids(handle), []);
    await assert.rejects(handle[method](7), { name: 'ArgumentError', message: new RegExp(`work of ${method} must be`) });
  }
});

test('permit is at risk before its maxHoldMs ends', async () => {
  const semaphore = connect('memory:', { leaseMs: 4000 }).semaphore('jobs', 1);
  const permit = await semaphore.acquire({ maxHoldMs: 3000 });
  const signal = permit.riskSignal();
  await until(() => signal.aborted, 'the warning');
  assert.ok(permit.isValid() && signal.reason.code === 'LOCK_AT_RISK' && signal.reason.timeLeftMs < 2000);
  assert.match(signal.reason.message, /^permit of "jobs" is at risk/);
  await permit.release();
});

test('invalid arguments of shared locks are rejected', async () => {
  const client = connect('memory:');
  const cases = [
    [() => client.semaphore('a', 0), /a semaphore has 1 to 64 slots, not 0/],
    [() => client.semaphore('a', 65), /a semaphore has 1 to 64 slots, not 65/],
    [() => client.semaphore('a', 1.5), /the slots of a semaphore must be a positive whole number, not 1.5/],
    [() => client.semaphore('a', -1), /must be a positive whole number, not -1/],
    [() => client.semaphore('a', '3'), /must be a positive whole number, not string/],
    [() => client.semaphore('a'), /must be a positive whole number, not undefined/],
    [() => client.semaphore(7, 1), /the name of a semaphore must be a string/],
    [() => client.semaphore('', 1), /must not be empty/],
    [() => client.rwLock(''), /must not be empty/],
  ];
  for (const [call, message] of cases) {
    assert.throws(call, (error) => error instanceof ArgumentError && message.test(error.message));
  }
  const [semaphore, lock] = [client.semaphore('a', 64), client.rwLock('b')];
  for (const handle of [semaphore, lock]) {
    await assert.rejects(handle.revokeHolder(7n), { name: 'ArgumentError', message: /the lease ID of the holder must be a string/ });
    await assert.rejects(handle.revokeHolder('x', { force: 1 }), { name: 'ArgumentError', message: /force must be true or false/ });
    await assert.rejects(handle.revokeHolder('x'), { code: 'LEASE_ENDED' });
  }
  await assert.rejects(semaphore.acquire({ leaseMs: 1 }), ArgumentError);
  await assert.rejects(lock.tryWrite({ maxHoldMs: 1 }), ArgumentError);
});

test('condition check of a permit needs a table and a held permit', async () => {
  const permit = await connect('memory:').semaphore('jobs', 1).acquire();
  assert.throws(() => permit.conditionCheck(), { code: 'NOT_DYNAMODB', message: /permit of "jobs": .* call permit\.isValid\(\)/ });
  await permit.release();
  assert.throws(() => permit.conditionCheck(), { code: 'RELEASED' });
});

test('condition checks pass only while permit or reader holds', needsAll, async (t) => {
  const { name, client } = await onTable(t);
  const held = [await client.semaphore('jobs', 2).acquire(), await client.rwLock('tables').read()];
  const checks = held.map((each) => ({ ConditionCheck: each.conditionCheck() }));
  const put = { Put: { TableName: name, Item: { name: { S: 'result' } } } };
  const transact = (...checks) => v2().transactWriteItems({ TransactItems: [...checks, put] }).promise();
  await transact(...checks);
  for (const [index, each] of held.entries()) {
    await each.release();
    await assert.rejects(transact(checks[index]), { code: 'TransactionCanceledException' });
  }
});

test('shared locks work over a db of both SDKs', needsAll, async (t) => {
  const { name, client } = await onTable(t);
  const { DynamoDBClient } = packages('@aws-sdk/client-dynamodb');
  const v3 = new DynamoDBClient({ region: 'us-east-1', endpoint, credentials: { ...awsConfig } });
  t.after(() => v3.destroy());
  for (const db of [v2({ maxRetries: 0 }), v3]) {
    const other = library.createClient(name, { db, commands: packages('@aws-sdk/client-dynamodb') });
    const [semaphore, lock] = [other.semaphore('jobs', 2), other.rwLock('tables')];
    const permits = [await semaphore.acquire(), await client.semaphore('jobs', 2).acquire()];
    assert.strictEqual(await semaphore.tryAcquire(), null);
    await semaphore.revokeHolder(permits[1].leaseId, { force: true });
    assert.deepStrictEqual(await ids(semaphore), [permits[0].leaseId]);
    await permits[0].release();
    await assert.rejects(permits[1].release(), LockLostError);
    const readers = [await lock.read(), await client.rwLock('tables').read()];
    assert.strictEqual(await lock.tryWrite(), null);
    await Promise.all(readers.map((reader) => reader.release()));
    assert.ok((await lock.withWrite((writer) => writer.token)) > readers[0].token);
  }
});
