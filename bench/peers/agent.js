'use strict';
// The Node agent: `node agent.js LIBRARY key=value...`. Understands the commands of the Rust agent (src/agent/mod.rs),
// as far as its library can do them.

const { createInterface } = require('node:readline');
const { createRequire } = require('node:module');

const [library, ...pairs] = process.argv.slice(2);
const settings = Object.fromEntries(pairs.map((pair) => pair.split(/=(.*)/s).slice(0, 2)));
const lease = Number(settings.lease);
const load = createRequire(`${settings.packages}/`);

const now = () => Number(process.hrtime.bigint());
const cpu = () => {
  const { user, system } = process.cpuUsage();
  return (user + system) * 1000;
};
const print = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const promise = (start) =>
  new Promise((resolve, reject) => start((error, value) => (error ? reject(error) : resolve(value))));
const awsConfig = {
  endpoint: settings.url,
  region: 'us-east-1',
  accessKeyId: 'test',
  secretAccessKey: 'test',
};

/** Each library as functions that acquire and release. */
const libraries = {
  /** The Node package of this repository. */
  node() {
    const { createClient } = load(settings.packages);
    const lock = createClient(settings.table, { awsConfig, leaseMs: lease }).lock(settings.lock);
    return { acquire: () => lock.acquire(), release: (held) => held.release() };
  },

  /** npm dynamo-lock: no release and no waiting, so that a cycle is one acquisition of a new name. */
  'npm-dynamo-lock'() {
    const client = load('dynamo-lock').createClient(settings.table, { awsConfig });
    let names = 0;
    const acquire = () => promise((done) => client.getLock(`${settings.lock}-${names++}`, lease, done));
    const waiting = async () => {
      for (;;) {
        try {
          return await promise((done) => client.getLock(settings.lock, lease, done));
        } catch {
          await sleep(100);
        }
      }
    };
    return { acquire, waiting, release: () => {} };
  },

  'dynamodb-lock-client'() {
    const AWS = load('aws-sdk');
    const { FailOpen } = load('dynamodb-lock-client');
    const client = new FailOpen({
      dynamodb: new AWS.DynamoDB.DocumentClient(awsConfig),
      lockTable: settings.table,
      partitionKey: 'id',
      leaseDurationMs: lease,
      heartbeatPeriodMs: Math.floor(lease / 4),
      trustLocalTime: settings.trust === '1',
      retryCount: 1e6,
    });
    // A cycle uses a new name, because a release leaves a row that the next acquisition must wait for.
    let names = 0;
    const lock = async (name) => {
      const held = await promise((done) => client.acquireLock(name, done));
      return held.on('error', (error) => console.error(`heartbeat of ${name}: ${error}`));
    };
    const acquire = () => lock(`${settings.lock}-${names++}`);
    const waiting = () => lock(settings.lock);
    return { acquire, waiting, release: (held) => promise((done) => held.release(done)) };
  },
};

async function main() {
  const { acquire, waiting = acquire, release } = libraries[library]();
  const hold = async (ms) => {
    const held = await waiting();
    await sleep(ms);
    await release(held);
  };
  const commands = {
    async cycle(count) {
      const [start, used] = [now(), cpu()];
      for (let index = 0; index < count; index++) await release(await acquire());
      print({ ns: now() - start, cpu: cpu() - used });
    },
    async hold(ms) {
      const held = await waiting();
      print({ acquired: now() });
      await sleep(ms);
      print({ releasing: now() });
      await release(held);
      print({ released: now() });
    },
    async tasks(count, ms) {
      const first = await waiting();
      const all = Array.from({ length: count }, () => hold(ms));
      await sleep(1000);
      const start = now();
      await release(first);
      await Promise.all(all);
      print({ ns: now() - start, bytes: 0 });
    },
    async cpu() {
      print({ cpu: cpu(), at: now() });
    },
  };
  print({ ready: true });
  for await (const line of createInterface({ input: process.stdin })) {
    const [command, ...numbers] = line.trim().split(' ');
    await commands[command](...numbers.map(Number));
  }
  process.exit(0);
}

main().catch((error) => {
  console.error(`agent.js ${library}: ${error.stack ?? error}`);
  process.exit(1);
});
