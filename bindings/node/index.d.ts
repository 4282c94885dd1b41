/// <reference lib="es2020" />
/// <reference lib="esnext.disposable" />
import type { DynamoLockError, StoreError } from './lib/errors';
import type { LockEvents } from './lib/events';
import type { ClientOptions, ConnectOptions, DynamoDb, DynamoDbClient } from './lib/settings';
import type { RwLock, Semaphore, SharedInspection } from './lib/shared';

export * from './lib/errors';
export * from './lib/events';
export * from './lib/settings';
export * from './lib/shared';

/**
 * Creates a client of the locks in a DynamoDB table. Sends no request.
 *
 * Throws an `ArgumentError` if the table name is missing or an option is invalid.
 */
export function createClient(lockTableName: string, options?: ClientOptions): Client;

/**
 * Creates a client of the locks in the store at a URL: `sqlite:///path/locks.db`,
 * `dynamodb://TABLE?region=…&endpoint=…`, or `memory:` for locks within this client. The first call opens the store.
 *
 * Throws an `ArgumentError` if the URL or an option is invalid.
 */
export function connect(storeUrl: string, options?: ConnectOptions): Client;

/** A client of the locks in one store. Created by `createClient` and `connect`. */
export interface Client {
  /** The option `db`. `undefined` without it, because the addon then sends the requests itself. */
  readonly db: DynamoDb | DynamoDbClient | undefined;
  /** Name of the table. `undefined` after `connect`. */
  readonly lockTableName: string | undefined;

  /**
   * Returns a handle of the lock with this name. Sends no request.
   *
   * Throws an `ArgumentError` unless the name has 1 to 2,048 bytes and no control characters.
   */
  lock(name: string): Lock;

  /**
   * Returns a handle of the semaphore with this name, of which at most `slots` holders have a permit at the same time,
   * 1 to 64. Sends no request.
   *
   * Clients may use different numbers: each acquisition respects its own. Throws an `ArgumentError` if the name or the
   * number is invalid.
   */
  semaphore(name: string, slots: number): Semaphore;

  /** Returns a handle of the read/write lock with this name. Sends no request. Throws like `lock`. */
  rwLock(name: string): RwLock;

  /**
   * Acquires the lock, calls `work`, releases the lock, and resolves to the result of `work`.
   *
   * If `work` fails, the promise rejects with its error. If the lock was lost as well, or its release has failed, that
   * error is the property `releaseError`, unless it is the error of `work` itself. If only the release fails, for
   * example because the lock was lost, the promise rejects with that error and its property `output` is the result of
   * `work`. `work` is not interrupted when the lock is lost: use
   * `lock.signal`. The process stays alive until `work` has ended.
   */
  withLock<T>(name: string, options: AcquireOptions | undefined, work: (lock: HeldLock) => T | Promise<T>): Promise<T>;
  withLock<T>(name: string, work: (lock: HeldLock) => T | Promise<T>): Promise<T>;

  /**
   * Acquires all locks or none, calls `work`, releases the locks, and resolves to the result of `work`. `names` has 1
   * to 32 different names.
   *
   * The locks are acquired one after the other in the order of their names, so that calls with overlapping names do not
   * wait for each other for ever. While one is awaited, the earlier ones are held. `waitMs` counts for all together.
   *
   * If one of the locks is lost, `locks.signal` is aborted, and the others are released at once. Errors are those of
   * `withLock`. A `LockHeldError` has the property `lockName`, and the error of a release the property `unreleased`.
   */
  withLocks<T>(
    names: readonly string[],
    options: AcquireOptions | undefined,
    work: (locks: HeldLocks) => T | Promise<T>,
  ): Promise<T>;
  withLocks<T>(names: readonly string[], work: (locks: HeldLocks) => T | Promise<T>): Promise<T>;

  /**
   * Lists all locks of the store, page by page and in no particular order. The loop rejects with a `StoreError` if the
   * store cannot be read.
   */
  list(): AsyncGenerator<Listed, void, undefined>;

