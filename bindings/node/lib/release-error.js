'use strict';

const { LockLostError } = require('./errors');

/** Sets `error.releaseError`, unless the work failed with the loss of the lock itself. */
function attachReleaseError(error, releaseError) {
  const isObject = typeof error === 'object' && error !== null && Object.isExtensible(error);
  const isSame = error === releaseError || (releaseError instanceof LockLostError && error?.cause === releaseError);
  if (isObject && !isSame) {
    Object.defineProperty(error, 'releaseError', { value: releaseError, configurable: true, enumerable: true });
  }
}

module.exports = { attachReleaseError };
