'use strict';
// Calls on a held lock besides its release, the holder that a call without a wait reports, and the table of a client.

const test = require('node:test');
const assert = require('node:assert');
const { library, needsServer, onTable, awsConfig } = require('./support');

const { connect, createClient, ArgumentError, DynamoLockError, LockLostError, StoreError } = library;

const released = (error) => error instanceof StoreError && error.code === 'RELEASED';

test('renewed lock has its whole lease left', async () => {
  const client = connect('memory:', { heartbeatMs: 1000 });
  const held = await client.lock('a').acquire({ leaseMs: 3_600_000 });
  await held.renew();
  assert.ok(held.isValid() && held.timeLeftMs > 3_500_000, `${held.timeLeftMs} ms`);
  await held.release();
  await assert.rejects(held.renew(), released);
});

test('renewal of revoked lock reports the loss', async () => {
  const client = connect('memory:');
  const lock = client.lock('a');
  const held = await lock.acquire();
  await lock.revoke(held.token);
  await assert.rejects(held.renew(), (error) => error instanceof LockLostError && error.reason === 'revoked');
  assert.ok(!held.isValid() && held.signal.aborted);
  assert.throws(() => held.ensure(1), LockLostError);
  await assert.rejects(held.updateData('x'), LockLostError);
});

test('release waits for renewals that are in progress', async () => {
  const client = connect('memory:');
  const held = await client.lock('a').acquire();
  const renewals = [held.renew(), held.updateData('done'), held.renew()];
  await held.release();
  await Promise.all(renewals);
  assert.deepStrictEqual((await client.lock('a').inspect()).data, 'done');
});

test('ensure throws if the lease ends earlier', async () => {
  const held = await connect('memory:').lock('a').acquire({ leaseMs: 5000 });
  held.ensure(1000);
  assert.throws(() => held.ensure(5001), (error) => {
    assert.ok(error instanceof DynamoLockError && error.code === 'LEASE_TOO_SHORT');
    return error.timeLeftMs > 0 && error.timeLeftMs <= 5000;
  });
  assert.throws(() => held.ensure(-1), ArgumentError);
  await held.release();
  assert.throws(() => held.ensure(0), released);
});

test('payload of held lock is replaced', async () => {
  const client = connect('memory:');
  const held = await client.lock('a').acquire({ data: 'one' });
  await held.updateData('two');
  assert.strictEqual((await client.lock('a').inspect()).holder.data, 'two');
  await assert.rejects(held.updateData('x'.repeat(4097)), ArgumentError);
  await assert.rejects(held.updateData(1), ArgumentError);
  assert.ok(held.isValid(), 'an invalid payload changes nothing');
  await held.release();
  const reader = await client.rwLock('b').read();
  await assert.rejects(reader.updateData('x'), ArgumentError);
  await reader.release();
});

test('permits and sets of locks are renewed', async () => {
  const client = connect('memory:');
  const permit = await client.semaphore('s', 1).acquire();
  await permit.renew();
  permit.ensure(1);
  await permit.release();
  await client.withLocks(['a', 'b'], async (locks) => {
    await locks.renew();
    locks.ensure(1);
    assert.throws(() => locks.ensure(Number.MAX_SAFE_INTEGER), { code: 'LEASE_TOO_SHORT' });
  });
});

test('calls that do not wait report the holder', async () => {
  const client = connect('memory:', { owner: 'first' });
  const holders = [];
  const onHeld = (holder) => holders.push(holder.owner.split(' ')[0]);
  const held = await client.lock('a').tryAcquire({ onHeld });
  assert.deepStrictEqual(holders, [], 'the lock was free');
  assert.strictEqual(await client.lock('a').tryAcquire({ onHeld }), null);
  const permit = await client.semaphore('s', 1).acquire();
  assert.strictEqual(await client.semaphore('s', 1).tryAcquire({ onHeld }), null);
  const writer = await client.rwLock('rw').write();
  assert.strictEqual(await client.rwLock('rw').tryRead({ onHeld }), null);
  assert.strictEqual(await client.rwLock('rw').tryWrite({ onHeld }), null);
  assert.deepStrictEqual(holders, ['first', 'first', 'first', 'first']);
  await assert.rejects(client.lock('a').tryAcquire({ onHeld: 1 }), ArgumentError);
  for (const each of [held, permit, writer]) await each.release();
});

test('table is created and checked', needsServer, async (t) => {
  const { name } = await onTable(t);
  const client = createClient(`${name}-own`, { awsConfig });
  assert.match((await client.checkTable())[0].message, /there is no table/);
  t.after(() => client.deleteLockTable());
  await client.createTable({ tags: { team: 'ops' }, ttl: true });
  assert.deepStrictEqual(await client.checkTable(), []);
  await assert.rejects(client.createTable(), { name: 'StoreError', code: 'TABLE_EXISTS' });
  const legacy = await createClient(name, { awsConfig }).checkTable();
  assert.deepStrictEqual(legacy.map(({ warning }) => warning), [true], 'no deletion of idle rows');
});

test('table options are checked before any request', async () => {
  const client = createClient('a', { awsConfig: { ...awsConfig, endpoint: 'http://127.0.0.1:1' } });
  await assert.rejects(client.createTable({ readUnits: 1 }), ArgumentError);
  await assert.rejects(client.createTable({ tags: { a: 1 } }), ArgumentError);
  await assert.rejects(connect('memory:').createTable(), { code: 'NOT_DYNAMODB' });
  await assert.rejects(connect('memory:').checkTable(), { code: 'NOT_DYNAMODB' });
});
