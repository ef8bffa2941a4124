// One page while it is shown. A page is a function from this screen (its `ctx`) to
//
//   { title, load(signal, { isRoutine }) -> data, view(data) -> nodes, every }
//
// The screen loads, draws, and loads again: `every` seconds or as the operator chose, never two requests at a time, and
// not at all while the tab is hidden. A load that takes long is repeated less often, so that a page that somebody leaves
// open costs a large broker little; `isRoutine` tells a page that nobody asked and nothing was changed here, so that what
// seldom changes can wait (`seldom`). What a failed load leaves behind stays on the page below the words of the failure.

import { distance, Failure } from './api.js';
import { h } from './view.js';
import { heading, note } from './components/parts.js';
import { link, replaceQuery } from './router.js';

// Waiting between two loads is so many times as long as the broker worked for one, but no longer than this for its sake.
const REST = 50;
const REST_SECONDS = 15;

// What seldom changes is asked for again after so long, if nothing else is a reason to.
const SELDOM_MS = 30_000;

/** `ask()`, or in a routine load what it gave the last time, unless that is old. */
export function seldom(ask) {
  let answer;
  let dueAt = 0;
  return async (signal, { isRoutine }) => {
    if (isRoutine && Date.now() < dueAt) return answer;
    answer = await ask(signal);
    dueAt = Date.now() + SELDOM_MS;
    return answer;
  };
}

export class Screen {
  constructor({ shell, page, params, query }) {
    this.shell = shell;
    this.params = params;
    this.query = query;
    this.stopped = false;
    this.page = page(this);
    this.wake = () => { if (!document.hidden) this.reload(); };
  }

  get vhost() { return this.shell.vhost; }
  get vhosts() { return this.shell.vhosts; }
  get user() { return this.shell.user; }

  start() {
    document.title = `${this.page.title} · Leveret`;
    document.addEventListener('visibilitychange', this.wake);
    this.draw(h('p', { class: 'muted loading', role: 'status' }, 'Loading …'));
    this.reload({ isFirst: true });
  }

  stop() {
    this.stopped = true;
    clearTimeout(this.timer);
    this.loading?.abort();
    document.removeEventListener('visibilitychange', this.wake);
  }

  /** Loads again, now. */
  async reload({ isFirst = false, isRoutine = false } = {}) {
    clearTimeout(this.timer);
    this.loading?.abort();
    const loading = new AbortController();
    this.loading = loading;
    const start = performance.now();
    try {
      this.data = await this.page.load(loading.signal, { isRoutine });
      this.failure = undefined;
    } catch (error) {
      if (error.name === 'AbortError') return;
      if (!(error instanceof Failure)) console.error(error);
      this.failure = error;
    }
    if (this.stopped || loading.signal.aborted) return;
    this.redraw();
    if (isFirst) this.shell.announce(this.page.title);
    const seconds = this.page.every ?? this.shell.seconds;
    const work = Math.max(0, performance.now() - start - distance());
    const rest = this.page.every ? 0 : Math.min(REST_SECONDS, (work / 1000) * REST);
    if (seconds > 0 && !document.hidden) this.timer = setTimeout(() => this.reload({ isRoutine: true }), Math.max(seconds, rest) * 1000);
  }

  /** Draws again from what was loaded last. */
  redraw() {
    if (this.stopped) return;
    const { data } = this;
    const { nodes, failure = this.failure } = this.view();
    this.draw(
      data === undefined && heading(this.page.title),
      failure && h('div', { key: 'failure' }, note('bad', h('strong', null, failure.message), failure.advice && h('p', null, failure.advice))),
      nodes,
    );
  }

  /** The page's nodes; an answer that the page can't read must not stop it from asking again. */
  view() {
    if (this.data === undefined) return {};
    try {
      return { nodes: this.page.view(this.data) };
    } catch (error) {
      console.error(error);
      return { failure: new Failure(0, 'This page cannot show what the broker answered', `It is an error of the page: ${error.message}`) };
    }
  }

  /** Changes the state in the address, and loads what it now asks for. */
  setQuery(changes) {
    this.query = { ...this.query, ...changes };
    replaceQuery(this.query);
    return this.reload();
  }

  go(parts, query) {
    location.hash = link(parts, query);
  }

  draw(...nodes) {
    this.shell.draw(h('div', { class: 'page', key: location.hash.split('?')[0] }, nodes));
  }
}
