'use strict';
// `node pack.js TO ADDONS` creates the packages to publish: one per platform in TO/npm, with its addon from ADDONS,
// and the main package in TO/package. docs/releasing.md describes the release.

const { cpSync, existsSync, mkdirSync, readdirSync } = require('node:fs');
const { join, resolve } = require('node:path');

const [to, addons] = process.argv.slice(2).map((folder) => resolve(folder));
if (!addons) throw new Error('usage: node pack.js TO ADDONS, with two folders');

/** Copies a package: its manifest and the files that it lists, from `from`, ADDONS or the root of the repository. */
function copyPackage(from, to) {
  const { files } = require(join(from, 'package.json'));
  mkdirSync(to, { recursive: true });
  for (const file of ['package.json', ...files]) {
    const source = [from, addons, join(__dirname, '..', '..')].map((folder) => join(folder, file)).find(existsSync);
    if (!source) {
      const fix = 'build it on its platform with `cargo xtask node --release`';
      throw new Error(`cannot find ${file} in ${addons}; ${fix}`);
    }
    cpSync(source, join(to, file), { recursive: true });
  }
}

const platforms = join(__dirname, 'npm');
for (const platform of readdirSync(platforms)) copyPackage(join(platforms, platform), join(to, 'npm', platform));
copyPackage(__dirname, join(to, 'package'));
