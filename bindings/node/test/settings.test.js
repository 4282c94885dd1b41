'use strict';
// `awsConfig` in the shape of aws-sdk v2: each key does what it did, or says that it does nothing.

const test = require('node:test');
const assert = require('node:assert');
const { createServer } = require('node:http');
const { once } = require('node:events');
const { library, needsPackages, packages, start } = require('./support');

/** A server that hears who asks, and of what; there is no row. */
async function listener(t) {
  const heard = [];
  const server = createServer((request, response) => {
    heard.push({ authorization: request.headers.authorization, token: request.headers['x-amz-security-token'], host: request.headers.host });
    request.resume();
    response.writeHead(200, { 'content-type': 'application/x-amz-json-1.0' });
    response.end('{}');
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  return { heard, port: server.address().port };
}

const keys = { accessKeyId: 'akid', secretAccessKey: 'secret', region: 'eu-north-1' };

test('keys, session token and region sign the request', async (t) => {
  const { heard, port } = await listener(t);
  const awsConfig = { ...keys, sessionToken: 'session', endpoint: `http://127.0.0.1:${port}`, maxRetries: 3, apiVersion: 'latest' };
  await library.createClient('Lock', { awsConfig }).lock('a').inspect();
  assert.match(heard[0].authorization, /Credential=akid\/\d+\/eu-north-1\/dynamodb\//);
  assert.strictEqual(heard[0].token, 'session');
  assert.ok(!Object.hasOwn(awsConfig, 'table') && awsConfig.apiVersion === 'latest', 'and what was given is left as it was');
});

test('an endpoint is text with or without a scheme, a URL, or an object', async (t) => {
  const { heard, port } = await listener(t);
  const endpoints = [
    [`http://127.0.0.1:${port}`], [`http://127.0.0.1:${port}/`], [`127.0.0.1:${port}`, { sslEnabled: false }], [new URL(`http://127.0.0.1:${port}`)],
    [{ protocol: 'http:', hostname: '127.0.0.1', port, path: '/' }], [{ protocol: 'http:', host: `127.0.0.1:${port}` }],
  ];
  if (packages) endpoints.push([new (packages('aws-sdk').Endpoint)(`http://127.0.0.1:${port}`)]);
  for (const [endpoint, more] of endpoints) {
    await library.createClient('Lock', { awsConfig: { ...keys, ...more, endpoint } }).lock('a').inspect();
    assert.strictEqual(heard.pop()?.host, `127.0.0.1:${port}`, String(endpoint));
  }
});

test('credentials are an object, a provider of SDK v2, or a function of SDK v3', async (t) => {
  const { heard, port } = await listener(t);
  const { region, ...pair } = keys;
  let asked = 0;
  class Provider {
    get(callback) {
      asked++;
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
    assert.match(heard.pop().authorization, new RegExp(`Credential=${id}/`));
  }
  assert.strictEqual(asked, 1, 'until they expire');
  let times = 0;
  const short = async () => ({ ...pair, accessKeyId: `short${++times}`, expiration: new Date(Date.now() + 1000) });
  const expiring = library.createClient('Lock', { awsConfig: { region, endpoint: `http://127.0.0.1:${port}`, credentials: short } });
  for (const id of ['short1', 'short2']) {
    await expiring.lock('a').inspect();
    assert.match(heard.pop().authorization, new RegExp(`Credential=${id}/`));
  }
});

test('what a configuration has for DynamoDB alone comes before what it has for all', needsPackages, async (t) => {
  const { heard, port } = await listener(t);
  const dynamodb = { region: 'eu-south-1', endpoint: `http://127.0.0.1:${port}`, accessKeyId: 'own', secretAccessKey: 'x' };
  const config = new (packages('aws-sdk').Config)(keys);
  config.update({ dynamodb });
  for (const awsConfig of [config, Object.freeze({ ...keys, endpoint: 'http://127.0.0.1:9', dynamodb })]) {
    await library.createClient('Lock', { awsConfig }).lock('a').inspect();
    assert.match(heard.pop().authorization, /Credential=own\/\d+\/eu-south-1\//);
  }
});

test('a chain of credentials is asked after keys and credentials, as SDK v2 asks it', needsPackages, async (t) => {
  const { heard, port } = await listener(t);
  const { CredentialProviderChain, Credentials, Config } = packages('aws-sdk');
  const failing = () => ({ get: (callback) => callback(new Error('not here')) });
  const credentialProvider = new CredentialProviderChain([failing, () => new Credentials('chained', 'x')]);
  const given = { region: 'us-east-1', endpoint: `http://127.0.0.1:${port}`, credentialProvider };
  const own = new Credentials('own', 'x');
  for (const [awsConfig, id] of [
    [given, 'chained'], [new Config({ ...given, credentials: null }), 'chained'], [{ ...given, credentials: own }, 'own'], [{ ...given, ...keys, credentials: own }, 'akid'],
  ]) {
    await library.createClient('Lock', { awsConfig }).lock('a').inspect();
    assert.match(heard.pop().authorization, new RegExp(`Credential=${id}/`));
  }
  const { forTable } = require('../lib/settings');
  const { settings } = forTable('Lock', { awsConfig: new Config({ region: 'us-east-1', credentials: null }) });
  assert.ok(!settings.credentialsProvider, 'the usual chain is the native half’s own');
});

test('a provider of credentials that fails is heard', async () => {
  const error = new Error('no such profile');
  for (const [credentials, said, cause] of [
    [{ get: (callback) => callback(error) }, 'no such profile', error],
    [async () => { throw error; }, 'no such profile', error],
    [() => Promise.reject(), 'it rejected without an error'],
    [async () => ({ accessKeyId: 7 }), 'its accessKeyId must be a string, not number'],
    [async () => {}, 'undefined'],
    [{ resolve: (callback) => callback(error) }, 'no such profile', error],
  ]) {
    const client = library.createClient('Lock', { awsConfig: { region: 'us-east-1', endpoint: 'http://127.0.0.1:9', credentials } });
    await assert.rejects(client.lock('a').inspect(), (refusal) => {
      assert.ok(refusal instanceof library.StoreError && refusal.code === 'MISCONFIGURED');
      assert.ok(refusal.message.startsWith('awsConfig.credentials gives no usable AWS credentials: ') && refusal.message.includes(said), refusal.message);
      return refusal.cause instanceof Error && (!cause || refusal.cause === cause);
    });
  }
});

test('httpOptions.timeout bounds a request', async (t) => {
  const server = createServer(() => {}).listen(0, '127.0.0.1'); // never answers
  await once(server, 'listening');
  t.after(() => (server.closeAllConnections(), server.close()));
  const awsConfig = { ...keys, endpoint: `http://127.0.0.1:${server.address().port}`, httpOptions: { timeout: 50, connectTimeout: 1000 } };
  const begun = performance.now();
  await assert.rejects(library.createClient('Lock', { awsConfig }).lock('a').inspect(), { code: 'UNANSWERED', message: /in time/ });
  assert.ok(performance.now() - begun < 4000, 'less than the 5 s of one request where nothing is said');
});

test('what cannot be seen from outside reaches the native half', () => {
  const { forTable } = require('../lib/settings');
  const told = (awsConfig, options) => forTable('Lock', { awsConfig: { ...keys, ...awsConfig }, ...options }).settings;
  assert.strictEqual(told({ httpOptions: { timeout: 120_000 } }).timeoutMs, 5000, 'it is asked again after that');
  assert.strictEqual(told({ httpOptions: { timeout: 120_000 } }, { timeoutMs: 70 }).timeoutMs, 70);
  assert.strictEqual(told({ httpOptions: { connectTimeout: 80 } }).connectTimeoutMs, 80);
  assert.strictEqual(told({}).timeoutMs, undefined);
});

test('FIPS and dual-stack endpoints are asked for', async (t) => {
  const { heard, port } = await listener(t);
  for (const [key, mend] of [['useFipsEndpoint', /FIPS/], ['useDualstackEndpoint', /[Dd]ual/]]) {
    // An address of one's own is neither; so nothing leaves the machine to show that it was heard.
    const client = library.createClient('Lock', { awsConfig: { ...keys, endpoint: `http://127.0.0.1:${port}`, [key]: true } });
    await assert.rejects(client.lock('a').inspect(), { name: 'StoreError', code: 'MISCONFIGURED', message: mend });
  }
  assert.deepStrictEqual(heard, []);
});

test('an unknown key warns once, a known one and the SDK’s own configuration do not', needsPackages, async () => {
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
  const { said } = await start(script, { args: [modules], env }).ended;
  const lines = said.trim().split('\n');
  assert.strictEqual(lines.length, 4, said);
  assert.match(lines[0], /^DynamoLockWarning: awsConfig\.accesKeyId is unknown and has no effect$/);
  assert.match(lines[1], /httpOptions\.agent has no effect/);
  assert.match(lines[2], /options: `database` is unknown/);
  assert.match(lines[3], /options of acquire: `timeout` is unknown and has no effect; known options: waitMs, /);
});