  /**
   * Calls `listener` at each event of this type, for locks of this client: for example `lost`, `waiting` or `acquired`.
   * Returns the client.
   *
   * The same listener is called once per event. There is no event `error`. A listener does not keep the process alive,
   * and an error that it throws is an uncaught exception. The channels `dynamo-lock:lost` and so on of
   * `node:diagnostics_channel` receive the same events of all clients.
   */
  on<Type extends keyof LockEvents>(type: Type, listener: (event: LockEvents[Type]) => void): this;
  /** Ends the calls of `listener` for events of this type. Returns the client. */
  off<Type extends keyof LockEvents>(type: Type, listener: (event: LockEvents[Type]) => void): this;

  /**
   * Ends all acquisitions that are waiting, with a `StoreError`, and waits for background work, for example the release
   * of a lock whose `acquire` was aborted, at most one lease. Held locks stay held, and the client remains usable for
   * acquisitions that begin later.
   */
  close(): Promise<void>;

  /**
   * Creates the table of this client, on demand unless units are given, enables the deletion of idle rows, and waits
   * until it is active, at most two minutes.
   *
   * Rejects with a `StoreError`: `TABLE_EXISTS` if there is a table with this name, `NOT_DYNAMODB` for another store.
   */
  createTable(options?: TableOptions): Promise<void>;

  /**
   * Checks all properties of the table on which locks depend. Sends only reads. Resolves to the problems, an empty array
   * if there is none. Rejects with a `StoreError`.
   */
  checkTable(): Promise<TableProblem[]>;

  /**
   * Acquires a lock for a time, like npm dynamo-lock 0.1.3: there is no renewal, no release and no fencing, and the
   * expiry depends on wall clocks. `Lock.hold` is the safe equivalent.
   *
   * Calls `callback(null, 'SUCCESS')`, or `callback(error)` with the string `Lock expires on …` or `ERROR`. Without a
   * callback, the promise rejects with a `LockHeldError` or a `StoreError`.
   */
  getLock(lockName: string, lockTimeoutInMillis: number, callback: LegacyCallback): void;
  getLock(lockName: string, lockTimeoutInMillis: number): Promise<'SUCCESS'>;

  /**
   * Creates the table with one read and one write unit, and waits until it is active, at most two minutes.
   *
   * Calls `callback(null, 'SUCCESS')`, `callback('TABLE_EXISTS', null)` or `callback('ERROR', null)`. Without a
   * callback, the promise rejects with a `StoreError`.
   */
  createLockTable(callback: LegacyCallback): void;
  createLockTable(): Promise<'SUCCESS'>;

  /**
   * Deletes the table with all its locks, and waits until it is gone, at most two minutes.
   *
   * Calls `callback(null, 'SUCCESS')` or `callback('ERROR', null)`. Without a callback, the promise rejects with a
   * `StoreError`.
   */
  deleteLockTable(callback: LegacyCallback): void;
  deleteLockTable(): Promise<'SUCCESS'>;
}

/** The global type of Node's or the browser's declarations, or a part of it in a project without either. */
type AbortSignal = typeof globalThis extends { AbortSignal: { prototype: infer T } }
  ? T
  : { readonly aborted: boolean; readonly reason: unknown };

/** Callback of the calls of npm dynamo-lock. Called exactly once, after the call has returned. */
export type LegacyCallback = (error: string | null, success?: 'SUCCESS' | null) => void;

/** Options of `createTable`. */
export interface TableOptions {
  /** Provisioned capacity, with `writeUnits`. Default: on-demand capacity. */
  readUnits?: number;
  /** Provisioned capacity, with `readUnits`. */
  writeUnits?: number;
  /** Whether DynamoDB deletes the rows of idle locks by the attribute `ttl`. Default: true. */
  ttl?: boolean;
  /** Whether the table cannot be deleted until this is turned off. Default: false. */
  deletionProtection?: boolean;
  /** Tags of the table. */
  tags?: Record<string, string>;
}

