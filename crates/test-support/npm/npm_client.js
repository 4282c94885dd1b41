// Runs npm dynamo-lock and exchanges JSON lines over standard input and output. The process at the other end is the
// client's database, each of its lines sets the client's clock, and its answers decide how long a request takes.
'use strict';
const readline = require('node:readline');

const out = (line) => process.stdout.write(JSON.stringify(line) + '\n');
console.log = () => {}; // npm dynamo-lock logs to standard output

let now = 0;
const RealDate = Date;
global.Date = class extends RealDate {
  constructor(...args) { args.length ? super(...args) : super(now); }
  static now() { return now; }
};

let waiting = null;
const ask = (operation) => (params, callback) => {
  waiting = callback;
  out({ operation, params });
};
const db = { getItem: ask('GetItem'), putItem: ask('PutItem') };
const client = require(process.argv[2] + '/dynamo-lock').createClient('Lock', { db });

readline.createInterface({ input: process.stdin }).on('line', (text) => {
  const line = JSON.parse(text);
  now = line.now;
  if (line.getLock) return client.getLock(line.getLock, line.ms, (error, success) => out({ error, success }));
  const callback = waiting;
  waiting = null;
  callback(line.error && Object.assign(new Error(line.error), { code: line.error }), line.data);
});
