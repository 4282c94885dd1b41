'use strict';
// Compares acquire and release from JavaScript with the Rust library, on the same server. Prints the medians, and
// fails if JavaScript takes more than LIMIT times as long. `cargo xtask node-bench` runs it.

const { spawn } = require('node:child_process');
const { createInterface } = require('node:readline');
const { createClient, connect } = require('..');

const LIMIT = 1.25;
// Many short rounds in alternation, so that other load on the machine affects both sides equally.
const ROUNDS = 101;
const CYCLES = 10;

async function main(program, endpoint) {
  const table = `bench-${process.pid}`;
  const awsConfig = { accessKeyId: 'test', secretAccessKey: 'test', region: 'us-east-1', endpoint };
  const client = createClient(table, { awsConfig });
  await client.createLockTable();
  const url = `dynamodb://${table}?region=us-east-1&endpoint=${encodeURIComponent(endpoint)}`;
  const { rust, node } = await measure(program, url);
  await client.deleteLockTable();

  const [rustMs, nodeMs] = [rust, node].map((times) => median(times) / CYCLES / 1e6);
  const ratio = median(node.map((time, index) => time / rust[index]));
  console.log(
    `acquire + release, median of ${ROUNDS} rounds of ${CYCLES}: ` +
      `Rust ${rustMs.toFixed(3)} ms, Node ${nodeMs.toFixed(3)} ms: ${ratio.toFixed(3)} x (limit ${LIMIT})`,
  );
  process.exitCode = ratio <= LIMIT ? 0 : 1;
}

/** Returns the times of the rounds in nanoseconds. The Rust half is the example `overhead`. */
async function measure(program, url) {
  const child = spawn(program, [url], { stdio: ['pipe', 'pipe', 'inherit'] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const lock = connect(url).lock('node');
  const inRust = async (cycles) => {
    child.stdin.write(`${cycles}\n`);
    return Number((await lines.next()).value);
  };
  const inNode = async (cycles) => {
    const start = process.hrtime.bigint();
    for (let cycle = 0; cycle < cycles; cycle++) await (await lock.acquire()).release();
    return Number(process.hrtime.bigint() - start);
  };
  await inRust(20 * CYCLES);
  await inNode(20 * CYCLES);
  const times = { rust: [], node: [] };
  for (let round = 0; round < ROUNDS; round++) {
    times.rust.push(await inRust(CYCLES));
    times.node.push(await inNode(CYCLES));
  }
  child.stdin.end();
  return times;
}

const median = (values) => [...values].sort((a, b) => a - b)[values.length >> 1];

main(process.argv[2], process.env.DYNAMO_LOCK_TEST_ENDPOINT);
