'use strict';
// npm dynamo-lock 0.1.3 itself beside ours: the same schedules give the same answers and rows, but for its faults, which
// are listed here; and processes of both on one table exclude each other.

const test = require('node:test');
const assert = require('node:assert');
const { join } = require('node:path');
const { library, packages, modules, needsAll, awsConfig, tableName, v2, row, plant, sleep, start, onTable, until } = require('./support');

/** The original logs to standard output. */
function silenced(run) {
  const { log } = console;
  console.log = () => {};
  return run().finally(() => (console.log = log));
}

/** mulberry32: the same schedule for the same seed. */
function dice(seed) {
  let state = seed >>> 0;
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let z = Math.imul(state ^ (state >>> 15), 1 | state);
    z = (z + Math.imul(z ^ (z >>> 7), 61 | z)) ^ z;
    return (z ^ (z >>> 14)) >>> 0;
  };
  return (of) => of[next() % of.length];
}

const NAMES = ['a', 'b', 'it’s "c" 🔒'];
// Longer than any run, or over by the next step: no answer hangs on a few milliseconds.
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
  const pick = dice(seed);
  return Array.from({ length: 25 }, () => {
    const kind = pick(['get', 'get', 'get', 'get', 'plant', 'create']);
    return { kind, name: pick(NAMES), ms: pick(TIMES), row: pick(ROWS) };
  });
}

/** One step of one client: everything its callback was called with, without what differs by right. */
async function step(client, table, { kind, name, ms, row: planted }) {
  if (kind === 'plant') return plant(table, name, planted).then(() => []);
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
  const words = (value) => {
    const held = typeof value === 'string' && /^Lock expires on (\S+) currently its (\d+)$/.exec(value);
    if (!held) return value;
    assert.ok(held[2] >= before - 50 && held[2] <= after + 50);
    return 'Lock expires on … currently its …';
  };
  return calls.map((values) => values.map(words));
}

/** Rows but for nonces and times, which `step` has checked. */
async function rows(table) {
  const { Items } = await v2().scan({ TableName: table, ConsistentRead: true }).promise();
  const shape = (item) => ({ ...item, guid: { S: item.guid.S.length > 1 ? 'nonce' : item.guid.S }, expiresOn: item.expiresOn && 'a time' });
  return Items.map(shape).sort((a, b) => (a.name.S < b.name.S ? -1 : 1));
}

async function tables(t) {
  const original = tableName();
  const ours = tableName();
  const clients = {
    original: packages('dynamo-lock').createClient(original, { db: v2() }),
    ours: library.createClient(ours, { awsConfig }),
  };
  for (const client of Object.values(clients)) await new Promise((resolve) => client.createLockTable(resolve));
  t.after(() => Promise.all([original, ours].map((TableName) => v2().deleteTable({ TableName }).promise().catch(() => {}))));
  return { original, ours, clients };
}

test('the same random schedules give the same answers and the same rows', needsAll, (t) =>
  silenced(async () => {
    const { original, ours, clients } = await tables(t);
    const seen = new Map();
    for (let seed = 1; seed <= 8; seed++) {
      for (const [at, planned] of schedule(seed).entries()) {
        const theirs = await step(clients.original, original, planned);
        const mine = await step(clients.ours, ours, planned);
        const context = `seed ${seed}, step ${at}: ${JSON.stringify(planned)}`;
        assert.deepStrictEqual(mine, theirs, context);
        assert.deepStrictEqual(await rows(ours), await rows(original), context);
        const said = `${planned.kind} ${theirs.flat()[0]}`;
        seen.set(said, (seen.get(said) ?? 0) + 1);
      }
    }
    // The schedules reach every answer, or the test says nothing.
    for (const said of ['get null', 'get Lock expires on … currently its …', 'create TABLE_EXISTS']) {
      assert.ok(seen.get(said) >= 8, `${said}: ${JSON.stringify([...seen])}`);
    }
  }));

