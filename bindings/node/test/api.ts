// Uses the whole API that `index.d.ts` declares. `types.test.js` compiles it as an ES module and as a CommonJS module.
import { createClient, connect, DynamoLockError, LockHeldError, LockLostError, StoreError, ArgumentError } from 'dynamo-lock';
import type {
  AcquireOptions, AwsConfig, Client, ClientOptions, ConditionCheck, ConnectOptions, HeldLock, HeldLocks, Holder, Inspection, LastHold, LeadOptions, LegacyCallback, LockEvents, OnceOptions, OnceResult,
  Held, Listed, Lock, Permit, PlainInspection, RevokeOptions, RiskOptions, RwLock, Semaphore, SharedAcquireOptions, SharedHandle, SharedHolder, SharedInspection, SharedTryOptions,
  HeldOption, StoreErrorCode, TimeLeftError, TableOptions, TableProblem, TryOptions,
} from 'dynamo-lock';
import * as index from 'dynamo-lock/index';
import * as AWS from 'aws-sdk';
import { DynamoDB, DynamoDBClient, TransactWriteItemsCommand } from '@aws-sdk/client-dynamodb';
import * as commands from '@aws-sdk/client-dynamodb';

const awsConfig: AwsConfig = {
  accessKeyId: 'a', secretAccessKey: 'b', sessionToken: 'c', region: 'us-east-1', endpoint: 'http://localhost:8000', maxRetries: 3,
  httpOptions: { timeout: 5, connectTimeout: 6, agent: {} }, sslEnabled: false, useFipsEndpoint: false, useDualstackEndpoint: false,
  apiVersion: 'latest', credentials: new AWS.Credentials('a', 'b'), somethingElse: 1,
};
const shared: ConnectOptions = { owner: 'me', leaseMs: 5000, heartbeatMs: 1000, legacySkewMs: 0, serviceClock: true };
const options: ClientOptions = { ...shared, awsConfig, partitionKey: 'id', timeoutMs: 1000, commands };

const clients: Client[] = [
  createClient('Lock'),
  createClient('Lock', options),
  createClient('Lock', { awsConfig: null, db: null }),
  createClient('Lock', { awsConfig: { endpoint: new AWS.Endpoint('http://localhost:8000'), credentials: async () => ({ accessKeyId: 'a', secretAccessKey: 'b' }) } }),
  createClient('Lock', { awsConfig: new AWS.Config({ region: 'us-east-1' }) }),
  createClient('Lock', { awsConfig: AWS.config }),
  createClient('Lock', { db: new AWS.DynamoDB() }),
  createClient('Lock', { db: new DynamoDBClient({}) }),
  createClient('Lock', { db: new DynamoDB({}) }),
  createClient('Lock', { db: { getItem: (params, callback) => callback(null, {}), putItem: (params, callback) => callback('no') } }),
  connect('memory:'),
  index.connect('memory:'),
  connect('sqlite:///tmp/locks.db', shared),
];

export async function legacy(client: Client): Promise<void> {
  const callback: LegacyCallback = (error: string | null, success) => console.log(error, success === 'SUCCESS');
  client.getLock('a', 1000, callback);
  client.getLock('a', 1000, (error) => error?.startsWith('Lock expires on '));
  client.createLockTable(callback);
  client.deleteLockTable(callback);
  const table: string | undefined = client.lockTableName;
  if (client.db && 'getItem' in client.db) client.db.getItem({ TableName: table }, () => {});
  const result: 'SUCCESS' = await client.getLock('a', 1000);
  await Promise.all([result, client.createLockTable(), client.deleteLockTable()]);
}

export async function tables(client: Client): Promise<void> {
  const options: TableOptions = { readUnits: 1, writeUnits: 1, ttl: false, deletionProtection: true, tags: { team: 'ops' } };
  await client.createTable(options);
  await client.createTable();
  const problems: TableProblem[] = await client.checkTable();
  console.log(problems.map(({ message, warning }) => (warning ? 'warning' : message)));
}

export async function held(client: Client): Promise<void> {
  const option: HeldOption = { onHeld: (holder: Holder) => console.log(holder.owner) };
  const lock: HeldLock | null = await client.lock('a').tryAcquire(option);
  await lock?.renew();
  await lock?.updateData('x');
  lock?.ensure(1000);
  const permit = await client.semaphore('s', 1).tryAcquire({ ...option, leaseMs: 1000 });
  await permit?.renew();
  // @ts-expect-error: a permit has no payload
  await permit?.updateData('x');
  await client.rwLock('rw').tryRead(option);
  await client.rwLock('rw').tryWrite(option);
  // @ts-expect-error: a call that waits reports the holder with its error
  await client.lock('a').acquire({ onHeld: () => {} });
  await client.withLocks(['a'], async (locks: HeldLocks) => {
    await locks.renew();
    locks.ensure(1);
  });
}

