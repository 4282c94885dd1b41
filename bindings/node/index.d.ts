/// <reference types="node" />

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

/** Options of every client. Times are in milliseconds. */
export interface ConnectOptions {
  /**
   * Label that is stored with each lock and shown to others. Host, process ID and a nonce are appended. Default: the
   * name of the program.
   */
  owner?: string;
  /**
   * Lease of the locks, 1 s to 1 h: if this process crashes, other clients wait this long. Default: 20,000.
   */
  leaseMs?: number;
  /**
   * Interval between renewals, 10 ms to a third of the lease, at most 5 min. Default: a quarter of the lease.
   */
  heartbeatMs?: number;
  /**
   * Time for which a lock of npm dynamo-lock is still respected after its `expiresOn`, because wall clocks differ.
   * Default: 2,000.
   */
  legacySkewMs?: number;
  /**
   * Whether the `Date` header of responses is used to find expired leases. The clocks of the servers must agree within
   * 2 s. Default: `true` for endpoints of AWS, else `false`. With `db`: `false`.
   */
  serviceClock?: boolean;
}

/** Options of a client of a DynamoDB table. */
export interface ClientOptions extends ConnectOptions {
  /**
   * Configuration in the shape of aws-sdk v2. Missing settings come from the environment, in the same order as for the
   * `aws` command.
   */
  awsConfig?: AwsConfig | AwsConfigObject | null;
  /**
   * DynamoDB object that sends all requests, instead of `awsConfig`. Renewals then need the event loop: if it is
   * blocked for a lease, the lock is lost.
   */
  db?: DynamoDb | DynamoDbClient | null;
  /**
   * The module `@aws-sdk/client-dynamodb`. Only needed if `db` is a `DynamoDBClient` and that module cannot be resolved
   * from the working directory or the main module.
   */
  commands?: object;
  /** Name of the partition key of the table, not that of another attribute of a lock. Default: `name`. */
  partitionKey?: string;
  /**
   * Time limit of one request; a slower request counts as unanswered. Default: 5,000, and at most a quarter of the
   * lease.
   */
  timeoutMs?: number;
}

/** Configuration in the shape of aws-sdk v2. Unknown keys have no effect and cause a process warning. */
export interface AwsConfig {
  accessKeyId?: string;
  secretAccessKey?: string;
  sessionToken?: string;
  /** Region of the table. */
  region?: string;
  /** URL of the DynamoDB endpoint, or an `AWS.Endpoint`. */
  endpoint?: string | object;
  /**
   * Keys, an `AWS.Credentials` of SDK v2, or a provider function of SDK v3. Used if there are no keys in this object.
   * A provider needs the event loop whenever the credentials have expired; no lock is renewed until it responds.
   */
  credentials?: object | (() => Promise<object>) | null;
  /** An `AWS.CredentialProviderChain`. Used if there are neither keys nor `credentials`. */
  credentialProvider?: object | null;
  /** Settings that take precedence over the others, as in SDK v2. */
  dynamodb?: AwsConfig;
  /**
   * `timeout` limits a request, at most 5,000, and `connectTimeout` a connection attempt, both in milliseconds. Other
   * keys have no effect, because the library manages its own connections.
   */
  httpOptions?: { timeout?: number; connectTimeout?: number; [key: string]: unknown };
  /** `false` selects HTTP for an `endpoint` without a scheme. Default: `true`. */
  sslEnabled?: boolean;
  useFipsEndpoint?: boolean;
  useDualstackEndpoint?: boolean;
  /** Accepted without effect, because the library retries requests by its own rules. */
  maxRetries?: number;
  /** Accepted without effect, because DynamoDB has one API version. */
  apiVersion?: string;
  /** Unknown keys have no effect. */
  [key: string]: unknown;
}

/** An `AWS.Config` of SDK v2. */
export interface AwsConfigObject {
  getCredentials(callback: (error: any) => void): void;
}

/**
 * `AWS.DynamoDB` of SDK v2, `DynamoDB` of SDK v3, or your own object with these methods.
 *
 * A method takes a callback, or returns a promise if it declares one parameter. `getLock` needs only these two methods.
 */
export interface DynamoDb {
  getItem(params: any, callback: (error: any, data?: any) => void): unknown;
  putItem(params: any, callback: (error: any, data?: any) => void): unknown;
}