/** A problem of a table. */
export interface TableProblem {
  /** One line with the fix. */
  message: string;
  /** Whether locks work nevertheless. */
  warning: boolean;
}

/** Options of the calls that do not wait: `tryAcquire`, `tryRead` and `tryWrite`. */
export interface HeldOption {
  /** Called with a holder if the lock is held, before the promise resolves to `null`. */
  onHeld?: (holder: Holder) => void;
}

/** Options of `tryAcquire`. Times are in milliseconds. */
export interface TryOptions {
  /** Aborts the call: the promise rejects with the reason of the signal, and no lock stays behind. */
  signal?: AbortSignal;
  /** Lease of this lock, 1 s to 1 h. Default: the lease of the client. */
  leaseMs?: number;
  /**
   * Maximum time to hold the lock, 1 s or more. It is lost after this time, even if renewals succeed. Default: no
   * limit.
   */
  maxHoldMs?: number;
  /** Payload to store in the row, at most 4 KiB. It stays there after the release, until it is replaced. */
  data?: string;
}

/** Options of `acquire`, `withLock` and `withLocks`. */
export interface AcquireOptions extends TryOptions {
  /** Maximum time to wait while other clients hold the lock. Default: no limit. */
  waitMs?: number;
}

/** Options of `once`. */
export interface OnceOptions extends AcquireOptions {
  /**
   * Time for which the success counts, from the start of the run, 1 s to 3,650 days. The work may run again after it.
   * Default: until the success is reset.
   */
  forMs?: number;
}

/** Result of `once`. `output` is the result of the work, and `success` the earlier success for which it was skipped. */
export type OnceResult<T> =
  | { ran: true; output: T; success?: undefined }
  | { ran: false; output?: undefined; success: Success };

/**
 * Recorded success of work. Fields that the row does not have, or that are malformed, are `null`.
 *
 * Another client wrote these values, so escape the text before you print it on a terminal.
 */
export interface Success {
  /** Fencing token of the successful run. */
  token: bigint;
  by: string | null;
  /** Start of the successful run by its host's wall clock. */
  startedAt: Date | null;
  finishedAt: Date | null;
  /** Time after which the work may run again. `null`: only after a reset. */
  until: Date | null;
}

/** Options of `lead`. */
export interface LeadOptions extends TryOptions {
  /** Called each time the lock could not be acquired again after a loss. Another attempt follows. */
  onRetry?: (error: StoreError) => void;
}

/** Handle of a named lock. */
export interface Lock {
  readonly name: string;

  /**
   * Acquires the lock, and waits while another client holds it.
   *
   * Rejects with a `LockHeldError` after `waitMs`, with a `StoreError` if the store rejects the request or does not
   * respond for one lease, or with the reason of `signal`.
   */
  acquire(options?: AcquireOptions): Promise<HeldLock>;

  /** Acquires the lock if it is free or expired, else resolves to `null`. Rejects like `acquire`. */
  tryAcquire(options?: TryOptions & HeldOption): Promise<HeldLock | null>;

  /**
   * Acquires the lock, calls `work`, releases the lock, and resolves to the result of `work`. If the lock is lost
   * before `work` has ended, ignores its result, and does so again in a new term, after a random pause of at most 1 s.
   *
   * The signal that `work` receives is aborted at the loss, and with `options.signal`. `work` must end then: no new
   * term begins before it has. After an abort of `options.signal` the promise settles like `work`, or outside of a term
   * with the reason of the signal.
   *
   * Rejects with the error of `work` unless the lock is lost, with the error of the first acquisition, and after a loss
   * with errors other than `UNANSWERED` and `THROTTLED`, which `onRetry` receives. If only the release fails, it
   * rejects like `withLock`.
   */
  lead<T>(work: (term: HeldLock, signal: AbortSignal) => T | Promise<T>, options?: LeadOptions): Promise<T>;

