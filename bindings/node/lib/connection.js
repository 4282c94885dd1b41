'use strict';
// Promises over the messages of the addon: each call has a number, and its result arrives once under that number.

// From the module, because test environments such as jsdom replace the global timers.
const { setInterval } = require('timers');
const { NativeClient } = require('./native');
const { abortReason, onAbort } = require('./abort');
const { UPGRADE_SDK } = require('./db');
const { ArgumentError } = require('./errors');
const { Events } = require('./events');
const { toError } = require('./decode');

// Kinds of messages, as in `src/port.rs`. A further one, 3, is a request for credentials.
const RESULT = 0, LOST = 1, DB = 2, AT_RISK = 4, RECOVERED = 5, EVENT = 6;

// One timer keeps the process alive while any call is pending, or while the work of `withLock` runs. Held locks and
// listeners do not keep it alive.
const timer = setInterval(() => {}, 2 ** 31 - 1).unref();
let pending = 0;
function addPending(count) {
  pending += count;
  if (pending > 0) timer.ref();
  else timer.unref();
}

/** Calls `work` and keeps the process alive until its promise is settled. */
async function keepAlive(work) {
  addPending(1);
  try {
    return await work();
  } finally {
    addPending(-1);
  }
}

// Connections with pending calls or held locks. This set prevents their collection when the user has no reference left.
const inUse = new Set();

/** Connection to one native client. */
class Connection {
  #native;
  #next = 1;
  #calls = new Map();
  #held = new Map();
  #risks = new Map();
  #nextRisk = 1;
  #db;
  #credentials;
  #providerError;
  #events = new Events();
  #isObserved = false;

  /** `db` and `credentials` are called for requests of the addon. Both return promises of JSON values. */
  constructor(settings, { db, credentials } = {}) {
    this.#db = db;
    this.#credentials = credentials;
    // The listener has only a weak reference, because the addon keeps the listener, and this object keeps the addon.
    const self = new WeakRef(this);
    const listener = (kind, id, body) => self.deref()?.receive(kind, id, body);
    try {
      this.#native = new NativeClient(JSON.stringify(settings), listener);
    } catch (error) {
      throw new ArgumentError(error.message);
    }
  }

  /**
   * Starts a call. If `signal` is aborted, the promise rejects with its reason and the addon undoes what the call
   * began.
   */
  call(method, args, signal) {
    if (signal?.aborted) return Promise.reject(abortReason(signal));
    this.#updateObserved();
    const id = this.#next;
    this.#next = (id + 1) % 2 ** 32;
    return new Promise((resolve, reject) => {
      const removeListener = signal ? onAbort(signal, () => this.#native.cancel(id)) : () => {};
      this.#calls.set(id, { resolve, reject, removeListener, signal });
      this.#updateInUse();
      addPending(1);
      try {
        this.#native.call(id, method, JSON.stringify(args));
      } catch (error) {
        this.#takeCall(id);
        reject(toError({ class: 'store', code: 'REFUSED', message: error.message }));
      }
    });
  }

  #updateInUse() {
    if (this.#calls.size + this.#held.size > 0) inUse.add(this);
    else inUse.delete(this);
  }

  #takeCall(id) {
    const call = this.#calls.get(id);
    if (!call) return undefined;
    this.#calls.delete(id);
    this.#updateInUse();
    addPending(-1);
    call.removeListener();
    return call;
  }

  /** Processes a message of the addon. */
  receive(kind, id, body) {
    if (kind === RESULT) return this.#settle(id, JSON.parse(body));
    if (kind === LOST) return this.#held.get(id)?.(toError(JSON.parse(body)));
    if (kind === AT_RISK) return this.#risks.get(id)?.atRisk(JSON.parse(body));
    if (kind === RECOVERED) return this.#risks.get(id)?.recovered?.();
    if (kind === EVENT) return this.#events.emit(JSON.parse(body));
    const response = kind === DB ? this.#db(JSON.parse(body)) : this.#credentials();
    const respond = ({ providerError, ...json }) => {
      this.#providerError = providerError;
      this.#native.respond(id, JSON.stringify(json));
    };
    // A value that JSON cannot represent, for example a bigint, is treated as a failure.
    const fail = (error) => respond({ error: String(error) });
    response.then(respond).catch(fail);
  }

  #settle(id, { value, failure }) {
    const call = this.#takeCall(id);
    if (!call) return;
    const { signal, resolve, reject } = call;
    if (signal?.aborted) {
      // The result arrived after the abort, so release the lock that it may contain. The pending `settle` keeps the
      // process alive until that is done. It lets other acquisitions wait.
      if (value?.guard !== undefined) this.#native.forget(value.guard);
      this.call('settle', {}).catch(() => {});
      reject(abortReason(signal));
    } else if (failure) reject(this.#toError(failure));
    else resolve(value);
  }

  #toError(failure) {
    if (failure.cause === 'noConflictRow' && this.#db) {
      const message = `options.db does not return the row of a failed condition; ${UPGRADE_SDK}`;
      return toError({ ...failure, message });
    }
    // The message of the addon suggests environment variables, which have no effect with the user's own provider.
    if (this.#providerError === undefined || failure.cause !== 'missingCredentials') return toError(failure);
    const cause = String(this.#providerError?.message ?? this.#providerError);
    const error = toError({ ...failure, message: `awsConfig.credentials gives no usable AWS credentials: ${cause}` });
    return Object.assign(error, { cause: this.#providerError });
  }

  /** Adds a listener for events of this type. */
  on(type, listener) {
    this.#events.on(type, listener);
    this.#updateObserved();
  }

  /** Removes a listener. */
  off(type, listener) {
    this.#events.off(type, listener);
    this.#updateObserved();
  }

  /** Reports an event that does not come from the addon. */
  emit(event) {
    this.#events.emit(event);
  }

  /**
   * Starts or stops the events of the addon. Called before each call too, because a channel does not report its
   * subscribers.
   */
  #updateObserved() {
    const isObserved = this.#events.isObserved();
    if (isObserved === this.#isObserved) return;
    this.#isObserved = isObserved;
    this.#native.observe(isObserved);
  }

  /** Registers a held lock. `onLost` is called with an error when the lock is lost. */
  hold(guard, onLost) {
    this.#held.set(guard, onLost);
    this.#updateInUse();
  }

  /** Removes the registration of a held lock. */
  letGo(guard) {
    this.#held.delete(guard);
    this.#updateInUse();
  }

  /**
   * Calls the listeners when a held lock is at risk, and when it has recovered. Returns a function that ends the watch.
   */
  watchRisk(guard, marginMs, listeners) {
    const id = this.#nextRisk;
    this.#nextRisk = (id + 1) % 2 ** 32;
    this.#risks.set(id, listeners);
    this.#native.watchRisk(guard, id, marginMs);
    return () => {
      if (this.#risks.delete(id)) this.#native.endRiskWatch(id);
    };
  }

  isValid(guard) {
    return this.#native.isValid(guard);
  }

  timeLeftMs(guard) {
    return this.#native.timeLeftMs(guard);
  }

  conditionCheck(guard) {
    return this.#native.conditionCheck(guard);
  }

  /** Drops a held lock in the addon, which releases it in the background unless it is lost. */
  forget(guard) {
    this.#native.forget(guard);
  }
}

module.exports = { Connection, keepAlive };
