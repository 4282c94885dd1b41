import type { HeldLock, HeldLocks, LockLostError, Permit } from '../index';

/**
 * Loses a held lock or permit in this process: its signals are aborted and `isValid()` returns `false`, as after a loss
 * in earnest. The lock is released in the background, so that later tests can acquire it.
 *
 * `reason` is that of the `LockLostError`. Default: `expired`.
 */
export function loseLock(held: HeldLock | HeldLocks | Permit, reason?: LockLostError['reason']): void;
