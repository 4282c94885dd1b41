'use strict';

const check = require('./check');
const { ArgumentError, toHolder, token, date } = require('./errors');
const { HeldLock } = require('./held');
const { checkName } = require('./native');

const OPTIONS = { signal: check.signal, leaseMs: check.millis, maxHoldMs: check.millis, data: check.text };
const WAITING = { waitMs: check.millis, ...OPTIONS };

/** One named lock: a handle. Making it does nothing. */
class Lock {
  #connection;

  constructor(connection, name) {
    check.text(name, 'the name of a lock');
    const wrong = checkName(name);
    if (wrong) throw new ArgumentError(wrong);
    this.#connection = connection;
    /** Its name. */
    this.name = name;
  }

  /** Waits until the lock is ours, at most `waitMs`. */
  async acquire(options) {
    const given = check.options(options, 'the options of acquire', WAITING);
    return this.#held(await this.#acquire(given));
  }

  /** The lock if it can be had now, else null. */
  async tryAcquire(options) {
    const given = check.options(options, 'the options of tryAcquire', OPTIONS);
    const held = await this.#acquire({ ...given, try: true });
    return held && this.#held(held);
  }

  #acquire({ signal, ...args }) {
    return this.#connection.call('acquire', { name: this.name, ...args }, signal);
  }

  #held(held) {
    return new HeldLock(this.#connection, this.name, held);
  }

  /** Takes the lock for exactly so long: nothing renews or releases it, and it outlives the process. Its token. */
  async hold(ms) {
    return token(await this.#connection.call('hold', { name: this.name, ms: check.millis(ms, 'the time to hold') }));
  }

  /** What can be known of the lock from outside. */
  async inspect() {
    return toInspection(await this.#connection.call('inspect', { name: this.name }));
  }

  /** Takes the reign with this token away from its holder; others follow when its lease is over. */
  async revoke(reign) {
    const text = String(check.token(reign, 'the token to revoke'));
    await this.#connection.call('revoke', { name: this.name, token: text });
  }
}

function toInspection({ state, by, lockToken, sinceMs, mayEndMs, data }) {
  const said = { state, token: token(lockToken) };
  if (state === 'free') return { ...said, data: data ?? null };
  said.by = toHolder(by);
  if (state !== 'held') return said;
  return { ...said, since: date(sinceMs), mayEndMs };
}

module.exports = { Lock, toInspection };
