// The list of the locks: filter, order, and the rows of one page of it.

import { escape, kind, last, make, number, setText, shownState, span } from './format.js';
import { drawLease, holders, longestLease } from './lease.js';

/** Rows in the document at a time. */
const ROWS_MAX = 100;
const STATES = ['held', 'expired', 'unreadable', 'free', 'done'];

/** Columns: heading, class, and the value by which they are sorted. Locks without a value come last. */
const COLUMNS = [
  ['Name', 'c-name', (item) => item.name],
  ['State', 'c-state', (item) => item.order],
  ['Kind', 'c-kind', (item) => item.kind || null],
  ['Holder', 'c-holder', (item) => item.holders.toLowerCase() || null],
  ['Held for', 'c-age', (item) => item.since],
  ['Lease', 'c-lease', (item) => item.end],
  ['Token', 'c-token', (item) => item.lock.token],
];

const $ = (id) => document.getElementById(id);

/** The list. `open` is called with the name of a lock whose details are requested. */
export class List {
  #items = [];
  #shown = [];
  #rows = [];
  #page = 0;
  #state = null;
  #sort = { column: 0, sign: 1 };
  #focused = null;
  #open;

  constructor(open) {
    this.#open = open;
    $('head').append(...COLUMNS.map((column, index) => this.#heading(column, index)));
    $('states').append(...[null, ...STATES].map((state) => this.#chip(state)));
    $('rows').addEventListener('click', (event) => this.#openRow(event.target.closest('tr')));
    $('rows').addEventListener('keydown', (event) => this.#move(event));
    $('rows').addEventListener('focusin', (event) => this.#focus(event.target.closest('tr')));
    $('previous').addEventListener('click', () => this.#turn(-1));
    $('next').addEventListener('click', () => this.#turn(1));
    $('clear').addEventListener('click', () => this.clear());
    $('filter').addEventListener('input', () => this.#filterChanged());
    $('tools').addEventListener('submit', (event) => event.preventDefault());
  }

  /** Takes the locks of a scan over. Call `render` afterwards. */
  setLocks(locks) {
    this.#items = locks.map((lock) => {
      const held = longestLease(lock);
      const owners = holders(lock);
      const words = [lock.name, escape(lock.name), owners, lock.state, kind(lock), lock.last?.owner];
      return {
        lock,
        name: lock.name,
        order: STATES.indexOf(lock.state),
        kind: kind(lock),
        holders: owners,
        lease: held,
        since: lock.state === 'held' || lock.state === 'expired' ? held.acquiredAtMs : null,
        end: held.mayEndMs ? (held.expiresAtMs ?? held.mayEndMs.latest) : null,
        text: words.filter(Boolean).join('\n').toLowerCase(),
      };
    });
  }

  /** Returns the lock with this name in the latest scan. */
  find(name) {
    return this.#items.find((item) => item.name === name)?.lock;
  }

  get size() {
    return this.#items.length;
  }

  /** Returns the number of locks that may be held. */
  get held() {
    return this.#items.filter((item) => item.lock.state === 'held').length;
  }

  /** Empties the filter. */
  clear() {
    $('filter').value = '';
    this.#state = null;
    this.#filterChanged();
    $('filter').focus();
  }

  /** Draws the rows of the current page. `clock` has the time of the service, and the time since the scan. */
  render(clock) {
    this.clock = clock ?? this.clock;
    if (!this.clock) return;
    const words = $('filter').value.toLowerCase().split(/\s+/).filter(Boolean);
    const matching = this.#items.filter((item) => words.every((word) => item.text.includes(word)));
    this.#drawStates(matching);
    const key = COLUMNS[this.#sort.column][2];
    this.#shown = matching
      .filter((item) => this.#state === null || item.lock.state === this.#state)
      .sort((a, b) => compare(key(a), key(b), this.#sort.sign) || compare(a.name, b.name, 1));
    this.#page = Math.min(this.#page, Math.max(0, Math.ceil(this.#shown.length / ROWS_MAX) - 1));
    this.#drawRows();
    this.#drawPages();
    document.documentElement.dataset.renders = Number(document.documentElement.dataset.renders) + 1;
  }

  /** Draws what changes with the time alone. */
  tick(clock) {
    this.clock = clock;
    for (const row of this.#rows) drawTime(row, clock);
  }

  #drawRows() {
    const items = this.#shown.slice(this.#page * ROWS_MAX, (this.#page + 1) * ROWS_MAX);
    const focus = $('rows').contains(document.activeElement) ? this.#focused : null;
    const added = [];
    while (this.#rows.length < items.length) {
      const row = makeRow();
      this.#rows.push(row);
      added.push(row.element);
    }
    for (const row of this.#rows.splice(items.length)) row.element.remove();
    items.forEach((item, index) => drawRow(this.#rows[index], item, this.clock));
    $('rows').append(...added);
    const at = Math.max(0, this.#rows.findIndex((row) => row.item.name === this.#focused));
    this.#rows.forEach((row, index) => (row.name.tabIndex = index === at ? 0 : -1));
    if (focus !== null && items.length > 0) this.#rows[at].name.focus({ preventScroll: true });
    document.querySelector('table').hidden = items.length === 0;
    $('empty').hidden = items.length > 0;
    const isFiltered = this.#items.length > 0;
    setText($('empty-title'), isFiltered ? 'No lock matches the filter' : 'There are no locks in this store yet');
    const create = 'dynamo-lock run NAME -- COMMAND creates the first.';
    setText($('empty-text'), isFiltered ? `${number(this.#items.length)} locks are hidden.` : create);
    $('clear').hidden = !isFiltered;
  }

  #drawStates(matching) {
    for (const button of $('states').children) {
      const state = button.dataset.state ?? null;
      const count = state === null ? matching.length : matching.filter((item) => item.lock.state === state).length;
      setText(button.lastChild, number(count));
      button.setAttribute('aria-pressed', String(state === this.#state));
      const exists = state === null || this.#items.some((item) => item.lock.state === state);
      button.hidden = !exists && state !== this.#state;
    }
    [...$('head').children].forEach((heading, index) => {
      if (index !== this.#sort.column) heading.removeAttribute('aria-sort');
      else heading.setAttribute('aria-sort', this.#sort.sign > 0 ? 'ascending' : 'descending');
    });
  }

  #drawPages() {
    const [total, first] = [this.#shown.length, this.#page * ROWS_MAX];
    const until = Math.min(total, first + ROWS_MAX);
    const of = total === this.#items.length ? `${number(total)} locks` : `${number(total)} matching locks`;
    setText($('range'), total === 0 ? '' : `${number(first + 1)}–${number(until)} of ${of}`);
    $('previous').disabled = this.#page === 0;
    $('next').disabled = until === total;
    $('previous').hidden = $('next').hidden = total <= ROWS_MAX;
  }

  #heading([label, className], index) {
    const button = make('button', '', label);
    button.type = 'button';
    button.addEventListener('click', () => {
      const sign = this.#sort.column === index ? -this.#sort.sign : 1;
      this.#sort = { column: index, sign };
      this.#page = 0;
      this.render();
    });
    const heading = make('th', className, button);
    heading.scope = 'col';
    heading.setAttribute('role', 'columnheader');
    return heading;
  }

  #chip(state) {
    const label = state === null ? 'All' : state[0].toUpperCase() + state.slice(1);
    const button = make('button', '', label, make('b', ''));
    button.type = 'button';
    if (state !== null) button.dataset.state = state;
    button.addEventListener('click', () => {
      this.#state = this.#state === state ? null : state;
      this.#page = 0;
      this.render();
    });
    return button;
  }

  #filterChanged() {
    this.#page = 0;
    this.render();
  }

  #turn(pages) {
    this.#page += pages;
    this.#focused = null;
    this.render();
    document.querySelector('table').scrollIntoView({ block: 'nearest' });
  }

  #openRow(element) {
    const row = this.#rows.find((row) => row.element === element);
    if (!row || String(getSelection()) !== '') return;
    this.#focused = row.item.name;
    row.name.focus();
    this.#open(row.item.name);
  }

  #focus(element) {
    const row = this.#rows.find((row) => row.element === element);
    if (!row) return;
    this.#focused = row.item.name;
    for (const other of this.#rows) other.name.tabIndex = other === row ? 0 : -1;
  }

  #move(event) {
    const at = this.#rows.findIndex((row) => row.element === event.target.closest('tr'));
    const to = { ArrowUp: at - 1, ArrowDown: at + 1, Home: 0, End: this.#rows.length - 1 }[event.key];
    if (to === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    this.#rows[to]?.name.focus();
  }
}

/** Compares two values in the order of this sign. `null` comes last in both orders. */
function compare(a, b, sign) {
  if (a === b) return 0;
  if (a === null || b === null) return a === null ? 1 : -1;
  return a < b ? -sign : sign;
}

function makeRow() {
  const element = document.getElementById('row').content.cloneNode(true).firstElementChild;
  const find = (selector) => element.querySelector(selector);
  return {
    element,
    name: find('.name'),
    state: find('.state'),
    kind: find('.c-kind'),
    holder: find('.c-holder'),
    age: find('.c-age .tick'),
    leaseCell: find('.c-lease'),
    bar: find('.lease'),
    left: find('.left'),
    token: find('.c-token'),
    item: null,
  };
}

function drawRow(row, item, clock) {
  row.item = item;
  const { lock } = item;
  const name = escape(lock.name);
  setText(row.name, name);
  if (row.name.title !== name) row.name.title = name;
  if (row.state.className !== `state ${lock.state}`) row.state.className = `state ${lock.state}`;
  setText(row.state, shownState(lock));
  setText(row.kind, item.kind);
  setText(row.token, lock.token === null ? '' : String(lock.token));
  const past = item.holders !== '' ? '' : lock.error ? escape(lock.error) : last(lock.last, clock.now);
  row.holder.classList.toggle('last', past !== '');
  setText(row.holder, past === '' ? item.holders : past);
  if (row.holder.title !== row.holder.textContent) row.holder.title = row.holder.textContent;
  row.leaseCell.classList.toggle('none', !item.lease.mayEndMs);
  drawTime(row, clock);
}

function drawTime(row, clock) {
  const { since, lease } = row.item;
  setText(row.age, since === null ? '' : span(clock.now - since));
  drawLease(row.bar, row.left, lease, clock);
}
