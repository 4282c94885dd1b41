'use strict';
// The published packages: their contents, their installation, and the examples of the README.

const test = require('node:test');
const assert = require('node:assert');
const { execFileSync, spawnSync } = require('node:child_process');
const { copyFileSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } = require('node:fs');
const { createServer } = require('node:http');
const { once } = require('node:events');
const { join } = require('node:path');
const { library, awsConfig, tableName, endpoint, needsServer, directory, start } = require('./support');
const platform = require('../lib/platform');

const root = join(__dirname, '..');
const manifest = require('../package.json');
const LICENCES = ['LICENSE-MIT', 'LICENSE-APACHE'];

test('each platform has a package without scripts', () => {
  const folders = readdirSync(join(root, 'npm')).sort();
  const names = folders.map((folder) => `${manifest.name}-${folder}`);
  assert.deepStrictEqual(Object.keys(manifest.optionalDependencies).sort(), names);
  assert.strictEqual(manifest.napi.targets.length, folders.length);
  assert.ok(folders.includes(platform()), 'this platform');
  for (const folder of folders) {
    const platformManifest = require(`../npm/${folder}/package.json`);
    assert.strictEqual(platformManifest.name, `${manifest.name}-${folder}`);
    assert.strictEqual(platformManifest.version, manifest.version);
    assert.strictEqual(manifest.optionalDependencies[platformManifest.name], manifest.version);
    assert.strictEqual(platformManifest.main, `dynamo-lock.${folder}.node`);
    assert.deepStrictEqual(platformManifest.files, [platformManifest.main, ...LICENCES]);
    assert.deepStrictEqual(platformManifest.publishConfig, manifest.publishConfig);
    assert.ok(folder.startsWith(`${platformManifest.os[0]}-${platformManifest.cpu[0]}`));
    assert.strictEqual(platformManifest.scripts, undefined);
  }
  assert.deepStrictEqual(Object.keys(manifest.scripts), ['test']);
  assert.strictEqual(manifest.dependencies, undefined);
  assert.deepStrictEqual(manifest.publishConfig, { access: 'public' }, 'scoped packages are private by default');
  const cargo = readFileSync(join(root, '..', '..', 'Cargo.toml'), 'utf8');
  assert.strictEqual(/^version = "(.*)"/m.exec(cargo)[1], manifest.version);
});

