'use strict';
// Processes: the event loop blocked, ends of every kind, workers, memory.

const test = require('node:test');
const assert = require('node:assert');
const { join } = require('node:path');
const { Worker } = require('node:worker_threads');
const { library, needsServer, awsConfig, onTable, directory, start, until, sleep } = require('./support');

const { connect } = library;
const url = () => `sqlite://${join(directory(), 'locks.db')}`;
const INDEX = JSON.stringify(join(__dirname, '..'));

const BLOCKED = `
  const block = (ms) => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
  (async () => {
    const client = library.connect(process.argv[1], { leaseMs: 1000 });
    const lock = await client.lock('a').acquire(JSON.parse(process.argv[2]));
    let aborted = false;
    lock.signal.addEventListener('abort', () => (aborted = true));
    process.stdout.write('held\\n');
    block(3000); // three leases
    const live = lock.isLive();
    await new Promise((resolve) => setTimeout(resolve, 100));
    console.log(JSON.stringify({ live, aborted, reason: lock.signal.reason?.reason }));
    await lock.release().catch(() => {});
  })();`;

test('with the event loop blocked for three leases the lock is kept, and its signal is not aborted', async () => {
  const store = url();
  const child = start(BLOCKED, { args: [store, '{}'] });
  await until(() => child.said.startsWith('held'), 'held');
  const other = connect(store, { leaseMs: 1000 });
  assert.strictEqual(await other.lock('a').tryAcquire(), null);
  await assert.rejects(other.lock('a').acquire({ waitMs: 2000 }), { code: 'LOCK_HELD' });
  const { said, complained } = await child.ended;
  assert.deepStrictEqual(JSON.parse(said.split('\n')[1] || '0'), { live: true, aborted: false }, complained);
});

test('and with maxHoldMs it is given up', async () => {
  const store = url();
  const child = start(BLOCKED, { args: [store, '{"maxHoldMs":1500}'] });
  await until(() => child.said.startsWith('held'), 'held');
  const next = await connect(store, { leaseMs: 1000 }).lock('a').acquire({ waitMs: 30_000 });
  assert.strictEqual(child.said, 'held\n', 'while the other is still blocked');
  const { said, complained } = await child.ended;
  assert.deepStrictEqual(JSON.parse(said.split('\n')[1] || '0'), { live: false, aborted: true, reason: 'maxHold' }, complained);
  await next.release();
});

test('the lock of a process that was killed is taken over', needsServer, async (t) => {
  const { client, name } = await onTable(t, { leaseMs: 1000 });
  for (const signal of ['SIGKILL', 'SIGTERM']) {
    const script = `
      const client = library.createClient(process.argv[1], { awsConfig: ${JSON.stringify(awsConfig)}, leaseMs: 1000 });
      client.lock('a').acquire().then((lock) => { console.log(String(lock.token)); setInterval(() => {}, 1000); });`;
    const child = start(script, { args: [name] });
    await until(() => child.said.endsWith('\n'), 'held');
    assert.strictEqual(await client.lock('a').tryAcquire(), null);
    child.kill(signal);
    assert.strictEqual((await child.ended).signal, signal);
    const next = await client.lock('a').acquire({ waitMs: 30_000 });
    assert.ok(next.token > BigInt(child.said.trim()));
    await next.release();
  }
});

const EXITS = {
  'an idle client': `library.connect('memory:'); library.createClient('Lock', { db: { getItem() {}, putItem() {} } });`,
  'a client that was used': `library.connect('memory:').lock('a').inspect();`,
  'a listener that waits, and the lock held': `
    library.connect('memory:').lock('a').acquire().then((lock) => lock.signal.addEventListener('abort', () => console.log('lost')));`,
  'a listing that was left': `(async () => { for await (const lock of library.connect('memory:').list()) break; })();`,
  'an aborted acquire': `
    const client = library.connect('memory:');
    client.lock('a').acquire().then(() => client.lock('a').acquire({ signal: AbortSignal.timeout(20) })).catch(() => {});
    setTimeout(() => {}, 40);`,
};
for (const [what, script] of Object.entries(EXITS)) {
  test(`the process exits by itself with ${what}`, async () => {
    const child = start(script);
    const timer = setTimeout(() => child.kill('SIGKILL'), 60_000);
    assert.deepStrictEqual(await child.ended, { code: 0, signal: null, said: '', complained: '' });
    clearTimeout(timer);
  });
}

test('it does not exit while acquire is pending', async () => {
  const store = url();
  const held = await connect(store).lock('a').acquire();
  const child = start(`
    console.log('asks');
    library.connect(process.argv[1]).lock('a').acquire().then((lock) => { console.log(String(lock.token)); return lock.release(); });`, { args: [store] });
  await until(() => child.said.startsWith('asks'), 'asks');
  await sleep(1000);
  assert.strictEqual(child.exitCode, null, 'it waits');
  await held.release();
  const { code, said, complained } = await child.ended;
  assert.deepStrictEqual([code, complained], [0, '']);
  assert.ok(BigInt(said.split('\n')[1]) > held.token);
});