export function events(client: Client): void {
  const listener = (event: LockEvents['lost']): void => {
    const token: bigint = event.token;
    console.log(event.name, token, event.reason === 'revoked', event.heldMs, event.lastError?.code);
  };
  const same: Client = client.on('lost', listener).off('lost', listener);
  same.on('waiting', ({ holder }) => holder.owner).on('acquired', ({ type, waitedMs }) => [type, waitedMs]);
  same.on('contended', ({ holder, waitedMs }) => [holder?.owner, waitedMs]).on('waitEnded', ({ name }) => name);
  same.on('takenOver', ({ holder }) => holder.token).on('renewed', ({ latenessMs }) => latenessMs);
  same.on('released', ({ heldMs }) => heldMs).on('requestFailed', ({ error }) => error.code === 'THROTTLED');
  // @ts-expect-error: there is no such event
  client.on('error', () => {});
}

export async function locks(client: Client, signal: AbortSignal): Promise<string> {
  const lock: Lock = client.lock('a');
  const trying: TryOptions = { signal, leaseMs: 5000, maxHoldMs: 9000, data: 'x' };
  const waiting: AcquireOptions = { ...trying, waitMs: 100 };
  const held: HeldLock = await lock.acquire(waiting);
  const tried: HeldLock | null = await lock.tryAcquire(trying);
  await tried?.release();
  const token: bigint = held.token;
  const left: number = held.timeLeftMs;
  held.signal.addEventListener('abort', () => held.signal.reason);
  if (held.isValid() && left > 0) console.log(held.name, lock.name, token);
  const check: ConditionCheck = held.conditionCheck();
  await new DynamoDBClient({}).send(new TransactWriteItemsCommand({ TransactItems: [{ ConditionCheck: check }] }));
  await new AWS.DynamoDB().transactWriteItems({ TransactItems: [{ ConditionCheck: check }] }).promise();
  const json: { token: string } = held.toJSON();
  console.log(json.token, JSON.stringify([held, await lock.inspect()]));
  await held[Symbol.asyncDispose]();
  await using disposed = await lock.acquire();
  console.log(disposed.name);

  const leading: LeadOptions = { ...trying, onRetry: (error: StoreError) => console.log(error.code) };
  const led: string = await lock.lead(async (term: HeldLock, signal: AbortSignal) => `${term.token} ${signal.aborted}`, leading);
  const length: number = await lock.lead(() => led.length);
  const migrating: OnceOptions = { waitMs: 1000, ...trying, forMs: 23 * 3600 * 1000 };
  const migrated: OnceResult<string> = await lock.once(async (held: HeldLock) => `${held.token}`, migrating);
  const by: string | null = migrated.ran ? migrated.output : migrated.success.by;
  if (!migrated.ran) await lock.resetSuccess(migrated.success.token);
  const risk: RiskOptions = { atRisk: (timeLeftMs: number) => console.log(timeLeftMs + length), recovered: () => {}, marginMs: 500 };
  const end: () => void = held.watchRisk(risk);
  end();
  const atRisk: AbortSignal = held.riskSignal();
  console.log(atRisk.aborted, held.riskSignal(500).reason);

  const holdToken: bigint = await lock.hold(1000);
  await lock.revoke(holdToken);
  await lock.revoke(7);
  await lock.forceRevoke(holdToken);
  const inspection: Inspection = await lock.inspect();
  if (inspection.kind) console.log(inspection.holders.length);
  else if (inspection.state === 'held') {
    const holder: Holder = inspection.holder;
    console.log(holder.owner, holder.token, holder.acquiredAt?.getTime(), holder.leaseMs, holder.expiresAt?.getTime(), holder.data, holder.revoked);
    console.log(inspection.mayEndMs.earliest, inspection.mayEndMs.latest);
  } else if (inspection.state === 'free') console.log(inspection.token, inspection.data);
  else if (inspection.state === 'done') console.log(inspection.by, inspection.until?.getTime(), inspection.data);
  else console.log(inspection.state === 'expired', inspection.holder.owner, inspection.holder.token);

  const number: number = await client.withLock('a', { waitMs: 5 }, async (lock) => Number(lock.token));
  const text: string = await client.withLock('a', (lock) => lock.name);
  await client.withLock('a', undefined, () => number);
  const names: readonly string[] = ['a', 'b'];
  const sum: bigint = await client.withLocks(names, waiting, async (locks: HeldLocks) => {
    const checks: ConditionCheck[] = locks.conditionChecks();
    locks.watchRisk(risk)();
    console.log(locks.isValid(), locks.timeLeftMs, locks.riskSignal(500).aborted, locks.signal.aborted, checks, locks.toJSON().tokens['a']);
    return (locks.tokens.get('a') ?? 0n) + (locks.tokens.get('b') ?? 0n);
  });
  await client.withLocks(['a'], (locks) => locks.release().then(() => sum));
  for await (const listed of client.list()) {
    const typed: Listed = listed;
    if (typed.state === 'unreadable') console.log(typed.name, typed.error.code);
  }
  await client.close();
  return text;
}

