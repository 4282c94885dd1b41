'use strict';
// `Lock.lead`: terms of a leader. `HeldLock.watchRisk` and `riskSignal`: the warning before the end of a lease.

const test = require('node:test');
const assert = require('node:assert');
const { getEventListeners, once } = require('node:events');
const { library, awsConfig, needsServer, onTable, proxy, start, sleep, until } = require('./support');
const { lead } = require('../lib/lead');

const { connect, ArgumentError, DynamoLockError, LockLostError, StoreError } = library;

/** Work that ends when its signal is aborted. */
const untilAborted = (signal) => (signal.aborted ? undefined : once(signal, 'abort'));
const isFree = async (lock) => (await lock.inspect()).state === 'free';

test('lead resolves to the result of work and releases the lock', async () => {
  const lock = connect('memory:').lock('a');
  const result = await lock.lead(async (term, signal) => {
    assert.ok(term.isValid() && !signal.aborted && !(await isFree(lock)));
    return term.token;
  });
  assert.strictEqual(typeof result, 'bigint');
  assert.ok(await isFree(lock));
  assert.strictEqual(await lock.lead(() => 7, { data: 'x' }), 7, 'work may be synchronous');
});

test('lead begins a new term with a greater token after a loss', async () => {
  const lock = connect('memory:', { leaseMs: 1000 }).lock('a');
  const terms = [];
  let running = 0;
  const result = await lock.lead(async (term, signal) => {
    assert.strictEqual(++running, 1, 'two terms at once');
    terms.push(term.token);
    if (terms.length < 3) {
      await lock.revoke(term.token);
      await untilAborted(signal);
      assert.ok(signal.reason instanceof LockLostError && signal.reason.reason === 'revoked');
      await sleep(50); // the work takes a moment to end
    }
    running--;
    if (terms.length === 2) throw new Error('an error after the loss is ignored, like a result');
    return `result ${terms.length}`;
  });
  assert.strictEqual(result, 'result 3');
  assert.ok(terms[0] < terms[1] && terms[1] < terms[2], terms.join());
});

test('error of work ends lead and releases the lock', async () => {
  const lock = connect('memory:').lock('a');
  const failure = new Error('failure of the work');
  await assert.rejects(lock.lead(() => Promise.reject(failure)), (error) => error === failure);
  await assert.rejects(lock.lead(() => { throw undefined; }), (error) => error === undefined);
  assert.ok(await isFree(lock));
});

test('result of work is kept if only the release shows the loss', async () => {
  const lock = connect('memory:').lock('a');
  let terms = 0;
  const work = async (term) => {
    terms++;
    await lock.forceRevoke(term.token); // the loss is noticed at the next renewal, or at the release
    return 'the output';
  };
  await assert.rejects(lock.lead(work), (error) => error instanceof LockLostError && error.output === 'the output');
  assert.strictEqual(terms, 1);
});

/** The work may notice the loss before this process has received the report of it. */
test('error of work after an unnoticed loss begins a new term', async () => {
  const lock = connect('memory:').lock('a');
  let terms = 0;
  const result = await lock.lead(async (term, signal) => {
    if (++terms === 2) return 'done';
    await lock.forceRevoke(term.token);
    assert.ok(!signal.aborted, 'the loss is not noticed yet');
    throw new Error('the lock is lost');
  });
  assert.deepStrictEqual([result, terms], ['done', 2]);
});

test('signal ends lead in a term, while it waits and before it begins', async () => {
  const client = connect('memory:');
  const lock = client.lock('a');
  const stop = new AbortController();
  const led = lock.lead(async (term, signal) => {
    setImmediate(() => stop.abort('stop'));
    await untilAborted(signal);
    assert.ok(term.isValid(), 'the lock is held until the work has ended');
    return signal.reason;
  }, { signal: stop.signal });
  assert.strictEqual(await led, 'stop');
  assert.ok(await isFree(lock));
  await assert.rejects(lock.lead(() => 1, { signal: stop.signal }), (error) => error === 'stop');

  const held = await lock.acquire();
  const waiting = new AbortController();
  const candidate = lock.lead(() => 1, { signal: waiting.signal });
  setTimeout(() => waiting.abort('waiting'), 20);
  await assert.rejects(candidate, (error) => error === 'waiting');
  await held.release();
  await client.close();
  assert.ok(await isFree(lock));
  for (const { signal } of [stop, waiting]) assert.deepStrictEqual(getEventListeners(signal, 'abort'), []);
});

test('signal after a loss ends lead without a new term', async () => {
  const lock = connect('memory:', { leaseMs: 1000 }).lock('a');
  const stop = new AbortController();
  let terms = 0;
  const led = lock.lead(async (term, signal) => {
    terms++;
    await lock.revoke(term.token);
    await untilAborted(signal);
    stop.abort('stop');
  }, { signal: stop.signal });
  await assert.rejects(led, (error) => error === 'stop');
  assert.strictEqual(terms, 1);
  assert.deepStrictEqual(getEventListeners(stop.signal, 'abort'), []);
});

/** Returns a function that acquires: each entry is an error to reject with, or a function that ends the term. */
function acquisitions(...results) {
  return async () => {
    const next = results.shift();
    if (next instanceof Error) throw next;
    const controller = new AbortController();
    if (next === 'lost') controller.abort(new Error('lost'));
    return { signal: controller.signal, release: async () => {} };
  };
}

