'use strict';

/** Sets `error.releaseError`, unless the work failed with that error itself. */
function attachReleaseError(error, releaseError) {
  const isObject = typeof error === 'object' && error !== null && Object.isExtensible(error);
  if (isObject && error !== releaseError) {
    Object.defineProperty(error, 'releaseError', { value: releaseError, configurable: true, enumerable: true });
  }
}

module.exports = { attachReleaseError };