  /**
   * Calls `work` until it has succeeded once: here, or before in any process. Its success is recorded in place of the
   * release. After a recorded success `work` is not called.
   *
   * Waits while another client runs the work, then skips it after a success, or calls it after a failure or a crash.
   * After `waitMs` the promise rejects with a `LockHeldError`.
   *
   * Rejects with the error of `work`, after which the work may run again. If `work` has succeeded and its success could
   * not be recorded, rejects with a `StoreError` that has the code `NOT_RECORDED` and the property `output`; the work
   * may run again then. `work` is not interrupted when the lock is lost: use `lock.signal`. Other errors are those of
   * `acquire`.
   */
  once<T>(work: (lock: HeldLock) => T | Promise<T>, options?: OnceOptions): Promise<OnceResult<T>>;

  /**
   * Forgets the success with this token, so that its work may run again.
   *
   * Rejects with a `StoreError` with the code `NOT_DONE` if there is no such success.
   */
  resetSuccess(token: bigint | number): Promise<void>;

  /**
   * Holds the lock for exactly `ms`, 1 s to 30 days, and resolves to its fencing token. The hold is neither renewed nor
   * released, and continues when the process ends.
   *
   * Rejects with a `LockHeldError` if another client holds the lock, because it does not wait, and with a
   * `LockLostError` if the store did not confirm the whole time. In that case the hold is released in the background.
   */
  hold(ms: number): Promise<bigint>;

  /**
   * Reads the state of the lock. Rejects with a `StoreError`, which has the code `BAD_ROW` if the row is not a lock.
   */
  inspect(): Promise<Inspection>;

  /**
   * Revokes the lease with this token: its holder can no longer renew it, and other clients acquire the lock when the
   * lease has expired. Two clients never hold the lock at the same time.
   *
   * The token in the row is then one greater. Rejects with a `StoreError` with the code `LEASE_ENDED` if this lease has
   * ended before.
   */
  revoke(token: bigint | number): Promise<void>;

  /**
   * Revokes the lease with this token and frees the lock at once.
   *
   * **Unsafe if the holder may still be working**: it continues until its next renewal fails, and another client may
   * hold the lock during that time. Rejects like `revoke`, also with the old token after `revoke`: inspect again before.
   */
  forceRevoke(token: bigint | number): Promise<void>;

  /**
   * Makes a free row of any kind one of a plain lock, for a name that was used as a semaphore or a read/write lock by
   * mistake. Tokens continue to increase.
   *
   * Rejects with a `LockHeldError` if the row is held, or its holder has crashed, and with a `StoreError`.
   */
  reset(): Promise<void>;
}

/**
 * A held lock, or a permit of a semaphore.
 *
 * The library renews it until it is released, also while the event loop is busy, unless the requests need JavaScript
 * (`db`, or a credentials provider whose credentials have expired). Release it explicitly: an object without
 * references is not collected while it holds a lock.
 */
export interface Held {
  readonly name: string;
  /** Random ID of this acquisition, by which `revokeHolder` names the holder of a semaphore or a read/write lock. */
  readonly leaseId: string;
  /** Signal that is aborted when the lock is lost. Its reason is a `LockLostError`. */
  readonly signal: AbortSignal;
  /** Remaining validity in milliseconds if no further renewal succeeds. 0 once the lock is lost or released. */
  readonly timeLeftMs: number;

  /**
   * Calls `atRisk` each time less than `marginMs` of the lease is left because no renewal succeeds, `recovered` when
   * one has succeeded after that. Returns a function that ends the watch, which a loss and the release do too.
   */
  watchRisk(options: RiskOptions): () => void;

  /**
   * Returns a new signal that is aborted at the next warning, with a `DynamoLockError` that has the code
   * `LOCK_AT_RISK` and the property `timeLeftMs`, or at the loss. `marginMs` is that of `watchRisk`.
   */
  riskSignal(marginMs?: number): AbortSignal;

  /**
   * Returns whether the lease is still valid, computed from this host's clocks when called. Sends no request. Correct
   * also after a pause or suspension of the process. Once `false`, it never becomes `true` again.
   */
  isValid(): boolean;

