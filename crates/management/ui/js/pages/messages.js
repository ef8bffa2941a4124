// The messages of a queue: looked at without taking them, searched, and moved, copied, sent back or deleted. A broker
// without Leveret's browsing is asked to get and requeue them (get-messages.js). Out of a stream they are only copied.

import { get, getOr, path } from '../api.js';
import { field, fold, values } from '../components/form.js';
import { channelLink, empty, heading, note, queueLink } from '../components/parts.js';
import { count, duration, plural } from '../format.js';
import { messageView, originOf } from '../messages.js';
import { link } from '../router.js';
import { criteria, filterOf, sweep } from '../sweep.js';
import { h } from '../view.js';
import { purgeQueue } from './common.js';
import { getMessages } from './get-messages.js';

const TRUNCATE = 50_000;
const SIZES = ['20', '50', '200'];
const STATES = [['ready', 'Ready', 'messages_ready'], ['unacked', 'Unacked', 'messages_unacknowledged']];
const PROPERTIES = ['message_id', 'correlation_id', 'type', 'app_id', 'user_id', 'reply_to', 'content_type', 'content_encoding', 'priority', 'delivery_mode', 'expiration', 'timestamp'];
const FIELDS = ['exchange', 'key', 'body', 'property', 'property_value', 'header', 'header_value'];

const ACTIONS = [
  { action: 'move', label: 'Move …' }, { action: 'copy', label: 'Copy …' }, { action: 'requeue', label: 'Send back to origin …' }, { action: 'delete', label: 'Delete …', danger: true },
];

export function messagesPage(ctx) {
  const { vhost, name } = ctx.params;
  const where = path('queues', vhost, name);
  const shown = { page: undefined, asked: undefined, chosen: new Set(), earlier: [] };
  const getter = getMessages(ctx, where);

  // The numbers above go on; the messages below stay as they are until the operator asks for others.
  const browse = async (signal) => {
    const question = { ...criteria(ctx.query), state: ctx.query.state, offset: ctx.query.offset, count: ctx.query.count ?? SIZES[0], truncate: TRUNCATE };
    const asked = JSON.stringify(question);
    if (shown.asked === asked) return;
    const page = await getOr(undefined, `leveret/${where}/messages`, question, signal);
    Object.assign(shown, { page, asked, chosen: new Set(), at: Date.now() });
  };
  const refresh = () => {
    shown.asked = undefined;
    return ctx.reload();
  };
  return {
    title: `Messages of ${name}`,
    load: async (signal) => {
      const queue = await get(where, {}, signal);
      await browse(signal);
      return queue;
    },
    view: (queue) => [
      heading([h('span', { class: 'crumb' }, 'Messages of'), queueLink(vhost, name)],
        !isStream(queue) && h('button', { class: 'danger', disabled: queue.messages_ready === 0, onclick: () => purgeQueue({ reload: refresh }, queue) }, 'Purge')),
      shown.page && browser({ ctx, queue, where, shown, refresh }),
      !shown.page && (isStream(queue) ? note('warn', 'A stream is read with a consumer that names an offset; it has no “get”.') : [getter(queue), queue.messages_ready === 0 && nothing(queue)]),
      shown.page && !isStream(queue) && fold('Get messages as a client does', getter(queue)),
    ],
  };
}

const isStream = (queue) => queue.type === 'stream';

