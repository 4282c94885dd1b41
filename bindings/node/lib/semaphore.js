'use strict';

const check = require('./check');
const { ArgumentError } = require('./errors');
const { CALL, CONNECTION } = require('./handle');
const { checkSlots } = require('./native');
const { Permit } = require('./permit');
const { ACQUIRE_OPTIONS, SharedHandle, TRY_OPTIONS } = require('./shared-handle');
const { TRY_ONLY, tryAcquire } = require('./try-acquire');
const { optionsAndWork, workUnder } = require('./work-under');

/** Handle of a semaphore: a limited number of holders have a permit at the same time. */
class Semaphore extends SharedHandle {
  constructor(connection, name, slots) {
    super(connection, name, 'semaphore');
    const error = checkSlots(check.whole(slots, 'the slots of a semaphore'));
    if (error) throw new ArgumentError(error);
    /** Maximum number of holders. */
    this.slots = slots;
  }

  /** Acquires a permit, and waits while all slots are taken, at most `waitMs`. */
  async acquire(options) {
    return this.#acquire(check.options(options, 'the options of acquire', ACQUIRE_OPTIONS));
  }

  /** Acquires a permit if a slot is free, else resolves to null. */
  async tryAcquire(options) {
    const checked = check.options(options, 'the options of tryAcquire', { ...TRY_ONLY, ...TRY_OPTIONS });
    const acquired = await tryAcquire(checked, (args) => this.#acquired(args));
    return acquired && new Permit(this[CONNECTION], this.name, acquired);
  }

  /** Acquires a permit, calls `work`, and releases the permit. Rejects if `work` or the release fails. */
  async withPermit(options, work) {
    [options, work] = optionsAndWork(options, work, 'withPermit');
    const checked = check.options(options, 'the options of withPermit', ACQUIRE_OPTIONS);
    return workUnder(await this.#acquire(checked), work);
  }

  async #acquire(options) {
    return new Permit(this[CONNECTION], this.name, await this.#acquired(options));
  }

  #acquired(options) {
    return this[CALL]('acquirePermit', { slots: this.slots, ...options });
  }
}

module.exports = { Semaphore };
