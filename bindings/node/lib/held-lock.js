'use strict';

const check = require('./check');
const { toToken } = require('./decode');
const { Held, USE } = require('./held');

/** A held lock, also that of a reader or writer. */
class HeldLock extends Held {
  constructor(connection, name, acquired, options) {
    super(connection, name, acquired, options);
    /** Fencing token, a bigint. */
    this.token = toToken(acquired.token);
  }

  /** Renews the lock now with another payload, at most 4 KiB. */
  async updateData(data) {
    await this[USE]('updateData', { data: check.text(data, 'the data') });
  }
}

module.exports = { HeldLock };
