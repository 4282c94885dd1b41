'use strict';

const check = require('./check');
const { ArgumentError } = require('./errors');
const { toInspection, toSuccess, toToken } = require('./decode');
const { HeldLock } = require('./held-lock');
const { lead } = require('./lead');
const { runOnce } = require('./once');
const { checkName } = require('./native');

const TRY_OPTIONS = { signal: check.signal, leaseMs: check.millis, maxHoldMs: check.millis, data: check.text };
const ACQUIRE_OPTIONS = { waitMs: check.millis, ...TRY_OPTIONS };
const ONCE_OPTIONS = { forMs: check.millis, ...ACQUIRE_OPTIONS };
const LEAD_OPTIONS = { onRetry: check.callable, ...TRY_OPTIONS };

/** Handle of a named lock. Creating it sends no request. */
class Lock {
  #connection;

  constructor(connection, name) {
    check.text(name, 'the name of a lock');
    const error = checkName(name);
    if (error) throw new ArgumentError(error);
    this.#connection = connection;
    /** Name of the lock. */
    this.name = name;
  }

  /** Acquires the lock, and waits while another client holds it, at most `waitMs`. */
  async acquire(options) {
    const checked = check.options(options, 'the options of acquire', ACQUIRE_OPTIONS);
    return this.#toHeldLock(await this.#acquire(checked));
  }

  /** Acquires the lock if it is free, else resolves to null. */
  async tryAcquire(options) {
    const checked = check.options(options, 'the options of tryAcquire', TRY_OPTIONS);
    const acquired = await this.#acquire({ ...checked, try: true });
    return acquired && this.#toHeldLock(acquired);
  }

  /**
   * Acquires the lock, calls `work`, and releases the lock. After a loss, waits for the end of `work`, and does so
   * again in a new term. Resolves to the result of `work`.
   */
  async lead(work, options) {
    check.callable(work, 'the work of lead');
    const { onRetry, ...checked } = check.options(options, 'the options of lead', LEAD_OPTIONS);
    const acquire = async () => this.#toHeldLock(await this.#acquire(checked));
    return lead(acquire, work, checked.signal, onRetry);
  }

  /**
   * Calls `work` unless it has succeeded before, and records its success in place of the release. Resolves to whether it
   * ran, with its result or with the earlier success.
   */
  async once(work, options) {
    check.callable(work, 'the work of once');
    const { signal, ...args } = check.options(options, 'the options of once', ONCE_OPTIONS);
    const started = await this.#connection.call('once', { name: this.name, ...args }, signal);
    if (started.success) return { ran: false, success: toSuccess(started.success) };
    const lock = new HeldLock(this.#connection, this.name, started, { keepsAfterLoss: true });
    return runOnce(lock, work);
  }

  /** Forgets the success with this token, so that its work may run again. */
  async resetSuccess(token) {
    const text = String(check.token(token, 'the token of the success'));
    await this.#connection.call('resetSuccess', { name: this.name, token: text });
  }

  #acquire({ signal, ...args }) {
    return this.#connection.call('acquire', { name: this.name, ...args }, signal);
  }

  #toHeldLock(acquired) {
    return new HeldLock(this.#connection, this.name, acquired);
  }

  /**
   * Holds the lock for exactly `ms` and resolves to the token. It is neither renewed nor released, and outlives the
   * process.
   */
  async hold(ms) {
    return toToken(await this.#connection.call('hold', { name: this.name, ms: check.millis(ms, 'the time to hold') }));
  }

  /** Reads the state of the lock. */
  async inspect() {
    return toInspection(await this.#connection.call('inspect', { name: this.name }));
  }

  /** Revokes the lease with this token. Other clients acquire the lock when that lease has expired. */
  async revoke(token) {
    await this.#revoke(token, false);
  }

  /** Revokes the lease with this token and frees the lock at once. Unsafe if the holder may still be working. */
  async forceRevoke(token) {
    await this.#revoke(token, true);
  }

  async #revoke(token, force) {
    const text = String(check.token(token, 'the token to revoke'));
    await this.#connection.call('revoke', { name: this.name, token: text, force });
  }
}

module.exports = { Lock, ACQUIRE_OPTIONS };