test('control: the comparison notices another answer, and another row', needsAll, (t) =>
  silenced(async () => {
    const { original, ours, clients } = await tables(t);
    const get = { kind: 'get', name: 'a', ms: 60_000 };
    const lying = { getLock: (name, ms, callback) => clients.ours.getLock(name, ms, (error) => callback(error, 'success')) };
    assert.notDeepStrictEqual(await step(lying, ours, get), await step(clients.original, original, get));
    const late = { getLock: (name, ms, callback) => clients.ours.getLock(name, ms + 1000, callback) };
    await assert.rejects(step(late, ours, { ...get, name: 'b' }));
    await plant(ours, 'c', { guid: { S: 'x' }, extra: { S: 'y' } });
    await plant(original, 'c', { guid: { S: 'x' } });
    assert.notDeepStrictEqual(await rows(ours), await rows(original));
  }));

// The faults, one by one: what the original does, and what we do.
test('fault: a failed read, which the original never tells', needsAll, () =>
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

test('fault: a failed deletion, which the original tells twice', needsAll, () =>
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

test('fault: an eventually consistent read', () =>
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

test('fault: a put whose answer was lost is an error to the original, which then locks itself out', needsAll, (t) =>
  silenced(async () => {
    const { original, ours } = await tables(t);
    const losing = () => {
      const db = v2({ maxRetries: 0 });
      return { getItem: db.getItem.bind(db), putItem: (params, callback) => db.putItem(params, () => callback(new Error('socket hang up'))) };
    };
    const get = (client) => new Promise((resolve) => client.getLock('a', 60_000, (error) => resolve(error)));
    assert.strictEqual(await get(packages('dynamo-lock').createClient(original, { db: losing() })), 'ERROR');
    assert.strictEqual(await get(library.createClient(ours, { db: losing() })), null);
  }));

test('fault: a timeout given as text, which the original puts behind the digits of the time', needsAll, (t) =>
  silenced(async () => {
    const { original, ours, clients } = await tables(t);
    const get = (client) => new Promise((resolve) => client.getLock('a', '1000', resolve));
    await get(clients.original);
    await get(clients.ours);
    assert.ok((await row(original, 'a')).expiresOn.N.length > 16);
    assert.ok((await row(ours, 'a')).expiresOn.N.length === 13);
  }));

/** Two locks and one that is refused, where all numbers of `Math.random` are the same; the nonces, on standard error. */
const GUESSED = `
  Math.random = () => 0.5;
  const { createClient } = process.argv[1] === 'ours' ? library : require(process.argv[1]);
  const nonces = [];
  const refused = Object.assign(new Error('no'), { code: 'ConditionalCheckFailedException' });
  const db = {
    getItem: (params, callback) => callback(null, {}),
    putItem: ({ Item }, callback) => callback(nonces.push(Item.guid.S) > 2 ? refused : null, {}),
  };
  const client = createClient('Lock', { db });
  const get = (name) => new Promise((resolve) => client.getLock(name, 1, resolve));
  (async () => process.stderr.write(JSON.stringify([await get('a'), await get('b'), await get('c'), new Set(nonces).size])))();`;

test('fault: nonces of a generator that can be guessed, and lines on standard output', needsAll, async () => {
  const env = { AWS_SDK_JS_SUPPRESS_MAINTENANCE_MODE_MESSAGE: '1' };
  for (const [module, nonces, prints] of [[join(modules, 'dynamo-lock'), 1, true], ['ours', 3, false]]) {
    const { said, complained } = await start(GUESSED, { args: [module], env }).ended;
    assert.deepStrictEqual(JSON.parse(complained), [null, null, 'ERROR', nonces]);
    assert.strictEqual(said !== '', prints, said);
  }
});

/** A process that takes a lock again and again until its standard input ends, and prints when it had it: from the callback to its end. */
const WORKER = `
  console.log = () => {};
  const [module, table, endpoint, sdk] = process.argv.slice(1);
  const config = { accessKeyId: 'a', secretAccessKey: 'b', region: 'us-east-1', endpoint };
  const client = module === 'ours'
    ? library.createClient(table, { awsConfig: config })
    : require(module).createClient(table, { db: new (require(sdk).DynamoDB)({ ...config, maxRetries: 0 }) });
  let ended = false;
  process.stdin.on('end', () => (ended = true)).resume();
  (function again() {
    if (ended) return;
    const asked = Date.now();
    client.getLock('a', 150, (error) => {
      if (!error) process.stdout.write(JSON.stringify([Date.now(), asked + 150]) + '\\n');
      setTimeout(again, 20 + Math.random() * 150);
    });
  })();`;

test('processes of the original and of ours on one table exclude each other', needsAll, async (t) => {
  const { name } = await onTable(t);
  const kinds = ['ours', 'ours', join(modules, 'dynamo-lock'), join(modules, 'dynamo-lock')];
  const env = { AWS_SDK_JS_SUPPRESS_MAINTENANCE_MODE_MESSAGE: '1' };
  const workers = kinds.map((kind) => start(WORKER, { args: [kind, name, awsConfig.endpoint, join(modules, 'aws-sdk')], env }));
  const times = (some) => some.reduce((sum, { said }) => sum + said.split('\n').length - 1, 0);
  await until(() => times(workers.slice(0, 2)) >= 8 && times(workers.slice(2)) >= 8, 'both kinds got the lock often');
  for (const { stdin } of workers) stdin.end();
  const ended = await Promise.all(workers.map((worker) => worker.ended));
  const held = ended.map(({ said, code, complained }) => {
    assert.strictEqual(code, 0, complained);
    return said.split('\n').filter(Boolean).map((line) => JSON.parse(line));
  });
  const all = held.flat().filter(([from, to]) => from < to).sort(([a], [b]) => a - b);
  for (let at = 1; at < all.length; at++) {
    assert.ok(all[at][0] >= all[at - 1][1], `${all[at - 1]} and ${all[at]} overlap`);
  }
});

/** The original, whose clock is an hour ahead, paused between its read and its write until `go()`. */
function paused(table) {
  const db = v2();
  let go;
  const may = new Promise((resolve) => (go = resolve));
  let read;
  const hasRead = new Promise((resolve) => (read = resolve));
  const slow = {
    getItem: (params, callback) => db.getItem(params, (error, data) => (callback(error, data), read())),
    putItem: (params, callback) => may.then(() => db.putItem(params, callback)),
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

test('the paused original cannot overwrite a lock that we renewed since, nor one that getLock took', needsAll, (t) =>
  silenced(async () => {
    const { client, name } = await onTable(t);
    const held = await client.lock('a').acquire({ leaseMs: 1000 });
    const original = paused(name);
    await original.hasRead;
    const { guid } = await row(name, 'a');
    await sleep(3000); // three leases
    assert.notStrictEqual((await row(name, 'a')).guid.S, guid.S, 'renewed meanwhile');
    original.go();
    assert.strictEqual(await original.ended, 'ERROR');
    assert.ok(held.isValid() && !held.signal.aborted);
    await held.release();

    const second = paused(name);
    await second.hasRead;
    assert.strictEqual(await client.getLock('a', 60_000), 'SUCCESS');
    second.go();
    assert.strictEqual(await second.ended, 'ERROR');
  }));

test('control: the paused original does overwrite a row that nobody has touched', needsAll, (t) =>
  silenced(async () => {
    const { name } = await onTable(t);
    await plant(name, 'a', { guid: { S: 'constant' }, expiresOn: { N: String(Date.now() + 60_000) } });
    const original = paused(name);
    await original.hasRead;
    original.go();
    assert.strictEqual(await original.ended, null);
  }));
