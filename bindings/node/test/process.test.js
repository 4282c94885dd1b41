'use strict';
// Processes: a blocked event loop, exits, worker threads and memory.

const test = require('node:test');
const assert = require('node:assert');
const { execFileSync } = require('node:child_process');
const { join } = require('node:path');
const { Worker } = require('node:worker_threads');
const { library, needsServer, awsConfig, onTable, proxy, directory, start, until, sleep } = require('./support');

const { connect } = library;
const url = () => `sqlite://${join(directory(), 'locks.db')}`;
// Renewed every 500 ms, so that an overloaded test machine has 1.5 s before the lock is lost.
const LEASE = 2000;
const INDEX = JSON.stringify(join(__dirname, '..'));

// Blocks the event loop until its standard input is written, so that no timer limits the time.
const BLOCKED = `
  (async () => {
    const client = library.connect(process.argv[1], { leaseMs: ${LEASE} });
    const lock = await client.lock('a').acquire(JSON.parse(process.argv[2]));
    let aborted = false;
    lock.signal.addEventListener('abort', () => (aborted = true));
    process.stdout.write('held\\n');
    require('node:fs').readSync(0, Buffer.alloc(1));
    const valid = lock.isValid();
    await new Promise((resolve) => setTimeout(resolve, 100));
    console.log(JSON.stringify({ valid, aborted, reason: lock.signal.reason?.reason }));
    await lock.release().catch(() => {});
    process.exit();
  })();`;

test('lock is kept while the event loop is blocked', async () => {
  const store = url();
  const child = start(BLOCKED, { args: [store, '{}'] });
  await until(() => child.output === 'held\n', 'held');
  const other = connect(store, { leaseMs: LEASE });
  assert.strictEqual(await other.lock('a').tryAcquire(), null);
  await assert.rejects(other.lock('a').acquire({ waitMs: 3 * LEASE }), { code: 'LOCK_HELD' });
  assert.strictEqual(child.output, 'held\n', 'the process is still blocked');
  child.stdin.end('\n');
  const { output, errorOutput } = await child.ended;
  assert.deepStrictEqual(JSON.parse(output.split('\n')[1] || '0'), { valid: true, aborted: false }, errorOutput);
});

test('maxHoldMs ends the lock of a blocked event loop', async () => {
  const store = url();
  const child = start(BLOCKED, { args: [store, JSON.stringify({ maxHoldMs: LEASE + 500 })] });
  await until(() => child.output === 'held\n', 'held');
  const next = await connect(store, { leaseMs: LEASE }).lock('a').acquire({ waitMs: 60_000 });
  assert.strictEqual(child.output, 'held\n', 'the process is still blocked');
  child.stdin.end('\n');
  const { output, errorOutput } = await child.ended;
  assert.deepStrictEqual(JSON.parse(output.split('\n')[1] || '0'), { valid: false, aborted: true, reason: 'maxHold' }, errorOutput);
  await next.release();
});

test('lock of a killed process is taken over', needsServer, async (t) => {
  const { client, name } = await onTable(t, { leaseMs: 1000 });
  for (const signal of ['SIGKILL', 'SIGTERM']) {
    const script = `
      const client = library.createClient(process.argv[1], { awsConfig: ${JSON.stringify(awsConfig)}, leaseMs: 1000 });
      client.lock('a').acquire().then((lock) => { console.log(String(lock.token)); setInterval(() => {}, 1000); });`;
    const child = start(script, { args: [name] });
    await until(() => child.output.endsWith('\n'), 'held');
    assert.strictEqual(await client.lock('a').tryAcquire(), null);
    child.kill(signal);
    assert.strictEqual((await child.ended).signal, signal);
    const next = await client.lock('a').acquire({ waitMs: 30_000 });
    assert.ok(next.token > BigInt(child.output.trim()));
    await next.release();
  }
});

test('lock of a killed process on SQLite is taken over at once', async () => {
  const store = url();
  const script = `library.connect(process.argv[1], { leaseMs: 600000 }).lock('a').acquire().then((lock) => { console.log(String(lock.token)); setInterval(() => {}, 1000); });`;
  const child = start(script, { args: [store] });
  await until(() => child.output.endsWith('\n'), 'held');
  const lock = connect(store).lock('a');
  assert.strictEqual(await lock.tryAcquire(), null);
  child.kill('SIGKILL');
  await child.ended;
  const next = await lock.acquire({ waitMs: 60_000 }); // the lease is ten minutes
  assert.ok(next.token > BigInt(child.output.trim()));
  await next.release();
});

