import type { Holder } from '../index';

/** Base class of the errors with a `code`. */
export class DynamoLockError extends Error {
  constructor(message: string, code: string, fields?: object);
  /** Code for programs. Messages are for people and may change. */
  readonly code: string;
  /**
   * Returns name, message, code and the other fields, with the token as text. Omits `output` and `cause`. Called by
   * `JSON.stringify`.
   */
  toJSON(): object;
}

/** Another client holds the lock. */
export class LockHeldError extends DynamoLockError {
  readonly code: 'LOCK_HELD';
  /** The holder, if it is known. After `getLock` only its `expiresAt` is known. */
  readonly holder?: Holder | null;
  /** Time that `acquire` has waited, in milliseconds. */
  readonly waitedMs?: number;
  /** Name of the lock that is held, after `withLocks`. */
  readonly lockName?: string;
}

/** A held lock was lost. */
export class LockLostError extends DynamoLockError {
  readonly code: 'LOCK_LOST';
  readonly reason: 'expired' | 'takenOver' | 'revoked' | 'rowGone' | 'maxHold' | 'suspended' | 'renewalStopped' | 'other';
  /** Token of the lost lock. That of a permit orders nothing. */
  readonly token: bigint;
  /** Result of the work of `withLock`, `withLocks`, `withPermit`, `withRead` and `withWrite`. */
  readonly output?: unknown;
  /** Names of the locks that were not released, after `withLocks`. */
  readonly unreleased?: string[];
}

export type StoreErrorCode =
  | 'UNANSWERED'
  | 'THROTTLED'
  | 'ACCESS_DENIED'
  | 'MISCONFIGURED'
  | 'REFUSED'
  | 'BAD_ROW'
  | 'TABLE_EXISTS'
  | 'LEASE_ENDED'
  | 'NOT_RECORDED'
  | 'NOT_DONE'
  | 'RELEASED'
  | 'NOT_DYNAMODB';

/**
 * The store rejected the request or did not respond. After `UNANSWERED` and `THROTTLED` the same call may succeed
 * later.
 */
export class StoreError extends DynamoLockError {
  readonly code: StoreErrorCode;
  /** The current holder, if `code` is `LEASE_ENDED`. */
  readonly holder?: Holder | null;
  /** Result of the work of `withLock` and `withLocks`, if only the release failed, and of `once`. */
  readonly output?: unknown;
  /** Names of the locks that were not released, after `withLocks`. */
  readonly unreleased?: string[];
}

/** Invalid argument. The message names the valid values. */
export class ArgumentError extends TypeError {
  constructor(message: string);
  readonly code: 'INVALID_ARGUMENT';
  /** Returns name, message and code. Called by `JSON.stringify`. */
  toJSON(): object;
}
