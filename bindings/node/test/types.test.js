'use strict';
// The declarations match the implementation, and the package loads by require and by import.

const test = require('node:test');
const assert = require('node:assert');
const { spawnSync } = require('node:child_process');
const { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } = require('node:fs');
const { join } = require('node:path');
const { library, modules, needsPackages, directory } = require('./support');

const root = join(__dirname, '..');

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

test('declarations accept the whole API in both module kinds', needsPackages, () => {
  const text = readFileSync(join(__dirname, 'api.ts'), 'utf8');
  const { stdout, status } = compile(text, 'api.mts', 'api.cts');
  assert.strictEqual(stdout, '');
  assert.strictEqual(status, 0);
});

test('control: wrong use does not compile', needsPackages, () => {
  const { stdout, status } = compile(`import { createClient } from 'dynamo-lock';\ncreateClient('Lock').lock(7);`, 'wrong.mts');
  assert.notStrictEqual(status, 0);
  assert.match(stdout, /wrong\.mts\(2,/);
});

/** Compares the exports, and the members of the interfaces that have a class. */
test('declarations match the exported API', () => {
  const text = ['index.d.ts', 'lib/errors.d.ts', 'lib/settings.d.ts', 'lib/shared.d.ts'].map((file) => readFileSync(join(root, file), 'utf8')).join('\n');
  const values = [...text.matchAll(/^export (?:function|class) (\w+)/gm)].map(([, name]) => name);
  assert.deepStrictEqual(Object.keys(library).sort(), [...new Set(values)].sort());
  const { Client } = require('../lib/client');
  const { Lock } = require('../lib/lock');
  const { Held } = require('../lib/held');
  const { HeldLock } = require('../lib/held-lock');
  const { HeldLocks } = require('../lib/held-locks');
  const { Permit } = require('../lib/permit');
  const { RwLock } = require('../lib/rw-lock');
  const { Semaphore } = require('../lib/semaphore');
  const { SharedHandle } = require('../lib/shared-handle');
  const types = { Client, Lock, Held, HeldLock, HeldLocks, Permit, RwLock, Semaphore, SharedHandle };
  for (const [name, type] of Object.entries(types)) {
    const start = text.search(new RegExp(`^export interface ${name}( extends \\w+)? {`, 'm'));
    assert.ok(start >= 0, name);
    const body = text.slice(start);
    const declared = body.slice(0, body.indexOf('\n}'));
    for (const member of Object.getOwnPropertyNames(type.prototype).filter((member) => member !== 'constructor')) {
      assert.match(declared, new RegExp(`\\b${member}\\b`), `${name}.${member}`);
    }
  }
});

test('require and import return the same values', async () => {
  const imported = await import('../index.mjs');
  assert.deepStrictEqual(Object.keys(imported).filter((name) => name !== 'default').sort(), Object.keys(library).sort());
  for (const [name, value] of Object.entries(library)) assert.strictEqual(imported[name], value);
  assert.strictEqual(imported.default, library);
});