export async function severalHolders(client: Client, signal: AbortSignal): Promise<string[]> {
  const semaphore: Semaphore = client.semaphore('a', 3);
  const trying: SharedTryOptions = { signal, leaseMs: 5000, maxHoldMs: 9000 };
  const waiting: SharedAcquireOptions = { ...trying, waitMs: 100 };
  const permit: Permit = await semaphore.acquire(waiting);
  const held: Held = permit;
  const tried: Permit | null = await semaphore.tryAcquire(trying);
  await tried?.release();
  const result: number = await semaphore.withPermit(waiting, async (permit) => permit.timeLeftMs);
  const id: string = await semaphore.withPermit((permit) => permit.leaseId);
  console.log(semaphore.name, semaphore.slots, result, id, permit.toJSON().leaseId, held.isValid(), permit.riskSignal().aborted);
  const check: ConditionCheck = permit.conditionCheck();
  await new DynamoDBClient({}).send(new TransactWriteItemsCommand({ TransactItems: [{ ConditionCheck: check }] }));
  await using disposed = await semaphore.acquire();
  console.log(disposed.name);

  const rwLock: RwLock = client.rwLock('b');
  const reader: HeldLock = await rwLock.read(waiting);
  const writer: HeldLock | null = await rwLock.tryWrite(trying);
  const tokens: bigint[] = [reader.token, await rwLock.withRead((lock) => lock.token), await rwLock.withWrite(waiting, (lock) => lock.token)];
  console.log(tokens, writer?.leaseId, await rwLock.tryRead(), await rwLock.write());
  await rwLock.convert();
  await client.lock('b').reset();

  const force: RevokeOptions = { force: true };
  const handles: SharedHandle[] = [semaphore, rwLock];
  for (const handle of handles) await handle.revokeHolder(permit.leaseId, force);
  await semaphore.revokeHolder(id);
  const inspection: Inspection = await semaphore.inspect();
  if (!inspection.kind) {
    const plain: PlainInspection = inspection;
    const last: LastHold | null = plain.last;
    console.log(last?.owner, last?.acquiredAt?.getTime(), last?.heldMs, last?.end === 'released', last?.exitCode);
    return [plain.state];
  }
  const { kind, slots, token, holders }: SharedInspection = inspection;
  const writing = holders.find((holder: SharedHolder) => holder.role === 'exclusive' && !holder.revoked && !holder.expired);
  console.log(kind === 'rwlock', slots, token, writing?.acquiredAt, writing?.expiresAt, writing?.leaseMs, writing?.mayEndMs?.latest, writing?.owner);
  for await (const listed of client.list()) if (listed.kind === 'semaphore') console.log(listed.name, listed.slots);
  return holders.map(({ id }) => id);
}

export function errors(error: unknown): string | undefined {
  if (error instanceof LockHeldError) return String([error.code, error.holder?.owner, error.holder?.expiresAt?.getTime(), error.waitedMs, error.lockName]);
  if (error instanceof LockLostError) return String([error.reason, error.token, error.output, error.unreleased]);
  if (error instanceof StoreError) {
    const code: StoreErrorCode = error.code;
    return code === 'TABLE_EXISTS' ? code : String([error.output, error.holder?.owner]);
  }
  if (error instanceof ArgumentError) return `${error.code} ${JSON.stringify(error.toJSON())}`;
  return error instanceof DynamoLockError ? error.code : undefined;
}

/** The code narrows the type, so that the compiler knows the fields of each error. */
export function codes(error: unknown): string | undefined {
  if (!(error instanceof DynamoLockError)) return undefined;
  // @ts-expect-error: not every error has a reason
  void error.reason;
  // @ts-expect-error: there is no such code
  if (error.code === 'LOCKLOST') return undefined;
  switch (error.code) {
    case 'LOCK_HELD': return `${error.holder?.owner} ${error.waitedMs}`;
    case 'LOCK_LOST': {
      const token: bigint = error.token;
      // @ts-expect-error: a lost lock has no holder
      return `${error.reason} ${token} ${error.holder}`;
    }
    case 'LEASE_TOO_SHORT':
    case 'LOCK_AT_RISK': {
      const timed: TimeLeftError = error;
      return `${timed.timeLeftMs}`;
    }
    case 'LEASE_ENDED': return error.holder?.owner ?? undefined;
    default: {
      const store: StoreError = error;
      return `${store.code} ${store.output}`;
    }
  }
}

// The following lines must not compile.
// @ts-expect-error the table name is required
createClient();
// @ts-expect-error a name is a string
clients[0]?.lock(7);
// @ts-expect-error times are numbers
clients[0]?.lock('a').hold('1000');
// @ts-expect-error unknown option
void clients[0]?.lock('a').acquire({ timeout: 5 });
// @ts-expect-error names are an array
void clients[0]?.withLocks('a', () => {});
// @ts-expect-error a held lock has no constructor
new HeldLock();
// @ts-expect-error a token is a bigint, not a number
const wrong: Promise<number> | undefined = clients[0]?.lock('a').hold(1000);
void wrong;
// @ts-expect-error the number of slots is required
clients[0]?.semaphore('a');
// @ts-expect-error a permit has no token
void clients[0]?.semaphore('a', 1).withPermit((permit) => permit.token);
// @ts-expect-error a row with several holders has no payload
void clients[0]?.rwLock('a').read({ data: 'x' });
// @ts-expect-error a lease ID is a string
void clients[0]?.rwLock('a').revokeHolder(7n);
