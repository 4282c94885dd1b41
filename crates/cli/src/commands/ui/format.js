// Text forms of values. Names, owners and data come from other clients, so all text is escaped as the command line does
// it, and reaches the document only as text.

const UNSAFE =
  /[\p{Cc}\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\u{e0000}-\u{e007f}]/gu;

/** Returns the text with each control, bidirectional and invisible character replaced by `\u{…}`. */
export function escape(text) {
  return text.replace(UNSAFE, (c) => `\\u{${c.codePointAt(0).toString(16)}}`);
}

const UNITS = [
  [86_400, 'd'],
  [3_600, 'h'],
  [60, 'm'],
  [1, 's'],
];

/** Returns a duration in its two largest units, for example `1m 30s`. */
export function span(ms) {
  let seconds = Math.max(0, Math.floor(ms / 1000));
  const parts = [];
  for (const [length, unit] of UNITS) {
    const count = Math.floor(seconds / length);
    seconds -= count * length;
    if (count > 0) parts.push(`${count}${unit}`);
    else if (parts.length > 0) break;
    if (parts.length === 2) break;
  }
  return parts.join(' ') || '0s';
}

/** Returns a time in UTC, as the command line prints it. */
export function time(ms) {
  const date = new Date(ms);
  if (Number.isNaN(date.getTime())) return `${ms} ms after 1970`;
  return `${date.toISOString().slice(0, 19).replace('T', ' ')} UTC`;
}

/** Returns a number with separators. */
export function number(value) {
  return value.toLocaleString('en-US', { maximumFractionDigits: 1 });
}

const KINDS = { semaphore: 'semaphore', rwlock: 'read/write' };

/** Returns the state of a lock as the page shows it. */
export const shownState = (lock) => (lock.revoked ? 'revoked' : lock.state);

/** Returns the kind of a lock. The rows of plain locks and of unfinished work of `once` have none. */
export function kind(lock) {
  if (lock.kind) return KINDS[lock.kind] ?? lock.kind;
  if (lock.state === 'done') return 'once';
  return lock.state === 'unreadable' ? '' : 'lock';
}

/** Returns the end of the last hold and its holder, or an empty string. */
export function last(hold, now) {
  if (!hold) return '';
  const code = hold.exitCode === null || hold.exitCode === undefined ? '' : ` with exit code ${hold.exitCode}`;
  const after = hold.heldMs === null ? '' : ` after ${span(hold.heldMs)}`;
  const ended = hold.acquiredAtMs === null || hold.heldMs === null ? null : hold.acquiredAtMs + hold.heldMs;
  const ago = ended === null ? '' : `, ${span(now - ended)} ago`;
  return `${hold.end}${after}${code} by ${escape(hold.owner ?? 'an unknown owner')}${ago}`;
}

/** Sets the text of an element unless it is the same already, so that nothing is laid out again without need. */
export function setText(element, text) {
  const node = element.firstChild;
  if (node === null) element.append(text);
  else if (node.data !== text) node.data = text;
}

/** Returns a new element with this class and text, and these children. */
export function make(tag, className, ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...children);
  return element;
}
