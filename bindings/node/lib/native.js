'use strict';
// Loads the addon: a local build if there is one, else the package for this platform.

const { existsSync } = require('fs');
const { join } = require('path');
const platform = require('./platform');

function load() {
  const name = platform();
  const packageName = `@dynamo-lock/dynamo-lock-${name}`;
  const local = join(__dirname, '..', `dynamo-lock.${name}.node`);
  try {
    return require(existsSync(local) ? local : packageName);
  } catch (cause) {
    const message = `cannot load the addon of dynamo-lock for ${name}: ${problemAndFix(cause, packageName)}`;
    throw Object.assign(new Error(message, { cause }), { code: 'NO_ADDON' });
  }
}

function problemAndFix({ code, message }, packageName) {
  if (code === 'MODULE_NOT_FOUND') {
    return (
      `its package is not found; install ${packageName}, which npm omits if optional dependencies are disabled, ` +
      'or exclude dynamo-lock from the bundle if a bundler has processed it (esbuild: `--external:dynamo-lock`), ' +
      'or build the addon in a clone of the repository with `cargo xtask node`'
    );
  }
  if (code === 'ERR_DLOPEN_DISABLED') {
    return (
      'Node does not permit addons in this process; start it without `--no-addons`, ' +
      'and with `--allow-addons` if it has `--permission`'
    );
  }
  const problem = String(message).split('\n')[0];
  return (
    `the system rejects it: ${problem}; run \`npm install\` on the system that runs this process, ` +
    'so that processor and C library match, and permit execution in its directory'
  );
}

module.exports = load();
