'use strict';
// The code blocks of the README in npm dynamo-lock 0.1.3 do what its text describes.

const test = require('node:test');
const assert = require('node:assert');
const { mkdirSync, readFileSync, symlinkSync } = require('node:fs');
const { join } = require('node:path');
const { spawn } = require('node:child_process');
const { once } = require('node:events');
const { modules, needsAll, endpoint, directory, v2, row, until, tableName } = require('./support');

function blocks() {
  const text = readFileSync(join(modules, 'dynamo-lock', 'ReadMe.md'), 'utf8');
  return [...text.matchAll(/^```javascript\n(.*?)^```/gms)].map(([, code]) => code);
}

/** Creates a folder in which `require('dynamo-lock')` loads this package. */
function home() {
  const folder = directory();
  mkdirSync(join(folder, 'node_modules'));
  symlinkSync(join(__dirname, '..'), join(folder, 'node_modules', 'dynamo-lock'));
  return folder;
}

/** Runs a code block with `AWS` and `params` defined, and returns its output. */
async function run(folder, code, after = '') {
  const preamble =
    `var AWS = require(${JSON.stringify(join(modules, 'aws-sdk'))});` +
    `var params = { awsConfig: { accessKeyId: 'a', secretAccessKey: 'b', region: 'us-east-1', endpoint: ${JSON.stringify(endpoint)} } };\n`;
  const env = {
    ...process.env,
    AWS_ENDPOINT_URL_DYNAMODB: endpoint,
    AWS_REGION: 'us-east-1',
    AWS_ACCESS_KEY_ID: 'test',
    AWS_SECRET_ACCESS_KEY: 'test',
    AWS_SDK_JS_SUPPRESS_MAINTENANCE_MODE_MESSAGE: '1',
  };
  const child = spawn(process.execPath, ['-e', preamble + code + after], { cwd: folder, env });
  let output = '';
  child.stdout.on('data', (data) => (output += data));
  child.stderr.on('data', (data) => (output += data));
  const [status] = await once(child, 'close');
  assert.strictEqual(status, 0, output);
  return output;
}

test('README examples of npm dynamo-lock run as described', needsAll, async (t) => {
  const folder = home();
  // Only the table name is changed, so that concurrent test runs do not share a table.
  const table = tableName();
  const [create, get, construct] = blocks().map((code) => code.replace("'Lock'", `'${table}'`).replaceAll("'lockTable'", `'${table}'`));
  assert.ok(create.includes('createLockTable') && get.includes('getLock') && construct.includes('db:DynamoDb'));
  assert.strictEqual(blocks().length, 3);
  t.after(() => v2().deleteTable({ TableName: table }).promise());

  assert.strictEqual(await run(folder, create), 'Created lock table\n');
  const { Table } = await v2().describeTable({ TableName: table }).promise();
  assert.strictEqual(Table.ProvisionedThroughput.ReadCapacityUnits, 1);
  assert.strictEqual(Table.ProvisionedThroughput.WriteCapacityUnits, 1);
  assert.strictEqual(await run(folder, create), 'Could not create lock table because TABLE_EXISTS\n');

  const expiresOn = async () => Number((await row(table, 'testLock')).expiresOn.N);
  let within = false;
  // The timeout in the block is 10 s. A slow machine may need longer for two processes, so try up to five times.
  for (let tries = 0; tries < 5 && !within; tries++) {
    await until(async () => tries === 0 || Date.now() > (await expiresOn()), 'the end of the timeout');
    assert.strictEqual(await run(folder, get), 'Got lock!\n');
    const taken = await expiresOn();
    const second = await run(folder, get);
    within = Date.now() < taken;
    if (within) assert.strictEqual(second, 'Could not get lock\n', 'within the timeout');
  }
  assert.ok(within, 'two processes within ten seconds');
  await until(async () => Date.now() > (await expiresOn()), 'the end of the timeout');
  assert.strictEqual(await run(folder, get), 'Got lock!\n', 'after the timeout');

  assert.strictEqual(await run(folder, construct), '');
  // Use both clients of this block.
  const [fixed, own] = construct.split('// Using your own Dynamo Object');
  const use = "client.getLock(process.argv[1], 10000, function (err, success) { console.log('called', err, success); });";
  const useLock = (name) => use.replace('process.argv[1]', `'${name}'`);
  assert.strictEqual(await run(folder, fixed, useLock('fixed')), 'called null SUCCESS\n');
  assert.strictEqual(await run(folder, `var dynamoLock = require('dynamo-lock');${own}`, useLock('own')), 'called null SUCCESS\n');
});
