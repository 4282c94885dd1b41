'use strict';
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

module.exports = { onAbort };
