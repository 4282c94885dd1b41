'use strict';
// The types say what there is, both ways of loading work, and what is packed is enough.

const test = require('node:test');
const assert = require('node:assert');
const { execFileSync, spawnSync } = require('node:child_process');
const { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } = require('node:fs');
const { join } = require('node:path');
const { library, modules, needsPackages, directory } = require('./support');
const platform = require('../lib/platform');

const root = join(__dirname, '..');
const manifest = require('../package.json');

function compile(text, ...names) {
  const folder = directory();
  mkdirSync(join(folder, 'node_modules'));
  for (const link of ['aws-sdk', '@aws-sdk', '@smithy', '@types', 'undici-types']) {
    if (existsSync(join(modules, link))) symlinkSync(join(modules, link), join(folder, 'node_modules', link));
  }
  symlinkSync(root, join(folder, 'node_modules', 'dynamo-lock'));
  for (const name of names) writeFileSync(join(folder, name), text);
  const flags = ['--strict', '--noEmit', '--skipLibCheck', 'false', '--module', 'nodenext', '--target', 'es2022', '--lib', 'es2022,esnext.disposable,dom', '--types', 'node', '--preserveSymlinks'];
  return spawnSync(process.execPath, [join(modules, 'typescript', 'bin', 'tsc'), ...flags, ...names], { cwd: folder, encoding: 'utf8' });
}

test('the types hold for a file that uses everything, as either kind of module', needsPackages, () => {
  const text = readFileSync(join(__dirname, 'everything.ts'), 'utf8');
  const { stdout, status } = compile(text, 'everything.mts', 'everything.cts');
  assert.strictEqual(stdout, '');
  assert.strictEqual(status, 0);
});

test('control: a wrong use does not compile', needsPackages, () => {
  const { stdout, status } = compile(`import { createClient } from 'dynamo-lock';\ncreateClient('Lock').lock(7);`, 'wrong.mts');
  assert.notStrictEqual(status, 0);
  assert.match(stdout, /wrong\.mts\(2,/);
});

test('what the types name is there, and all that is there is named', () => {
  const text = readFileSync(join(root, 'index.d.ts'), 'utf8');
  const values = [...text.matchAll(/^export (?:function|class) (\w+)/gm)].map(([, name]) => name);
  assert.deepStrictEqual(Object.keys(library).sort(), [...new Set(values)].sort());
  const { Client } = require('../lib/client');
  const { Lock } = require('../lib/lock');
  const { HeldLock } = require('../lib/held');
  for (const [name, type] of Object.entries({ Client, Lock, HeldLock })) {
    const body = text.slice(text.indexOf(`export interface ${name} {`));
    const declared = body.slice(0, body.indexOf('\n}'));
    for (const member of Object.getOwnPropertyNames(type.prototype).filter((member) => member !== 'constructor')) {
      assert.match(declared, new RegExp(`\\b${member}\\b`), `${name}.${member}`);
    }
  }
});

test('require and import give the same', async () => {
  const imported = await import('../index.mjs');
  assert.deepStrictEqual(Object.keys(imported).filter((name) => name !== 'default').sort(), Object.keys(library).sort());
  for (const [name, value] of Object.entries(library)) assert.strictEqual(imported[name], value);
  assert.strictEqual(imported.default, library);
});

test('each platform has a package, and nothing is downloaded or run after an installation', () => {
  const folders = readdirSync(join(root, 'npm')).sort();
  const names = folders.map((folder) => `${manifest.name}-${folder}`);
  assert.deepStrictEqual(Object.keys(manifest.optionalDependencies).sort(), names);
  assert.strictEqual(manifest.napi.targets.length, folders.length);
  assert.ok(folders.includes(platform()), 'the platform that this runs on');
  for (const folder of folders) {
    const one = require(`../npm/${folder}/package.json`);
    assert.strictEqual(one.name, `${manifest.name}-${folder}`);
    assert.strictEqual(one.version, manifest.version);
    assert.strictEqual(manifest.optionalDependencies[one.name], manifest.version);
    assert.strictEqual(one.main, `dynamo-lock.${folder}.node`);
    assert.deepStrictEqual(one.files, [one.main]);
    assert.ok(folder.startsWith(`${one.os[0]}-${one.cpu[0]}`));
    assert.strictEqual(one.scripts, undefined);
  }
  assert.deepStrictEqual(Object.keys(manifest.scripts), ['test']);
  assert.strictEqual(manifest.dependencies, undefined);
  const cargo = readFileSync(join(root, '..', '..', 'Cargo.toml'), 'utf8');
  assert.strictEqual(/^version = "(.*)"/m.exec(cargo)[1], manifest.version);
});

test('what is packed works outside the clone, under its own name and under the alias', () => {
  const home = directory();
  const packed = join(home, 'packed');
  mkdirSync(packed);
  const unpack = (from, name) => {
    const said = execFileSync('npm', ['pack', '--json', '--pack-destination', packed, from], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
    const to = join(home, 'node_modules', name);
    mkdirSync(to, { recursive: true });
    const [{ filename }] = JSON.parse(said);
    execFileSync('tar', ['xzf', join(packed, filename.replace(/^@/, '').replace('/', '-')), '-C', to, '--strip-components=1']);
    return readdirSync(to).sort();
  };
  // The platform's package is not packed: its addon is large here, with everything that a debugger wants.
  const own = join(home, 'node_modules', `${manifest.name}-${platform()}`);
  const { main } = require(`../npm/${platform()}/package.json`);
  mkdirSync(own, { recursive: true });
  copyFileSync(join(root, 'npm', platform(), 'package.json'), join(own, 'package.json'));
  symlinkSync(join(root, main), join(own, main));
  const files = ['README.md', 'index.d.mts', 'index.d.ts', 'index.js', 'index.mjs', 'lib', 'package.json'];
  assert.deepStrictEqual(unpack(root, manifest.name), files);
  assert.deepStrictEqual(unpack(root, 'dynamo-lock'), files);
  const script = `Promise.all(['${manifest.name}', 'dynamo-lock'].map((name) => require(name).connect('memory:').lock('a').hold(1000))).then(() => console.log('held'));`;
  assert.strictEqual(execFileSync(process.execPath, ['-e', script], { cwd: home, encoding: 'utf8' }), 'held\n');
  const missing = `try { require('dynamo-lock') } catch ({ code, message }) { console.log(code, message) }`;
  rmSync(own, { recursive: true });
  const said = execFileSync(process.execPath, ['-e', missing], { cwd: home, encoding: 'utf8' });
  assert.match(said, /^NO_ADDON .*install @dynamo-lock\/dynamo-lock-.*optional dependencies/);
});
