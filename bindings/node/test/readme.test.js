'use strict';
// Each code block of the original's README, as it stands in the original's package, does what its text says.

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

/** A folder in which `require('dynamo-lock')` is this package. */
function home() {
  const folder = directory();
  mkdirSync(join(folder, 'node_modules'));
  symlinkSync(join(__dirname, '..'), join(folder, 'node_modules', 'dynamo-lock'));
  return folder;
}

/** Runs a block after the preamble that defines `AWS`, `params` and the endpoint; what it prints. */
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
  let said = '';
  child.stdout.on('data', (data) => (said += data));
  child.stderr.on('data', (data) => (said += data));
  const [status] = await once(child, 'close');
  assert.strictEqual(status, 0, said);
  return said;
}

test('each code block of the original README runs and does what its text says', needsAll, async (t) => {
  const folder = home();
  // Two runs at once have two tables: only the name differs from the text.
  const mine = tableName();
  const [create, get, construct] = blocks().map((code) => code.replace("'Lock'", `'${mine}'`).replaceAll("'lockTable'", `'${mine}'`));
  assert.ok(create.includes('createLockTable') && get.includes('getLock') && construct.includes('db:DynamoDb'));
  assert.strictEqual(blocks().length, 3);
  t.after(() => v2().deleteTable({ TableName: mine }).promise());

  assert.strictEqual(await run(folder, create), 'Created lock table\n');
  const { Table } = await v2().describeTable({ TableName: mine }).promise();
  assert.strictEqual(Table.ProvisionedThroughput.ReadCapacityUnits, 1);
  assert.strictEqual(Table.ProvisionedThroughput.WriteCapacityUnits, 1);
  assert.strictEqual(await run(folder, create), 'Could not create lock table because TABLE_EXISTS\n');

  const expiresOn = async () => Number((await row(mine, 'testLock')).expiresOn.N);
  let within = false;
  // The timeout is the block's own, 10 s: on a machine that needs longer for two processes the second may be late.
  for (let tries = 0; tries < 5 && !within; tries++) {
    await until(async () => tries === 0 || Date.now() > (await expiresOn()), 'the end of the timeout');
    assert.strictEqual(await run(folder, get), 'Got lock!\n');
    const taken = await expiresOn();
    const second = await run(folder, get);
    within = Date.now() < taken;
    if (within) assert.strictEqual(second, 'Could not get lock\n', 'within the timeout');
  }
  assert.ok(within, 'two processes in ten seconds');
  await until(async () => Date.now() > (await expiresOn()), 'the end of the timeout');
  assert.strictEqual(await run(folder, get), 'Got lock!\n', 'after the timeout');

  assert.strictEqual(await run(folder, construct), '');
  // Both of its clients, used.
  const [fixed, own] = construct.split('// Using your own Dynamo Object');
  const use = "client.getLock(process.argv[1], 10000, function (err, success) { console.log('heard', err, success); });";
  const name = (of) => use.replace('process.argv[1]', `'${of}'`);
  assert.strictEqual(await run(folder, fixed, name('fixed')), 'heard null SUCCESS\n');
  assert.strictEqual(await run(folder, `var dynamoLock = require('dynamo-lock');${own}`, name('own')), 'heard null SUCCESS\n');
});
