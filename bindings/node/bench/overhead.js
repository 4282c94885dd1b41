'use strict';
// Acquire and release from JavaScript against the Rust library's: same server, same run, round about. Prints the medians,
// and fails if JavaScript's is more than LIMIT times Rust's. `cargo xtask node-bench` runs it.

const { spawn } = require('node:child_process');
const { createInterface } = require('node:readline');
const { createClient, connect } = require('..');

const LIMIT = 1.25;
// Short rounds, each beside its own: what else the machine does falls on both.
const ROUNDS = 101;
const TIMES = 10;

async function main(program, endpoint) {
  const table = `bench-${process.pid}`;
  const awsConfig = { accessKeyId: 'test', secretAccessKey: 'test', region: 'us-east-1', endpoint };
  const owner = createClient(table, { awsConfig });
  await owner.createLockTable();
  const url = `dynamodb://${table}?region=us-east-1&endpoint=${encodeURIComponent(endpoint)}`;
  const rust = spawn(program, [url], { stdio: ['pipe', 'pipe', 'inherit'] });
  const lines = createInterface({ input: rust.stdout })[Symbol.asyncIterator]();
  const lock = connect(url).lock('node');
  const inRust = async (times) => {
    rust.stdin.write(`${times}\n`);
    return Number((await lines.next()).value);
  };
  const inNode = async (times) => {
    const began = process.hrtime.bigint();
    for (let at = 0; at < times; at++) await (await lock.acquire()).release();
    return Number(process.hrtime.bigint() - began);
  };
  await inRust(20 * TIMES);
  await inNode(20 * TIMES);
  const taken = { rust: [], node: [] };
  for (let round = 0; round < ROUNDS; round++) {
    taken.rust.push(await inRust(TIMES));
    taken.node.push(await inNode(TIMES));
  }
  rust.stdin.end();
  await owner.deleteLockTable();
  const median = (all) => [...all].sort((a, b) => a - b)[all.length >> 1];
  const [ofRust, ofNode] = [taken.rust, taken.node].map((all) => median(all) / TIMES / 1e6);
  const ratio = median(taken.node.map((node, at) => node / taken.rust[at]));
  const times = `${ROUNDS} rounds of ${TIMES}`;
  console.log(`acquire + release, median of ${times}: Rust ${ofRust.toFixed(3)} ms, Node ${ofNode.toFixed(3)} ms: ${ratio.toFixed(3)} x (limit ${LIMIT})`);
  process.exitCode = ratio <= LIMIT ? 0 : 1;
}

main(process.argv[2], process.env.DYNAMO_LOCK_TEST_ENDPOINT);
