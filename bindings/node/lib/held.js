'use strict';

// From the module, because test environments such as jsdom replace the global.
const { performance } = require('perf_hooks');
const { newAbortController } = require('./abort');
const check = require('./check');
const { DynamoLockError, StoreError, LockLostError } = require('./errors');
const { withTextTokens } = require('./json');

/** Name of the method that records a success in place of the release. */
const SUCCEED = Symbol('succeed');

/** Name of the method that makes a call with the guard. */
const USE = Symbol('use');

/** Name of the method that loses the lock in a test. It takes the reason, and the lock if there are several. */
const LOSE = Symbol('lose');

const COMPARE = 'compare lock.token in your resource';

const WATCH_OPTIONS = { atRisk: check.callable, recovered: check.callable, marginMs: check.millis };

/**
 * Base class of held locks, and of permits of a semaphore.
 *
 * The library renews it until it is released, also while the event loop is busy, unless requests need JavaScript
 * (`db` or a credentials provider).
 */
class Held {
  #connection;
  #guard;
  #leaseId;
  #noun;
  #instead;
  #controller;
  #acquiredAt = performance.now();
  #lost;
  #released;
  /** Whether the guard is kept after a loss, because the success of its work may still be recorded. */
  #keepsAfterLoss;
  /** Calls that use the guard. */
  #calls = new Set();
  #riskWatches = new Set();
  #riskControllers = new Set();

