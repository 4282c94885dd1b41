'use strict';
// Comparison with npm dynamo-lock 0.1.3: the same schedules give the same results and rows, except for its faults, of
// which each has a test. Processes of both packages on one table exclude each other.

const test = require('node:test');
const assert = require('node:assert');
const { join } = require('node:path');
const { library, packages, modules, needsAll, awsConfig, tableName, v2, row, putRow, sleep, start, onTable, until } = require('./support');

/** Runs a test without console.log, which npm dynamo-lock calls. */
function silenced(run) {
  const { log } = console;
  console.log = () => {};
  return run().finally(() => (console.log = log));
}

/** Returns a random choice function with a fixed seed (mulberry32). */
function randomChoice(seed) {
  let state = seed >>> 0;
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let z = Math.imul(state ^ (state >>> 15), 1 | state);
    z = (z + Math.imul(z ^ (z >>> 7), 61 | z)) ^ z;
    return (z ^ (z >>> 14)) >>> 0;
  };
  return (values) => values[next() % values.length];
}

const NAMES = ['a', 'b', 'it’s "c" 🔒'];
// Longer than the test, or expired by the next step, so that no result depends on a few milliseconds.
const TIMES = [3_600_000, 36_000_000, 3_600_000.5, 0, -5000, 1, 1.5];
const ROWS = [
  { guid: { S: 'x' } },
  { guid: { S: 'x' }, expiresOn: { N: '99999999999999' } },
  { guid: { S: 'x' }, expiresOn: { N: '99999999999999.5' } },
  { guid: { S: 'x' }, expiresOn: { N: '5' } },
  { guid: { S: 'x' }, expiresOn: { N: '-5' } },
  { guid: { S: 'x' }, expiresOn: { S: '99999999999999' } },
];

function schedule(seed) {
  const pick = randomChoice(seed);
  return Array.from({ length: 25 }, () => {
    const kind = pick(['get', 'get', 'get', 'get', 'put', 'create']);
    return { kind, name: pick(NAMES), ms: pick(TIMES), row: pick(ROWS) };
  });
}

/** Performs one step with one client. Returns the arguments of all callback calls, with the times replaced. */
async function step(client, table, { kind, name, ms, row: attributes }) {
  if (kind === 'put') return putRow(table, name, attributes).then(() => []);
  const calls = [];
  const before = Date.now();
  await new Promise((resolve) => {
    const callback = (...values) => (calls.push(values), resolve());
    if (kind === 'create') client.createLockTable(callback);
    else client.getLock(name, ms, callback);
  });
  const after = Date.now();
  await sleep(5);
  if (kind === 'get' && calls[0][0] === null) {
    const written = Number((await row(table, name)).expiresOn.N);
    assert.ok(written - ms >= before - 50 && written - ms <= after + 50, `${written} - ${ms}: ${before} to ${after}`);
  }
  const withoutTimes = (value) => {
    const held = typeof value === 'string' && /^Lock expires on (\S+) currently its (\d+)$/.exec(value);
    if (!held) return value;
    assert.ok(held[2] >= before - 50 && held[2] <= after + 50);
    return 'Lock expires on … currently its …';
  };
  return calls.map((values) => values.map(withoutTimes));
}

/** Returns all rows without nonces and times, which `step` checks. */
async function rows(table) {
  const { Items } = await v2().scan({ TableName: table, ConsistentRead: true }).promise();
  const shape = (item) => ({ ...item, guid: { S: item.guid.S.length > 1 ? 'nonce' : item.guid.S }, expiresOn: item.expiresOn && 'a time' });
  return Items.map(shape).sort((a, b) => (a.name.S < b.name.S ? -1 : 1));
}

async function tables(t) {
  const legacy = tableName();
  const current = tableName();
  const clients = {
    legacy: packages('dynamo-lock').createClient(legacy, { db: v2() }),
    current: library.createClient(current, { awsConfig }),
  };
  for (const client of Object.values(clients)) await new Promise((resolve) => client.createLockTable(resolve));
  t.after(() => Promise.all([legacy, current].map((TableName) => v2().deleteTable({ TableName }).promise().catch(() => {}))));
  return { legacy, current, clients };
}

test('random schedules give the same results and rows', needsAll, (t) =>
  silenced(async () => {
    const { legacy, current, clients } = await tables(t);
    const seen = new Map();
    for (let seed = 1; seed <= 8; seed++) {
      for (const [at, planned] of schedule(seed).entries()) {
        const expected = await step(clients.legacy, legacy, planned);
        const actual = await step(clients.current, current, planned);
        const context = `seed ${seed}, step ${at}: ${JSON.stringify(planned)}`;
        assert.deepStrictEqual(actual, expected, context);
        assert.deepStrictEqual(await rows(current), await rows(legacy), context);
        const result = `${planned.kind} ${expected.flat()[0]}`;
        seen.set(result, (seen.get(result) ?? 0) + 1);
      }
    }
    // Check that the schedules produce every result, because the comparison would be meaningless otherwise.
    for (const result of ['get null', 'get Lock expires on … currently its …', 'create TABLE_EXISTS']) {
      assert.ok(seen.get(result) >= 8, `${result}: ${JSON.stringify([...seen])}`);
    }
  }));