const EXITS = {
  'an idle client': `library.connect('memory:'); library.createClient('Lock', { db: { getItem() {}, putItem() {} } });`,
  'a used client': `library.connect('memory:').lock('a').inspect();`,
  'a used client on SQLite': `library.connect('sqlite://' + require('node:path').join(process.argv[1], 'locks.db')).lock('a').hold(1000);`,
  'a held lock and a listener': `
    library.connect('memory:').lock('a').acquire().then((lock) => lock.signal.addEventListener('abort', () => console.log('lost')));`,
  'an abandoned listing': `(async () => { for await (const lock of library.connect('memory:').list()) break; })();`,
  'an aborted acquire': `
    const client = library.connect('memory:');
    client.lock('a').acquire().then(() => client.lock('a').acquire({ signal: AbortSignal.timeout(20) })).catch(() => {});
    setTimeout(() => {}, 40);`,
};
for (const [state, script] of Object.entries(EXITS)) {
  test(`process exits with ${state}`, async () => {
    const child = start(script, { args: [directory()] });
    const timer = setTimeout(() => child.kill('SIGKILL'), 60_000);
    assert.deepStrictEqual(await child.ended, { code: 0, signal: null, output: '', errorOutput: '' });
    clearTimeout(timer);
  });
}

test('process exits with a client used over HTTP', needsServer, async (t) => {
  const { name } = await onTable(t);
  const script = `library.createClient(process.argv[1], { awsConfig: ${JSON.stringify(awsConfig)} }).lock('a').hold(1000);`;
  const child = start(script, { args: [name] });
  const timer = setTimeout(() => child.kill('SIGKILL'), 60_000);
  assert.deepStrictEqual(await child.ended, { code: 0, signal: null, output: '', errorOutput: '' });
  clearTimeout(timer);
});

test('process does not exit while acquire is pending', async () => {
  const store = url();
  const held = await connect(store).lock('a').acquire();
  const child = start(`
    console.log('waiting');
    library.connect(process.argv[1]).lock('a').acquire().then((lock) => { console.log(String(lock.token)); return lock.release(); });`, { args: [store] });
  await until(() => child.output.startsWith('waiting'), 'waiting');
  await sleep(1000);
  assert.strictEqual(child.exitCode, null, 'the process waits');
  await held.release();
  const { code, output, errorOutput } = await child.ended;
  assert.deepStrictEqual([code, errorOutput], [0, '']);
  assert.ok(BigInt(output.split('\n')[1]) > held.token);
});

// Nothing but `withLock` itself keeps these processes alive.
test('process does not exit while the work of withLock runs', async () => {
  const script = `
    const client = library.connect('memory:');
    const lost = ({ signal }) => new Promise((resolve) => signal.addEventListener('abort', resolve));
    client.withLock('a', { maxHoldMs: 1000 }, async (lock) => {
      await lost(lock);
      console.log('work has ended');
    }).catch(({ reason }) => console.log(reason));
    client.withLock('b', { maxHoldMs: 1000 }, (lock) => lost(lock).then(() => Promise.reject('failed'))).catch(console.log);`;
  const { code, output, errorOutput } = await start(script).ended;
  assert.deepStrictEqual([code, output.split('\n').sort(), errorOutput], [0, ['', 'failed', 'maxHold', 'work has ended'], '']);
});

test('thread that failed to start is started by a later call', { skip: process.platform === 'win32' && 'ulimit' }, () => {
  const script = `
    const library = require(${INDEX});
    const { openSync, closeSync } = require('node:fs');
    const files = [];
    try { for (;;) files.push(openSync('/dev/null')); } catch {}
    const lock = library.connect('memory:').lock('a');
    lock.inspect().catch(({ message }) => {
      console.log(message);
      files.forEach((file) => closeSync(file));
      return lock.inspect().then(({ state }) => console.log(state));
    });`;
  const output = execFileSync('sh', ['-c', 'ulimit -n 200; exec "$0" -e "$1"', process.execPath, script], { encoding: 'utf8' });
  assert.match(output, /^cannot start the thread of dynamo-lock: .*\nfree\n$/);
});

