'use strict';

const check = require('./check');
const { fromFailure, LockLostError } = require('./errors');
const { Lock, toInspection } = require('./lock');
const original = require('./original');

/** Makes locks. `createClient` and `connect` make it. */
class Client {
  #connection;
  #lists = 0;

  constructor(connection) {
    this.#connection = connection;
  }

  /** A handle to the lock of this name. */
  lock(name) {
    return new Lock(this.#connection, name);
  }

  /** Acquires, works, releases. What `work` throws is thrown; a release that failed is not swallowed. */
  async withLock(name, options, work) {
    if (work === undefined && typeof options === 'function') [options, work] = [undefined, options];
    check.callable(work, 'the work of withLock');
    const held = await this.lock(name).acquire(options);
    let output;
    try {
      output = await work(held);
    } catch (error) {
      await held.release().catch((cause) => note(error, cause));
      throw error;
    }
    try {
      await held.release();
    } catch (error) {
      // The work is done: what it gave is not lost with the lock.
      throw Object.assign(error, { output });
    }
    return output;
  }

  /** All locks of the store, in any order. */
  async *list() {
    const list = ++this.#lists;
    try {
      for (let more = true; more; ) {
        const page = await this.#connection.call('list', { list });
        more = page.more;
        for (const { name, said, failure } of page.rows) {
          yield failure ? { name, state: 'unreadable', error: fromFailure(failure) } : { name, ...toInspection(said) };
        }
      }
    } finally {
      await this.#connection.call('endList', { list }).catch(() => {}); // the loop has its own error
    }
  }

  /** Waits, at most one lease, for what goes on in the background. Held locks stay held. */
  async close() {
    await this.#connection.call('close', {});
  }

  /** The original's `getLock`. */
  getLock(lockName, lockTimeoutInMillis, callback) {
    return original.getLock(this.#connection, lockName, lockTimeoutInMillis, callback);
  }

  /** The original's `createLockTable`. */
  createLockTable(callback) {
    return original.table(this.#connection, 'createTable', callback);
  }

  /** The original's `deleteLockTable`. */
  deleteLockTable(callback) {
    return original.table(this.#connection, 'deleteTable', callback);
  }
}

/** Beside the error of the work, the one of the release. */
function note(error, release) {
  const object = typeof error === 'object' && error !== null && Object.isExtensible(error);
  if (object && error !== release && !(release instanceof LockLostError && error.cause === release)) {
    Object.defineProperty(error, 'releaseError', { value: release, configurable: true, enumerable: true });
  }
}

module.exports = { Client };
