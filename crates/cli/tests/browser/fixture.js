'use strict';
// A store with locks of every kind, the page of `dynamo-lock ui` over it, and headless Chromium.

const { spawn, execFileSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { createRequire } = require('node:module');

const PROGRAM = process.env.DYNAMO_LOCK_TEST_PROGRAM;
const MODULES = process.env.DYNAMO_LOCK_TEST_NODE_MODULES;
const CHROMIUM = process.env.DYNAMO_LOCK_TEST_CHROMIUM;

const FLAGS = [
  '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync',
];

/** Inserts the rows on standard input, a JSON array of pairs, in one transaction. */
const INSERT = `
import json, sqlite3, sys
with sqlite3.connect(sys.argv[1]) as database:
    database.executemany("INSERT OR REPLACE INTO lock VALUES (?, ?)", json.load(sys.stdin))
`;

const ID = { S: '0123456789abcdef0123456789abcdef' };

/** Returns the row of a free lock, as another client could have written it. */
function freeRow(token) {
  return { v: { N: '1' }, guid: ID, leaseId: ID, ttl: { N: '1990000000' }, token: { N: `${token}` }, expiresOn: { N: '0' } };
}

/** Returns the row of a lock that was acquired `since` ms ago and renewed `renewed` ms ago. */
function heldRow(token, lease, owner, since = 0, renewed = 0) {
  const now = Date.now();
  return {
    ...freeRow(token),
    expiresOn: { N: `${now + lease - renewed}` },
    renewalSeq: { N: '3' },
    leaseMs: { N: `${lease}` },
    owner: { S: owner },
    acquiredOn: { N: `${now - since}` },
  };
}

/** A directory with an embedded store. */
class Store {
  #children = [];

  constructor() {
    this.directory = fs.mkdtempSync(path.join(os.tmpdir(), 'dynamo-lock-ui-'));
    this.file = path.join(this.directory, 'locks.db');
    this.env = { PATH: process.env.PATH, HOME: this.directory, USER: 'ops', DYNAMO_LOCK_STORE: `sqlite://${this.file}` };
    this.run('ls');
  }

  run(...args) {
    return execFileSync(PROGRAM, args, { env: this.env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  }

  /** Returns the object of `show --json`. */
  show(name) {
    return JSON.parse(this.run('show', name, '--json'));
  }

  insert(rows) {
    const input = JSON.stringify(rows.map(([name, row]) => [name, JSON.stringify(row)]));
    execFileSync('python3', ['-c', INSERT, this.file], { input });
  }

  /** Starts the program and resolves to the first line of its output. */
  start(...args) {
    const child = spawn(PROGRAM, args, { env: this.env, stdio: ['ignore', 'pipe', 'ignore'] });
    this.#children.push(child);
    return new Promise((resolve, reject) => {
      let text = '';
      child.stdout.on('data', (part) => {
        text += part;
        if (text.includes('\n')) resolve({ line: text.split('\n')[0], child });
      });
      child.on('exit', () => reject(new Error(`${args} has ended: ${text}`)));
      child.on('error', reject);
    });
  }

  /** Starts a run that holds a lock until the store is closed. */
  hold(...args) {
    return this.start('run', '-q', ...args, '--', 'sh', '-c', 'echo ready; exec sleep 600');
  }

  async close() {
    const ended = this.#children.map((child) => new Promise((resolve) => {
      if (child.exitCode !== null || child.signalCode !== null) return resolve();
      child.on('exit', resolve);
      child.kill('SIGTERM');
    }));
    await Promise.all(ended);
    fs.rmSync(this.directory, { recursive: true, force: true });
  }
}

/** Starts headless Chromium with a profile of its own. */
async function launch() {
  const { chromium } = createRequire(path.join(MODULES, 'x.js'))('playwright-core');
  const profile = fs.mkdtempSync(path.join(os.tmpdir(), 'dynamo-lock-chromium-'));
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: CHROMIUM, headless: true, args: FLAGS, viewport: { width: 1280, height: 800 }, colorScheme: 'light',
    env: { PATH: process.env.PATH, HOME: profile },
  });
  const close = async () => {
    await context.close();
    fs.rmSync(profile, { recursive: true, force: true });
  };
  return { context, close };
}

/** Returns the reason why the tests cannot run here, or `false`. */
function skipped() {
  const missing = Object.entries({ PROGRAM, NODE_MODULES: MODULES, CHROMIUM }).filter(([, value]) => !value);
  const names = missing.map(([name]) => `DYNAMO_LOCK_TEST_${name}`).join(' and ');
  return missing.length > 0 && `${names} not set; \`cargo xtask test\` sets them`;
}

module.exports = { Store, launch, freeRow, heldRow, skipped };
