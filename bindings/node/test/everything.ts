// Uses everything that `index.d.ts` declares; `test/types.test.js` has the compiler check it, as a module of either kind.
import { createClient, connect, DynamoLockError, LockHeldError, LockLostError, StoreError, ArgumentError } from 'dynamo-lock';
import type {
  AcquireOptions, AwsConfig, Client, ClientOptions, ConditionCheck, ConnectOptions, HeldLock, Holder, Inspection, LegacyCallback, Listed, Lock,
  StoreErrorCode, TryOptions,
} from 'dynamo-lock';
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
  createClient('Lock', { awsConfig: { endpoint: new AWS.Endpoint('http://localhost:8000'), credentials: async () => ({ accessKeyId: 'a', secretAccessKey: 'b' }) } }),
  createClient('Lock', { awsConfig: new AWS.Config({ region: 'us-east-1' }) }),
  createClient('Lock', { awsConfig: AWS.config }),
  createClient('Lock', { db: new AWS.DynamoDB() }),
  createClient('Lock', { db: new DynamoDBClient({}) }),
  createClient('Lock', { db: new DynamoDB({}) }),
  createClient('Lock', { db: { getItem: (params, callback) => callback(null, {}), putItem: (params, callback) => callback('no') } }),
  connect('memory:'),
  connect('sqlite:///tmp/locks.db', shared),
];

export async function original(client: Client): Promise<void> {
  const callback: LegacyCallback = (error: string | null, success) => console.log(error, success === 'SUCCESS');
  client.getLock('a', 1000, callback);
  client.getLock('a', 1000, (error) => error?.startsWith('Lock expires on '));
  client.createLockTable(callback);
  client.deleteLockTable(callback);
  const said: 'SUCCESS' = await client.getLock('a', 1000);
  await Promise.all([said, client.createLockTable(), client.deleteLockTable()]);
}

export async function modern(client: Client, signal: AbortSignal): Promise<string> {
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
  await held[Symbol.asyncDispose]();
  await using disposed = await lock.acquire();
  console.log(disposed.name);

  const until: bigint = await lock.hold(1000);
  await lock.revoke(until);
  await lock.revoke(7);
  await lock.forceRevoke(until);
  const said: Inspection = await lock.inspect();
  if (said.state === 'held') {
    const holder: Holder = said.holder;
    console.log(holder.owner, holder.token, holder.acquiredAt?.getTime(), holder.leaseMs, holder.expiresAt?.getTime(), holder.data);
    console.log(said.mayEndMs.earliest, said.mayEndMs.latest);
  } else if (said.state === 'free') console.log(said.token, said.data);
  else console.log(said.state === 'expired', said.holder.owner, said.holder.token);

  const number: number = await client.withLock('a', { waitMs: 5 }, async (lock) => Number(lock.token));
  const text: string = await client.withLock('a', (lock) => lock.name);
  await client.withLock('a', undefined, () => number);
  for await (const listed of client.list()) {
    const one: Listed = listed;
    if (one.state === 'unreadable') console.log(one.name, one.error.code);
  }
  await client.close();
  return text;
}

export function errors(error: unknown): string | undefined {
  if (error instanceof LockHeldError) return String([error.code, error.holder?.owner, error.holder?.expiresAt?.getTime(), error.waitedMs]);
  if (error instanceof LockLostError) return String([error.reason, error.token, error.output]);
  if (error instanceof StoreError) {
    const code: StoreErrorCode = error.code;
    return code === 'TABLE_EXISTS' ? code : String([error.output, error.holder?.owner]);
  }
  if (error instanceof ArgumentError) return error.code;
  return error instanceof DynamoLockError ? error.code : undefined;
}

// What must not compile.
// @ts-expect-error a table name is needed
createClient();
// @ts-expect-error a name is text
clients[0]?.lock(7);
// @ts-expect-error times are numbers
clients[0]?.lock('a').hold('1000');
// @ts-expect-error there is no such option
void clients[0]?.lock('a').acquire({ timeout: 5 });
// @ts-expect-error a held lock cannot be made
new HeldLock();
// @ts-expect-error a token is no number
const wrong: Promise<number> | undefined = clients[0]?.lock('a').hold(1000);
void wrong;
