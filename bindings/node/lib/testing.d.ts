import type { HeldLock, HeldLocks, LockLostError, Permit } from '../index';

/**
 * Loses a held lock or permit in this process: its signals are aborted and `isValid()` returns `false`, as after a loss
 * in earnest, and the event `lost` is reported. The lock is released in the background, so that later tests can acquire
 * it, which reports `released`.
 *
 * `reason` is that of the `LockLostError`. Default: `expired`.
 */
export function loseLock(held: HeldLock | HeldLocks | Permit, reason?: LockLostError['reason']): void;