  /**
   * Renews the lock now, and waits for the result. Locks are renewed in the background anyway: use it before work that
   * must not be interrupted.
   *
   * Rejects with a `LockLostError` if the lock is lost before the store has confirmed the renewal, or with a `StoreError`
   * with the code `RELEASED`. A release waits for its end.
   */
  renew(): Promise<void>;

  /**
   * Throws unless the lease is valid for `leastMs` from now, also if no further renewal succeeds. Sends no request.
   *
   * Throws a `DynamoLockError` with the code `LEASE_TOO_SHORT` and the property `timeLeftMs`, a `LockLostError`, or a
   * `StoreError` with the code `RELEASED`. After `LEASE_TOO_SHORT` call `renew` and check again.
   */
  ensure(leastMs: number): void;

  /**
   * Releases the lock, and retries until the store responds or the lease has expired.
   *
   * Rejects with a `LockLostError` if the lock was lost before, or with a `StoreError`; after `UNANSWERED` the lease
   * has expired. Later calls return the same promise.
   */
  release(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;

  /**
   * Returns a `ConditionCheck` for your own `TransactWriteItems`. The transaction succeeds only while this lock is
   * held.
   *
   * Throws a `LockLostError` if the lock was lost, or a `StoreError` with the code `RELEASED` or `NOT_DYNAMODB`.
   */
  conditionCheck(): ConditionCheck;

  /** Called by `JSON.stringify`. */
  toJSON(): { name: string };
}

/** A held lock, also that of a reader or writer. */
export interface HeldLock extends Held {
  /**
   * Fencing token. It is greater than the token of every earlier holder of this lock. That of a reader is greater than
   * that of every earlier writer, and equal to that of the readers that hold the lock at the same time.
   */
  readonly token: bigint;

  /**
   * Replaces the payload in the row with a renewal, and waits for the result.
   *
   * Rejects like `renew`, and with an `ArgumentError` if the payload has more than 4 KiB, or for a read/write lock, whose
   * row has no payload.
   */
  updateData(data: string): Promise<void>;

  /** Returns the name, and the token as text, because JSON has no bigint. */
  toJSON(): { name: string; token: string };
}

/** Listeners of `watchRisk`, and its margin in milliseconds. */
export interface RiskOptions {
  /** Receives the time that is left, in milliseconds. */
  atRisk: (timeLeftMs: number) => void;
  recovered?: () => void;
  /** Default: half of the lease. A margin of more than two thirds is also reached while renewals succeed. */
  marginMs?: number;
}

/** Several locks that are held together, in the work of `withLocks`. The loss of one is the loss of all. */
export interface HeldLocks {
  /** Fencing token of each lock, by name. It is greater than the token of every earlier holder of that lock. */
  readonly tokens: ReadonlyMap<string, bigint>;
  /** Signal that is aborted when one of the locks is lost. Its reason is a `LockLostError`. */
  readonly signal: AbortSignal;
  /** Milliseconds until the first lease ends if no further renewal succeeds. 0 once a lock is lost or released. */
  readonly timeLeftMs: number;

  /** Like that of `HeldLock`. The lease that ends first counts. */
  watchRisk(options: RiskOptions): () => void;
  /** Like that of `HeldLock`. The lease that ends first counts. */
  riskSignal(marginMs?: number): AbortSignal;

  /** Renews all locks now. Rejects like that of `HeldLock`. */
  renew(): Promise<void>;
  /** Like that of `HeldLock`. The lease that ends first counts. */
  ensure(leastMs: number): void;

  /**
   * Returns whether all leases are still valid, computed from this host's clocks when called. Sends no request. Once
   * `false`, it never becomes `true` again.
   */
  isValid(): boolean;

