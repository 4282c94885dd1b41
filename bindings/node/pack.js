'use strict';
// `node pack.js TO ADDONS` lays out what is published: a folder for each platform in TO/npm, with its addon of ADDONS, and
// TO/package. CONTRIBUTING.md has the recipe.

const { cpSync, existsSync, mkdirSync, readdirSync } = require('node:fs');
const { join, resolve } = require('node:path');

const [to, addons] = process.argv.slice(2).map((folder) => resolve(folder));
if (!addons) throw new Error('say `node pack.js TO ADDONS`: two folders');

/** A package: its manifest and what this lists, whichever place has it. The repository has the licences. */
function lay(from, to) {
  const { files } = require(join(from, 'package.json'));
  mkdirSync(to, { recursive: true });
  for (const file of ['package.json', ...files]) {
    const there = [from, addons, join(__dirname, '..', '..')].map((place) => join(place, file)).find(existsSync);
    if (!there) throw new Error(`there is no ${file} in ${addons}: build it on its platform, with \`cargo xtask node --release\``);
    cpSync(there, join(to, file), { recursive: true });
  }
}

const platforms = join(__dirname, 'npm');
for (const platform of readdirSync(platforms)) lay(join(platforms, platform), join(to, 'npm', platform));
lay(__dirname, join(to, 'package'));
