// Search over every object and page, by keyboard: `/` or Ctrl+K, type, arrows, Enter.

import { get, getOr } from './api.js';
import { open } from './components/dialog.js';
import { exchangeName } from './format.js';
import { link } from './router.js';
import { h } from './view.js';

const TYPING_MS = 150;
const PER_KIND = 8;

const PAGES = [
  ['Overview', ''], ['Connections', 'connections'], ['Channels', 'channels'], ['Exchanges', 'exchanges'], ['Queues and Streams', 'queues'],
  ['Consumers', 'consumers'], ['Topology', 'topology'], ['Users', 'users'], ['Virtual Hosts', 'vhosts'], ['Policies', 'policies'],
  ['Limits', 'limits'], ['Parameters', 'parameters'], ['Shovels', 'shovels'], ['Definitions', 'definitions'], ['Feature Flags', 'feature-flags'], ['Cluster', 'cluster-name'],
  ['Configuration', 'configuration'], ['Certificates', 'certificates'], ['Log', 'log'], ['Audit Log', 'audit'],
];

// The lists that the server filters, and the field that is the name an operator knows.
const KINDS = [
  { kind: 'queue', list: 'queues', columns: 'name,vhost,type', entry: (one) => [one.name, one.vhost, ['queues', one.vhost, one.name]] },
  { kind: 'exchange', list: 'exchanges', columns: 'name,vhost', entry: (one) => [exchangeName(one.name), one.vhost, ['exchanges', one.vhost, one.name || 'amq.default']] },
  { kind: 'connection', list: 'connections', columns: 'name,vhost,user', entry: (one) => [one.name, one.user, ['connections', one.name]] },
  { kind: 'channel', list: 'channels', columns: 'name,vhost', entry: (one) => [one.name, one.vhost, ['channels', one.name]] },
];

// Short lists, filtered here.
const SMALL = [
  { kind: 'user', list: 'users', entry: (one) => [one.name, (Array.isArray(one.tags) ? one.tags : []).join(', '), ['users', one.name]] },
  { kind: 'vhost', list: 'vhosts', columns: 'name', entry: (one) => [one.name, '', ['vhosts', one.name]] },
  { kind: 'policy', list: 'policies', entry: (one) => [one.name, one.vhost, ['policies', one.vhost, one.name]] },
];

/** Opens the search; goes to what is chosen. */
export async function openSearch() {
  let results = pages('');
  let chosen = 0;
  let timer;
  let asked = 0;
  const small = Promise.all(SMALL.map(async (one) => ({ ...one, items: await getOr([], one.list, { columns: one.columns }) })));

  await open((close, redraw) => {
    const go = (result) => {
      close();
      location.hash = link(result.parts);
    };
    const type = (event) => {
      clearTimeout(timer);
      const text = event.target.value.trim();
      timer = setTimeout(async () => {
        asked += 1;
        const mine = asked;
        const found = await find(text, await small);
        if (mine !== asked) return;
        results = found;
        chosen = 0;
        redraw();
      }, TYPING_MS);
    };
    const keys = (event) => {
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (step) {
        event.preventDefault();
        chosen = (chosen + step + results.length) % Math.max(1, results.length);
        redraw();
        document.getElementById(`result-${chosen}`)?.scrollIntoView({ block: 'nearest' });
      } else if (event.key === 'Enter' && results[chosen]) {
        event.preventDefault();
        go(results[chosen]);
      } else if (event.key === 'Escape') {
        // The browser would only empty the field.
        event.preventDefault();
        close();
      }
    };
    return h('div', { class: 'palette' },
      h('h2', { id: 'dialog-title', class: 'visually-hidden' }, 'Search'),
      h('input', {
        type: 'search', placeholder: 'Queues, exchanges, connections, users, pages …', 'aria-label': 'Search everything', role: 'combobox', autocomplete: 'off',
        'aria-expanded': 'true', 'aria-controls': 'results', 'aria-activedescendant': results.length > 0 ? `result-${chosen}` : undefined, oninput: type, onkeydown: keys,
      }),
      h('ul', { id: 'results', role: 'listbox', 'aria-label': 'Results' }, results.map((result, index) =>
        h('li', { id: `result-${index}`, role: 'option', 'aria-selected': String(index === chosen), onclick: () => go(result) },
          h('span', { class: 'kind' }, result.kind), h('span', { class: 'name' }, result.name), h('span', { class: 'muted' }, result.more)))),
      results.length === 0 && h('p', { class: 'muted' }, 'Nothing has this in its name.'));
  });
}

async function find(text, small) {
  if (text === '') return pages('');
  const query = { page: 1, page_size: PER_KIND, name: text, disable_stats: true, enable_queue_totals: true };
  const lists = await Promise.all(KINDS.map(async ({ kind, list, columns, entry }) => {
    const { items = [] } = await get(list, { ...query, columns }).catch(() => ({}));
    return items.map((item) => result(kind, entry(item)));
  }));
  const shorts = small.flatMap(({ kind, items, entry }) => items.map((item) => result(kind, entry(item))).filter(({ name }) => contains(name, text)).slice(0, PER_KIND));
  // What begins so is more likely meant.
  const begins = ({ name }) => Number(name.toLowerCase().startsWith(text.toLowerCase()));
  return [...pages(text), ...lists.flat(), ...shorts].sort((a, b) => begins(b) - begins(a));
}

const pages = (text) => PAGES.filter(([name]) => contains(name, text)).map(([name, route]) => ({ kind: 'page', name, more: '', parts: route ? [route] : [] }));
const result = (kind, [name, more, parts]) => ({ kind, name, more, parts });
const contains = (name, text) => name.toLowerCase().includes(text.toLowerCase());
