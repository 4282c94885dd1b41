import type { AcquireOptions, Held, HeldLock, HeldOption, Inspection, TryOptions } from '../index';

/** Options of `tryAcquire`, `tryRead` and `tryWrite`. A row that can have several holders has no payload. */
export type SharedTryOptions = Omit<TryOptions, 'data'> & HeldOption;

/** Options of `acquire`, `read` and `write`, and of the calls with a function. */
export type SharedAcquireOptions = Omit<AcquireOptions, 'data'>;

/** Handle of a semaphore. There is no order among waiters. */
export interface Semaphore extends SharedHandle {
  /** Maximum number of holders. */
  readonly slots: number;

  /**
   * Acquires a permit, and waits while all slots are taken. Rejects like `Lock.acquire`, and with a `StoreError` with
   * the code `BAD_ROW` if the row of this name is not one of a semaphore.
   */
  acquire(options?: SharedAcquireOptions): Promise<Permit>;

  /** Acquires a permit if a slot is free, else resolves to `null`. Rejects like `acquire`. */
  tryAcquire(options?: SharedTryOptions): Promise<Permit | null>;

  /** Acquires a permit, calls `work`, and releases the permit. Errors are those of `Client.withLock`. */
  withPermit<T>(options: SharedAcquireOptions | undefined, work: (permit: Permit) => T | Promise<T>): Promise<T>;
  withPermit<T>(work: (permit: Permit) => T | Promise<T>): Promise<T>;
}

/**
 * A held slot of a semaphore.
 *
 * It has no fencing token, because a semaphore orders nothing. Protect the resource by `conditionCheck`, or call
 * `isValid` immediately before each side effect.
 */
export interface Permit extends Held {
  /** Returns name and lease ID. Called by `JSON.stringify`. */
  toJSON(): { name: string; leaseId: string };
}

/**
 * Handle of a read/write lock: several readers hold it at the same time, at most 64, or one writer alone.
 *
 * A writer that waits bars further readers. A reader cannot become a writer, because two that both want it would wait
 * for each other for ever: release it, and acquire the other.
 */
export interface RwLock extends SharedHandle {
  /**
   * Acquires the lock beside other readers, and waits while a writer holds it or waits.
   *
   * Do not call it while the same task reads under this name: once a writer waits, the inner call waits for the writer,
   * and the writer for the outer reader. Rejects like `Lock.acquire`, and with a `StoreError` with the code `BAD_ROW` if
   * the row of this name is not one of a read/write lock.
   */
  read(options?: SharedAcquireOptions): Promise<HeldLock>;

  /** Acquires the lock alone, and waits until others have released it. Further readers wait. Rejects like `read`. */
  write(options?: SharedAcquireOptions): Promise<HeldLock>;

  /** Acquires the lock like `read`, or resolves to `null` if a writer holds it or waits. Rejects like `read`. */
  tryRead(options?: SharedTryOptions): Promise<HeldLock | null>;

  /** Acquires the lock like `write` if it is free, else resolves to `null`, and bars no reader. Rejects like `read`. */
  tryWrite(options?: SharedTryOptions): Promise<HeldLock | null>;

  /** Acquires the lock like `read`, calls `work`, and releases it. Errors are those of `Client.withLock`. */
  withRead<T>(options: SharedAcquireOptions | undefined, work: (lock: HeldLock) => T | Promise<T>): Promise<T>;
  withRead<T>(work: (lock: HeldLock) => T | Promise<T>): Promise<T>;

  /** Acquires the lock like `write`, calls `work`, and releases it. Errors are those of `Client.withLock`. */
  withWrite<T>(options: SharedAcquireOptions | undefined, work: (lock: HeldLock) => T | Promise<T>): Promise<T>;
  withWrite<T>(work: (lock: HeldLock) => T | Promise<T>): Promise<T>;

  /**
   * Makes a free row of another kind one of this read/write lock. Tokens continue to increase, and the payload of a
   * plain lock is removed. `Lock.reset` makes it a plain lock again.
   *
   * Rejects with a `LockHeldError` if the row is held, or its holder has crashed, and with a `StoreError`.
   */
  convert(): Promise<void>;
}

/** Common part of the handles of semaphores and read/write locks. */
export interface SharedHandle {
  readonly name: string;

  /** Reads the state of the row, of whatever kind it is. Rejects like `Lock.inspect`. */
  inspect(): Promise<Inspection>;

  /**
   * Revokes the holder with this lease ID, also a writer that waits: it can no longer renew its lease, and others wait
   * until that has expired or the holder has left. A writer that waits begins its wait again.
   *
   * With `force`, the holder is removed at once. **Unsafe if it may still be working**: it continues until its next
   * renewal fails, and others may hold the lock during that time.
   *
   * Rejects with a `StoreError` with the code `LEASE_ENDED` if there is no such holder.
   */
  revokeHolder(id: string, options?: RevokeOptions): Promise<void>;
}

/** Options of `revokeHolder`. */
export interface RevokeOptions {
  /** Whether the holder is removed at once. Default: `false`. */
  force?: boolean;
}

/** State of a semaphore or a read/write lock at the time of the read. */
export interface SharedInspection {
  /** `held` while a lease of a holder has not expired. */
  state: 'free' | 'held';
  kind: 'semaphore' | 'rwlock';
  /** Fencing token of the row. Writers increase it. */
  token: bigint;
  /** Maximum number of holders in the most recent acquisition, 64 for a read/write lock. */
  slots: number | null;
  /** Holders, also those whose leases have expired, and a writer that waits. */
  holders: SharedHolder[];
}

/**
 * One holder of a semaphore or a read/write lock. Fields that the row does not have, or that are malformed, are `null`.
 *
 * Another client wrote these values, so escape the text before you print it on a terminal.
 */
export interface SharedHolder {
  /** Lease ID, by which `revokeHolder` names this holder: `leaseId` of its permit or held lock. */
  id: string;
  /** Whether it holds the lock beside others, holds it alone, or waits to hold it alone. */
  role: 'shared' | 'exclusive' | 'waiting';
  owner: string | null;
  /** Time of the acquisition by the holder's wall clock. */
  acquiredAt: Date | null;
  /** End of the lease, known only with a service clock. Only for display, as for `Holder`. */
  expiresAt: Date | null;
  leaseMs: number | null;
  /** Whether it was revoked. It then stays until it leaves or its lease has expired. */
  revoked: boolean;
  /** Whether its lease has expired. It then does not keep others from the lock. */
  expired: boolean;
  /** Time from now in which its lease expires, if it has crashed. `null` if it has expired. */
  mayEndMs: { earliest: number; latest: number } | null;
}