test('control: comparison detects another result or row', needsAll, (t) =>
  silenced(async () => {
    const { legacy, current, clients } = await tables(t);
    const get = { kind: 'get', name: 'a', ms: 60_000 };
    const wrongResult = { getLock: (name, ms, callback) => clients.current.getLock(name, ms, (error) => callback(error, 'success')) };
    assert.notDeepStrictEqual(await step(wrongResult, current, get), await step(clients.legacy, legacy, get));
    const wrongTime = { getLock: (name, ms, callback) => clients.current.getLock(name, ms + 1000, callback) };
    await assert.rejects(step(wrongTime, current, { ...get, name: 'b' }));
    await putRow(current, 'c', { guid: { S: 'x' }, extra: { S: 'y' } });
    await putRow(legacy, 'c', { guid: { S: 'x' } });
    assert.notDeepStrictEqual(await rows(current), await rows(legacy));
  }));

// The faults of npm dynamo-lock: each test shows its behavior first, then that of this package.
test('fault: failed read never calls the callback', needsAll, () =>
  silenced(async () => {
    const call = (client) =>
      Promise.race([
        new Promise((resolve) => client.getLock('a', 1000, resolve)),
        sleep(1500, 'never'),
      ]);
    const missing = tableName();
    assert.strictEqual(await call(packages('dynamo-lock').createClient(missing, { db: v2({ maxRetries: 0 }) })), 'never');
    assert.strictEqual(await call(library.createClient(missing, { awsConfig })), 'ERROR');
  }));

test('fault: failed deletion calls the callback twice', needsAll, () =>
  silenced(async () => {
    const calls = async (client) => {
      const calls = [];
      client.deleteLockTable((...values) => calls.push(values[0]));
      await until(() => calls.length > 0, 'a callback');
      await sleep(50);
      return calls;
    };
    const missing = tableName();
    assert.deepStrictEqual(await calls(packages('dynamo-lock').createClient(missing, { db: v2() })), ['ERROR', null]);
    assert.deepStrictEqual(await calls(library.createClient(missing, { awsConfig })), ['ERROR']);
  }));

test('fault: read is eventually consistent', () =>
  silenced(async () => {
    for (const [client, strong] of [[packages?.('dynamo-lock'), undefined], [library, true]]) {
      if (!client) continue;
      const read = new Promise((resolve) => {
        const db = { getItem: (params, callback) => (resolve(params), callback(null, {})), putItem: (params, callback) => callback(null, {}) };
        client.createClient('Lock', { db }).getLock('a', 1000, () => {});
      });
      assert.strictEqual((await read).ConsistentRead, strong);
    }
  }));

test('fault: put with lost response locks its sender out', needsAll, (t) =>
  silenced(async () => {
    const { legacy, current } = await tables(t);
    const losing = () => {
      const db = v2({ maxRetries: 0 });
      return { getItem: db.getItem.bind(db), putItem: (params, callback) => db.putItem(params, () => callback(new Error('socket hang up'))) };
    };
    const get = (client) => new Promise((resolve) => client.getLock('a', 60_000, (error) => resolve(error)));
    assert.strictEqual(await get(packages('dynamo-lock').createClient(legacy, { db: losing() })), 'ERROR');
    assert.strictEqual(await get(library.createClient(current, { db: losing() })), null);
  }));

test('fault: timeout given as string is appended to the time', needsAll, (t) =>
  silenced(async () => {
    const { legacy, current, clients } = await tables(t);
    const get = (client) => new Promise((resolve) => client.getLock('a', '1000', resolve));
    await get(clients.legacy);
    await get(clients.current);
    assert.ok((await row(legacy, 'a')).expiresOn.N.length > 16);
    assert.ok((await row(current, 'a')).expiresOn.N.length === 13);
  }));

/**
 * Acquires two locks and fails to acquire a third, while `Math.random` always returns the same number. Prints the
 * results and the number of different nonces to standard error.
 */
const NONCES = `
  Math.random = () => 0.5;
  const { createClient } = process.argv[1] === 'current' ? library : require(process.argv[1]);
  const nonces = [];
  const refused = Object.assign(new Error('no'), { code: 'ConditionalCheckFailedException' });
  const db = {
    getItem: (params, callback) => callback(null, {}),
    putItem: ({ Item }, callback) => callback(nonces.push(Item.guid.S) > 2 ? refused : null, {}),
  };
  const client = createClient('Lock', { db });
  const get = (name) => new Promise((resolve) => client.getLock(name, 1, resolve));
  (async () => process.stderr.write(JSON.stringify([await get('a'), await get('b'), await get('c'), new Set(nonces).size])))();`;

test('fault: nonces are predictable, standard output is used', needsAll, async () => {
  const env = { AWS_SDK_JS_SUPPRESS_MAINTENANCE_MODE_MESSAGE: '1' };
  for (const [module, nonces, prints] of [[join(modules, 'dynamo-lock'), 1, true], ['current', 3, false]]) {
    const { output, errorOutput } = await start(NONCES, { args: [module], env }).ended;
    assert.deepStrictEqual(JSON.parse(errorOutput), [null, null, 'ERROR', nonces]);
    assert.strictEqual(output !== '', prints, output);
  }
});

