'use strict';

/** As napi-rs names platforms. */
function platform() {
  const { platform: os, arch } = process;
  if (os === 'linux') return `linux-${arch}-${isMusl() ? 'musl' : 'gnu'}`;
  if (os === 'win32') return `win32-${arch}-msvc`;
  return `${os}-${arch}`;
}

function isMusl() {
  const report = process.report?.getReport();
  return report !== undefined && !report.header.glibcVersionRuntime;
}

module.exports = platform;
