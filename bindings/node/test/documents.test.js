'use strict';
// The JavaScript blocks of the README and of the pages below docs/: those with a documented output run, and the types
// of all others are checked.

const test = require('node:test');
const assert = require('node:assert');
const { spawnSync } = require('node:child_process');
const { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } = require('node:fs');
const { join } = require('node:path');
const { modules, needsPackages, directory, start } = require('./support');

const root = join(__dirname, '..', '..', '..');
const MARK = '<!-- other product';

/** Values that blocks use without declaring them. */
const GIVEN = `import type { Client } from 'dynamo-lock';
declare global {
  const client: Client;
  const url: string;
  /** The logger and the metrics of a program. */
  const log: any;
  const histogram: any;
  const counter: any;
}\n`;

/** Returns the paths of the documents. */
function documents(folder = 'docs') {
  const entries = readdirSync(join(root, folder), { withFileTypes: true });
  const found = entries.flatMap((entry) => {
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory()) return documents(path);
    return path.endsWith('.md') ? [path] : [];
  });
  return folder === 'docs' ? ['README.md', ...found] : found;
}

/** Returns the JavaScript blocks of a document: the code, and the block of text that follows it directly, if any. */
function blocks(text) {
  const pattern = /^( *)```js\n(.*?)^ *```(?:\n\n *```text\n(.*?)^ *```)?/gms;
  return [...text.matchAll(pattern)]
    .filter(({ index }) => !text.slice(0, index).trimEnd().split('\n').pop().includes(MARK))
    .map(([, , code, output]) => ({ code, output }));
}

const all = documents().flatMap((path) => blocks(readFileSync(join(root, path), 'utf8')).map((block) => ({ path, ...block })));

/** Returns a folder in which `dynamo-lock` can be imported. */
function project(links) {
  const folder = directory();
  mkdirSync(join(folder, 'node_modules'));
  for (const link of links) {
    if (existsSync(join(modules, link))) symlinkSync(join(modules, link), join(folder, 'node_modules', link));
  }
  mkdirSync(join(folder, 'node_modules', '@dynamo-lock'));
  for (const name of ['dynamo-lock', '@dynamo-lock/dynamo-lock']) symlinkSync(join(__dirname, '..'), join(folder, 'node_modules', name));
  return folder;
}

/** Runs a block with a database in a new folder, and returns its output. */
async function run(code) {
  const folder = project([]);
  writeFileSync(join(folder, 'block.mjs'), code.replaceAll('sqlite:///tmp/', `sqlite://${folder}/`));
  const { output, errorOutput, code: exitCode } = await start(`import('${join(folder, 'block.mjs')}')`, { cwd: folder, bare: true }).ended;
  assert.strictEqual(exitCode, 0, errorOutput);
  return output;
}

/** Returns what the type checker finds in blocks, each of which is a module. */
function check(codes) {
  const folder = project(['@types', 'undici-types']);
  writeFileSync(join(folder, 'given.d.mts'), GIVEN);
  const names = codes.map((code, index) => {
    writeFileSync(join(folder, `block${index}.mjs`), `${code}\nexport {};\n`);
    return `block${index}.mjs`;
  });
  const flags = ['--allowJs', '--checkJs', '--strict', '--noImplicitAny', 'false', '--useUnknownInCatchVariables', 'false', '--strictFunctionTypes', 'false'];
  const environment = ['--noEmit', '--module', 'nodenext', '--target', 'es2022', '--lib', 'es2022,esnext.disposable,dom', '--types', 'node'];
  const tsc = join(modules, 'typescript', 'bin', 'tsc');
  return spawnSync(process.execPath, [tsc, ...flags, ...environment, '--preserveSymlinks', 'given.d.mts', ...names], { cwd: folder, encoding: 'utf8' }).stdout;
}

test('JavaScript blocks of the documents print the documented output', async () => {
  const documented = all.filter(({ output }) => output !== undefined);
  assert.ok(documented.length > 0);
  for (const { path, code, output } of documented) assert.strictEqual(await run(code), output, path);
});

test('block of the README prints the documented line', async () => {
  const [{ code }] = all.filter(({ path }) => path === 'README.md');
  assert.match(await run(code), /^rebuilding with token \d+\n$/);
});

test('JavaScript blocks of the documents have no type errors', needsPackages, () => {
  assert.ok(all.length > 5);
  assert.strictEqual(check(all.map(({ code }) => code)), '', all.map(({ path }, index) => `${index}: ${path}`).join(', '));
});

test('control: wrong blocks of documents are detected', needsPackages, async () => {
  const [{ code, output }] = blocks("```js\nconsole.log('one');\n```\n\n```text\ntwo\n```\n");
  assert.notStrictEqual(await run(code), output);
  assert.match(check(["await client.lock('a').acquire({ waitMS: 5 });"]), /block0\.mjs\(1,/);
  assert.deepStrictEqual(blocks('<!-- other product: redlock -->\n```js\nx\n```\n'), []);
});
