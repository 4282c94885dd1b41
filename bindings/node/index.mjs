import library from './index.js';

export const { createClient, connect, DynamoLockError, LockHeldError, LockLostError, StoreError, ArgumentError } = library;
export default library;
