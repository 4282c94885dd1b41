'use strict';

const check = require('./check');
const { CALL, CONNECTION } = require('./handle');
const { HeldLock } = require('./held-lock');
const { ACQUIRE_OPTIONS, SharedHandle, TRY_OPTIONS } = require('./shared-handle');
const { TRY_ONLY, tryAcquire } = require('./try-acquire');
const { optionsAndWork, workUnder } = require('./work-under');

/** Handle of a read/write lock: several readers hold it at the same time, or one writer alone. */
class RwLock extends SharedHandle {
  constructor(connection, name) {
    super(connection, name, 'lock');
  }

  /** Acquires the lock beside other readers, and waits for writers, at most `waitMs`. */
  async read(options) {
    return this.#acquire('read', options, 'read');
  }

  /** Acquires the lock alone, and waits while others hold it, at most `waitMs`. */
  async write(options) {
    return this.#acquire('write', options, 'write');
  }

  /** Acquires the lock beside other readers, or resolves to null if a writer holds it or waits. */
  async tryRead(options) {
    return this.#tryAcquire('read', options, 'tryRead');
  }

  /** Acquires the lock alone if it is free, else resolves to null. */
  async tryWrite(options) {
    return this.#tryAcquire('write', options, 'tryWrite');
  }

  /** Acquires the lock like `read`, calls `work`, and releases it. Rejects if `work` or the release fails. */
  async withRead(options, work) {
    [options, work] = optionsAndWork(options, work, 'withRead');
    return workUnder(await this.#acquire('read', options, 'withRead'), work);
  }

  /** Acquires the lock like `write`, calls `work`, and releases it. Rejects if `work` or the release fails. */
  async withWrite(options, work) {
    [options, work] = optionsAndWork(options, work, 'withWrite');
    return workUnder(await this.#acquire('write', options, 'withWrite'), work);
  }

  /** Makes a free row of another kind one of this read/write lock. */
  async convert() {
    await this[CALL]('convert');
  }

  async #acquire(access, options, method) {
    const checked = check.options(options, `the options of ${method}`, ACQUIRE_OPTIONS);
    return this.#toHeldLock(await this[CALL](access, checked));
  }

  async #tryAcquire(access, options, method) {
    const checked = check.options(options, `the options of ${method}`, { ...TRY_ONLY, ...TRY_OPTIONS });
    const acquired = await tryAcquire(checked, (args) => this[CALL](access, args));
    return acquired && this.#toHeldLock(acquired);
  }

  #toHeldLock(acquired) {
    return new HeldLock(this[CONNECTION], this.name, acquired);
  }
}

module.exports = { RwLock };
