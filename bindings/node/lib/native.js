'use strict';
// Loads the addon: the one that was built here, else the package for this platform.

const { existsSync } = require('node:fs');
const { join } = require('node:path');
const platform = require('./platform');

function load() {
  const name = platform();
  const local = join(__dirname, '..', `dynamo-lock.${name}.node`);
  if (existsSync(local)) return require(local);
  const other = `@dynamo-lock/dynamo-lock-${name}`;
  try {
    return require(other);
  } catch (cause) {
    const mend =
      cause.code === 'MODULE_NOT_FOUND'
        ? `install ${other}, which comes with the package unless optional dependencies are left out; ` +
          'in a clone, build it with `cargo xtask node`'
        : 'install the package again';
    throw Object.assign(new Error(`dynamo-lock: no addon for ${name}: ${mend}`, { cause }), { code: 'NO_ADDON' });
  }
}

module.exports = load();
