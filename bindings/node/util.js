'use strict';
// The helper functions of npm dynamo-lock, for users who required them. This package does not use them.

const { randomUUID } = require('crypto');

const getRandomToken = () => randomUUID();
const isEmptyObject = (object) => Object.keys(object).length === 0;
const getNMillisInFuture = (ms) => Date.now() + ms;

// Only names alone are found by an import of an ES module.
module.exports = { getRandomToken, isEmptyObject, getNMillisInFuture };
