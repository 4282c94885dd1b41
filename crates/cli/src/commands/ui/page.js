// The page: reads the scans of the server, and draws each of them once.

import { Details } from './details.js';
import { escape, number, setText, span, time } from './format.js';
import { List } from './list.js';

/** Time after which a request that has no response counts as lost. */
const TIMEOUT_MS = 120_000;
/** Pause after a failure that the server has not reported. */
const RETRY_MS = 5_000;

const $ = (id) => document.getElementById(id);

let settings = { allowRevoke: false };
/** The latest scan, and when it was received, on the clock of this page. */
let scan = null;
let receivedAt = 0;
let timer;
let isReading = false;
let isPaused = false;
/** The problem of the latest request. */
let problem = null;

const details = new Details(revoke);
const list = new List((name) => {
  details.open(name);
  drawDetails();
});

/** Returns the time of the server, and the time since the scan. */
function clock() {
  const elapsed = scan.ageMs + (performance.now() - receivedAt);
  return { now: scan.scannedAtMs + elapsed, elapsed };
}

async function request(path, options) {
  const response = await fetch(path, { ...options, signal: AbortSignal.timeout(TIMEOUT_MS), redirect: 'error' });
  if (!response.headers.get('content-type')?.startsWith('application/json')) {
    const error = new Error('Open the address that `dynamo-lock ui` printed most recently.');
    throw Object.assign(error, { title: 'This address is no longer valid.', isFinal: true });
  }
  const body = await response.json();
  if (response.ok) return body;
  throw Object.assign(new Error(body.error), { title: 'The store did not answer.', nextMs: body.nextMs });
}

/** Reads a scan and draws it. Requests that overlap are one. */
async function refresh(isFresh = false) {
  if (isReading) return;
  isReading = true;
  clearTimeout(timer);
  drawStatus();
  let next = RETRY_MS;
  try {
    if (settings.version === undefined) settings = await request('api/settings');
    const latest = await request(isFresh ? 'api/locks?fresh' : 'api/locks');
    receivedAt = performance.now();
    problem = null;
    next = latest.nextMs;
    if (latest.scans !== scan?.scans) {
      list.setLocks(latest.locks);
      scan = latest;
      list.render(clock());
      drawDetails();
    }
    scan = latest;
  } catch (error) {
    const message = '`dynamo-lock ui` has ended or does not respond. Start it again.';
    problem = error.title ? error : { title: 'The connection is lost.', message };
    next = error.nextMs ?? RETRY_MS;
  }
  isReading = false;
  drawStatus();
  if (!isPaused && !document.hidden && !problem?.isFinal) timer = setTimeout(refresh, Math.max(next, 250) + 20);
}

async function revoke(revocation) {
  try {
    const { message } = await request('api/revoke', {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify(revocation),
    });
    return message;
  } catch (error) {
    if (error.title) throw error;
    throw new Error('The connection was lost, so the lock may have been revoked or not. Look at its token again.');
  } finally {
    setTimeout(() => refresh(true), 1_100);
  }
}

function drawDetails() {
  if (details.name !== null) details.render(list.find(details.name), settings.allowRevoke, clock());
}

function status() {
  if (problem) return problem.nextMs === undefined ? 'lost' : 'error';
  if (isPaused) return 'paused';
  return scan ? 'live' : 'reading';
}

function drawStatus() {
  $('live').dataset.status = status();
  const every = scan ? `every ${span(scan.intervalMs)}` : '';
  const texts = { lost: 'not connected', error: 'store error', paused: 'paused', live: every, reading: 'reading' };
  setText($('live-text'), texts[status()]);
  setText($('pause'), isPaused ? 'Resume' : 'Pause');
  $('pause').setAttribute('aria-pressed', String(isPaused));
  $('refresh').disabled = isReading && !scan;
  if (settings.store !== undefined) setText($('store'), settings.store);
  $('store').title = settings.store ?? '';
  const notice = problem ?? (scan?.complete === false ? incomplete() : null);
  $('banner').hidden = notice === null;
  $('banner').dataset.kind = problem ? 'error' : 'notice';
  $('retry').hidden = !problem || problem.isFinal === true;
  if (notice) {
    setText($('banner-title'), notice.title);
    const shown = problem && scan ? ` The page shows the state of ${time(scan.scannedAtMs)}.` : '';
    setText($('banner-text'), escape(notice.message) + shown);
  }
  if (!scan) return;
  document.title = `${number(list.held)} held · dynamo-lock`;
  drawAge();
  const units = scan.readUnits;
  setText(
    $('units'),
    units === null
      ? 'No read units: the store is a file'
      : `About ${number(units.scan)} read units a scan, ${number(units.total)} so far (estimate: 1 KB a lock)`,
  );
}

function incomplete() {
  const title = `The store has more than ${number(list.size)} locks.`;
  return { title, message: 'The others are not shown; use `dynamo-lock ls --prefix P`.' };
}

function drawAge() {
  const { elapsed } = clock();
  const at = time(scan.scannedAtMs).slice(11);
  setText($('scanned'), `${number(list.size)} locks read at ${at}, ${span(elapsed)} ago`);
}

function pause() {
  isPaused = !isPaused;
  clearTimeout(timer);
  drawStatus();
  if (!isPaused) refresh();
}

$('pause').addEventListener('click', pause);
$('refresh').addEventListener('click', () => refresh(true));
$('retry').addEventListener('click', () => refresh(true));

document.addEventListener('visibilitychange', () => {
  clearTimeout(timer);
  if (!document.hidden && !isPaused) refresh();
});

document.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || $('details').open) return;
  if (event.target.matches('input')) {
    if (event.key === 'Escape') list.clear();
    return;
  }
  const action = { '/': () => $('filter').focus(), p: pause, r: () => refresh(true) }[event.key];
  if (!action) return;
  event.preventDefault();
  action();
});

setInterval(() => {
  if (!scan || document.hidden) return;
  list.tick(clock());
  if (details.name !== null) details.tick(clock());
  drawAge();
}, 1_000);

refresh();