  /**
   * Releases all locks, and retries until the store responds or the leases have expired. `withLocks` does it too.
   *
   * Rejects with a `LockLostError` if one of them was lost before, or with a `StoreError`. The property `unreleased`
   * has the names of the locks that were not released. Later calls return the same promise.
   */
  release(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;

  /**
   * Returns a `ConditionCheck` for each lock, sorted by name, for your own `TransactWriteItems`. Throws like
   * `HeldLock.conditionCheck`.
   */
  conditionChecks(): ConditionCheck[];

  /** Returns the tokens as text, because JSON has no bigint. Called by `JSON.stringify`. */
  toJSON(): { tokens: Record<string, string> };
}

/** Condition check of a transaction, for SDK v2 and v3. */
export interface ConditionCheck {
  TableName: string;
  Key: Record<string, { S: string }>;
  ConditionExpression: string;
  ExpressionAttributeNames: Record<string, string>;
  ExpressionAttributeValues: Record<string, { S: string } | { N: string }>;
}

/**
 * Holder of a lock, as described by its row. Fields that the row does not have, or that are malformed, are `null`.
 * `JSON.stringify` converts the token to text, also in an inspection.
 *
 * Another client wrote these values, so escape the text before you print it on a terminal.
 */
export interface Holder {
  owner: string | null;
  /** Fencing token. `null` for a row of npm dynamo-lock. */
  token: bigint | null;
  /** Time of the acquisition by the holder's wall clock. */
  acquiredAt: Date | null;
  leaseMs: number | null;
  /**
   * End of the lease. Only for display: it may be based on a wall clock, so comparing it with a clock does not show
   * whether the lease has expired.
   */
  expiresAt: Date | null;
  data: string | null;
  /**
   * Whether an operator has revoked the acquisition. The holder cannot renew its lease then, but other clients still wait
   * for the end of the lease.
   */
  revoked: boolean;
}

/**
 * Last hold of a lock that has ended, as its row describes it. The times are from the wall clocks of the holder and of
 * the client that ended the hold, so they are only for display. Another client wrote the owner, so escape it before you
 * print it on a terminal.
 */
export interface LastHold {
  owner: string | null;
  /** Time of the acquisition by the holder's wall clock. */
  acquiredAt: Date | null;
  /** Length of the hold. `null` if the time of the acquisition is not known. */
  heldMs: number | null;
  /** `expired`: another acquisition took the lock over. `forced`: an operator revoked the lease and freed the lock. */
  end: 'released' | 'expired' | 'revoked' | 'forced';
  /** Exit code of the command of `run` or `once`, `null` if it is not known. */
  exitCode: number | null;
}

/**
 * State of a lock at the time of the read. That of a semaphore or a read/write lock has a `kind`. Properties that a state
 * does not have are `undefined`.
 */
export type Inspection = OneOf<PlainInspection | SharedInspection>;

/** Gives each member of a union the properties of the others as `undefined`, so that a destructuring can name them all. */
type OneOf<Union, All = Union> = Union extends Union
  ? Union & { [Key in Exclude<KeyOf<All>, keyof Union>]?: undefined }
  : never;
type KeyOf<Union> = Union extends Union ? keyof Union : never;

/**
 * State of a lock that has one holder at a time. `last` is the last hold that has ended, before the present one, `null` if
 * none has since the row exists.
 */
export type PlainInspection = { last: LastHold | null } & PlainState;

type PlainState =
  /** The lock is free. `token` is the last token, and `data` the last payload. */
  | { state: 'free'; token: bigint | null; data: string | null }
  | {
      state: 'held';
      holder: Holder;
      /**
       * If the holder has crashed, other clients acquire the lock after a time between these, in milliseconds from now.
       */
      mayEndMs: { earliest: number; latest: number };
    }
  /** The lease has ended, and no client has acquired the lock since. */
  | { state: 'expired'; holder: Holder }
  /** The work has succeeded, and is skipped until `until`, or until the success is reset. */
  | ({ state: 'done'; data: string | null } & Success);

/** A lock in a listing. */
export type Listed = { name: string } & OneOf<
  PlainInspection | SharedInspection | { state: 'unreadable'; error: DynamoLockError }
>;
