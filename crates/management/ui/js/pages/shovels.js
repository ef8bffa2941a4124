// Shovels: what moves messages between brokers, how each does, and what it is made of.

import { get, getOr, path, put, remove } from '../api.js';
import { field, fold, form } from '../components/form.js';
import { card, heading, queueLink, vhostLink } from '../components/parts.js';
import { plainTable } from '../components/table.js';
import { attempt } from '../components/toast.js';
import { h } from '../view.js';
import { deleteObject, vhostField } from './common.js';

export function shovelsPage(ctx) {
  return {
    title: 'Shovels',
    load: async (signal) => ({ shovels: await getOr([], 'shovels', {}, signal), parameters: await get('parameters/shovel', {}, signal) }),
    view: ({ shovels, parameters }) => [
      heading('Shovels'),
      card('At work', plainTable({
        label: 'Shovels', rows: rowsOf(shovels, parameters), rowKey: (one) => `${one.vhost} ${one.name}`, empty: 'None. A shovel takes messages from one queue or exchange and publishes them to another, of this node or of any broker.',
        columns: [
          { label: 'Name', cell: (one) => one.name }, { label: 'Virtual host', cell: (one) => vhostLink(one.vhost) },
          { label: 'State', cell: (one) => h('span', { title: one.timestamp ?? '' }, one.state) },
          { label: 'Source', cell: (one) => end(one, 'src') }, { label: 'Destination', cell: (one) => end(one, 'dest') },
          { label: 'Forwarded', cell: (one) => one.forwarded ?? '' }, { label: 'Unconfirmed', cell: (one) => one.pending ?? '' }, { label: 'Remaining', cell: (one) => one.remaining ?? '' },
          { label: '', cell: (one) => [restartButton(ctx, one), deleteButton(ctx, one)] },
        ],
      })),
      fold('Add a shovel', addForm(ctx)),
    ],
  };
}

/** Those that are in maintenance have a parameter and no state. */
function rowsOf(shovels, parameters) {
  const known = new Set(shovels.map(({ vhost, name }) => `${vhost} ${name}`));
  return [...shovels, ...parameters.filter(({ vhost, name }) => !known.has(`${vhost} ${name}`)).map(({ vhost, name }) => ({ vhost, name, state: 'not started' }))];
}

function end(one, side) {
  if (one.reason !== undefined && side === 'src') return h('span', { class: 'long' }, one.reason.replace(/^"|"$/g, ''));
  const [uri, protocol, queue, exchange, key] = ['uri', 'protocol', 'queue', 'exchange', 'exchange_key'].map((name) => one[`${side}_${name}`]);
  if (protocol === undefined) return '';
  const isHere = protocol === 'local' || uri === 'amqp://';
  const place = queue !== undefined ? (isHere ? queueLink(one.vhost, queue) : queue) : [exchange ?? 'as published', key ? h('code', null, ` ${key}`) : ''];
  return [isHere ? 'here' : h('code', null, uri), ' ', place];
}

const restartButton = (ctx, { vhost, name }) => h('button', { class: 'quiet', 'aria-label': `Restart shovel ${name}`, onclick: () => attempt(async () => { await remove(path('shovels', 'vhost', vhost, name, 'restart')); ctx.reload(); }, `Shovel ${name} is restarted.`) }, 'Restart');

const deleteButton = (ctx, { vhost, name }) => h('button', { class: 'quiet', 'aria-label': `Delete shovel ${name}`, onclick: () => deleteObject({ ctx, what: `shovel ${name}`, text: 'It stops at once. What it has not moved stays where it is.', where: path('shovels', 'vhost', vhost, name) }) }, 'Delete');

const addForm = (ctx) => form({
  label: 'Add a shovel', action: 'Add shovel', done: 'The shovel is added.',
  fields: [
    vhostField(ctx, 'shovel-'), field({ label: 'Name', name: 'name', form: 'shovel-', required: true }),
    ...endFields('src', 'Source'), ...endFields('dest', 'Destination'),
    field({ label: 'Acknowledge', name: 'ack', form: 'shovel-', type: 'select', options: ['on-confirm', 'on-publish', 'no-ack'], hint: 'When the source forgets a message: when the destination has confirmed it, when it is sent, or at once.' }),
    field({ label: 'Delete after', name: 'after', form: 'shovel-', value: 'never', hint: 'never, queue-length (what is there when it starts), or a number of messages.' }),
    field({ label: 'Prefetch', name: 'prefetch', form: 'shovel-', type: 'number', value: '1000' }),
    field({ label: 'Reconnect delay, s', name: 'delay', form: 'shovel-', type: 'number', value: '5' }),
  ],
  onsubmit: async ({ vhost, name, ...given }) => { await put(path('parameters', 'shovel', vhost, name), { component: 'shovel', vhost, name, value: valueOf(given) }); ctx.reload(); },
});

const endFields = (side, title) => [
  field({ label: `${title} URI`, name: `${side}Uri`, form: 'shovel-', required: true, value: 'amqp://', hint: 'amqp:// is this node.' }),
  field({ label: `${title} queue`, name: `${side}Queue`, form: 'shovel-', hint: 'Or an exchange.' }),
  field({ label: `${title} exchange`, name: `${side}Exchange`, form: 'shovel-' }),
  field({ label: `${title} routing key`, name: `${side}Key`, form: 'shovel-', hint: 'Of the exchange.' }),
];

function valueOf({ ack, after, prefetch, delay, ...given }) {
  const value = { 'ack-mode': ack, 'src-delete-after': /^\d+$/.test(after) ? Number(after) : after, 'src-prefetch-count': Number(prefetch), 'reconnect-delay': Number(delay) };
  for (const side of ['src', 'dest']) {
    const named = [['protocol', 'amqp091'], ['uri', given[`${side}Uri`]], ['queue', given[`${side}Queue`]], ['exchange', given[`${side}Exchange`]], ['exchange-key', given[`${side}Key`]]];
    for (const [key, text] of named) if (text) value[`${side}-${key}`] = text;
  }
  return value;
}
