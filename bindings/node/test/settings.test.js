'use strict';
// The option `awsConfig` in the shape of aws-sdk v2: each key has its effect, or causes a warning.

const test = require('node:test');
const assert = require('node:assert');
const { spawnSync } = require('node:child_process');
const { createServer } = require('node:http');
const { once } = require('node:events');
const { mkdirSync, writeFileSync } = require('node:fs');
const { join } = require('node:path');
const { library, needsPackages, packages, start, directory } = require('./support');

/** Starts a server that records the credentials and host of each request and returns no row. */
async function recordingServer(t) {
  const requests = [];
  const server = createServer((request, response) => {
    requests.push({ authorization: request.headers.authorization, token: request.headers['x-amz-security-token'], host: request.headers.host });
    request.resume();
    response.writeHead(200, { 'content-type': 'application/x-amz-json-1.0' });
    response.end('{}');
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  return { requests, port: server.address().port };
}

const keys = { accessKeyId: 'akid', secretAccessKey: 'secret', region: 'eu-north-1' };

test('keys, session token and Region sign the request', async (t) => {
  const { requests, port } = await recordingServer(t);
  const awsConfig = { ...keys, sessionToken: 'session', endpoint: `http://127.0.0.1:${port}`, maxRetries: 3, apiVersion: 'latest' };
  await library.createClient('Lock', { awsConfig }).lock('a').inspect();
  assert.match(requests[0].authorization, /Credential=akid\/\d+\/eu-north-1\/dynamodb\//);
  assert.strictEqual(requests[0].token, 'session');
  assert.ok(!Object.hasOwn(awsConfig, 'table') && awsConfig.apiVersion === 'latest', 'the argument is not modified');
});

test('endpoint may be text, URL or object', async (t) => {
  const { requests, port } = await recordingServer(t);
  const endpoints = [
    [`http://127.0.0.1:${port}`], [`http://127.0.0.1:${port}/`], [`127.0.0.1:${port}`, { sslEnabled: false }], [new URL(`http://127.0.0.1:${port}`)],
    [{ protocol: 'http:', hostname: '127.0.0.1', port, path: '/' }], [{ protocol: 'http:', host: `127.0.0.1:${port}` }],
  ];
  if (packages) endpoints.push([new (packages('aws-sdk').Endpoint)(`http://127.0.0.1:${port}`)]);
  for (const [endpoint, more] of endpoints) {
    await library.createClient('Lock', { awsConfig: { ...keys, ...more, endpoint } }).lock('a').inspect();
    assert.strictEqual(requests.pop()?.host, `127.0.0.1:${port}`, String(endpoint));
  }
});

test('credentials may be keys or a provider of either SDK', async (t) => {
  const { requests, port } = await recordingServer(t);
  const { region, ...pair } = keys;
  let calls = 0;
  class Provider {
    get(callback) {
      calls++;
      Object.assign(this, { accessKeyId: 'provided', secretAccessKey: 'x', sessionToken: 'y', expireTime: new Date(Date.now() + 3_600_000) });
      setImmediate(callback, null);
    }
  }
  const given = [
    [pair, 'akid'], [new Provider(), 'provided'], [async () => ({ ...pair, accessKeyId: 'function', expiration: new Date(Date.now() + 3_600_000) }), 'function'],
  ];
  if (packages) given.push([new (packages('aws-sdk').Credentials)('v2', 'x'), 'v2']);
  for (const [credentials, id] of given) {
    const client = library.createClient('Lock', { awsConfig: { region, endpoint: `http://127.0.0.1:${port}`, credentials } });
    await client.lock('a').inspect();
    await client.lock('a').inspect();
    assert.match(requests.pop().authorization, new RegExp(`Credential=${id}/`));
  }
  assert.strictEqual(calls, 1, 'cached until they expire');
  let times = 0;
  const short = async () => ({ ...pair, accessKeyId: `short${++times}`, expiration: new Date(Date.now() + 1000) });
  const expiring = library.createClient('Lock', { awsConfig: { region, endpoint: `http://127.0.0.1:${port}`, credentials: short } });
  const used = async () => {
    await expiring.lock('a').inspect();
    return requests.pop().authorization.match(/Credential=(\w+)\//)[1];
  };
  assert.strictEqual(await used(), 'short1');
  // They are used until the next ones have been loaded, which begins before they end.
  let id = 'short1';
  for (const end = Date.now() + 30_000; id === 'short1' && Date.now() < end;) id = await used();
  assert.strictEqual(id, 'short2');
});

test('awsConfig.dynamodb takes precedence', needsPackages, async (t) => {
  const { requests, port } = await recordingServer(t);
  const dynamodb = { region: 'eu-south-1', endpoint: `http://127.0.0.1:${port}`, accessKeyId: 'own', secretAccessKey: 'x' };
  const config = new (packages('aws-sdk').Config)(keys);
  config.update({ dynamodb });
  for (const awsConfig of [config, Object.freeze({ ...keys, endpoint: 'http://127.0.0.1:9', dynamodb })]) {
    await library.createClient('Lock', { awsConfig }).lock('a').inspect();
    assert.match(requests.pop().authorization, /Credential=own\/\d+\/eu-south-1\//);
  }
});

test('credentials take precedence in the order of SDK v2', needsPackages, async (t) => {
  const { requests, port } = await recordingServer(t);
  const { CredentialProviderChain, Credentials, Config } = packages('aws-sdk');
  const failing = () => ({ get: (callback) => callback(new Error('not here')) });
  const credentialProvider = new CredentialProviderChain([failing, () => new Credentials('chained', 'x')]);
  const given = { region: 'us-east-1', endpoint: `http://127.0.0.1:${port}`, credentialProvider };
  const own = new Credentials('own', 'x');
  for (const [awsConfig, id] of [
    [given, 'chained'], [new Config({ ...given, credentials: null }), 'chained'], [{ ...given, credentials: own }, 'own'], [{ ...given, ...keys, credentials: own }, 'akid'],
  ]) {
    await library.createClient('Lock', { awsConfig }).lock('a').inspect();
    assert.match(requests.pop().authorization, new RegExp(`Credential=${id}/`));
  }
  const { forTable } = require('../lib/settings');
  const { settings } = forTable('Lock', { awsConfig: new Config({ region: 'us-east-1', credentials: null }) });
  assert.ok(!settings.credentialsProvider, 'the addon implements the default chain');
});

test('error of a credentials provider is reported', async () => {
  const error = new Error('no such profile');
  for (const [credentials, text, cause] of [
    [{ get: (callback) => callback(error) }, 'no such profile', error],
    [async () => { throw error; }, 'no such profile', error],
    [() => Promise.reject(), 'it rejected without an error'],
    [async () => ({ accessKeyId: 7 }), 'its accessKeyId must be a string, not number'],
    [async () => {}, 'undefined'],
    [{ resolve: (callback) => callback(error) }, 'no such profile', error],
  ]) {
    const client = library.createClient('Lock', { awsConfig: { region: 'us-east-1', endpoint: 'http://127.0.0.1:9', credentials } });
    await assert.rejects(client.lock('a').inspect(), (error) => {
      assert.ok(error instanceof library.StoreError && error.code === 'MISCONFIGURED');
      assert.ok(error.message.startsWith('awsConfig.credentials gives no usable AWS credentials: ') && error.message.includes(text), error.message);
      return error.cause instanceof Error && (!cause || error.cause === cause);
    });
  }
});

test('httpOptions.timeout limits a request', async (t) => {
  const server = createServer(() => {}).listen(0, '127.0.0.1'); // never responds
  await once(server, 'listening');
  t.after(() => (server.closeAllConnections(), server.close()));
  const awsConfig = { ...keys, endpoint: `http://127.0.0.1:${server.address().port}`, httpOptions: { timeout: 50, connectTimeout: 1000 } };
  const start = performance.now();
  await assert.rejects(library.createClient('Lock', { awsConfig }).lock('a').inspect(), { code: 'UNANSWERED', message: /in time/ });
  assert.ok(performance.now() - start < 4000, 'less than the default time limit of 5 s');
});

test('timeouts are passed to the addon', () => {
  const { forTable } = require('../lib/settings');
  const settingsOf = (awsConfig, options) => forTable('Lock', { awsConfig: { ...keys, ...awsConfig }, ...options }).settings;
  assert.strictEqual(settingsOf({ httpOptions: { timeout: 120_000 } }).timeoutMs, 5000, 'limited to 5 s');
  assert.strictEqual(settingsOf({ httpOptions: { timeout: 120_000 } }, { timeoutMs: 70 }).timeoutMs, 70);
  assert.strictEqual(settingsOf({ httpOptions: { connectTimeout: 80 } }).connectTimeoutMs, 80);
  assert.strictEqual(settingsOf({}).timeoutMs, undefined);
});

test('FIPS and dual-stack endpoints are requested', async (t) => {
  const { requests, port } = await recordingServer(t);
  for (const [key, message] of [['useFipsEndpoint', /FIPS/], ['useDualstackEndpoint', /[Dd]ual/]]) {
    // The SDK rejects the combination with a custom endpoint, which shows that the setting has reached it.
    const client = library.createClient('Lock', { awsConfig: { ...keys, endpoint: `http://127.0.0.1:${port}`, [key]: true } });
    await assert.rejects(client.lock('a').inspect(), { name: 'StoreError', code: 'MISCONFIGURED', message });
  }
  assert.deepStrictEqual(requests, []);
});

test('unknown key causes one warning', needsPackages, async () => {
  const { modules } = require('./support');
  const script = `
    process.on('warning', (warning) => console.log(warning.name + ': ' + warning.message));
    const make = (awsConfig) => library.createClient('Lock', { awsConfig });
    for (let at = 0; at < 3; at++) make({ accesKeyId: 'x', region: 'us-east-1', maxRetries: 2, apiVersion: 'x', httpOptions: { agent: {} } });
    const AWS = require(process.argv[1] + '/aws-sdk');
    make(new AWS.Config({ region: 'us-east-1' }));
    library.createClient('Lock', { database: {} });
    library.connect('memory:').lock('a').acquire({ timeout: 5 });`;
  const env = { AWS_SDK_JS_SUPPRESS_MAINTENANCE_MODE_MESSAGE: '1', NODE_NO_WARNINGS: '1' };
  const { output } = await start(script, { args: [modules], env }).ended;
  const lines = output.trim().split('\n');
  assert.strictEqual(lines.length, 4, output);
  assert.match(lines[0], /^DynamoLockWarning: awsConfig\.accesKeyId is unknown and has no effect$/);
  assert.match(lines[1], /httpOptions\.agent has no effect/);
  assert.match(lines[2], /options: `database` is unknown/);
  assert.match(lines[3], /options of acquire: `timeout` is unknown and has no effect; known options: waitMs, /);
});

// The session of `aws login` has ended, or there was none. Track record: the SDK was built without this source.
test('profile of aws login is supported', () => {
  const home = directory();
  mkdirSync(join(home, '.aws'));
  writeFileSync(join(home, '.aws', 'config'), '[default]\nlogin_session = arn:aws:iam::123456789012:user/dev\n');
  const code = `
    const { connect, createClient } = require(${JSON.stringify(join(__dirname, '..'))});
    const clients = [connect('dynamodb://Lock?region=us-east-1'), createClient('Lock', { awsConfig: { region: 'us-east-1' } })];
    for (const client of clients) client.lock('a').inspect().catch((error) => console.log(error.code, error.message));`;
  const env = { PATH: process.env.PATH, HOME: home, USERPROFILE: home, AWS_EC2_METADATA_DISABLED: 'true' };
  const { stdout } = spawnSync(process.execPath, ['-e', code], { env, encoding: 'utf8' });
  const line = 'MISCONFIGURED there is no valid `aws login` session; run `aws login`\n';
  assert.strictEqual(stdout, line + line);
});