function browser({ ctx, queue, where, shown, refresh }) {
  const state = ctx.query.state ?? 'ready';
  const { items, next } = shown.page;
  const isFiltered = Object.keys(criteria(ctx.query)).length > 0;
  return h('div', { class: 'table', key: 'browser' },
    h('div', { class: 'bar' },
      isStream(queue) ? offsetField(ctx, shown, queue) : h('div', { class: 'segmented', role: 'group', 'aria-label': 'Which messages' }, STATES.map(([id, label, counter]) =>
        h('button', { type: 'button', 'aria-pressed': String(id === state), onclick: () => change(ctx, shown, { state: id === 'ready' ? undefined : id }) }, `${label} ${count(queue[counter] ?? 0)}`))),
      searchField(ctx, shown),
      h('button', { type: 'button', onclick: refresh }, 'Refresh'),
      h('span', { class: 'spring' }),
      h('label', { class: 'inline' }, 'Show', h('select', { onchange: (event) => change(ctx, shown, { count: event.target.value }) }, SIZES.map((size) => h('option', { value: size, selected: size === (ctx.query.count ?? SIZES[0]) }, size))))),
    moreFilters(ctx, shown),
    h('span', { class: 'visually-hidden', role: 'status' }, `${plural(items.length, 'message')} shown${isFiltered ? ', of those that match' : ''}`),
    state === 'ready' && items.length > 0 && actionBar({ ctx, queue, where, shown, refresh, isFiltered }),
    items.length > 0
      ? h('div', { class: 'messages inset' }, items.map((message) => row({ ctx, queue, shown, message, state })))
      : nothing(queue, state, isFiltered, next),
    pager(ctx, shown, queue));
}

/** Goes to an offset of a stream. The broker counts from the first message that there is. */
const offsetField = (ctx, shown, { first_offset: first = 0, next_offset: next = 0 }) => h('form', { class: 'search-form', 'aria-label': 'Go to an offset', onsubmit: (event) => { event.preventDefault(); change(ctx, shown, { offset: placeOf(values(event.target).from, first) }); } },
  h('label', { class: 'inline' }, 'From offset', h('input', { name: 'from', type: 'number', min: first, max: Math.max(first, next - 1), value: String(first + shown.page.offset) })));

const placeOf = (offset, first) => (Number(offset) > first ? String(Number(offset) - first) : undefined);

const searchField = (ctx, shown) => h('form', { class: 'search-form', role: 'search', onsubmit: (event) => { event.preventDefault(); change(ctx, shown, { text: values(event.target).text }); } },
  h('label', { class: 'visually-hidden', for: 'message-search' }, 'Search in all messages'),
  h('input', { id: 'message-search', name: 'text', type: 'search', class: 'filter', placeholder: 'Search in all messages', value: ctx.query.text ?? '', onsearch: (event) => change(ctx, shown, { text: event.target.value }) }));

const moreFilters = (ctx, shown) => h('details', { class: 'filters', key: 'filters', open: FIELDS.some((name) => ctx.query[name]) }, h('summary', null, 'More filters'),
  h('form', { class: 'form', 'aria-label': 'Filter messages', onsubmit: (event) => { event.preventDefault(); change(ctx, shown, values(event.target)); } },
    field({ label: 'Exchange', name: 'exchange', form: 'filter-', value: ctx.query.exchange ?? '' }),
    field({ label: 'Routing key', name: 'key', form: 'filter-', value: ctx.query.key ?? '' }),
    field({ label: 'Body contains', name: 'body', form: 'filter-', value: ctx.query.body ?? '' }),
    field({ label: 'Property', name: 'property', form: 'filter-', type: 'select', options: [['', 'any'], ...PROPERTIES], value: ctx.query.property ?? '' }),
    field({ label: 'has the value', name: 'property_value', form: 'filter-', value: ctx.query.property_value ?? '' }),
    field({ label: 'Header', name: 'header', form: 'filter-', value: ctx.query.header ?? '' }),
    field({ label: 'has this value', name: 'header_value', form: 'filter-', value: ctx.query.header_value ?? '' }),
    h('div', { class: 'actions' }, h('button', { type: 'submit', class: 'primary' }, 'Filter'),
      h('button', { type: 'button', onclick: () => change(ctx, shown, Object.fromEntries(['text', ...FIELDS].map((name) => [name, undefined]))) }, 'Clear filters'))));

