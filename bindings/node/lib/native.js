'use strict';
// Loads the addon: a local build if there is one, else the package for this platform.

const { existsSync } = require('fs');
const { join } = require('path');
const platform = require('./platform');

function load() {
  const name = platform();
  const local = join(__dirname, '..', `dynamo-lock.${name}.node`);
  if (existsSync(local)) return require(local);
  const packageName = `@dynamo-lock/dynamo-lock-${name}`;
  try {
    return require(packageName);
  } catch (cause) {
    const fix =
      cause.code === 'MODULE_NOT_FOUND'
        ? `install ${packageName}, which npm omits if optional dependencies are disabled, ` +
          'or build it in a clone of the repository with `cargo xtask node`'
        : 'install the package again';
    const message = `cannot load the addon of dynamo-lock for ${name}: ${fix}`;
    throw Object.assign(new Error(message, { cause }), { code: 'NO_ADDON' });
  }
}

module.exports = load();
