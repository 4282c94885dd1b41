/**
 * The logger of npm dynamo-lock, whose methods can be replaced. Calls with a callback log their errors here. By default,
 * they are printed to standard error, and only with `NODE_DEBUG=dynamo-lock`.
 */
declare const logger: Record<'debug' | 'info' | 'warn' | 'error', (value: unknown) => void>;
export = logger;
