// The bars of the leases. They drain between two scans, by the clock of this page.

import { escape, setText, span } from './format.js';

/** Leases that are longer are drawn once a second, without motion in between. */
const SHORT_MS = 120_000;

/** Returns a bar and its text for the lease of a lock or of one of several holders. */
export function makeLease() {
  const bar = document.createElement('span');
  bar.className = 'lease tick';
  bar.append(document.createElement('i'));
  const left = document.createElement('span');
  left.className = 'left tick';
  return [bar, left];
}

/**
 * Draws a lease, at a time of the clock of the page. Without an end, draws no bar.
 *
 * `mayEndMs` has the bounds that are proven at the scan. The date in the row is the estimate between them.
 */
export function drawLease(bar, left, holder, clock) {
  const end = holder?.mayEndMs;
  bar.classList.toggle('none', !end);
  if (!end) {
    setText(left, '');
    return;
  }
  const byDate = holder.expiresAtMs === null ? end.latest : holder.expiresAtMs - (clock.now - clock.elapsed);
  const estimate = Math.min(Math.max(byDate, end.earliest), end.latest);
  const total = Math.max(holder.leaseMs ?? 0, estimate, 1);
  const [rest, most] = [estimate - clock.elapsed, end.latest - clock.elapsed];
  const share = Math.max(0, rest) / total;
  bar.classList.toggle('short', total <= SHORT_MS);
  const level = share > 0.4 ? '' : share > 0.15 ? 'low' : 'end';
  if (bar.dataset.level !== level) bar.dataset.level = level;
  bar.firstChild.style.transform = `scaleX(${share.toFixed(4)})`;
  setText(left, rest > 0 ? `${span(rest + 999)} left` : most > 0 ? `at most ${span(most + 999)}` : 'may have ended');
}

/** Returns the holder whose lease ends last, for the one bar of a row. */
export function longestLease(lock) {
  const running = (lock.holders ?? []).filter((holder) => holder.mayEndMs);
  if (running.length === 0) return lock;
  return running.reduce((a, b) => (b.mayEndMs.latest > a.mayEndMs.latest ? b : a));
}

/** Returns the holders of a lock, without those of expired leases, as one text. */
export function holders(lock) {
  const running = lock.holders.filter((holder) => !holder.expired);
  const owner = (holder) => escape(holder.owner ?? 'an unknown owner');
  if (running.length === 0) return lock.owner === null ? '' : escape(lock.owner);
  const of = lock.kind === 'semaphore' && lock.slots !== null ? ` of ${lock.slots}` : '';
  const count = running.length > 1 || of ? `${running.length}${of}: ` : '';
  return count + running.map(owner).join(', ');
}
