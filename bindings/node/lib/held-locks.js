'use strict';

const { toToken } = require('./decode');
const { Held, LOSE } = require('./held');

/** Several locks that are held together. The loss of one is the loss of all. */
class HeldLocks {
  #held;

  /** `tokens` has pairs of a name and a token as text, sorted by name. */
  constructor(connection, { guard, tokens }) {
    // The addon treats the guard of several locks like that of one lock.
    this.#held = new Held(connection, tokens.map(([name]) => name).join('", "'), { guard });
    /** Fencing token of each lock, by name. */
    this.tokens = new Map(tokens.map(([name, token]) => [name, toToken(token)]));
  }

  /** Signal that is aborted when one of the locks is lost, with a LockLostError as its reason. */
  get signal() {
    return this.#held.signal;
  }

  /** Returns whether all leases are still valid, computed from this host's clocks when called. */
  isValid() {
    return this.#held.isValid();
  }

  /** Milliseconds until the first lease ends if no further renewal succeeds; 0 once a lock is lost or released. */
  get timeLeftMs() {
    return this.#held.timeLeftMs;
  }

  /** Like `HeldLock.watchRisk`. The lease that ends first counts. */
  watchRisk(options) {
    return this.#held.watchRisk(options);
  }

  /** Like `HeldLock.riskSignal`. The lease that ends first counts. */
  riskSignal(marginMs) {
    return this.#held.riskSignal(marginMs);
  }

  /** Renews all locks now. Rejects with a LockLostError if one of them is lost. */
  renew() {
    return this.#held.renew();
  }

  /** Like `HeldLock.ensure`. The lease that ends first counts. */
  ensure(leastMs) {
    this.#held.ensure(leastMs);
  }

  /** Releases all locks. Rejects with a LockLostError if one of them was lost before. */
  release() {
    return this.#held.release();
  }

  /** Releases all locks at the end of an `await using` block. */
  async [Symbol.asyncDispose ?? Symbol.for('Symbol.asyncDispose')]() {
    await this.release();
  }

  /** Returns a `ConditionCheck` for `TransactWriteItems` for each lock, sorted by name. */
  conditionChecks() {
    return this.#held.conditionCheck();
  }

  [LOSE](reason) {
    const [[name, token]] = this.tokens;
    this.#held[LOSE](reason, { name, token });
  }

  /** Returns the tokens for `JSON.stringify`. */
  toJSON() {
    return { tokens: Object.fromEntries([...this.tokens].map(([name, token]) => [name, String(token)])) };
  }
}

module.exports = { HeldLocks };
