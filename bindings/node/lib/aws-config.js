'use strict';
// Converts `awsConfig`, which has the shape of an aws-sdk v2 configuration.

const { URL } = require('url');
const check = require('./check');
const { ArgumentError } = require('./errors');

/** Upper limit of `httpOptions.timeout`, because the library retries requests that take longer. */
const TIMEOUT_MAX = 5000;

const KNOWN = new Set([
  'accessKeyId', 'secretAccessKey', 'sessionToken', 'region', 'endpoint', 'httpOptions', 'credentials', 'sslEnabled',
  'useFipsEndpoint', 'useDualstackEndpoint', 'credentialProvider', 'dynamodb',
  // Accepted without effect: the library has its own retries and uses the only API version that exists.
  'maxRetries', 'apiVersion',
]);

/**
 * Returns `{ settings, credentials }`: `settings` completed by `all`, and the user's credentials provider if there is
 * one.
 */
function fromAwsConfig(all, settings) {
  // Settings in the section `dynamodb` take precedence.
  const own = check.object(all.dynamodb ?? {}, 'awsConfig.dynamodb');
  const config = Object.create(all, Object.getOwnPropertyDescriptors(own));
  // An AWS.Config of SDK v2 has a default for every key, so no warnings for it.
  if (typeof all.getCredentials !== 'function') {
    for (const key of Object.keys({ ...all, ...own }).filter((key) => !KNOWN.has(key))) {
      check.warnOnce(`awsConfig.${key} is unknown and has no effect`);
    }
  }
  const given = {
    ...settings,
    region: optionalText(config.region, 'awsConfig.region'),
    endpoint: endpoint(config),
    ...timeouts(config.httpOptions, settings.timeoutMs),
  };
  if (config.useFipsEndpoint) given.useFips = true;
  if (config.useDualstackEndpoint) given.useDualStack = true;
  return withCredentials(config, given);
}

const optionalText = (value, name) => (value === undefined || value === null ? undefined : check.text(value, name));

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
    throw new ArgumentError('awsConfig.endpoint must be a URL, for example http://localhost:8000, or an AWS.Endpoint');
  }
  return url.href.replace(/\/$/, '');
}

/** Returns the timeouts of `httpOptions`. The option `timeoutMs` of the client takes precedence over `timeout`. */
function timeouts(httpOptions, timeoutMs) {
  if (httpOptions === undefined || httpOptions === null) return {};
  const { timeout, connectTimeout, ...rest } = check.object(httpOptions, 'awsConfig.httpOptions');
  for (const key of Object.keys(rest).filter((key) => rest[key] !== undefined)) {
    check.warnOnce(`awsConfig.httpOptions.${key} has no effect, because the library manages its own connections`);
  }
  const given = {};
  if (timeout) given.timeoutMs = Math.min(TIMEOUT_MAX, check.millis(timeout, 'awsConfig.httpOptions.timeout'));
  if (timeoutMs) given.timeoutMs = timeoutMs;
  if (connectTimeout) given.connectTimeoutMs = check.millis(connectTimeout, 'awsConfig.httpOptions.connectTimeout');
  return given;
}

/** Adds credentials in the order of SDK v2: keys, then `credentials`, then `credentialProvider`. */
function withCredentials(config, settings) {
  const hasKeys = config.accessKeyId && config.secretAccessKey;
  const given = hasKeys ? config : config.credentials ?? customChain(config.credentialProvider) ?? config;
  const isProvider = [given, given.get, given.resolve].some((value) => typeof value === 'function');
  if (isProvider) {
    return { settings: { ...settings, credentialsProvider: true }, credentials: () => callProvider(given) };
  }
  const { accessKeyId, secretAccessKey, sessionToken } = given;
  if (accessKeyId === undefined && secretAccessKey === undefined) return { settings };
  const credentials = {
    accessKeyId: check.text(accessKeyId, 'awsConfig.accessKeyId'),
    secretAccessKey: check.text(secretAccessKey, 'awsConfig.secretAccessKey'),
    sessionToken: optionalText(sessionToken, 'awsConfig.sessionToken'),
  };
  return { settings: { ...settings, credentials } };
}

/**
 * Returns `chain`, or `undefined` if it is the default chain of SDK v2. The addon searches the same places itself,
 * without the event loop.
 */
function customChain(chain) {
  const defaults = chain?.constructor.defaultProviders;
  const isDefault =
    defaults?.length === chain?.providers?.length &&
    defaults?.every((provider, index) => provider === chain.providers[index]);
  return isDefault ? undefined : chain;
}

/** Calls a provider: an AWS.Credentials or a chain of SDK v2, or a function of SDK v3. Never rejects. */
async function callProvider(provider) {
  try {
    const found = typeof provider === 'function' ? await provider() : await callV2Provider(provider);
    const { accessKeyId, secretAccessKey, sessionToken, expireTime, expiration = expireTime } = found;
    check.text(accessKeyId, 'its accessKeyId');
    check.text(secretAccessKey, 'its secretAccessKey');
    const expiresAtMs = expiration ? Math.max(0, Math.trunc(Number(new Date(expiration)))) : undefined;
    return { accessKeyId, secretAccessKey, sessionToken: sessionToken ?? undefined, expiresAtMs };
  } catch (error) {
    const providerError = error ?? new Error('it rejected without an error');
    return { error: String(error?.message ?? error), providerError };
  }
}

function callV2Provider(provider) {
  return new Promise((resolve, reject) => {
    // Prefer `resolve`: a chain also has `get`, but that does not store the keys in the chain itself.
    if (typeof provider.resolve === 'function') {
      provider.resolve((error, found) => (error ? reject(error) : resolve(found)));
    } else provider.get((error) => (error ? reject(error) : resolve(provider)));
  });
}

module.exports = { fromAwsConfig };