/**
 * Acquires a lock repeatedly until its standard input ends. Prints for each acquisition the time of the callback and
 * the end of the lock.
 */
const WORKER = `
  console.log = () => {};
  const [module, table, endpoint, sdk] = process.argv.slice(1);
  const config = { accessKeyId: 'a', secretAccessKey: 'b', region: 'us-east-1', endpoint };
  const client = module === 'current'
    ? library.createClient(table, { awsConfig: config })
    : require(module).createClient(table, { db: new (require(sdk).DynamoDB)({ ...config, maxRetries: 0 }) });
  let ended = false;
  process.stdin.on('end', () => (ended = true)).resume();
  (function again() {
    if (ended) return;
    const start = Date.now();
    client.getLock('a', 150, (error) => {
      if (!error) process.stdout.write(JSON.stringify([Date.now(), start + 150]) + '\\n');
      setTimeout(again, 20 + Math.random() * 150);
    });
  })();`;

test('processes of both packages exclude each other', needsAll, async (t) => {
  const { name } = await onTable(t);
  const kinds = ['current', 'current', join(modules, 'dynamo-lock'), join(modules, 'dynamo-lock')];
  const env = { AWS_SDK_JS_SUPPRESS_MAINTENANCE_MODE_MESSAGE: '1' };
  const workers = kinds.map((kind) => start(WORKER, { args: [kind, name, awsConfig.endpoint, join(modules, 'aws-sdk')], env }));
  const count = (some) => some.reduce((sum, { output }) => sum + output.split('\n').length - 1, 0);
  await until(() => count(workers.slice(0, 2)) >= 8 && count(workers.slice(2)) >= 8, 'eight acquisitions by each package');
  for (const { stdin } of workers) stdin.end();
  const ended = await Promise.all(workers.map((worker) => worker.ended));
  const held = ended.map(({ output, code, errorOutput }) => {
    assert.strictEqual(code, 0, errorOutput);
    return output.split('\n').filter(Boolean).map((line) => JSON.parse(line));
  });
  const all = held.flat().filter(([from, to]) => from < to).sort(([a], [b]) => a - b);
  for (let at = 1; at < all.length; at++) {
    assert.ok(all[at][0] >= all[at - 1][1], `${all[at - 1]} and ${all[at]} overlap`);
  }
});

/**
 * Starts `getLock` of npm dynamo-lock with a clock that is an hour ahead, so that it takes any lock for expired. It
 * is paused between its read and its write until `go()` is called.
 */
function paused(table) {
  const db = v2();
  let go;
  const mayWrite = new Promise((resolve) => (go = resolve));
  let read;
  const hasRead = new Promise((resolve) => (read = resolve));
  const slow = {
    getItem: (params, callback) => db.getItem(params, (error, data) => (callback(error, data), read())),
    putItem: (params, callback) => mayWrite.then(() => db.putItem(params, callback)),
  };
  const RealDate = Date;
  const ended = new Promise((resolve) => {
    packages('dynamo-lock').createClient(table, { db: { ...slow, getItem: (params, callback) => slow.getItem(params, (error, data) => ahead(() => callback(error, data))) } })
      .getLock('a', 1000, (error) => resolve(error));
  });
  function ahead(run) {
    global.Date = class extends RealDate {
      constructor(...args) {
        super(...(args.length ? args : [RealDate.now() + 3_600_000]));
      }
    };
    try {
      return run();
    } finally {
      global.Date = RealDate;
    }
  }
  return { hasRead, go, ended };
}

// Lesson 30. The conditional write of getLock fails because every renewal, and every getLock, changes the guid.
test('paused npm dynamo-lock cannot overwrite a renewed lock', needsAll, (t) =>
  silenced(async () => {
    const { client, name } = await onTable(t);
    const held = await client.lock('a').acquire({ leaseMs: 1000 });
    const first = paused(name);
    await first.hasRead;
    const { guid } = await row(name, 'a');
    await sleep(3000); // three leases
    assert.notStrictEqual((await row(name, 'a')).guid.S, guid.S, 'the lock was renewed');
    first.go();
    assert.strictEqual(await first.ended, 'ERROR');
    assert.ok(held.isValid() && !held.signal.aborted);
    await held.release();

    const second = paused(name);
    await second.hasRead;
    assert.strictEqual(await client.getLock('a', 60_000), 'SUCCESS');
    second.go();
    assert.strictEqual(await second.ended, 'ERROR');
  }));

test('control: paused npm dynamo-lock overwrites unchanged row', needsAll, (t) =>
  silenced(async () => {
    const { name } = await onTable(t);
    await putRow(name, 'a', { guid: { S: 'constant' }, expiresOn: { N: String(Date.now() + 60_000) } });
    const first = paused(name);
    await first.hasRead;
    first.go();
    assert.strictEqual(await first.ended, null);
  }));
