'use strict';
// The logger of npm dynamo-lock, whose methods users replace. Its calls with a callback log their errors here. By
// default, they are printed to standard error, and only with NODE_DEBUG=dynamo-lock.

const { debuglog } = require('util');

const debug = debuglog('dynamo-lock');
const print = (value) => debug('%s', value);

module.exports = { debug: print, info: print, warn: print, error: print };
