'use strict';

const { toToken } = require('./decode');
const { Held } = require('./held');

/** A held lock, also that of a reader or writer. */
class HeldLock extends Held {
  constructor(connection, name, acquired, options) {
    super(connection, name, acquired, options);
    /** Fencing token, a bigint. */
    this.token = toToken(acquired.token);
  }
}

module.exports = { HeldLock };
