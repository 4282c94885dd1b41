'use strict';

const check = require('./check');
const { ArgumentError } = require('./errors');
const { toInspection } = require('./decode');
const { checkName } = require('./native');

// Symbols, so that users do not see these members.
const [CALL, CONNECTION] = [Symbol('call'), Symbol('connection')];

/** Base class of the handles. Creating one sends no request. */
class Handle {
  #connection;

  /** `noun` names the kind in messages. */
  constructor(connection, name, noun) {
    check.text(name, `the name of a ${noun}`);
    const error = checkName(name);
    if (error) throw new ArgumentError(error);
    this.#connection = connection;
    /** Name of the lock or semaphore. */
    this.name = name;
  }

  /** Connection of the client. */
  get [CONNECTION]() {
    return this.#connection;
  }

  /** Starts a call about this name. */
  [CALL](method, { signal, ...args } = {}) {
    return this.#connection.call(method, { name: this.name, ...args }, signal);
  }

  /** Reads the state of the row, of whatever kind it is. */
  async inspect() {
    return toInspection(await this[CALL]('inspect'));
  }
}

module.exports = { Handle, CALL, CONNECTION };
