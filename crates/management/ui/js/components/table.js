// Tables. What is shown (page, order, filter) is in the address, in RabbitMQ's own parameters, so that the server does the
// work however many rows there are, and a link shows a colleague the same rows.

import { h } from '../view.js';
import { count, DASH } from '../format.js';

const TYPING_MS = 300;
const SIZES = ['25', '50', '100', '250', '500'];

/** The parameters of RabbitMQ's API for the table state in `query`. */
export function listQuery(query, { sort = 'name', reverse = false } = {}) {
  return {
    page: query.page || 1,
    page_size: query.page_size || 50,
    name: query.name ?? '',
    use_regex: query.use_regex === 'true',
    sort: query.sort ?? sort,
    sort_reverse: query.sort ? query.sort_reverse === 'true' : reverse,
    pagination: true,
  };
}

/** What the API gave as a page; a few of RabbitMQ's lists, such as a vhost's connections, come whole whatever was asked. */
export const pageOf = (answer, query) => (Array.isArray(answer) ? localPage(answer, query, (item) => item.name) : answer);

/** The same page of a list that came whole: for what the API does not page. `text` is what the filter looks at. */
export function localPage(items, query, text, sort) {
  const wanted = listQuery(query, sort);
  const matches = matcher(wanted);
  const found = items.filter((item) => matches(text(item)));
  const value = (item) => wanted.sort.split('.').reduce((part, name) => part?.[name], item) ?? '';
  found.sort((a, b) => compare(value(a), value(b)));
  if (wanted.sort_reverse) found.reverse();
  const size = Number(wanted.page_size);
  const pages = Math.max(1, Math.ceil(found.length / size));
  const page = Math.min(Number(wanted.page), pages);
  return {
    items: found.slice((page - 1) * size, page * size),
    page, page_size: size, page_count: pages, total_count: items.length, filtered_count: found.length,
  };
}

/**
 * A table of one page of rows.
 *
 * `columns`: { id, label, cell(row), sort, number, optional, minor, title }: `sort` is the field the server sorts by, `optional`
 * ones are hidden until chosen or sorted by, `minor` ones on a phone. `page` is what the API gave. `empty` is shown when there is nothing at all.
 */
export function table({ ctx, id, label, columns, page, rowKey, empty, filter = true, sort = 'name', reverse = false }) {
  if (page.total_count === 0 && empty) return empty;
  const state = { sort: ctx.query.sort ?? sort, reverse: ctx.query.sort ? ctx.query.sort_reverse === 'true' : reverse };
  const shown = columns.filter((column) => isShown(id, column) || column.sort === state.sort);
  return h('section', { class: 'table', 'aria-label': label },
    h('div', { class: 'bar' },
      filter && filterFields(ctx, id, label),
      h('span', { class: 'muted found', 'aria-live': 'polite' }, found(page)),
      h('span', { class: 'spring' }),
      chooser(ctx, id, columns)),
    h('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': `${label}, table` },
      h('table', null,
        h('thead', null, h('tr', null, shown.map((column) => heading(ctx, column, state)))),
        h('tbody', null, page.items.map((row) =>
          h('tr', { key: rowKey(row) }, shown.map((column) =>
            h('td', { class: column.number ? 'number' : undefined }, column.cell(row) ?? DASH))))))),
    page.items.length === 0 && h('p', { class: 'nothing' }, 'Nothing matches this filter. ',
      h('button', { class: 'link', onclick: () => ctx.setQuery({ name: '', page: '' }) }, 'Show all')),
    pager(ctx, page));
}

/** A small table without state: rows of a detail page. */
export function plainTable({ label, columns, rows, rowKey, empty }) {
  if (rows.length === 0) return h('p', { class: 'muted nothing' }, empty);
  return h('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': label },
    h('table', null,
      h('thead', null, h('tr', null, columns.map((column) =>
        h('th', { scope: 'col', class: column.number ? 'number' : undefined }, column.label)))),
      h('tbody', null, rows.map((row) =>
        h('tr', { key: rowKey(row) }, columns.map((column) =>
          h('td', { class: column.number ? 'number' : undefined }, column.cell(row) ?? DASH)))))));
}

function found(page) {
  const filtered = page.filtered_count ?? page.total_count;
  return filtered === page.total_count ? `${count(filtered)} in all` : `${count(filtered)} of ${count(page.total_count)}`;
}