test('worker threads have clients of their own, and one terminated in mid-acquire leaves nothing behind', async () => {
  const store = url();
  const client = connect(store, { leaseMs: 60_000 });
  const script = `
    const { parentPort, workerData } = require('node:worker_threads');
    const library = require(${INDEX});
    const client = library.connect(workerData.store, { leaseMs: 60000 });
    const tell = (word) => parentPort.postMessage(word);
    client.lock('begun').hold(1000).catch(() => {}).then(() => {
      tell('begun');
      client.lock(workerData.name).acquire().then((lock) => tell('held'));
    });`;
  const begin = async (name) => {
    const worker = new Worker(script, { eval: true, workerData: { store, name } });
    const said = [];
    worker.on('message', (word) => said.push(word));
    await until(() => said.includes('begun'), 'begun');
    return { worker, said };
  };
  const several = await Promise.all(['x', 'y', 'z'].map(begin));
  for (const { said } of several) await until(() => said.includes('held'), 'held');

  const held = await client.lock('a').acquire();
  const waiting = await begin('a');
  await sleep(100);
  await waiting.worker.terminate(); // in the midst of its acquire
  assert.ok(!waiting.said.includes('held'));
  await held.release();
  // Its lease would be a minute: that we get it now, and can again, shows that nobody else has it.
  for (let at = 0; at < 3; at++) {
    await sleep(50);
    const lock = await client.lock('a').acquire({ waitMs: 10_000 });
    await lock.release();
  }
  // What a terminated worker held is given back, not waited out.
  await Promise.all(several.map(({ worker }) => worker.terminate()));
  for (const name of ['x', 'y', 'z']) await (await client.lock(name).acquire({ waitMs: 10_000 })).release();
});

test('an acquire that is aborted as the process ends leaves nothing behind', needsServer, async (t) => {
  const { client, name } = await onTable(t);
  const script = `
    const client = library.createClient(process.argv[1], { awsConfig: ${JSON.stringify(awsConfig)}, leaseMs: 600000 });
    const lock = client.lock('a');
    const abort = new AbortController();
    client.lock('b').inspect().then(() => {
      lock.acquire({ signal: abort.signal }).then((lock) => lock.release(), () => console.log('aborted'));
      setTimeout(() => abort.abort(), Number(process.argv[2]));
    });`;
  let aborted = 0;
  for (let ms = 0; ms < 12; ms++) {
    const { said, code, complained } = await start(script, { args: [name, String(ms)] }).ended;
    assert.strictEqual(code, 0, complained);
    aborted += said === 'aborted\n';
    // Its lease would be ten minutes.
    const state = (await client.lock('a').inspect()).state;
    assert.strictEqual(state, 'free', `after ${ms} ms`);
  }
  assert.ok(aborted >= 2, `aborted ${aborted} times`);
});

test('clients that nobody has any more are collected', async () => {
  const script = `
    (async () => {
      const rss = async () => { for (let at = 0; at < 5; at++) { gc(); await new Promise(setImmediate); } return process.memoryUsage().rss; };
      let collected = 0;
      const registry = new FinalizationRegistry(() => collected++);
      for (let at = 0; at < 300; at++) {
        const client = library.connect('memory:');
        registry.register(client);
        await (await client.lock('a').acquire()).release();
      }
      for (let at = 0; at < 50 && collected < 290; at++) await rss();
      console.log(collected >= 290);
    })();`;
  const { said, complained } = await start(script, { flags: ['--expose-gc'] }).ended;
  assert.strictEqual(said, 'true\n', complained);
});

test('10,000 times acquire and release: memory grows by 5 MB at most between the 5,000th and the last', async () => {
  const script = `
    (async () => {
      const client = library.connect('memory:');
      const rss = () => { gc(); gc(); return process.memoryUsage().rss; };
      let middle;
      for (let at = 1; at <= 10_000; at++) {
        const lock = await client.lock('a').acquire();
        lock.signal.addEventListener('abort', () => {});
        await lock.release();
        if (at === 5_000) middle = rss();
      }
      console.log(rss() - middle);
    })();`;
  // A leak shows in every process; what the allocator happens to keep differs from one to the next.
  const grown = [];
  while (grown.length < 3 && !grown.some((bytes) => bytes <= 5_000_000)) {
    const { said, complained, code } = await start(script, { flags: ['--expose-gc'] }).ended;
    assert.strictEqual(code, 0, complained);
    assert.match(said, /^-?\d+\n$/);
    grown.push(Number(said));
  }
  assert.ok(Math.min(...grown) <= 5_000_000, String(grown));
});

test('control: with every lock kept it grows by more', async () => {
  const script = `
    (async () => {
      const client = library.connect('memory:');
      const kept = [];
      const before = process.memoryUsage().rss;
      for (let at = 0; at < 5_000; at++) kept.push(await client.lock('a' + at).acquire());
      console.log(process.memoryUsage().rss - before);
    })();`;
  const { said } = await start(script).ended;
  assert.ok(Number(said) > 5_000_000, said);
});
