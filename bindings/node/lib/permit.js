'use strict';

const { Held } = require('./held');

/** A held slot of a semaphore. It has no fencing token, because a semaphore orders nothing. */
class Permit extends Held {
  constructor(connection, name, acquired) {
    super(connection, name, acquired, { noun: 'permit of', instead: 'call permit.isValid() before each side effect' });
  }

  /** Returns the name and the lease ID for `JSON.stringify`. */
  toJSON() {
    return { name: this.name, leaseId: this.leaseId };
  }
}

module.exports = { Permit };
