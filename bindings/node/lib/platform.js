'use strict';

const { readdirSync, readFileSync } = require('fs');

/** Returns the name of this platform in the notation of napi-rs, for example `linux-x64-gnu`. */
function platform() {
  const { platform: os, arch } = process;
  if (os === 'linux') return `linux-${arch}-${isMusl() ? 'musl' : 'gnu'}`;
  if (os === 'win32') return `win32-${arch}-msvc`;
  return `${os}-${arch}`;
}

/** Asks the first source that exists: `ldd`, the report of Node, and the names of the dynamic linkers. */
function isMusl() {
  const sources = [
    () => readFileSync('/usr/bin/ldd', 'latin1').includes('musl'),
    isMuslByReport,
    () => readdirSync('/lib').some((file) => file.startsWith('ld-musl-')),
  ];
  for (const source of sources) {
    try {
      return source();
    } catch {
      // Small images have no ldd, and some runtimes have no report.
    }
  }
  return false;
}

function isMuslByReport() {
  // Exclude the network section of the report, because it performs DNS lookups.
  const { excludeNetwork } = process.report;
  process.report.excludeNetwork = true;
  const { header } = process.report.getReport();
  process.report.excludeNetwork = excludeNetwork;
  return !header.glibcVersionRuntime;
}

module.exports = platform;