function filterFields(ctx, id, label) {
  let timer;
  const later = (event) => {
    clearTimeout(timer);
    timer = setTimeout(() => ctx.setQuery({ name: event.target.value, page: '' }), TYPING_MS);
  };
  return [
    h('label', { class: 'visually-hidden', for: `${id}-filter` }, `Filter ${label} by name`),
    h('input', { id: `${id}-filter`, type: 'search', class: 'filter', placeholder: 'Filter by name', value: ctx.query.name ?? '', oninput: later }),
    h('label', { class: 'inline' },
      h('input', { type: 'checkbox', checked: ctx.query.use_regex === 'true', onchange: (event) => ctx.setQuery({ use_regex: event.target.checked ? 'true' : '', page: '' }) }),
      'Regex'),
  ];
}

function heading(ctx, column, state) {
  const props = { scope: 'col', class: column.number ? 'number' : undefined, title: column.title };
  if (!column.sort) return h('th', props, column.label);
  const sorted = state.sort === column.sort;
  const reverse = sorted ? !state.reverse : Boolean(column.number);
  const choose = () => ctx.setQuery({ sort: column.sort, sort_reverse: reverse ? 'true' : '', page: '' });
  return h('th', { ...props, 'aria-sort': sorted ? (state.reverse ? 'descending' : 'ascending') : undefined },
    h('button', { class: 'sort', onclick: choose }, column.label,
      h('span', { 'aria-hidden': 'true', class: 'arrow' }, sorted ? (state.reverse ? '↓' : '↑') : '')));
}

function pager(ctx, page) {
  if ((page.filtered_count ?? 0) <= Number(SIZES[0]) && page.page_count <= 1) return null;
  const go = (to) => () => ctx.setQuery({ page: String(to) });
  return h('nav', { class: 'pager', 'aria-label': 'Pages' },
    h('button', { disabled: page.page <= 1, onclick: go(page.page - 1) }, '← Previous'),
    h('span', null, `Page ${count(page.page)} of ${count(Math.max(1, page.page_count))}`),
    h('button', { disabled: page.page >= page.page_count, onclick: go(page.page + 1) }, 'Next →'),
    h('label', { class: 'inline' }, 'Rows',
      h('select', { onchange: (event) => ctx.setQuery({ page_size: event.target.value, page: '' }) },
        SIZES.map((size) => h('option', { value: size, selected: String(ctx.query.page_size ?? 50) === size }, size)))));
}

function chooser(ctx, id, columns) {
  if (!columns.some((column) => column.optional || column.minor)) return null;
  const closeOnEscape = ({ key, currentTarget }) => {
    if (key !== 'Escape') return;
    currentTarget.open = false;
    currentTarget.querySelector('summary').focus();
  };
  // A click on a word inside leaves the focus inside, since the body can have it.
  const closeOutside = ({ currentTarget, relatedTarget }) => {
    if (!currentTarget.contains(relatedTarget)) currentTarget.open = false;
  };
  return h('details', { class: 'popover', onkeydown: closeOnEscape, onfocusout: closeOutside },
    h('summary', null, 'Columns'),
    h('div', { class: 'popover-body', tabindex: '-1' }, columns.slice(1).map((column) =>
      h('label', { class: 'inline', key: column.id },
        h('input', { type: 'checkbox', checked: isShown(id, column), onchange: (event) => choose(ctx, id, column, event.target.checked) }),
        column.title ?? column.label))));
}

const narrow = matchMedia('(max-width: 480px)');
const storeOf = (id) => `leveret.columns.${id}`;
const choices = (id) => JSON.parse(localStorage.getItem(storeOf(id)) ?? '{}');
const isShown = (id, column) => choices(id)[column.id] ?? !(column.optional || (column.minor && narrow.matches));

function choose(ctx, id, column, shown) {
  localStorage.setItem(storeOf(id), JSON.stringify({ ...choices(id), [column.id]: shown }));
  ctx.redraw();
}

function matcher({ name, use_regex: isRegex }) {
  if (name === '') return () => true;
  if (!isRegex) return (text) => text.toLowerCase().includes(name.toLowerCase());
  try {
    const pattern = new RegExp(name);
    return (text) => pattern.test(text);
  } catch {
    return () => false;
  }
}

const compare = (a, b) => (typeof a === 'number' && typeof b === 'number' ? a - b : String(a).localeCompare(String(b)));