  /** Messages name this object by `noun`, and `instead` as the alternative to a condition check. */
  constructor(connection, name, { guard, leaseId }, { keepsAfterLoss = false, noun = 'lock', instead = COMPARE } = {}) {
    this.#keepsAfterLoss = keepsAfterLoss;
    this.#connection = connection;
    this.#guard = guard;
    this.#leaseId = leaseId;
    this.#noun = noun;
    this.#instead = instead;
    /** Name of the lock or semaphore. */
    this.name = name;
    connection.hold(guard, (error) => this.#onLost(error));
  }

  /** Lease ID of this acquisition. Other than the name, it is no field, so that it is not part of the JSON of a lock. */
  get leaseId() {
    return this.#leaseId;
  }

  /** Signal that is aborted when the lock is lost, with a LockLostError as its reason. */
  get signal() {
    if (!this.#controller) {
      this.#controller = newAbortController();
      if (this.#lost) this.#controller.abort(this.#lost);
    }
    return this.#controller.signal;
  }

  /** Returns whether the lease is still valid, computed from this host's clocks when called. */
  isValid() {
    return !this.#lost && !this.#released && this.#connection.isValid(this.#guard);
  }

  /** Remaining validity in milliseconds if no further renewal succeeds; 0 once the lock is lost or released. */
  get timeLeftMs() {
    return this.#lost || this.#released ? 0 : this.#connection.timeLeftMs(this.#guard);
  }

  /**
   * Calls `atRisk` with the remaining milliseconds each time less than `marginMs` of the lease is left, and `recovered`
   * each time a renewal has succeeded after that. Returns a function that ends the watch.
   */
  watchRisk(options) {
    const { atRisk, recovered, marginMs } = check.options(options, 'the options of watchRisk', WATCH_OPTIONS);
    check.callable(atRisk, 'atRisk');
    if (this.#lost || this.#released) return () => {};
    const stop = this.#connection.watchRisk(this.#guard, marginMs, { atRisk, recovered });
    const end = () => {
      this.#riskWatches.delete(end);
      stop();
    };
    this.#riskWatches.add(end);
    return end;
  }

  /** Renews the lock now. Rejects with a LockLostError if it is lost before the store has confirmed the renewal. */
  async renew() {
    await this[USE]('renew');
  }

  /** Throws unless the lease is valid for `leastMs` from now, also if no further renewal succeeds. */
  ensure(leastMs) {
    check.millis(leastMs, 'the time of ensure');
    const timeLeftMs = this.timeLeftMs;
    if (timeLeftMs > 0 && timeLeftMs >= leastMs) return;
    this.#checkUsable();
    const message = `the lease ends in ${timeLeftMs} ms, but ${leastMs} ms are required; renew it first, or use a longer lease`;
    throw new DynamoLockError(message, 'LEASE_TOO_SHORT', { timeLeftMs });
  }

  #checkUsable() {
    if (this.#lost) throw this.#lost;
    if (this.#released) throw new StoreError(`cannot use ${this.#noun} "${this.name}": it was released`, 'RELEASED');
  }

  /** Makes a call that needs the guard. A release waits for it. */
  async [USE](method, args) {
    this.#checkUsable();
    const call = this.#connection.call(method, { guard: this.#guard, ...args });
    const ended = call.catch(() => {});
    this.#calls.add(ended);
    try {
      await call;
    } catch (error) {
      if (error instanceof LockLostError) this.#onLost(error);
      throw error;
    } finally {
      this.#calls.delete(ended);
    }
  }

  /** Returns a signal that is aborted when less than `marginMs` of the lease is left, or when the lock is lost. */
  riskSignal(marginMs) {
    const controller = newAbortController();
    if (this.#lost) controller.abort(this.#lost);
    const options = marginMs === undefined ? {} : { marginMs };
    const stop = this.watchRisk({
      ...options,
      atRisk: (timeLeftMs) => {
        stop();
        this.#riskControllers.delete(controller);
        controller.abort(atRiskError(`${this.#noun} "${this.name}"`, timeLeftMs));
      },
    });
    if (!this.#lost && !this.#released) this.#riskControllers.add(controller);
    return controller.signal;
  }

  /**
   * Releases the lock. Rejects with a LockLostError if it was lost before.
   *
   * Later calls return the same promise: the first one retries until the lease has expired, so another attempt would be
   * useless.
   */
  release() {
    this.#released ??= this.#release();
    return this.#released;
  }

  /** Records the success of the work in place of the release, also after a loss that the store may not know. */
  async [SUCCEED]() {
    if (this.#released) {
      await this.#released;
      const fix = 'do not release the lock of once within its work';
      throw new StoreError(`the success of "${this.name}" is not recorded: its lock was released; ${fix}`, 'NOT_RECORDED');
    }
    this.#released = this.#end('succeed');
    await this.#released;
  }

  async #release() {
    if (!this.#lost) return this.#end('release');
    if (this.#keepsAfterLoss) this.#connection.forget(this.#guard);
    throw this.#lost;
  }

  async #end(method) {
    this.#connection.letGo(this.#guard);
    this.#endRiskWatches();
    try {
      await Promise.all(this.#calls);
      await this.#connection.call(method, { guard: this.#guard });
    } catch (error) {
      if (error instanceof LockLostError) this.#setLost(error);
      throw error;
    }
  }

  /** Releases the lock at the end of an `await using` block. */
  async [Symbol.asyncDispose ?? Symbol.for('Symbol.asyncDispose')]() {
    await this.release();
  }

  /** Returns a `ConditionCheck` for `TransactWriteItems` that passes only while this lock is held. */
  conditionCheck() {
    const check = this.#lost || this.#released ? undefined : this.#connection.conditionCheck(this.#guard);
    if (check) return JSON.parse(check);
    if (this.#lost) throw this.#lost;
    const failed = `cannot create a condition check for ${this.#noun} "${this.name}"`;
    if (this.#released) throw new StoreError(`${failed}: it was released`, 'RELEASED');
    throw new StoreError(`${failed}: its store is not DynamoDB; ${this.#instead} instead`, 'NOT_DYNAMODB');
  }

  /** Returns the fields for `JSON.stringify`. */
  toJSON() {
    return withTextTokens(this);
  }

  [LOSE](reason, { name, token } = this) {
    if (this.#lost || this.#released) return;
    this.#onLost(new LockLostError(`lock "${name}" was lost by a test (${reason})`, 'LOCK_LOST', { reason, token }));
    const heldMs = Math.round(performance.now() - this.#acquiredAt);
    this.#connection.emit({ type: 'lost', name, token, reason, heldMs, lastError: null });
  }

  #onLost(error) {
    if (this.#lost || this.#released) return;
    this.#connection.letGo(this.#guard);
    if (!this.#keepsAfterLoss) this.#connection.forget(this.#guard);
    this.#setLost(error);
  }

  #setLost(error) {
    this.#lost = error;
    this.#endRiskWatches();
    this.#controller?.abort(error);
    for (const controller of this.#riskControllers) controller.abort(error);
    this.#riskControllers.clear();
  }

  #endRiskWatches() {
    for (const end of this.#riskWatches) end();
  }
}

function atRiskError(subject, timeLeftMs) {
  const message = `${subject} is at risk: no renewal has succeeded, and ${timeLeftMs} ms of its lease are left`;
  return new DynamoLockError(message, 'LOCK_AT_RISK', { timeLeftMs });
}

module.exports = { Held, LOSE, SUCCEED, USE };
