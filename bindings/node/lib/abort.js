'use strict';
// One listener for each signal, however many calls wait for it: node warns of more than ten.

const heard = new WeakMap();

/** Calls `act` when the signal is aborted. What it gives ends that, once. */
function onAbort(signal, act) {
  let { acts, hear } = heard.get(signal) ?? {};
  if (!acts) {
    acts = new Set();
    hear = () => acts.forEach((one) => one());
    heard.set(signal, { acts, hear });
    signal.addEventListener('abort', hear, { once: true });
  }
  acts.add(act);
  return () => {
    acts.delete(act);
    if (acts.size > 0) return;
    heard.delete(signal);
    signal.removeEventListener('abort', hear);
  };
}

module.exports = { onAbort };
