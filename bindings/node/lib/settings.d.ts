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
