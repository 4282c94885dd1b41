'use strict';

const { StoreError, LockLostError, token } = require('./errors');

/** A held lock. The library renews it until it is released, also while the event loop is busy, if it asks nothing of the
 *  user's own. */
class HeldLock {
  #connection;
  #guard;
  #abort;
  #lost;
  #released;

  constructor(connection, name, { guard, lockToken }) {
    this.#connection = connection;
    this.#guard = guard;
    /** Its name. */
    this.name = name;
    /** The fencing token, a bigint: larger than that of every earlier holder. */
    this.token = token(lockToken);
    connection.hold(guard, (error) => this.#lose(error));
  }

  /** Aborted when the lock is lost, with a LockLostError that says why. */
  get signal() {
    if (!this.#abort) {
      this.#abort = new AbortController();
      if (this.#lost) this.#abort.abort(this.#lost);
    }
    return this.#abort.signal;
  }

  /** Whether the lock may be believed in, computed now from this host's clocks. */
  isLive() {
    return !this.#lost && !this.#released && this.#connection.isLive(this.#guard);
  }

  /** How long it may be believed in if no renewal lands any more; 0 once it is lost. */
  get timeLeftMs() {
    return this.#lost || this.#released ? 0 : this.#connection.timeLeftMs(this.#guard);
  }

  /** Gives the lock up. Rejects with a LockLostError if it was lost before. Once: later calls say the same, since the library
   *  tries until the lease is over. */
  release() {
    this.#released ??= this.#release();
    return this.#released;
  }

  async #release() {
    if (this.#lost) throw this.#lost;
    this.#connection.letGo(this.#guard);
    try {
      await this.#connection.call('release', { guard: this.#guard });
    } catch (error) {
      if (error instanceof LockLostError) this.#end(error);
      throw error;
    }
  }

  /** For `await using`. */
  async [Symbol.asyncDispose ?? Symbol.for('Symbol.asyncDispose')]() {
    await this.release();
  }

  /** What goes under `ConditionCheck` in your own TransactWriteItems: the writes beside it take effect only if this
   *  reign still holds the lock. */
  conditionCheck() {
    const check = this.#lost || this.#released ? undefined : this.#connection.conditionCheck(this.#guard);
    if (check) return JSON.parse(check);
    if (this.#lost) throw this.#lost;
    if (this.#released) throw new StoreError(`lock "${this.name}" was released: nothing is guarded by it`, 'RELEASED');
    const mend = 'compare lock.token in your resource instead';
    throw new StoreError(`this lock's store is not DynamoDB: ${mend}`, 'NOT_DYNAMODB');
  }

  /** The native half says that it is lost. */
  #lose(error) {
    if (this.#lost || this.#released) return;
    this.#connection.letGo(this.#guard);
    this.#connection.forget(this.#guard);
    this.#end(error);
  }

  #end(error) {
    this.#lost = error;
    this.#abort?.abort(error);
  }
}

module.exports = { HeldLock };
