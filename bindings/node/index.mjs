import library from './index.js';

export const { createClient, connect } = library;
export const { DynamoLockError, LockHeldError, LockLostError, StoreError, ArgumentError } = library;
export default library;
