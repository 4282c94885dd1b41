'use strict';
// Shared helpers of the tests: the DynamoDB server, npm packages, tables, rows and processes.

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
/** `require` for the packages in `package-lock.json`, which `cargo xtask test` installs. */
const packages = modules ? createRequire(join(modules, 'here.js')) : undefined;
const endpoint = process.env.DYNAMO_LOCK_TEST_ENDPOINT;

/** Options of tests that need a server, npm packages or both. Without them the test is skipped. */
const needsServer = { skip: endpoint ? false : '`cargo xtask test` starts a DynamoDB server' };
const needsAll = { skip: endpoint && modules ? false : '`cargo xtask test` starts a DynamoDB server and installs npm packages' };
const needsPackages = { skip: modules ? false : '`cargo xtask test` installs npm packages' };

const awsConfig = { accessKeyId: 'test', secretAccessKey: 'test', region: 'us-east-1', endpoint };

let tables = 0;
/** Returns a table name that no other test uses. */
const tableName = () => `node-${process.pid}-${Date.now().toString(36)}-${tables++}`;

/** Creates a table and a client of it. The table is deleted after the test. */
async function onTable(t, options = {}) {
  const name = tableName();
  const client = library.createClient(name, { awsConfig, ...options });
  await client.createLockTable();
  t.after(() => library.createClient(name, { awsConfig }).deleteLockTable());
  return { name, client };
}

/** Returns an `AWS.DynamoDB` of SDK v2. */
function v2(options = {}) {
  process.env.AWS_SDK_JS_SUPPRESS_MAINTENANCE_MODE_MESSAGE = '1';
  const AWS = packages('aws-sdk');
  return new AWS.DynamoDB({ ...awsConfig, ...options });
}

/** Reads the row of a lock. */
async function row(table, lock) {
  const { Item } = await v2().getItem({ TableName: table, Key: { name: { S: lock } }, ConsistentRead: true }).promise();
  return Item;
}

/** Writes the row of a lock. */
async function putRow(table, lock, attributes) {
  await v2().putItem({ TableName: table, Item: { name: { S: lock }, ...attributes } }).promise();
}

/**
 * Starts a Node process that runs `script`, where `library` is this package unless `bare` is set. The property
 * `output` is its standard output so far, and `ended` resolves to its exit code, signal and output.
 */
function start(script, { args = [], env = {}, flags = [], cwd, bare = false } = {}) {
  const preamble = bare ? '' : `'use strict'; const library = require(${JSON.stringify(join(__dirname, '..'))});\n`;
  const child = spawn(process.execPath, [...flags, '-e', preamble + script, ...args], {
    cwd,
    env: { ...process.env, ...env },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  child.output = '';
  child.errorOutput = '';
  child.stdout.on('data', (data) => (child.output += data));
  child.stderr.on('data', (data) => (child.errorOutput += data));
  const ended = ([code, signal]) => ({ code, signal, output: child.output, errorOutput: child.errorOutput });
  child.ended = once(child, 'close').then(ended);
  return child;
}

/**
 * Starts a proxy in front of the DynamoDB server and returns its URL. Before it passes on a response, it awaits
 * `beforeResponse(operation)`.
 */
async function proxy(t, beforeResponse) {
  const server = createServer(async (request, response) => {
    const body = Buffer.concat(await request.toArray());
    const { host, connection, 'content-length': length, ...headers } = request.headers;
    const upstream = await fetch(endpoint, { method: 'POST', headers, body });
    const text = await upstream.text();
    await beforeResponse(request.headers['x-amz-target'].split('.')[1]);
    response.writeHead(upstream.status, { 'content-type': upstream.headers.get('content-type') });
    response.end(text);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => (server.closeAllConnections(), server.close()));
  return `http://127.0.0.1:${server.address().port}`;
}

/**
 * Polls until `condition()` is true, at most 30 s. Tests use it so that they do not depend on the speed of the
 * machine.
 */
async function until(condition, description) {
  for (let tries = 0; tries < 1200; tries++) {
    if (await condition()) return;
    await sleep(25);
  }
  throw new Error(`timed out waiting for: ${description}`);
}

/** Returns a callback that records its arguments in `calls`, and a promise of the first ones. */
function recorder() {
  const calls = [];
  let resolveFirst;
  const called = new Promise((resolve) => (resolveFirst = resolve));
  const callback = (...values) => {
    calls.push(values);
    resolveFirst(values);
  };
  return { callback, calls, called };
}

const folders = [];
process.once('exit', () => folders.forEach((folder) => rmSync(folder, { recursive: true, force: true })));

/** Creates a folder that is deleted when this process exits. */
function directory() {
  folders.push(mkdtempSync(join(tmpdir(), 'dynamo-lock-')));
  return folders.at(-1);
}

module.exports = {
  library, packages, modules, endpoint, needsServer, needsAll, needsPackages, awsConfig, tableName, onTable, v2, row,
  putRow, start, proxy, until, recorder, sleep, directory,
};