function actionBar({ ctx, queue, where, shown, refresh, isFiltered }) {
  const { items } = shown.page;
  const isAll = items.every(({ id }) => shown.chosen.has(id));
  const all = isFiltered ? 'all that match' : `all ${isStream(queue) ? '' : 'ready '}messages`;
  const which = shown.chosen.size > 0 ? { ids: [...shown.chosen] } : { filter: filterOf(ctx.query) };
  const chooseAll = () => {
    shown.chosen = new Set(isAll ? [] : items.map(({ id }) => id));
    ctx.redraw();
  };
  return h('div', { class: 'bar actions-bar' },
    h('input', { type: 'checkbox', 'aria-label': 'Choose all that are shown', checked: isAll, onchange: chooseAll }),
    h('span', { 'aria-live': 'polite' }, 'With ', h('b', null, shown.chosen.size > 0 ? `${count(shown.chosen.size)} chosen` : all)),
    ACTIONS.filter(({ action }) => action === 'copy' || !isStream(queue)).map(({ action, label, danger }) => h('button', { type: 'button', class: danger ? 'danger' : '', onclick: async () => { if (await sweep({ action, queue, where, which, all })) refresh(); } }, label)));
}

function row({ ctx, queue, shown, message, state }) {
  const { id, position, offset } = message;
  const place = offset === undefined ? `#${position + 1}` : `Offset ${count(offset)}`;
  const choose = (event) => {
    if (event.target.checked) shown.chosen.add(id);
    else shown.chosen.delete(id);
    ctx.redraw();
  };
  return h('div', { class: 'message-row', key: `message-${id}` },
    state === 'ready' && h('input', { type: 'checkbox', 'aria-label': `Choose message ${offset ?? position + 1}`, checked: shown.chosen.has(id), onchange: choose }),
    messageView({
      message, key: `view-${id}`, place, redraw: () => ctx.redraw(), more: state === 'unacked' ? holder(message, shown.at) : undefined,
      tools: h('a', { class: 'button', href: link(['topology'], { exchange: message.exchange, key: message.routing_key, vhost: queue.vhost }) }, 'Trace its route'),
      note: originOf(message) && `It was in ${originOf(message)} first.`,
    }));
}

/** Who has a message, and for how long. */
function holder({ consumer_details: consumer, unacked_since: since }, now) {
  const age = Number.isFinite(since) ? ` for ${duration(Math.max(0, now - since))}` : '';
  if (!consumer) return h('span', { class: 'muted' }, `got, not acknowledged${age}`);
  const channel = consumer.connection_name && `${consumer.connection_name} (${consumer.channel_number})`;
  return h('span', { class: 'muted' }, `with ${consumer.consumer_tag ?? channel ?? 'a client'}${age}`);
}

function nothing(queue, state = 'ready', isFiltered = false, next = null) {
  if (next !== null) return h('p', { class: 'nothing' }, 'None so far match. Look further with “Later”.');
  if (isFiltered) return h('p', { class: 'nothing' }, 'No message matches. Change the filter, or clear it.');
  if (state === 'unacked') return h('p', { class: 'nothing' }, 'No client holds a message of this queue.');
  if (isStream(queue)) return empty('No messages here', h('p', { class: 'muted' }, queue.messages > 0 ? 'The stream ends before this offset.' : 'Publish one on the page of the stream.'));
  return empty('No messages are ready', h('p', { class: 'muted' }, queue.messages_unacknowledged > 0
    ? `${plural(queue.messages_unacknowledged, 'message')} are with consumers and not acknowledged yet.` : 'Publish one on the page of the queue.'));
}

function pager(ctx, shown, queue) {
  const { offset, next } = shown.page;
  if (offset === 0 && next === null) return null;
  const earlier = () => ctx.setQuery({ offset: shown.earlier.pop() ?? '' });
  const later = () => {
    shown.earlier.push(ctx.query.offset ?? '');
    return ctx.setQuery({ offset: String(next) });
  };
  return h('nav', { class: 'pager', 'aria-label': 'Pages of messages' },
    h('button', { disabled: offset === 0, onclick: earlier }, '← Earlier'), h('span', null, isStream(queue) ? `From offset ${count((queue.first_offset ?? 0) + offset)}` : `From position ${count(offset + 1)}`),
    h('button', { disabled: next === null, onclick: later }, 'Later →'));
}

/** Asks another question, from the head of the queue on. */
function change(ctx, shown, query) {
  shown.earlier = [];
  return ctx.setQuery({ offset: undefined, ...query });
}
