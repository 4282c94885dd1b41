'use strict';
// What `createClient` and `connect` are given, as the native half wants it.

const check = require('./check');
const { ArgumentError } = require('./errors');
const { checkUrl } = require('./native');
const { overDb } = require('./db');

const COMMON = {
  owner: check.text,
  leaseMs: check.millis,
  heartbeatMs: check.millis,
  legacySkewMs: check.millis,
  serviceClock: check.flag,
};
const object = (value, what) => {
  if (typeof value !== 'object' || value === null) throw new ArgumentError(`${what} must be an object`);
  return value;
};
const TABLE = {
  ...COMMON,
  partitionKey: check.text,
  timeoutMs: check.millis,
  awsConfig: object,
  db: (value) => value,
  commands: object,
};

/** Longer than this no request is waited for, whatever `httpOptions.timeout` says: it is asked again. */
const TIMEOUT_MAX = 5000;

function ofTable(table, options) {
  if (table === undefined) throw new ArgumentError('You need to include a value for lockTableName');
  if (check.text(table, 'lockTableName') === '') throw new ArgumentError('lockTableName must not be empty');
  // What is no object counted as none with the original.
  const given = check.options(typeof options === 'object' && options !== null ? options : {}, 'options', TABLE);
  const { awsConfig = {}, db, commands, ...settings } = given;
  if (db) return overDb(db, commands, { ...settings, table, db: true });
  return ofAwsConfig(awsConfig, { ...settings, table });
}

function ofUrl(url, options) {
  const wrong = checkUrl(check.text(url, 'the URL of a store'));
  if (wrong) throw new ArgumentError(wrong);
  return { settings: { ...check.options(options, 'the options of connect', COMMON), url } };
}

const MEANT = new Set([
  'accessKeyId', 'secretAccessKey', 'sessionToken', 'region', 'endpoint', 'httpOptions', 'credentials', 'sslEnabled',
  'useFipsEndpoint', 'useDualstackEndpoint', 'credentialProvider', 'dynamodb',
  // Ours to decide: requests are repeated as the protocol allows, in the one API version there is.
  'maxRetries', 'apiVersion',
]);

/** aws-sdk v2's configuration. */
function ofAwsConfig(all, settings) {
  // What is for DynamoDB alone comes first.
  const own = object(all.dynamodb ?? {}, 'awsConfig.dynamodb');
  const config = Object.create(all, Object.getOwnPropertyDescriptors(own));
  // An AWS.Config of the SDK's has a default for everything.
  if (typeof all.getCredentials !== 'function') {
    for (const key of Object.keys({ ...all, ...own }).filter((key) => !MEANT.has(key))) {
      check.warnOnce(`awsConfig.${key} is unknown and has no effect`);
    }
  }
  const given = {
    ...settings,
    region: optional(config.region, 'awsConfig.region'),
    endpoint: endpoint(config),
    ...http(config.httpOptions, settings.timeoutMs),
  };
  if (config.useFipsEndpoint) given.useFips = true;
  if (config.useDualstackEndpoint) given.useDualStack = true;
  return { settings: given, ...credentials(config, given) };
}

const optional = (value, what) => (value === undefined || value === null ? undefined : check.text(value, what));

function endpoint({ endpoint: given, sslEnabled }) {
  if (given === undefined || given === null) return undefined;
  const scheme = sslEnabled === false ? 'http:' : 'https:';
  let text = given;
  if (typeof given === 'object') {
    const { href, protocol = scheme, hostname, host, port, path = '' } = given;
    const name = hostname ?? host;
    text = href ?? (name && `${protocol}//${name}${port && hostname ? `:${port}` : ''}${path}`);
  }
  if (typeof text === 'string' && !text.includes('://')) text = `${scheme}//${text}`;
  const url = typeof text === 'string' && URL.canParse(text) ? new URL(text) : undefined;
  if (!url || !['http:', 'https:'].includes(url.protocol)) {
    throw new ArgumentError('awsConfig.endpoint must be an address as http://localhost:8000, or an AWS.Endpoint');
  }
  return url.href.replace(/\/$/, '');
}

function http(options, timeoutMs) {
  if (options === undefined || options === null) return {};
  const { timeout, connectTimeout, ...rest } = object(options, 'awsConfig.httpOptions');
  for (const key of Object.keys(rest).filter((key) => rest[key] !== undefined)) {
    check.warnOnce(`awsConfig.httpOptions.${key} has no effect: connections are the library's own`);
  }
  const given = {};
  if (timeout) given.timeoutMs = Math.min(TIMEOUT_MAX, check.millis(timeout, 'awsConfig.httpOptions.timeout'));
  if (timeoutMs) given.timeoutMs = timeoutMs;
  if (connectTimeout) given.connectTimeoutMs = check.millis(connectTimeout, 'awsConfig.httpOptions.connectTimeout');
  return given;
}

/** As SDK v2 looks for them: keys, credentials, a chain of providers. */
function credentials(config, settings) {
  const hasKeys = config.accessKeyId && config.secretAccessKey;
  const given = hasKeys ? config : config.credentials ?? ownChain(config.credentialProvider) ?? config;
  const dynamic = typeof given === 'function' || typeof given.get === 'function' || typeof given.resolve === 'function';
  if (dynamic) {
    settings.askForCredentials = true;
    return { credentials: () => ask(given) };
  }
  const { accessKeyId, secretAccessKey, sessionToken } = given;
  if (accessKeyId === undefined && secretAccessKey === undefined) return {};
  settings.credentials = {
    accessKeyId: check.text(accessKeyId, 'awsConfig.accessKeyId'),
    secretAccessKey: check.text(secretAccessKey, 'awsConfig.secretAccessKey'),
    sessionToken: optional(sessionToken, 'awsConfig.sessionToken'),
  };
  return {};
}

/** The chain that SDK v2 has by default is none: the native half looks in the same places, without the event loop. */
function ownChain(chain) {
  const usual = chain?.constructor.defaultProviders;
  const isUsual = usual?.length === chain?.providers?.length && usual?.every((provider, at) => provider === chain.providers[at]);
  return isUsual ? undefined : chain;
}

/** Of a provider: an AWS.Credentials or a chain of SDK v2, or a function as SDK v3 has them. */
async function ask(provider) {
  try {
    const found = typeof provider === 'function' ? await provider() : await called(provider);
    const { accessKeyId, secretAccessKey, sessionToken, expireTime, expiration = expireTime } = found;
    check.text(accessKeyId, 'its accessKeyId');
    check.text(secretAccessKey, 'its secretAccessKey');
    const expiresMs = expiration ? Math.max(0, Math.trunc(Number(new Date(expiration)))) : undefined;
    return { accessKeyId, secretAccessKey, sessionToken: sessionToken ?? undefined, expiresMs };
  } catch (error) {
    return { why: String(error?.message ?? error), refused: error ?? new Error('it rejected with nothing') };
  }
}

function called(provider) {
  return new Promise((resolve, reject) => {
    // A chain has `get` too, which leaves the keys elsewhere.
    if (typeof provider.resolve === 'function') provider.resolve((error, found) => (error ? reject(error) : resolve(found)));
    else provider.get((error) => (error ? reject(error) : resolve(provider)));
  });
}

module.exports = { ofTable, ofUrl };
