'use strict';

const { readFileSync } = require('fs');

/** Returns the name of this platform in the notation of napi-rs, for example `linux-x64-gnu`. */
function platform() {
  const { platform: os, arch } = process;
  if (os === 'linux') return `linux-${arch}-${isMusl() ? 'musl' : 'gnu'}`;
  if (os === 'win32') return `win32-${arch}-msvc`;
  return `${os}-${arch}`;
}

function isMusl() {
  try {
    return readFileSync('/usr/bin/ldd', 'latin1').includes('musl');
  } catch {
    // Exclude the network section of the report, because it performs DNS lookups.
    const { excludeNetwork } = process.report;
    process.report.excludeNetwork = true;
    const { header } = process.report.getReport();
    process.report.excludeNetwork = excludeNetwork;
    return !header.glibcVersionRuntime;
  }
}

module.exports = platform;
