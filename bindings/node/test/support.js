'use strict';
// What the tests share: the server, the packages that they drive, tables, processes.

const { spawn } = require('node:child_process');
const { once } = require('node:events');
const { mkdtempSync, rmSync } = require('node:fs');
const { createServer } = require('node:http');
const { createRequire } = require('node:module');
const { tmpdir } = require('node:os');
const { join } = require('node:path');
const { setTimeout: sleep } = require('node:timers/promises');
const library = require('..');

const modules = process.env.DYNAMO_LOCK_TEST_NODE_MODULES;
/** From the packages of `package-lock.json`, which `cargo xtask test` installs. */
const packages = modules ? createRequire(join(modules, 'here.js')) : undefined;
const endpoint = process.env.DYNAMO_LOCK_TEST_ENDPOINT;

/** Options for a test that needs a server, or the packages too; without them it says why it is skipped. */
const needsServer = { skip: endpoint ? false : '`cargo xtask test` starts a DynamoDB server' };
const needsAll = { skip: endpoint && modules ? false : '`cargo xtask test` starts a DynamoDB server and installs npm packages' };
const needsPackages = { skip: modules ? false : '`cargo xtask test` installs npm packages' };

const awsConfig = { accessKeyId: 'test', secretAccessKey: 'test', region: 'us-east-1', endpoint };

let tables = 0;
/** A name that no other test has. */
const tableName = () => `node-${process.pid}-${Date.now().toString(36)}-${tables++}`;

/** A client of a table of its own, which goes with the test. */
async function onTable(t, options = {}) {
  const name = tableName();
  const client = library.createClient(name, { awsConfig, ...options });
  await client.createLockTable();
  t.after(() => library.createClient(name, { awsConfig }).deleteLockTable());
  return { name, client };
}

/** SDK v2's low-level client. */
function v2(options = {}) {
  process.env.AWS_SDK_JS_SUPPRESS_MAINTENANCE_MODE_MESSAGE = '1';
  const AWS = packages('aws-sdk');
  return new AWS.DynamoDB({ ...awsConfig, ...options });
}

/** The row of a lock as it is in the table. */
async function row(table, lock) {
  const { Item } = await v2().getItem({ TableName: table, Key: { name: { S: lock } }, ConsistentRead: true }).promise();
  return Item;
}

async function plant(table, lock, attributes) {
  await v2().putItem({ TableName: table, Item: { name: { S: lock }, ...attributes } }).promise();
}

/** A node process that runs `script`, in which `library` is the package unless it is bare; what it prints, and how it ended. */
function start(script, { args = [], env = {}, flags = [], cwd, bare = false } = {}) {
  const preamble = bare ? '' : `'use strict'; const library = require(${JSON.stringify(join(__dirname, '..'))});\n`;
  const child = spawn(process.execPath, [...flags, '-e', preamble + script, ...args], {
    cwd,
    env: { ...process.env, ...env },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  child.said = '';
  child.complained = '';
  child.stdout.on('data', (data) => (child.said += data));
  child.stderr.on('data', (data) => (child.complained += data));
  child.ended = once(child, 'close').then(([code, signal]) => ({ code, signal, said: child.said, complained: child.complained }));
  return child;
}

/** A server between a client and the real one, which does `then(operation)` before it passes each answer on. Its URL. */
async function between(t, then) {
  const server = createServer(async (request, response) => {
    const body = Buffer.concat(await request.toArray());
    const { host, connection, 'content-length': length, ...headers } = request.headers;
    const answer = await fetch(endpoint, { method: 'POST', headers, body });
    const text = await answer.text();
    await then(request.headers['x-amz-target'].split('.')[1]);
    response.writeHead(answer.status, { 'content-type': answer.headers.get('content-type') });
    response.end(text);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => (server.closeAllConnections(), server.close()));
  return `http://127.0.0.1:${server.address().port}`;
}

/** Waits until `there()` is true; polls, so that nothing rests on how long it takes. */
async function until(there, what) {
  for (let tries = 0; tries < 1200; tries++) {
    if (await there()) return;
    await sleep(25);
  }
  throw new Error(`never: ${what}`);
}

/** What a callback is called with, each time. */
function heard() {
  const calls = [];
  let first;
  const called = new Promise((resolve) => (first = resolve));
  const callback = (...values) => {
    calls.push(values);
    first(values);
  };
  return { callback, calls, called };
}

const folders = [];
process.once('exit', () => folders.forEach((folder) => rmSync(folder, { recursive: true, force: true })));

/** A folder that goes with this process. */
function directory() {
  folders.push(mkdtempSync(join(tmpdir(), 'dynamo-lock-')));
  return folders.at(-1);
}

module.exports = {
  library, packages, modules, endpoint, needsServer, needsAll, needsPackages, awsConfig, tableName, onTable, v2, row,
  plant, start, between, until, heard, sleep, directory,
};