/** Runs npm in a folder, without network and with an empty cache. */
function npm(folder, ...args) {
  const quiet = ['--offline', '--no-audit', '--no-fund', '--loglevel=error', '--cache', join(folder, 'cache')];
  return execFileSync('npm', [...args, ...quiet], { cwd: folder, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
}

/** Packs a package and returns the path of the archive. */
const pack = (folder, from) => join(folder, JSON.parse(npm(folder, 'pack', '--json', from))[0].filename);

/** Returns a folder with all packages, created by `pack.js`. Only the addon of this platform is real. */
function layOut() {
  const [folder, addons] = [directory(), directory()];
  for (const one of readdirSync(join(root, 'npm'))) writeFileSync(join(addons, `dynamo-lock.${one}.node`), '');
  const addon = `dynamo-lock.${platform()}.node`;
  copyFileSync(join(root, addon), join(addons, addon));
  execFileSync(process.execPath, [join(root, 'pack.js'), folder, addons]);
  return folder;
}

// SDK v3 before 3.363.0 does not return the row of a failed condition.
test('oldest supported SDK is required as a peer', () => {
  assert.deepStrictEqual(manifest.peerDependencies, { '@aws-sdk/client-dynamodb': '^3.363.0' });
  assert.ok(readFileSync(join(root, 'README.md'), 'utf8').includes('`@aws-sdk/client-dynamodb` 3.363.0'));
});

test('packed files are complete and minimal', () => {
  const folder = layOut();
  const files = (from) => JSON.parse(npm(folder, 'pack', '--dry-run', '--json', join(folder, from)))[0].files.map(({ path }) => path).sort();
  const needed = ['README.md', 'index.d.mts', 'index.d.ts', 'index.js', 'index.mjs', 'logger.d.ts', 'logger.js', 'package.json', 'util.d.ts', 'util.js'];
  const lib = readdirSync(join(root, 'lib')).map((file) => `lib/${file}`);
  assert.deepStrictEqual(files('package'), [...needed, ...lib, ...LICENCES].sort());
  for (const one of readdirSync(join(root, 'npm'))) {
    assert.deepStrictEqual(files(join('npm', one)), ['package.json', `dynamo-lock.${one}.node`, ...LICENCES].sort());
  }
});

test('pack.js fails if an addon is missing', () => {
  const { status, stderr } = spawnSync(process.execPath, [join(root, 'pack.js'), directory(), directory()], { encoding: 'utf8' });
  assert.notStrictEqual(status, 0);
  assert.match(stderr, /cannot find dynamo-lock\..*\.node in .*; build it on its platform/);
});

/** Installs the packed packages into a new folder, under their own name and under the alias `dynamo-lock`. */
function install() {
  const folder = layOut();
  const [addon, main] = [join('npm', platform()), 'package'].map((from) => pack(folder, join(folder, from)));
  const home = join(folder, 'home');
  mkdirSync(home);
  npm(home, 'install', addon, main, `dynamo-lock@file:${main}`);
  return home;
}

/**
 * The JavaScript examples of the README, except those that need other packages, and the expected output of the first
 * one.
 */
function readme() {
  const text = readFileSync(join(root, 'README.md'), 'utf8');
  const blocks = [...text.matchAll(/^```js\n(.*?)^```/gms)].map(([, code]) => code);
  const examples = blocks.filter((code) => !code.includes('TransactWriteItemsCommand'));
  assert.ok(examples.length >= 4 && examples[0].includes('withLock'));
  return { examples, expectedOutput: /^```text\n(.*?)^```/ms.exec(text)[1] };
}

test('packed packages install and run the README examples', needsServer, async (t) => {
  const home = install();
  assert.deepStrictEqual(readdirSync(join(home, 'node_modules')).filter((name) => !name.startsWith('.')), ['@dynamo-lock', 'dynamo-lock']);

  const name = tableName();
  t.after(() => library.createClient(name, { awsConfig: { ...awsConfig, region: 'eu-central-1' } }).deleteLockTable());
  const fences = [];
  const server = createServer((request, response) => (fences.push(request.headers['x-fence']), response.end())).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  const { examples, expectedOutput } = readme();
  // The examples run as one module. Only the name of the table differs, and `url` is defined.
  const given = `const url = 'http://127.0.0.1:${server.address().port}';\n`;
  writeFileSync(join(home, 'example.mjs'), given + examples.join('').replace("'Lock'", `'${name}'`));
  const env = { AWS_ENDPOINT_URL_DYNAMODB: endpoint, AWS_ACCESS_KEY_ID: 'test', AWS_SECRET_ACCESS_KEY: 'test' };
  const run = (script) => start(script, { env, cwd: home, bare: true }).ended;
  const { output, errorOutput, code } = await run(`import('${join(home, 'example.mjs')}')`);
  assert.strictEqual(code, 0, errorOutput);
  assert.ok(output.startsWith(expectedOutput), output);
  assert.deepStrictEqual(output.slice(expectedOutput.length).trim().split('\n').sort(), [
    'account/42 free', 'account/7 free', 'after the loss: revoked, valid: false', 'conversions free', 'has a slot: true', 'migrated with status 200', 'nightly held', 'orders/migration-7 done', 'orders/rebuild free', 'orders/scheduler free',
    'orders/tables free', 'orders/tested free', 'reads beside other readers: true', 'rebuilds: true',
  ]);
  assert.match(String(fences), /^\d+(,\d+){4}$/, 'the tokens of one lock, of one of several, of a writer, of a leader, and of work that runs once');

  const all = `Promise.all(['${manifest.name}', 'dynamo-lock'].map((name) => require(name).connect('memory:').lock('a').hold(1000))).then(() => console.log('held'));`;
  assert.strictEqual((await run(all)).output, 'held\n', 'require works with both names');

  rmSync(join(home, 'node_modules', `${manifest.name}-${platform()}`), { recursive: true });
  const missing = await run(`try { require('dynamo-lock') } catch ({ code, message }) { console.log(code, message) }`);
  assert.match(missing.output, /^NO_ADDON .*install @dynamo-lock\/dynamo-lock-.*optional dependencies/);
});
