'use strict';
// Events of a client: `client.on`, and one `diagnostics_channel` for each type, as `src/events.rs` writes them.

const diagnostics = require('diagnostics_channel');
const check = require('./check');
const { ArgumentError } = require('./errors');
const { toError, toHolder, toToken } = require('./decode');
const { withToJson } = require('./json');

const TYPES = [
  'waiting', 'waitEnded', 'contended', 'takenOver', 'acquired', 'renewed', 'lost', 'released', 'requestFailed',
];

// The references keep the channels, which Node would collect otherwise.
const channels = new Map(TYPES.map((type) => [type, diagnostics.channel(`dynamo-lock:${type}`)]));

/** Listeners of one client. */
class Events {
  #listeners = new Map();

  /** Adds a listener. A listener that was added before is called once per event. */
  on(type, listener) {
    if (!channels.has(type)) {
      throw new ArgumentError(`there is no event ${JSON.stringify(type)}: use one of ${TYPES.join(', ')}`);
    }
    check.callable(listener, 'the listener');
    const listeners = this.#listeners.get(type) ?? new Set();
    this.#listeners.set(type, listeners.add(listener));
  }

  /** Removes a listener. Does nothing if it was not added. */
  off(type, listener) {
    const listeners = this.#listeners.get(type);
    listeners?.delete(listener);
    if (listeners?.size === 0) this.#listeners.delete(type);
  }

  /** Returns whether anybody receives events now. */
  isObserved() {
    return this.#listeners.size > 0 || [...channels.values()].some((channel) => channel.hasSubscribers);
  }

  /** Passes an event of the addon to the channel and the listeners of its type. */
  emit(json) {
    const { type } = json;
    const channel = channels.get(type);
    const listeners = [...(this.#listeners.get(type) ?? [])];
    if (listeners.length === 0 && !channel?.hasSubscribers) return;
    const event = toEvent(json);
    channel?.publish(event);
    for (const listener of listeners) {
      try {
        listener(event);
      } catch (error) {
        // As diagnostics_channel does: an uncaught exception that stops no other listener.
        process.nextTick(() => { throw error; });
      }
    }
  }
}

function toEvent({ token, holder, error, lastError, ...rest }) {
  const event = { ...rest };
  if (token !== undefined) event.token = toToken(token);
  if (holder !== undefined) event.holder = toHolder(holder);
  if (error !== undefined) event.error = toError(error);
  if (lastError !== undefined) event.lastError = lastError && toError(lastError);
  return withToJson(event);
}

module.exports = { Events };
