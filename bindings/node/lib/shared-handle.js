'use strict';

const check = require('./check');
const { CALL, Handle } = require('./handle');

const REVOKE_OPTIONS = { force: check.flag };
const TRY_OPTIONS = { signal: check.signal, leaseMs: check.millis, maxHoldMs: check.millis };
const ACQUIRE_OPTIONS = { waitMs: check.millis, ...TRY_OPTIONS };

/** Base class of the handles of semaphores and read/write locks, which can have several holders. */
class SharedHandle extends Handle {
  /**
   * Revokes the holder with this lease ID. Others wait until its lease has expired, unless `force` is set, which is
   * unsafe if the holder may still be working.
   */
  async revokeHolder(id, options) {
    check.text(id, 'the lease ID of the holder');
    const { force } = check.options(options, 'the options of revokeHolder', REVOKE_OPTIONS);
    await this[CALL]('revokeHolder', { id, force });
  }
}

module.exports = { SharedHandle, ACQUIRE_OPTIONS, TRY_OPTIONS };