test('terminated worker leaves no lock behind', async () => {
  const store = url();
  const client = connect(store, { leaseMs: 60_000 });
  const script = `
    const { parentPort, workerData } = require('node:worker_threads');
    const library = require(${INDEX});
    const client = library.connect(workerData.store, { leaseMs: 60000 });
    const post = (message) => parentPort.postMessage(message);
    client.lock('other').hold(1000).catch(() => {}).then(() => {
      post('started');
      client.lock(workerData.name).acquire().then((lock) => post('held'));
    });`;
  const startWorker = async (name) => {
    const worker = new Worker(script, { eval: true, workerData: { store, name } });
    const messages = [];
    worker.on('message', (message) => messages.push(message));
    await until(() => messages.includes('started'), 'started');
    return { worker, messages };
  };
  const holders = await Promise.all(['x', 'y', 'z'].map(startWorker));
  for (const { messages } of holders) await until(() => messages.includes('held'), 'held');

  const held = await client.lock('a').acquire();
  const waiting = await startWorker('a');
  await sleep(100);
  await waiting.worker.terminate(); // during its acquire
  assert.ok(!waiting.messages.includes('held'));
  await held.release();
  // The lease is a minute, so acquiring the lock now shows that the worker does not hold it. The tokens show that the
  // worker did not hold it in between either.
  for (let at = 1n; at <= 3n; at++) {
    await sleep(500);
    const lock = await client.lock('a').acquire({ waitMs: 10_000 });
    assert.strictEqual(lock.token, held.token + at);
    await lock.release();
  }
  // The locks of terminated workers are released at once; their lease is a minute.
  await Promise.all(holders.map(({ worker }) => worker.terminate()));
  for (const name of ['x', 'y', 'z']) await (await client.lock(name).acquire({ waitMs: 10_000 })).release();
});

test('worker terminated during a response leaves no lock', needsServer, async (t) => {
  const { client, name } = await onTable(t);
  const script = `
    const { workerData } = require('node:worker_threads');
    const { name, awsConfig } = workerData;
    require(${INDEX}).createClient(name, { awsConfig, leaseMs: 600000 }).lock('a').acquire();`;
  let worker;
  const writes = [];
  const endpoint = await proxy(t, async (operation) => {
    // The row is written, but the response has not been sent yet.
    if (operation === 'UpdateItem' && writes.push(operation) === 1) await worker.terminate();
  });
  worker = new Worker(script, { eval: true, workerData: { name, awsConfig: { ...awsConfig, endpoint } } });
  // The lease is ten minutes.
  await until(async () => writes.length > 1 && (await client.lock('a').inspect()).state === 'free', 'the release');
  assert.strictEqual(typeof (await client.lock('a').inspect()).token, 'bigint', 'the row was written');
});

test('acquire aborted at process exit leaves no lock', needsServer, async (t) => {
  const { client, name } = await onTable(t);
  const script = `
    const awsConfig = { ...${JSON.stringify(awsConfig)}, endpoint: process.argv[2] };
    const abort = new AbortController();
    library.createClient(process.argv[1], { awsConfig, leaseMs: 600000 }).lock('a').acquire({ signal: abort.signal })
      .then(() => console.log('held'), () => console.log('aborted'));
    process.stdin.once('data', () => abort.abort());`;
  const writes = [];
  let child;
  const server = await proxy(t, async (operation) => {
    if (operation !== 'UpdateItem' || writes.push(operation) > 1) return;
    // The row is written. Before the response is sent, the process aborts the call and has nothing else to do.
    child.stdin.end('\n');
    await until(() => child.output !== '', 'the abort');
    await sleep(200);
  });
  child = start(script, { args: [name, server] });
  assert.deepStrictEqual(await child.ended, { code: 0, signal: null, output: 'aborted\n', errorOutput: '' });
  // The lease is ten minutes.
  const { state, token } = await client.lock('a').inspect();
  assert.deepStrictEqual([state, typeof token, writes.length], ['free', 'bigint', 2]);
});

