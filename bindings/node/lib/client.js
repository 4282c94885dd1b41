'use strict';

const check = require('./check');
const { ArgumentError } = require('./errors');
const { toListed } = require('./decode');
const { ACQUIRE_OPTIONS, Lock } = require('./lock');
const { HeldLocks } = require('./held-locks');
const legacy = require('./legacy');
const { checkNames } = require('./native');
const { RwLock } = require('./rw-lock');
const { Semaphore } = require('./semaphore');
const { optionsAndWork, workUnder } = require('./work-under');

const TABLE_OPTIONS = {
  readUnits: check.whole,
  writeUnits: check.whole,
  ttl: check.flag,
  deletionProtection: check.flag,
  tags: check.textFields,
};

// A symbol and not private members, so that the methods also work on a proxy of a client, and on an object whose
// prototype is a client. Users of npm dynamo-lock have such objects.
const INTERNAL = Symbol('internal');

let lists = 0;

/** A client of one store. Created by `createClient` and `connect`. */
class Client {
  /** `legacyFields` are `db` and `lockTableName`. */
  constructor(connection, legacyFields = {}) {
    Object.defineProperty(this, INTERNAL, { value: { connection, ...legacyFields } });
  }

  /** The user's own DynamoDB object, as in npm dynamo-lock. */
  get db() {
    return this[INTERNAL].db;
  }

  /** Name of the table, as in npm dynamo-lock. */
  get lockTableName() {
    return this[INTERNAL].lockTableName;
  }

  /** Returns a handle of the lock with this name. */
  lock(name) {
    return new Lock(this[INTERNAL].connection, name);
  }

  /** Returns a handle of the semaphore with this name and number of slots. */
  semaphore(name, slots) {
    return new Semaphore(this[INTERNAL].connection, name, slots);
  }

  /** Returns a handle of the read/write lock with this name. */
  rwLock(name) {
    return new RwLock(this[INTERNAL].connection, name);
  }

  /** Acquires the lock, calls `work`, and releases the lock. Rejects if `work` or the release fails. */
  async withLock(name, options, work) {
    [options, work] = optionsAndWork(options, work, 'withLock');
    return workUnder(await this.lock(name).acquire(options), work);
  }

  /** Acquires all locks or none, calls `work`, and releases the locks. Rejects if `work` or a release fails. */
  async withLocks(names, options, work) {
    [options, work] = optionsAndWork(options, work, 'withLocks');
    check.texts(names, 'the names of locks');
    const { signal, ...args } = check.options(options, 'the options of withLocks', ACQUIRE_OPTIONS);
    const error = checkNames(names);
    if (error) throw new ArgumentError(error);
    const { connection } = this[INTERNAL];
    const acquired = await connection.call('acquireAll', { names, ...args }, signal);
    return workUnder(new HeldLocks(connection, acquired), work);
  }

  /** Lists all locks of the store, in no particular order. */
  async *list() {
    const list = ++lists;
    try {
      for (let more = true; more; ) {
        const page = await this[INTERNAL].connection.call('list', { list });
        more = page.more;
        for (const row of page.rows) yield toListed(row);
      }
    } finally {
      // Ignore errors here, because the loop reports its own.
      await this[INTERNAL].connection.call('endList', { list }).catch(() => {});
    }
  }

  /** Calls `listener` at each event of this type. */
  on(type, listener) {
    this[INTERNAL].connection.on(type, listener);
    return this;
  }

  /** Ends the calls of `listener`. */
  off(type, listener) {
    this[INTERNAL].connection.off(type, listener);
    return this;
  }

  /** Ends waiting acquisitions, and waits for background work, at most one lease. Held locks stay held. */
  async close() {
    await this[INTERNAL].connection.call('close', {});
  }

  /** Creates the table of this client, and waits until it is active. */
  async createTable(options) {
    const checked = check.options(options, 'the options of createTable', TABLE_OPTIONS);
    if ((checked.readUnits === undefined) !== (checked.writeUnits === undefined)) {
      throw new ArgumentError('the options of createTable need both readUnits and writeUnits, or neither');
    }
    await this[INTERNAL].connection.call('createNewTable', checked);
  }

  /** Resolves to the problems of the table, an empty array if there is none. */
  async checkTable() {
    return this[INTERNAL].connection.call('checkTable', {});
  }

  /** Acquires a lock like `getLock` of npm dynamo-lock 0.1.3. */
  getLock(lockName, lockTimeoutInMillis, callback) {
    return legacy.getLock(this[INTERNAL].connection, lockName, lockTimeoutInMillis, callback);
  }

  /** Creates the table like `createLockTable` of npm dynamo-lock 0.1.3. */
  createLockTable(callback) {
    return legacy.changeTable(this[INTERNAL].connection, 'createTable', callback);
  }

  /** Deletes the table like `deleteLockTable` of npm dynamo-lock 0.1.3. */
  deleteLockTable(callback) {
    return legacy.changeTable(this[INTERNAL].connection, 'deleteTable', callback);
  }
}

module.exports = { Client };
