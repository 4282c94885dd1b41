// The details of one lock, and the revocation of a holder after its name was typed.

import { escape, kind, last, make, setText, shownState, span, time } from './format.js';
import { drawLease, makeLease } from './lease.js';

const MEANINGS = {
  free: 'No lease covers the lock.',
  held: 'A client holds the lock, or held it so recently that its lease may not have expired.',
  revoked: 'An operator has revoked the lock. Others can acquire it when the lease has expired.',
  expired: 'The holder did not renew its lease in time or has ended, and no other client has acquired the lock since.',
  done: 'The work has succeeded, so it is skipped.',
  unreadable: 'The row has an unexpected format. It may be a lock of a later version.',
};

const ROLES = { slot: 'has a slot', shared: 'shares the lock', exclusive: 'holds it alone', waiting: 'waits to hold it alone' };

const $ = (id) => document.getElementById(id);

/** The dialog. `revoke` sends a revocation and resolves to a message, or throws an error with one. */
export class Details {
  #name = null;
  #drawn = null;
  #leases = [];
  #target = null;
  #isSending = false;

  constructor(revoke) {
    $('close').addEventListener('click', () => $('details').close());
    $('details').addEventListener('click', (event) => {
      const isBeside = event.clientX < $('details').getBoundingClientRect().left;
      if (event.target === $('details') && isBeside) $('details').close();
    });
    $('details').addEventListener('close', () => (this.#name = null));
    $('typed').addEventListener('input', () => this.#drawButton());
    $('revoke-cancel').addEventListener('click', () => this.#ask(null));
    $('revoke').addEventListener('submit', (event) => {
      event.preventDefault();
      this.#send(revoke);
    });
  }

  /** Opens the details of this lock. Call `render` afterwards. */
  open(name) {
    this.#name = name;
    this.#drawn = null;
    this.#ask(null);
    this.#report('');
    $('details').showModal();
    $('details').scrollTop = 0;
  }

  /** Returns the name of the lock whose details are open. */
  get name() {
    return this.#name;
  }

  /** Draws the details. A lock that is `undefined` is not in the latest scan. */
  render(lock, mayRevoke, clock) {
    if (this.#name === null) return;
    const key = JSON.stringify([lock ?? null, mayRevoke]);
    if (key !== this.#drawn) {
      this.#drawn = key;
      setText($('details-name'), escape(this.#name));
      $('details-state').className = `state ${lock?.state ?? 'free'}`;
      setText($('details-state'), lock ? shownState(lock) : 'gone');
      setText($('details-kind'), lock ? kind(lock) : '');
      setText($('details-meaning'), lock ? MEANINGS[shownState(lock)] ?? '' : 'The store has no row of this name any more.');
      this.#leases = [];
      $('details-body').replaceChildren(...(lock ? this.#body(lock, mayRevoke, clock) : []));
      // The acquisition may have ended while its name was typed.
      if (this.#target && !this.#targets(lock).includes(this.#target.key)) this.#ask(null);
    }
    this.tick(clock);
  }

  /** Draws what changes with the time alone. */
  tick(clock) {
    for (const { bar, left, holder } of this.#leases) drawLease(bar, left, holder, clock);
  }

  #targets(lock) {
    if (!lock) return [];
    return [`token ${lock.token}`, ...lock.holders.map((holder) => `holder ${holder.id}`)];
  }

  #body(lock, mayRevoke, clock) {
    const parts = [];
    const ago = (ms) => (ms === null || ms === undefined ? null : `${time(ms)} (${span(clock.now - ms)} ago)`);
    const isDone = lock.state === 'done';
    const isShared = lock.holders.length > 0 || lock.kind === 'semaphore' || lock.kind === 'rwlock';
    parts.push(
      list([
        ['Token', lock.token],
        ['Slots', lock.slots],
        [isDone ? 'Done by' : 'Owner', lock.owner === null ? null : escape(lock.owner)],
        [isDone ? 'Started' : 'Acquired', ago(lock.acquiredAtMs)],
        ['Done', ago(lock.doneAtMs)],
        ['Counts until', isDone ? (lock.doneUntilMs === null ? 'it is reset' : time(lock.doneUntilMs)) : null],
        ['Lease', lock.leaseMs === null ? null : span(lock.leaseMs)],
        ['Lease left', lock.mayEndMs ? this.#lease(lock) : null],
        ['Proven end', lock.mayEndMs ? proven(lock.mayEndMs) : null],
        ['Last holder', last(lock.last, clock.now) || null],
        ['Problem', lock.error === null ? null : escape(lock.error)],
      ]),
    );
    if (lock.state === 'held' && !lock.revoked && !isShared) {
      const why = lock.token === null ? 'This holder has no token, so it cannot be revoked.' : null;
      parts.push(this.#revocation(mayRevoke, { key: `token ${lock.token}`, token: lock.token, of: lock.owner }, why));
    }
    if (isShared) {
      const heading = make('h3', '', lock.holders.length === 0 ? 'No holders' : `Holders (${lock.holders.length})`);
      parts.push(heading, make('ul', '', ...lock.holders.map((holder) => this.#holder(lock, holder, mayRevoke, ago))));
      if (!mayRevoke && lock.holders.length > 0) parts.push(hint());
    }
    if (lock.data !== null) parts.push(make('h3', '', 'Data'), make('pre', 'mono', escape(lock.data)));
    return parts.filter(Boolean);
  }

  #holder(lock, holder, mayRevoke, ago) {
    const role = ROLES[lock.kind === 'semaphore' ? 'slot' : holder.role] ?? holder.role;
    const state = holder.expired ? 'expired' : holder.revoked ? 'revoked' : role;
    const head = make('div', 'head', make('strong', '', escape(holder.owner ?? 'an unknown owner')));
    if (mayRevoke && !holder.revoked && !holder.expired) {
      head.append(this.#button({ key: `holder ${holder.id}`, holder: holder.id, of: holder.owner }));
    }
    const since = ago(holder.acquiredAtMs);
    const item = make('li', 'holder', head, make('p', 'muted', since ? `${state}, since ${since}` : state));
    if (holder.mayEndMs) item.append(this.#lease(holder));
    item.append(make('p', 'muted mono', escape(holder.id)));
    return item;
  }

  #lease(holder) {
    const [bar, left] = makeLease();
    this.#leases.push({ bar, left, holder });
    return make('div', '', bar, left);
  }

  #revocation(mayRevoke, target, why) {
    if (why !== null) return make('p', 'muted', why);
    return mayRevoke ? make('p', '', this.#button(target)) : hint();
  }

  #button(target) {
    const button = make('button', 'danger', 'Revoke…');
    button.type = 'button';
    button.addEventListener('click', () => this.#ask(target));
    return button;
  }

  /** Asks whether to revoke this target, or hides the question. */
  #ask(target) {
    this.#target = target;
    $('revoke').hidden = target === null;
    $('typed').value = '';
    this.#drawButton();
    if (target === null) return;
    this.#report('');
    setText(
      $('revoke-text'),
      `This ends the acquisition of ${escape(target.of ?? 'an unknown owner')}. Its next renewal fails, and others ` +
        'can acquire the lock when its lease has expired. Nothing is revoked if the acquisition has ended.',
    );
    $('revoke').scrollIntoView({ block: 'nearest' });
    $('typed').focus();
  }

  #drawButton() {
    const isTyped = this.#name !== null && $('typed').value === escape(this.#name);
    $('revoke-now').disabled = !isTyped || this.#isSending;
  }

  async #send(revoke) {
    if ($('revoke-now').disabled) return;
    const { token, holder } = this.#target;
    this.#isSending = true;
    this.#drawButton();
    const name = this.#name;
    const [kind, text] = await revoke({ name, token, holder, typed: $('typed').value }).then(
      (message) => ['done', message],
      (error) => ['error', error.message],
    );
    this.#isSending = false;
    if (this.#name !== name) return;
    this.#ask(null);
    this.#report(text, kind);
    $('close').focus();
  }

  #report(text, kind = 'done') {
    $('result').dataset.kind = kind;
    $('result').replaceChildren(escape(text));
  }
}

/** Returns the bounds of the end of a lease at the scan. */
function proven({ earliest, latest }) {
  const until = `${span(latest + 999)} after the scan, unless it is renewed`;
  return earliest > 0 ? `${span(earliest)} to ${until}` : `at most ${until}`;
}

function hint() {
  return make('p', 'muted', 'To revoke here, start the page with --allow-revoke.');
}

/** Returns a list of the entries that have a value. */
function list(entries) {
  const known = entries.filter(([, value]) => value !== null && value !== undefined);
  const text = (value) => (typeof value === 'number' ? String(value) : value);
  const pair = ([name, value]) => [make('dt', '', name), make('dd', '', text(value))];
  return make('dl', '', ...known.flatMap(pair));
}
