import type { Holder } from '../index';
import type { LockLostError, StoreError } from './errors';

/** Field of all events. `JSON.stringify` writes tokens as text. */
interface LockEvent<Type extends string> {
  readonly type: Type;
  /** Name of the lock. */
  readonly name: string;
}

/** Field of the events of one acquisition. */
interface TokenEvent<Type extends string> extends LockEvent<Type> {
  /** Fencing token of the acquisition. That of a permit orders nothing. */
  readonly token: bigint;
}

/** The events of a client, by their types. Later versions may add types and fields. */
export interface LockEvents {
  /** An acquisition has found the lock held, and begins to wait. At most once per acquisition. */
  waiting: LockEvent<'waiting'> & { readonly holder: Holder };
  /** The wait that `waiting` has announced has ended, also if the acquisition was aborted. */
  waitEnded: LockEvent<'waitEnded'>;
  /** An acquisition has ended without the lock, because others hold it. */
  contended: LockEvent<'contended'> & { readonly holder: Holder | null; readonly waitedMs: number };
  /** An acquisition has ended the expired lease of another holder, which has crashed or could not renew. */
  takenOver: LockEvent<'takenOver'> & { readonly holder: Holder };
  /** A lock was acquired. */
  acquired: TokenEvent<'acquired'> & { readonly waitedMs: number };
  /** The store has confirmed a renewal, `latenessMs` after it was due. Usually that is the time of one request. */
  renewed: TokenEvent<'renewed'> & { readonly latenessMs: number };
  /** A held lock was lost. At most once per acquisition. `lastError` is that of the last renewal, if it failed. */
  lost: TokenEvent<'lost'> & {
    readonly reason: LockLostError['reason'];
    readonly heldMs: number;
    readonly lastError: StoreError | null;
  };
  /** The store has confirmed a release, or the success of `once` was recorded. */
  released: TokenEvent<'released'> & { readonly heldMs: number };
  /** A request failed or was not answered in time. It is usually repeated. */
  requestFailed: LockEvent<'requestFailed'> & { readonly error: StoreError };
}
