'use strict';
// Abort signals, also of environments that are older than Node itself.

const { transferableAbortController } = require('util');

/** Creates an AbortController. Some test environments, for example Jest 26, have no global one. */
function newAbortController() {
  return typeof AbortController === 'function' ? new AbortController() : transferableAbortController();
}

/** Returns the reason of an aborted signal. The signals of older implementations have none. */
function abortReason({ reason }) {
  return reason === undefined ? Object.assign(new Error('This operation was aborted'), { name: 'AbortError' }) : reason;
}

// At most one listener per AbortSignal, because Node warns of a leak when a signal has more than ten.
const listeners = new WeakMap();

/** Calls `callback` when `signal` is aborted. Returns a function that removes the callback; call it exactly once. */
function onAbort(signal, callback) {
  let { callbacks, listener } = listeners.get(signal) ?? {};
  if (!callbacks) {
    callbacks = new Set();
    listener = () => callbacks.forEach((each) => each());
    listeners.set(signal, { callbacks, listener });
    signal.addEventListener('abort', listener, { once: true });
  }
  callbacks.add(callback);
  return () => {
    callbacks.delete(callback);
    if (callbacks.size > 0) return;
    listeners.delete(signal);
    signal.removeEventListener('abort', listener);
  };
}

module.exports = { newAbortController, abortReason, onAbort };
