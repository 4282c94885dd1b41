'use strict';

const check = require('./check');
const { toSuccess, toToken } = require('./decode');
const { CALL, CONNECTION, Handle } = require('./handle');
const { HeldLock } = require('./held-lock');
const { lead } = require('./lead');
const { runOnce } = require('./once');
const { TRY_ONLY, tryAcquire } = require('./try-acquire');

const TRY_OPTIONS = { signal: check.signal, leaseMs: check.millis, maxHoldMs: check.millis, data: check.text };
const ACQUIRE_OPTIONS = { waitMs: check.millis, ...TRY_OPTIONS };
const ONCE_OPTIONS = { forMs: check.millis, ...ACQUIRE_OPTIONS };
const LEAD_OPTIONS = { onRetry: check.callable, ...TRY_OPTIONS };

/** Handle of a named lock. Creating it sends no request. */
class Lock extends Handle {
  constructor(connection, name) {
    super(connection, name, 'lock');
  }

  /** Acquires the lock, and waits while another client holds it, at most `waitMs`. */
  async acquire(options) {
    const checked = check.options(options, 'the options of acquire', ACQUIRE_OPTIONS);
    return this.#toHeldLock(await this[CALL]('acquire', checked));
  }

  /** Acquires the lock if it is free, else resolves to null. */
  async tryAcquire(options) {
    const checked = check.options(options, 'the options of tryAcquire', { ...TRY_ONLY, ...TRY_OPTIONS });
    const acquired = await tryAcquire(checked, (args) => this[CALL]('acquire', args));
    return acquired && this.#toHeldLock(acquired);
  }

  /**
   * Acquires the lock, calls `work`, and releases the lock. After a loss, waits for the end of `work`, and does so
   * again in a new term. Resolves to the result of `work`.
   */
  async lead(work, options) {
    check.callable(work, 'the work of lead');
    const { onRetry, ...checked } = check.options(options, 'the options of lead', LEAD_OPTIONS);
    const acquire = async () => this.#toHeldLock(await this[CALL]('acquire', checked));
    return lead(acquire, work, checked.signal, onRetry);
  }

  /**
   * Calls `work` unless it has succeeded before, and records its success in place of the release. Resolves to whether it
   * ran, with its result or with the earlier success.
   */
  async once(work, options) {
    check.callable(work, 'the work of once');
    const checked = check.options(options, 'the options of once', ONCE_OPTIONS);
    const started = await this[CALL]('once', checked);
    if (started.success) return { ran: false, success: toSuccess(started.success) };
    const lock = this.#toHeldLock(started, { keepsAfterLoss: true });
    return runOnce(lock, work);
  }

  /** Forgets the success with this token, so that its work may run again. */
  async resetSuccess(token) {
    const text = String(check.token(token, 'the token of the success'));
    await this[CALL]('resetSuccess', { token: text });
  }

  #toHeldLock(acquired, options) {
    return new HeldLock(this[CONNECTION], this.name, acquired, options);
  }

  /**
   * Holds the lock for exactly `ms` and resolves to the token. It is neither renewed nor released, and outlives the
   * process.
   */
  async hold(ms) {
    return toToken(await this[CALL]('hold', { ms: check.millis(ms, 'the time to hold') }));
  }

  /** Revokes the lease with this token. Other clients acquire the lock when that lease has expired. */
  async revoke(token) {
    await this.#revoke(token, false);
  }

  /** Revokes the lease with this token and frees the lock at once. Unsafe if the holder may still be working. */
  async forceRevoke(token) {
    await this.#revoke(token, true);
  }

  /** Makes a free row of any kind one of a plain lock. */
  async reset() {
    await this[CALL]('reset');
  }

  async #revoke(token, force) {
    const text = String(check.token(token, 'the token to revoke'));
    await this[CALL]('revoke', { token: text, force });
  }
}

module.exports = { Lock, ACQUIRE_OPTIONS };