test('lead retries errors that may pass only after a loss', async () => {
  const store = (code) => new StoreError('no', code);
  const retried = [];
  const lost = ['lost', store('UNANSWERED'), store('THROTTLED')];
  assert.strictEqual(await lead(acquisitions(...lost, 'held'), () => 'done', undefined, (e) => retried.push(e.code)), 'done');
  assert.deepStrictEqual(retried, ['UNANSWERED', 'THROTTLED']);
  for (const results of [[store('UNANSWERED')], ['lost', store('ACCESS_DENIED')], ['lost', new DynamoLockError('no', 'OTHER')]]) {
    await assert.rejects(lead(acquisitions(...results), () => 'done'), (error) => error === results[results.length - 1]);
  }
});

test('lead and watchRisk check their arguments', async () => {
  const lock = connect('memory:').lock('a');
  for (const args of [[], ['x'], [() => 1, 5], [() => 1, { signal: 1 }], [() => 1, { onRetry: 1 }]]) {
    await assert.rejects(lock.lead(...args), ArgumentError);
  }
  const held = await lock.acquire();
  for (const args of [[], [{}], [{ atRisk: 1 }], [{ atRisk() {}, recovered: 1 }], [{ atRisk() {}, marginMs: '5' }]]) {
    assert.throws(() => held.watchRisk(...args), ArgumentError);
  }
  assert.throws(() => held.riskSignal(-1), ArgumentError);
  await held.release();
});

test('leading keeps the process alive until it has ended', async () => {
  const script = `
    const lock = library.connect('memory:').lock('a');
    lock.lead(async () => {
      await new Promise((resolve) => setTimeout(resolve, 50).unref());
      return 'the result';
    }).then(console.log);`;
  assert.deepStrictEqual(await start(script).ended, { code: 0, signal: null, output: 'the result\n', errorOutput: '' });
});

test('failed renewals are reported, and each recovery', needsServer, async (t) => {
  let gate;
  const url = await proxy(t, () => gate?.promise);
  const { name } = await onTable(t);
  const client = library.createClient(name, { awsConfig: { ...awsConfig, endpoint: url }, leaseMs: 8000 });
  const held = await client.lock('a').acquire();
  const events = [];
  const end = held.watchRisk({ atRisk: (left) => events.push(left), recovered: () => events.push('recovered'), marginMs: 5000 });
  const ended = held.watchRisk({ atRisk: () => events.push('ended'), marginMs: 5000 });
  ended();
  ended();
  const signal = held.riskSignal(5000);
  for (const count of [2, 4]) {
    gate = {};
    gate.promise = new Promise((open) => (gate.open = open));
    await until(() => events.length === count - 1, 'the warning');
    assert.ok(events[count - 2] < 5000 && held.isValid(), events.join());
    gate.open();
    gate = undefined;
    await until(() => events.length === count, 'the recovery');
    assert.ok(events[count - 1] === 'recovered' && held.timeLeftMs >= 4000, events.join());
  }
  assert.ok(signal.aborted && signal.reason.code === 'LOCK_AT_RISK' && signal.reason.timeLeftMs < 5000);
  assert.ok(!held.riskSignal(5000).aborted, 'a new signal is for the next warning');
  end();
  await held.release();
});

test('end of maxHoldMs is a warning with half of the lease left', async () => {
  const held = await connect('memory:', { leaseMs: 4000 }).lock('a').acquire({ maxHoldMs: 3000 });
  let left;
  held.watchRisk({ atRisk: (timeLeftMs) => (left = timeLeftMs) });
  await until(() => left !== undefined, 'the warning');
  assert.ok(left < 2000 && left > 0, String(left));
  await held.release();
});

test('warning of several locks counts the lease that ends first', async () => {
  const left = await connect('memory:', { leaseMs: 4000 }).withLocks(['a', 'b'], { maxHoldMs: 3000 }, async (locks) => {
    const lefts = [];
    locks.watchRisk({ atRisk: (timeLeftMs) => lefts.push(timeLeftMs) });
    const signal = locks.riskSignal();
    await untilAborted(signal);
    assert.ok(locks.isValid() && signal.reason.code === 'LOCK_AT_RISK', String(signal.reason));
    // Two watches report in any order.
    await until(() => lefts.length > 0, 'the watch');
    return lefts[0];
  });
  assert.ok(left < 2000 && left > 0, String(left));
});

test('loss aborts the risk signal, and release ends the watch', async () => {
  const client = connect('memory:', { leaseMs: 1000 });
  const events = [];
  const watch = { atRisk: () => events.push('atRisk'), recovered: () => events.push('recovered'), marginMs: 1 };
  const lost = await client.lock('a').acquire();
  lost.watchRisk(watch);
  const signal = lost.riskSignal(1);
  await client.lock('a').revoke(lost.token);
  await until(() => signal.aborted, 'the signal');
  assert.ok(signal.reason instanceof LockLostError && lost.signal.reason === signal.reason);
  assert.ok(lost.riskSignal().aborted && lost.riskSignal().reason === signal.reason);
  lost.watchRisk(watch)();

  const released = await client.lock('b').acquire();
  released.watchRisk(watch);
  const unused = released.riskSignal(1);
  await released.release();
  released.watchRisk(watch)();
  assert.ok(!unused.aborted && !released.riskSignal().aborted);
  await sleep(50);
  assert.deepStrictEqual(events, []);
});
