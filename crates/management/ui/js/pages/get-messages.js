// Messages as a client gets them, and the only way to look at them where the broker has no browsing (RabbitMQ): then they are
// got and requeued, and the page says what that does.

import { path, post } from '../api.js';
import { open } from '../components/dialog.js';
import { field, form, values } from '../components/form.js';
import { note } from '../components/parts.js';
import { attempt } from '../components/toast.js';
import { count, plural } from '../format.js';
import { messageView, originOf } from '../messages.js';
import { link } from '../router.js';
import { h } from '../view.js';

const MODES = [
  ['ack_requeue_true', 'Look, and put them back'],
  ['ack_requeue_false', 'Take them out of the queue'],
  ['reject_requeue_true', 'Reject, and put them back'],
  ['reject_requeue_false', 'Reject: dead-letter or drop them'],
];
const TRUNCATE = 50_000;

/** The form and what it got, as a function from the queue to nodes; it remembers its messages while the page is shown. */
export function getMessages(ctx, where) {
  const shown = { messages: undefined, mode: MODES[0][0], text: '' };
  const fetchMessages = async ({ mode, count: most }) => {
    const messages = await post(`${where}/get`, { count: Number(most), ackmode: mode, encoding: 'auto', truncate: TRUNCATE });
    Object.assign(shown, { messages, mode });
    ctx.reload();
  };
  return (queue) => [
    form({
      label: 'Get messages', action: 'Get messages', keep: true, done: () => `${plural(shown.messages.length, 'message')} shown.`,
      fields: [
        field({ label: 'What to do', name: 'mode', form: 'get-', type: 'select', options: MODES, value: shown.mode }),
        field({ label: 'How many', name: 'count', form: 'get-', type: 'number', min: 1, max: 1000, value: '20' }),
      ],
      onsubmit: fetchMessages,
    }),
    shown.messages && results(ctx, shown, queue),
  ];
}

function results(ctx, shown, queue) {
  const { messages, text, mode } = shown;
  const matching = messages.map((message, index) => ({ message, position: index + 1 })).filter(({ message }) => contains(message, text));
  return h('div', { key: 'got', class: 'got' },
    mode.endsWith('true') && note('warn', h('strong', null, 'These messages were taken and put back.'),
      h('p', null, 'They are now marked as redelivered, and only ready messages at the head of the queue can be seen. In a quorum queue this may count as a delivery.')),
    h('div', { class: 'bar' },
      h('label', { class: 'visually-hidden', for: 'got-search' }, 'Search in these messages'),
      h('input', { id: 'got-search', type: 'search', class: 'filter', placeholder: 'Search in these messages', oninput: (event) => { shown.text = event.target.value; ctx.redraw(); } }),
      h('span', { class: 'muted', 'aria-live': 'polite' }, `${count(matching.length)} of ${plural(messages.length, 'message')}`),
      h('span', { class: 'spring' }),
      h('button', { disabled: matching.length === 0, onclick: () => copyTo(queue.vhost, matching.map(({ message }) => message)) }, `Copy ${count(matching.length)} to …`)),
    h('div', { class: 'messages' }, matching.map(({ message, position }) =>
      messageView({ message, key: `got-${position}`, place: `#${position}`, redraw: () => ctx.redraw(), tools: tools(queue, message) }))));
}

const tools = (queue, message) => [
  h('button', { type: 'button', onclick: () => copyTo(queue.vhost, [message], originOf(message)) }, originOf(message) ? 'Copy back to its origin …' : 'Copy to …'),
  h('a', { class: 'button', href: link(['topology'], { exchange: message.exchange, key: message.routing_key, vhost: queue.vhost }) }, 'Trace its route'),
];

/** Publishes copies, one after another, to a queue that the operator names. */
async function copyTo(vhost, messages, target = '') {
  const queue = await open((close) => h('form', { onsubmit: (event) => { event.preventDefault(); close(values(event.target).target); } },
    h('h2', { id: 'dialog-title' }, `Copy ${plural(messages.length, 'message')}`),
    h('p', null, 'Copies are published to the queue with the same properties and headers. The originals stay.'),
    field({ label: 'To queue', name: 'target', form: 'copy-', required: true, value: target }),
    h('div', { class: 'actions' }, h('button', { type: 'button', onclick: () => close() }, 'Cancel'), h('button', { type: 'submit', class: 'primary' }, 'Copy'))));
  if (!queue) return;
  await attempt(async () => {
    for (const message of messages) await copy(vhost, queue, message);
  }, `Copied ${plural(messages.length, 'message')} to ${queue}.`);
}

async function copy(vhost, queue, { payload, payload_bytes: size, payload_encoding: encoding, properties }) {
  if (shownBytes(payload, encoding) < size) throw new Error(`A message of ${count(size)} bytes was shown shortened, and is not copied.`);
  const { routed } = await post(path('exchanges', vhost, 'amq.default', 'publish'), { routing_key: queue, payload, payload_encoding: encoding, properties });
  if (!routed) throw new Error(`There is no queue ${queue} in this virtual host.`);
}

const shownBytes = (payload, encoding) => (encoding === 'base64' ? atob(payload).length : new TextEncoder().encode(payload).length);

function contains({ routing_key: key, payload, properties }, text) {
  if (text === '') return true;
  const wanted = text.toLowerCase();
  return [key, payload, JSON.stringify(properties)].some((one) => String(one).toLowerCase().includes(wanted));
}
