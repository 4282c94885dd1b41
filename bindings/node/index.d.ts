/// <reference types="node" />

/** A client of locks in a DynamoDB table. No request is sent yet. Throws an `ArgumentError` without a table name. */
export function createClient(lockTableName: string, options?: ClientOptions): Client;

/** A client of locks in the store of this URL: `sqlite:///path/locks.db`, `dynamodb://TABLE?region=…&endpoint=…`, or
 *  `memory:`. It is opened by the first call. Throws an `ArgumentError` if it is no such URL. */
export function connect(storeUrl: string, options?: ConnectOptions): Client;

/** What every client may be told. Times are in milliseconds. */
export interface ConnectOptions {
  /** Who asks, for people; host, process and a nonce are added. Default: the program's name. */
  owner?: string;
  /** The lease, 1 s to 1 h, default 20 s: how long others wait after this process has died. */
  leaseMs?: number;
  /** From one renewal to the next, default a quarter of the lease, at most a third. */
  heartbeatMs?: number;
  /** How long past its `expiresOn` a row of the original is respected, default 2 s. */
  legacySkewMs?: number;
  /** Whether the `Date` of answers may tell the end of leases. Default: for AWS's own endpoints. */
  serviceClock?: boolean;
}

export interface ClientOptions extends ConnectOptions {
  /** Configuration in the shape of aws-sdk v2. What it leaves out comes from the environment, as for the aws command. */
  awsConfig?: AwsConfig | AwsConfigObject;
  /** Your own DynamoDB object in place of `awsConfig`; heartbeats then need your event loop. */
  db?: DynamoDb | DynamoDbClient;
  /** `require('@aws-sdk/client-dynamodb')`, where `db` is a `DynamoDBClient` and that package is not found. */
  commands?: object;
  /** The name of the table's partition key, where it is not `name`. */
  partitionKey?: string;
  /** How long one request may take before it counts as unanswered, default 5 s. */
  timeoutMs?: number;
}

export interface AwsConfig {
  accessKeyId?: string;
  secretAccessKey?: string;
  sessionToken?: string;
  region?: string;
  endpoint?: string | object;
  /** Keys, an `AWS.Credentials` of SDK v2, or a provider function of SDK v3. A provider needs your event loop whenever what it
   *  gave has expired; until it answers, nothing is renewed. */
  credentials?: object | (() => Promise<object>) | null;
  /** An `AWS.CredentialProviderChain`, asked where there are neither keys nor `credentials`. */
  credentialProvider?: object | null;
  /** What is for DynamoDB alone; it comes before the rest. */
  dynamodb?: AwsConfig;
  /** `timeout` and `connectTimeout` count; connections are the library's own. */
  httpOptions?: { timeout?: number; connectTimeout?: number; [key: string]: unknown };
  sslEnabled?: boolean;
  useFipsEndpoint?: boolean;
  useDualstackEndpoint?: boolean;
  /** Without effect: requests are repeated as the protocol allows. */
  maxRetries?: number;
  /** Without effect: there is one. */
  apiVersion?: string;
  /** Has no effect, and warns once. */
  [key: string]: unknown;
}

/** An `AWS.Config` of SDK v2. */
export interface AwsConfigObject {
  getCredentials(callback: (error: any) => void): void;
}

/** `AWS.DynamoDB` of SDK v2, `DynamoDB` of SDK v3, or what stands in for them. `getLock` needs these two calls only. */
export interface DynamoDb {
  getItem(params: any, callback: (error: any, data?: any) => void): unknown;
  putItem(params: any, callback: (error: any, data?: any) => void): unknown;
}

/** `DynamoDBClient` of SDK v3. */
export interface DynamoDbClient {
  send(command: any): Promise<any>;
}

export interface Client {
  /** A handle to the lock of this name; nothing happens yet. Throws an `ArgumentError` if it cannot be one. */
  lock(name: string): Lock;

  /** Acquires, works, releases. What `work` throws is thrown, with `releaseError` on it if the release failed too; after
   *  a loss or a failed release it rejects with that, and the work's result is its `output`. */
  withLock<T>(name: string, options: AcquireOptions | undefined, work: (lock: HeldLock) => T | Promise<T>): Promise<T>;
  withLock<T>(name: string, work: (lock: HeldLock) => T | Promise<T>): Promise<T>;

  /** All locks of the store, in any order, page by page. */
  list(): AsyncGenerator<Listed, void, undefined>;

  /** Waits, at most one lease, for what goes on in the background. Held locks stay held, and the client of use. */
  close(): Promise<void>;

  /** Takes a lock for so long, as npm dynamo-lock 0.1.3 does: `callback(error)` with a text, or `callback(null, 'SUCCESS')`. */
  getLock(lockName: string, lockTimeoutInMillis: number, callback: LegacyCallback): void;
  getLock(lockName: string, lockTimeoutInMillis: number): Promise<'SUCCESS'>;

  /** Makes the table, with one read and one write unit: `callback('TABLE_EXISTS')` if it is there. */
  createLockTable(callback: LegacyCallback): void;
  createLockTable(): Promise<'SUCCESS'>;

  /** Deletes the table with all its locks, and waits until it is gone. */
  deleteLockTable(callback: LegacyCallback): void;
  deleteLockTable(): Promise<'SUCCESS'>;
}

