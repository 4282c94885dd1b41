import type { Holder } from '../index';

/**
 * The errors of this package apart from `ArgumentError`. A comparison of `code` narrows the type:
 *
 *     if (error instanceof DynamoLockError && error.code === 'LOCK_LOST') console.log(error.reason);
 */
export type DynamoLockError = LockHeldError | LockLostError | StoreError | TimeLeftError;

/** Base class of these errors. */
export const DynamoLockError: {
  new (message: string, code: string, fields?: object): DynamoLockError;
  readonly prototype: DynamoLockError;
};

/** What all errors of this package have. Messages are for people and may change. */
interface ErrorWithCode extends Error {
  /**
   * Returns name, message, code and the other fields, with the token as text. Omits `output` and `cause`. Called by
   * `JSON.stringify`.
   */
  toJSON(): object;
}

/**
 * Less of the lease is left than is needed: `LEASE_TOO_SHORT` is thrown by `ensure`, and `LOCK_AT_RISK` is the reason of
 * a `riskSignal`.
 */
export interface TimeLeftError extends ErrorWithCode {
  readonly code: 'LEASE_TOO_SHORT' | 'LOCK_AT_RISK';
  /** Time left of the lease, in milliseconds. */
  readonly timeLeftMs: number;
}

export interface LockHeldError extends ErrorWithCode {}
/** Another client holds the lock. */
export class LockHeldError extends Error {
  constructor(message: string, code: string, fields?: object);
  readonly code: 'LOCK_HELD';
  /**
   * The holder. `null` or `undefined` if it is not known: each time it was released, others were quicker, or the call
   * was `reset` or `convert`. After `getLock` at most its `expiresAt` is known.
   */
  readonly holder?: Holder | null;
  /** Time that `acquire` has waited, in milliseconds. */
  readonly waitedMs?: number;
  /** Name of the lock that is held, after `withLocks`. */
  readonly lockName?: string;
}

export interface LockLostError extends ErrorWithCode {}
/** A held lock was lost. */
export class LockLostError extends Error {
  constructor(message: string, code: string, fields?: object);
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

export interface StoreError extends ErrorWithCode {}
/**
 * The store rejected the request or did not respond. After `UNANSWERED` and `THROTTLED` the same call may succeed
 * later.
 */
export class StoreError extends Error {
  constructor(message: string, code: string, fields?: object);
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
