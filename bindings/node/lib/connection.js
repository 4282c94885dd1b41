'use strict';
// Promises over the native half's messages: each call has a number, and is answered once under it.

const { NativeClient } = require('./native');
const { onAbort } = require('./abort');
const { ArgumentError, fromFailure } = require('./errors');

const ANSWER = 0, LOST = 1, DB = 2;

// While a call is under way the process stays: this timer stands for all calls. Held locks keep nothing alive.
const alive = setInterval(() => {}, 2 ** 31 - 1).unref();
let pending = 0;
function stay(more) {
  pending += more;
  if (pending > 0) alive.ref();
  else alive.unref();
}

// Clients with calls under way or locks held are not collected, whoever else has forgotten them.
const inUse = new Set();

class Connection {
  #native;
  #next = 1;
  #calls = new Map();
  #held = new Map();
  #db;
  #credentials;
  #refused;

  /** `db(operation, params)` and `credentials()` answer what the native half asks, if it asks. */
  constructor(settings, { db, credentials } = {}) {
    this.#db = db;
    this.#credentials = credentials;
    // Not held by the native half, which this would keep alive in turn.
    const self = new WeakRef(this);
    const listener = (kind, id, body) => self.deref()?.hear(kind, id, body);
    try {
      this.#native = new NativeClient(JSON.stringify(settings), listener);
    } catch (error) {
      throw new ArgumentError(error.message);
    }
  }

  /** One call. Aborted, it rejects with the signal's reason, and the native half leaves nothing behind. */
  call(method, args, signal) {
    if (signal?.aborted) return Promise.reject(signal.reason);
    const id = this.#next;
    this.#next = (id + 1) % 2 ** 32;
    return new Promise((resolve, reject) => {
      const done = signal ? onAbort(signal, () => this.#native.cancel(id)) : () => {};
      this.#calls.set(id, { resolve, reject, done, signal });
      this.#use();
      stay(1);
      try {
        this.#native.call(id, method, JSON.stringify(args));
      } catch (error) {
        this.#finish(id);
        reject(fromFailure({ class: 'store', code: 'REFUSED', message: error.message }));
      }
    });
  }

  #use() {
    if (this.#calls.size + this.#held.size > 0) inUse.add(this);
    else inUse.delete(this);
  }

  #finish(id) {
    const call = this.#calls.get(id);
    if (!call) return undefined;
    this.#calls.delete(id);
    this.#use();
    stay(-1);
    call.done();
    return call;
  }

  /** A message of the native half. */
  hear(kind, id, body) {
    if (kind === ANSWER) return this.#answer(id, JSON.parse(body));
    if (kind === LOST) return this.#held.get(id)?.(fromFailure(JSON.parse(body)));
    const answer = kind === DB ? this.#db(JSON.parse(body)) : this.#credentials();
    const reply = ({ refused, ...said }) => {
      this.#refused = refused;
      this.#native.reply(id, JSON.stringify(said));
    };
    // What cannot be said in JSON, as a number without end, is no answer.
    answer.then(reply).catch((error) => reply({ status: 500, body: { message: String(error) }, why: String(error) }));
  }

  #answer(id, { value, failure }) {
    const call = this.#finish(id);
    if (!call) return;
    const { signal, resolve, reject } = call;
    if (signal?.aborted) {
      // It came too late: what it brings is given back. The process stays until nothing is left behind.
      if (value?.guard !== undefined) this.#native.forget(value.guard);
      this.call('close', {}).catch(() => {});
      reject(signal.reason);
    } else if (failure) reject(this.#toError(failure));
    else resolve(value);
  }

  #toError(failure) {
    // The native half knows the ways of the environment alone; here the user's own provider said why.
    if (this.#refused === undefined || failure.cause !== 'missingCredentials') return fromFailure(failure);
    const said = String(this.#refused?.message ?? this.#refused);
    const error = fromFailure({ ...failure, message: `awsConfig.credentials gives no usable AWS credentials: ${said}` });
    return Object.assign(error, { cause: this.#refused });
  }

  /** Remembers a held lock until it is let go; `lose` is told when it is lost. */
  hold(guard, lose) {
    this.#held.set(guard, lose);
    this.#use();
  }

  letGo(guard) {
    this.#held.delete(guard);
    this.#use();
  }

  isLive(guard) {
    return this.#native.isLive(guard);
  }

  timeLeftMs(guard) {
    return this.#native.timeLeftMs(guard);
  }

  conditionCheck(guard) {
    return this.#native.conditionCheck(guard);
  }

  forget(guard) {
    this.#native.forget(guard);
  }
}

module.exports = { Connection };