export type LegacyCallback = (error: string | null, success?: 'SUCCESS' | null) => void;

export interface TryOptions {
  /** Gives up when it is aborted, with its reason, and leaves no lock behind. */
  signal?: AbortSignal;
  /** Another lease than the client's. */
  leaseMs?: number;
  /** How long it may be held at most, 1 s or more, however well renewals go. */
  maxHoldMs?: number;
  /** A payload for the row, at most 4 KiB; it stays until it is replaced. */
  data?: string;
}

export interface AcquireOptions extends TryOptions {
  /** How long to wait for others, default for ever. */
  waitMs?: number;
}

/** One named lock: a handle. */
export interface Lock {
  readonly name: string;

  /** Waits until the lock is ours. Rejects with a `LockHeldError` after `waitMs`. */
  acquire(options?: AcquireOptions): Promise<HeldLock>;

  /** The lock if it can be had now, else null. */
  tryAcquire(options?: TryOptions): Promise<HeldLock | null>;

  /** Takes the lock for exactly so long, 1 s to 30 days: nothing renews or releases it, and it outlives the process. Gives
   *  its fencing token, or rejects with a `LockHeldError`. */
  hold(ms: number): Promise<bigint>;

  /** What can be known of the lock from outside. */
  inspect(): Promise<Inspection>;

  /** Takes the reign with this token away from its holder; others follow when its lease is over. */
  revoke(token: bigint | number): Promise<void>;
}

/** A held lock. The library renews it until it is released, also while your event loop is busy, if neither a `db` nor a provider
 *  of credentials of yours is asked. */
export interface HeldLock {
  readonly name: string;
  /** The fencing token: larger than that of every earlier holder. */
  readonly token: bigint;
  /** Aborted when the lock is lost, with a `LockLostError` that says why. */
  readonly signal: AbortSignal;
  /** How long the lock may be believed in if no renewal lands any more; 0 once it is lost. */
  readonly timeLeftMs: number;

  /** Whether the lock may be believed in, computed now from this host's clocks. */
  isLive(): boolean;

  /** Gives the lock up. Rejects with a `LockLostError` if it was lost before, and with a `StoreError` if no answer came until
   *  its lease was over. Once: later calls say the same. */
  release(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;

  /** What goes under `ConditionCheck` in your own TransactWriteItems: the writes beside it take effect only if this reign
   *  still holds the lock. */
  conditionCheck(): ConditionCheck;
}

/** As SDK v2 and v3 have it. */
export interface ConditionCheck {
  TableName: string;
  Key: Record<string, { S: string }>;
  ConditionExpression: string;
  ExpressionAttributeNames: Record<string, string>;
  ExpressionAttributeValues: Record<string, { S: string } | { N: string }>;
}

/** Who holds a lock, as far as its row says: somebody else's words. */
export interface Holder {
  owner: string | null;
  token: bigint | null;
  since: Date | null;
  leaseMs: number | null;
  data: string | null;
}

/** Never a bare yes or no: a holder may have gone, and only the service's clock tells that a lease is surely over. */
export type Inspection =
  | { state: 'free'; token: bigint | null; data: string | null }
  | {
      state: 'held';
      by: Holder;
      token: bigint | null;
      since: Date | null;
      /** If the holder is never heard of again, others may follow after a time from now within these. */
      mayEndMs: { earliest: number; latest: number };
    }
  | { state: 'surelyOver'; by: Holder; token: bigint | null };

export type Listed = { name: string } & (Inspection | { state: 'unreadable'; error: DynamoLockError });

/** The base of errors with a `code` to act on. */
export class DynamoLockError extends Error {
  constructor(message: string, code: string, fields?: object);
  readonly code: string;
}

/** Somebody else holds the lock; `code` is `LOCK_HELD`. */
export class LockHeldError extends DynamoLockError {
  /** Who, if that is known. */
  readonly holder?: Holder | null;
  /** Until when, as far as its row says. */
  readonly until?: Date | null;
  /** How long `acquire` waited. */
  readonly waitedMs?: number;
}

/** A lock that was held is not to be trusted any more; `code` is `LOCK_LOST`. */
export class LockLostError extends DynamoLockError {
  readonly reason: 'expired' | 'takenOver' | 'revoked' | 'rowGone' | 'maxHold' | 'suspended' | 'other';
  /** The token that it had. */
  readonly token: bigint;
  /** What the work of `withLock` gave. */
  readonly output?: unknown;
}

export type StoreErrorCode =
  | 'UNANSWERED'
  | 'THROTTLED'
  | 'ACCESS_DENIED'
  | 'MISCONFIGURED'
  | 'REFUSED'
  | 'BAD_ROW'
  | 'TABLE_EXISTS'
  | 'REIGN_ENDED'
  | 'RELEASED'
  | 'NOT_DYNAMODB';

/** The store said no, or nothing. After `UNANSWERED` and `THROTTLED` the same call may succeed later. */
export class StoreError extends DynamoLockError {
  readonly code: StoreErrorCode;
  /** What the work of `withLock` gave, if only the release failed. */
  readonly output?: unknown;
}

/** An argument cannot be; the message says what can. */
export class ArgumentError extends TypeError {
  constructor(message: string);
  readonly code: 'INVALID_ARGUMENT';
}