/** `DynamoDBClient` of SDK v3. */
export interface DynamoDbClient {
  send(command: any): Promise<any>;
}

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
   * Acquires the lock, calls `work`, releases the lock, and resolves to the result of `work`.
   *
   * If `work` fails, the promise rejects with its error; if the release has failed as well, its error is the property
   * `releaseError`. If only the release fails, for example because the lock was lost, the promise rejects with that
   * error and its property `output` is the result of `work`. `work` is not interrupted when the lock is lost: use
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
   * Ends all acquisitions that are waiting, with a `StoreError`, and waits for background work, for example the release
   * of a lock whose `acquire` was aborted, at most one lease. Held locks stay held, and the client remains usable for
   * acquisitions that begin later.
   */
  close(): Promise<void>;

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

/** Callback of the calls of npm dynamo-lock. Called exactly once, after the call has returned. */
export type LegacyCallback = (error: string | null, success?: 'SUCCESS' | null) => void;

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
  tryAcquire(options?: TryOptions): Promise<HeldLock | null>;

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
   * Rejects with a `StoreError` with the code `LEASE_ENDED` if this lease has ended before.
   */
  revoke(token: bigint | number): Promise<void>;

  /**
   * Revokes the lease with this token and frees the lock at once.
   *
   * **Unsafe if the holder may still be working**: it continues until its next renewal fails, and another client may
   * hold the lock during that time. Rejects like `revoke`.
   */
  forceRevoke(token: bigint | number): Promise<void>;
}

/**
 * A held lock.
 *
 * The library renews it until it is released, also while the event loop is busy, unless the requests need JavaScript
 * (`db`, or a credentials provider whose credentials have expired). Release it explicitly: an object without
 * references is not collected while it holds a lock.
 */
export interface HeldLock {
  readonly name: string;
  /** Fencing token. It is greater than the token of every earlier holder of this lock. */
  readonly token: bigint;
  /** Signal that is aborted when the lock is lost. Its reason is a `LockLostError`. */
  readonly signal: AbortSignal;
  /** Remaining validity in milliseconds if no further renewal succeeds. 0 once the lock is lost or released. */
  readonly timeLeftMs: number;

  /**
   * Returns whether the lease is still valid, computed from this host's clocks when called. Sends no request. Correct
   * also after a pause or suspension of the process. Once `false`, it never becomes `true` again.
   */
  isValid(): boolean;

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

  /** Returns the name, and the token as text, because JSON has no bigint. Called by `JSON.stringify`. */
  toJSON(): { name: string; token: string };
}

/** Several locks that are held together, in the work of `withLocks`. The loss of one is the loss of all. */
export interface HeldLocks {
  /** Fencing token of each lock, by name. It is greater than the token of every earlier holder of that lock. */
  readonly tokens: ReadonlyMap<string, bigint>;
  /** Signal that is aborted when one of the locks is lost. Its reason is a `LockLostError`. */
  readonly signal: AbortSignal;
  /** Milliseconds until the first lease ends if no further renewal succeeds. 0 once a lock is lost or released. */
  readonly timeLeftMs: number;

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
}

/** State of a lock at the time of the read. */
export type Inspection =
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
  | {
      state: 'done';
      token: bigint;
      by: string | null;
      startedAt: Date | null;
      finishedAt: Date | null;
      until: Date | null;
      data: string | null;
    };

/** A lock in a listing. */
export type Listed = { name: string } & (Inspection | { state: 'unreadable'; error: DynamoLockError });

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

/** Another client holds the lock; `code` is `LOCK_HELD`. */
export class LockHeldError extends DynamoLockError {
  /** The holder, if it is known. After `getLock` only its `expiresAt` is known. */
  readonly holder?: Holder | null;
  /** Time that `acquire` has waited, in milliseconds. */
  readonly waitedMs?: number;
  /** Name of the lock that is held, after `withLocks`. */
  readonly lockName?: string;
}

/** A held lock was lost; `code` is `LOCK_LOST`. */
export class LockLostError extends DynamoLockError {
  readonly reason: 'expired' | 'takenOver' | 'revoked' | 'rowGone' | 'maxHold' | 'suspended' | 'renewalStopped' | 'other';
  /** Token of the lost lock. */
  readonly token: bigint;
  /** Result of the work of `withLock` and `withLocks`. */
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
  /** Result of the work of `withLock` and `withLocks`, if only the release failed. */
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
