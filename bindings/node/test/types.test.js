'use strict';
// The declarations match the implementation, and the package loads by require and by import.

const test = require('node:test');
const assert = require('node:assert');
const { spawnSync } = require('node:child_process');
const { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } = require('node:fs');
const { join } = require('node:path');
const { library, modules, needsPackages, directory } = require('./support');

const root = join(__dirname, '..');

const PACKAGES = ['aws-sdk', '@aws-sdk', '@smithy', '@types', 'undici-types'];
const MODERN = ['--module', 'nodenext', '--target', 'es2022'];
const NODE = [...MODERN, '--lib', 'es2022,esnext.disposable,dom', '--types', 'node'];

function compile(text, ...names) {
  return compileWith(PACKAGES, NODE, text, ...names);
}

/** Compiles files with this text in a project that has these packages and environment. */
function compileWith(links, environment, text, ...names) {
  const folder = directory();
  mkdirSync(join(folder, 'node_modules'));
  for (const link of links) {
    if (existsSync(join(modules, link))) symlinkSync(join(modules, link), join(folder, 'node_modules', link));
  }
  symlinkSync(root, join(folder, 'node_modules', 'dynamo-lock'));
  for (const name of names) writeFileSync(join(folder, name), text);
  const flags = ['--strict', '--noEmit', '--skipLibCheck', 'false', ...environment, '--preserveSymlinks'];
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

/** Track record: a project without `@types/node` failed to compile (TS2688). */
test('declarations need no other package', needsPackages, () => {
  const text = `import { connect } from 'dynamo-lock';
export const acquire = (signal: AbortSignal) => connect('memory:').lock('a').acquire({ signal });\n`;
  const wrong = `import { connect } from 'dynamo-lock';\nconnect('memory:').lock('a').acquire({ signal: 7 });\n`;
  const dom = [...MODERN, '--lib', 'es2022,esnext.disposable,dom'];
  const none = [...MODERN, '--lib', 'es2022,esnext.disposable'];
  const own = text.replace('AbortSignal', '{ aborted: boolean; reason: unknown }');
  for (const [environment, right] of [[dom, text], [none, own]]) {
    assert.strictEqual(compileWith([], environment, right, 'a.mts').stdout, '');
    assert.match(compileWith([], environment, wrong, 'a.mts').stdout, /a\.mts\(2,/);
  }
  assert.strictEqual(compile(text, 'a.mts').stdout, '');
});

/** Track record: the codes of two classes had the type `string`, so that a comparison did not narrow the type. */
test('code of an error narrows its type', needsPackages, () => {
  const text = `import { LockHeldError, LockLostError, StoreError } from 'dynamo-lock';
export function waited(error: LockHeldError | LockLostError | StoreError) {
  if (error.code === 'LOCK_HELD') return error.waitedMs;
  return error.code === 'LOCK_LOST' ? error.token : error.holder;
}\n`;
  assert.strictEqual(compile(text, 'a.mts').stdout, '');
  assert.match(compile(text.replace('LOCK_HELD', 'LOCK_HOLD'), 'a.mts').stdout, /a\.mts\(3,/);
});

/** Track record: without `lib` in the configuration, `Symbol.asyncDispose` was unknown (TS2550). */
test('declarations compile with the default configuration', needsPackages, () => {
  const text = `import { connect } from 'dynamo-lock';
import { loseLock } from 'dynamo-lock/testing';
connect('memory:').lock('a').acquire().then(loseLock);\n`;
  for (const environment of [[], MODERN]) assert.strictEqual(compileWith([], environment, text, 'a.ts').stdout, '');
});

/** Returns the JavaScript blocks of a document, without those that use the AWS SDK. */
function blocks(path) {
  const text = readFileSync(join(root, path), 'utf8');
  return [...text.matchAll(/^```js\n(.*?)^```/gms)].map(([, code]) => code).filter((code) => !code.includes('TransactWriteItems'));
}

/** Track record: `holder` of an inspection and `output` of `once` existed only in one member of their union. */
test('examples of the README and of the quick start are strict TypeScript', needsPackages, () => {
  const given = `declare const url: string;\n`;
  const [readme, first, ...others] = [blocks('README.md').join(''), ...blocks('../../docs/start/node.md')];
  assert.match(readme, /const \{ state, holder \}[^]*const \{ ran, output, success \}[^]*const \{ holders = \[\] \}/);
  const client = `import { connect } from 'dynamo-lock';\nconst client = connect('memory:');\n`;
  for (const code of [readme, first, ...others.map((code) => (code.includes('import') ? code : client + code))]) {
    assert.strictEqual(compile(given + code, 'a.mts').stdout, '');
  }
});

test('state, kind and ran narrow the types of their unions', needsPackages, () => {
  const text = `import type { Client, Holder, SharedHolder, Success } from 'dynamo-lock';
export async function narrow(client: Client) {
  const inspection = await client.lock('a').inspect();
  if (inspection.state === 'expired') { const holder: Holder = inspection.holder; void holder; }
  if (inspection.state === 'held' && !inspection.kind) { const holder: Holder = inspection.holder; void holder; }
  if (inspection.kind) { const holders: SharedHolder[] = inspection.holders; void holders; }
  const { state, holder, holders, mayEndMs, last } = inspection;
  if (state === 'held') console.log(holder?.token, mayEndMs?.latest, last?.owner, holders?.length);
  const { ran, output, success } = await client.lock('b').once(() => 7);
  const result: number | Success = ran ? output : success;
  for await (const { name, state, error, holder } of client.list()) console.log(name, state === 'unreadable' ? error.code : holder?.owner);
  return result;
}\n`;
  assert.strictEqual(compile(text, 'a.mts').stdout, '');
  assert.match(compile(text.replace(' && !inspection.kind', ''), 'a.mts').stdout, /a\.mts\(5,/, 'a semaphore is held too');
});

/** Compares the exports, and the members of the interfaces that have a class. */
test('declarations match the exported API', () => {
  const text = ['index.d.ts', 'lib/errors.d.ts', 'lib/settings.d.ts', 'lib/shared.d.ts'].map((file) => readFileSync(join(root, file), 'utf8')).join('\n');
  const values = [...text.matchAll(/^export (?:function|class|const) (\w+)/gm)].map(([, name]) => name);
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