test('unreferenced clients are collected', async () => {
  const script = `
    (async () => {
      let collected = 0;
      const registry = new FinalizationRegistry(() => collected++);
      const { Connection } = require(${INDEX} + '/lib/connection');
      const { call } = Connection.prototype;
      const seen = new WeakSet();
      Connection.prototype.call = function (...args) {
        if (!seen.has(this)) registry.register(this);
        seen.add(this);
        return call.apply(this, args);
      };
      const released = async () => (await library.connect('memory:').lock('a').acquire()).release();
      const lost = async () => {
        const { signal } = await library.connect('memory:').lock('a').acquire({ maxHoldMs: 1000 });
        await new Promise((resolve) => signal.addEventListener('abort', resolve));
      };
      const keepAlive = setInterval(() => {}, 1000); // listeners do not keep the process alive
      await Promise.all(Array.from({ length: 300 }, (_, at) => (at % 2 ? released() : lost())));
      for (let at = 0; at < 400 && collected < 290; at++) {
        gc();
        await new Promise(setImmediate);
      }
      console.log(collected >= 290);
      clearInterval(keepAlive);
    })();`;
  const { output, errorOutput } = await start(script, { flags: ['--expose-gc'] }).ended;
  assert.strictEqual(output, 'true\n', errorOutput);
});

/** Returns the growth of the process and of the JavaScript heap between the middle round and the last, in bytes. */
async function growth(round, { rounds = 10_000, begin = () => {} } = {}) {
  const script = `
    (async () => {
      const client = library.connect('memory:');
      await (${begin})(client);
      const kept = [];
      const round = ${round};
      const memory = () => { gc(); gc(); return process.memoryUsage(); };
      let middle, end;
      for (let at = 1; at <= ${rounds}; at++) {
        await round(client, kept, at);
        // Collect garbage regularly, so that the middle and the last measurement have the same conditions.
        if (at % (${rounds} / 10) === 0) end = memory();
        if (at === ${rounds} / 2) middle = end;
      }
      console.log(JSON.stringify({ rss: end.rss - middle.rss, heap: end.heapUsed - middle.heapUsed, kept: kept.length }));
    })();`;
  // These flags reduce the engine's own memory, which varies between runs: the young generation grows over time (9
  // MB, later 25 MB), collector threads keep some megabytes, and the first use of a compiler loads it. With these
  // flags, the results vary by less than 100 KB.
  const flags = ['--expose-gc', '--max-semi-space-size=1', '--single-threaded-gc', '--no-opt', '--no-maglev'];
  const { output, errorOutput, code } = await start(script, { flags }).ended;
  assert.strictEqual(code, 0, errorOutput);
  return JSON.parse(output);
}

// 400 and 200 bytes per round. A leaked call or lock is larger.
const LIMIT = { rss: 2_000_000, heap: 1_000_000 };

// At most 2 MB between the 5,000th and the 10,000th round.
test('memory does not grow with acquire and release', async () => {
  const { rss, heap } = await growth(async (client) => {
    const lock = await client.lock('a').acquire();
    lock.signal.addEventListener('abort', () => {});
    await lock.release();
  });
  assert.ok(rss <= LIMIT.rss, `the process by ${rss}`);
  assert.ok(heap <= LIMIT.heap, `the heap by ${heap}`);
});

test('memory does not grow with abandoned listings', async () => {
  const begin = async (client) => {
    for (let at = 0; at < 100; at++) await client.lock(`lock-${at}`).hold(600_000);
  };
  const round = async (client) => {
    for await (const { name } of client.list()) if (name) break;
  };
  const { rss, heap } = await growth(round, { rounds: 2000, begin });
  assert.ok(rss <= LIMIT.rss && heap <= LIMIT.heap, `${rss} ${heap}`);
});

test('memory does not grow with unused clients', async () => {
  const round = async (client, kept, at) => {
    library.connect('memory:');
    if (at % 100 === 0) await new Promise(setImmediate); // finalizers run between turns of the event loop
  };
  const { rss, heap } = await growth(round, { rounds: 40_000 });
  assert.ok(rss <= LIMIT.rss && heap <= LIMIT.heap, `${rss} ${heap}`);
});

test('control: memory grows if every lock is kept', async () => {
  const { rss, heap } = await growth(async (client, kept, at) => {
    kept.push(await client.lock(`a${at}`).acquire());
  });
  assert.ok(rss > LIMIT.rss && heap > LIMIT.heap, `${rss} ${heap}`);
});

test('control: heap grows if a little is left per call', async () => {
  const { heap } = await growth(async (client, kept, at) => {
    kept.push(Array.from('as large as the entry of a call', (c) => ({ c, at })));
    await client.lock('a').inspect();
  });
  assert.ok(heap > LIMIT.heap, String(heap));
});
