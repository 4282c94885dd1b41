'use strict';

const { readFileSync } = require('node:fs');

/** As napi-rs names platforms. */
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
    // Without the network part, which asks name servers.
    const { excludeNetwork } = process.report;
    process.report.excludeNetwork = true;
    const { header } = process.report.getReport();
    process.report.excludeNetwork = excludeNetwork;
    return !header.glibcVersionRuntime;
  }
}

module.exports = platform;
