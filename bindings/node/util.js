'use strict';
// The helper functions of npm dynamo-lock, for users who required them. This package does not use them.

const { randomUUID } = require('crypto');

module.exports = {
  getRandomToken: () => randomUUID(),
  isEmptyObject: (object) => Object.keys(object).length === 0,
  getNMillisInFuture: (ms) => Date.now() + ms,
};
