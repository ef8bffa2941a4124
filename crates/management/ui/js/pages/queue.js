// One queue or stream: how it is, what limits it and why, who reads it, and what an operator can do with it.

import { get, getOr, path, put, samples } from '../api.js';
import { chart, lengthPoints, ratePoints, spanOf, spanPicker } from '../components/chart.js';
import { argumentsFrom, field, fold, form } from '../components/form.js';
import { argumentList, badge, card, channelLink, connectionLink, exchangeLink, facts, heading, note, stat, state, vhostLink } from '../components/parts.js';
import { plainTable } from '../components/table.js';
import { bytes, count, duration, moment, plain, plural, rate, rateOf } from '../format.js';
import { effectiveLimits } from '../limits.js';
import { link } from '../router.js';
import { seldom } from '../screen.js';
import { h } from '../view.js';
import { bindForm, bindingTable, deleteObject, noTraffic, publishForm, purgeQueue } from './common.js';
import { features } from './queues.js';

const LENGTHS = [['Ready', 'messages_ready'], ['Unacked', 'messages_unacknowledged'], ['Total', 'messages']];
const RATES = [['Publish', 'publish'], ['Deliver, manual ack', 'deliver'], ['Deliver, auto ack', 'deliver_no_ack'], ['Consumer ack', 'ack'], ['Redelivered', 'redeliver'], ['Get', 'get'], ['Get, auto ack', 'get_no_ack']];

// Of these a stream has no others: nothing is got from it, comes back or waits for an answer.
const OF_STREAMS = ['messages', 'publish', 'deliver', 'ack'];
const seriesOf = ({ type }, series) => (type === 'stream' ? series.filter(([, key]) => OF_STREAMS.includes(key)) : series);

const UNACKED_MOST = 500;

export function queuePage(ctx) {
  const { vhost, name } = ctx.params;
  const where = path('queues', vhost, name);
  const bindingsOf = seldom((signal) => get(`${where}/bindings`, {}, signal));
  const policiesOf = policyReader(vhost);
  return {
    title: `Queue ${name}`,
    load: async (signal, how) => {
      const [queue, bindings] = await Promise.all([get(where, samples(spanOf(ctx.query)), signal), bindingsOf(signal, how)]);
      const [policies, unacked] = await Promise.all([policiesOf(queue, signal), unackedOf(queue, where, signal)]);
      return { queue, bindings, ...policies, unacked };
    },
    view: ({ queue, bindings, policy, operator, unacked }) => [
      heading([h('span', { class: 'crumb' }, kind(queue), ' in ', vhostLink(vhost)), name, badge(queue.type, 'accent'), state(queue.state)], spanPicker(ctx), actions(ctx, queue)),
      warnings(queue, policy, operator),
      queue.type === 'stream' ? streamNumbers(queue) : numbers(queue),
      h('div', { class: 'grid even' },
        card(null, chart({ ctx, id: 'queue-lengths', title: 'Messages', series: seriesOf(queue, LENGTHS).map(([label, key]) => ({ name: label, points: lengthPoints(queue[`${key}_details`], `${where} ${key}`, queue[key]), value: queue[key] ?? 0 })) })),
        card(null, chart({ ctx, id: 'queue-rates', title: 'Message rates', unit: '/s', series: seriesOf(queue, RATES).map(([label, key]) => ({ name: label, points: ratePoints(queue.message_stats?.[`${key}_details`], `${where} ${key}`), value: rateOf(queue, key) })) }))),
      card('Details', details(queue)),
      card('Consumers', queue.type === 'stream' ? streamReaders(queue) : consumers(queue)),
      unacked?.total > 0 && card('Unacked messages, by who has them', unackedTable(queue, unacked)),
      traffic(queue),
      card('Limits in effect', limitsTable(queue, policy, operator)),
      card('Bindings', bindingTable({ ctx, bindings, label: 'Bindings', end: 'source', empty: 'No bindings.' })),
      fold('Bind this queue', bindForm({ ctx, vhost, destination: name, destinationType: 'q' })),
      fold('Publish a message', publishForm({ ctx, vhost, exchange: 'amq.default', routingKey: name })),
      queue.type !== 'stream' && fold('Move messages', unacked ? h('p', null, h('a', { href: link(['messages', vhost, name]) }, 'Search this queue’s messages'), ' to move or copy all of them, or some.') : moveForm(queue)),
    ],
  };
}

/** Reads the definitions of the policies in effect, again when others are. */
function policyReader(vhost) {
  let read;
  let of;
  return async ({ policy, operator_policy: operator, effective_policy_definition: effective }, signal) => {
    const wanted = JSON.stringify([policy, operator, effective]);
    if (of !== wanted) {
      read = await Promise.all([definition('policies', vhost, policy, signal), definition('operator-policies', vhost, operator, signal)]);
      of = wanted;
    }
    return { policy: read[0], operator: read[1] };
  };
}

/** The first of the messages that clients hold; undefined where the broker cannot tell, nor move messages. */
async function unackedOf(queue, where, signal) {
  if (queue.type === 'stream') return undefined;
  const columns = 'unacked_since,consumer_details';
  return getOr(undefined, `leveret/${where}/messages`, { state: 'unacked', count: UNACKED_MOST, columns }, signal);
}

function unackedTable({ vhost, name }, { items, total, next }) {
  const holders = new Map();
  for (const { consumer_details: consumer, unacked_since: since } of items) {
    const channel = consumer?.connection_name && `${consumer.connection_name} (${consumer.channel_number})`;
    const key = `${channel} ${consumer?.consumer_tag}`;
    const holder = holders.get(key) ?? { key, channel, tag: consumer?.consumer_tag, user: consumer?.user, messages: 0, since: Infinity };
    holder.messages += 1;
    holder.since = Math.min(holder.since, since ?? Infinity);
    holders.set(key, holder);
  }
  const rows = [...holders.values()].sort((a, b) => a.since - b.since);
  return [
    plainTable({
      label: 'Unacked messages', rows, rowKey: (row) => row.key, empty: 'All are acknowledged by now.',
      columns: [
        { label: 'Channel', cell: (row) => (row.channel ? channelLink(row.channel) : 'got by a client') }, { label: 'Consumer tag', cell: (row) => row.tag }, { label: 'User', cell: (row) => row.user },
        { label: 'Messages', number: true, cell: (row) => count(row.messages) }, { label: 'Oldest for', number: true, cell: (row) => duration(Math.max(0, Date.now() - row.since)) },
      ],
    }),
    h('p', { class: 'after' }, next !== null && `The first ${count(items.length)} of ${count(total)}. `, h('a', { href: link(['messages', vhost, name], { state: 'unacked' }) }, 'Look at these messages')),
  ];
}

const kind = (queue) => (queue.type === 'stream' ? 'Stream' : 'Queue');

const actions = (ctx, queue) => [
  h('a', { class: 'button', href: link(['messages', queue.vhost, queue.name]) }, 'Messages'),
  queue.type !== 'stream' && h('button', { class: 'danger', disabled: queue.messages_ready === 0, onclick: () => purgeQueue(ctx, queue) }, 'Purge'),
  h('button', { class: 'danger', onclick: () => remove(ctx, queue) }, 'Delete'),
];

function remove(ctx, { vhost, name, messages = 0, consumers: readers = 0 }) {
  return deleteObject({
    ctx, what: name, where: path('queues', vhost, name), back: ['queues'], typed: messages > 0 ? name : undefined,
    choices: [['if-unused', 'Only if nobody consumes from it'], ['if-empty', 'Only if it is empty']],
    text: messages > 0 || readers > 0 ? `It holds ${plural(messages, 'message')}, which go with it, and has ${plural(readers, 'consumer')}.` : 'It is empty and has no consumers.',
  });
}

/** What an operator should know first, with the way out. */
function warnings(queue, policy, operator) {
  const found = [];
  const ready = queue.messages_ready ?? 0;
  const unacked = queue.messages_unacknowledged ?? 0;
  if (ready > 0 && queue.consumers === 0 && queue.type !== 'stream') found.push('Messages are waiting and nobody consumes. Start a consumer, or look at the messages.');
  if (queue.type === 'stream' && !KEPT.some((key) => limitOf(queue, policy, operator, key))) found.push('Nothing limits this stream: it keeps all messages, until the disk is full. Set max-age or max-length-bytes by a policy.');
  if (queue.type !== 'stream' && queue.consumers > 0 && unacked > 0 && ready > 0 && rateOf(queue, 'ack') === 0) found.push('Consumers hold unacked messages and acknowledge none. They may be stuck: see Consumers below for the channel, and close its connection to get the messages back.');
  if (queue.state === 'minority' || queue.state === 'down') found.push('The queue has no majority of its members. Start the nodes that are down.');
  return found.map((text) => note('warn', text));
}

const numbers = (queue) => h('div', { class: 'stats' },
  stat('Ready', count(queue.messages_ready ?? 0)),
  stat('Unacked', count(queue.messages_unacknowledged ?? 0)),
  stat('Total', count(queue.messages ?? 0)),
  stat('Incoming', rate(rateOf(queue, 'publish'))),
  stat('Deliver / get', rate(rateOf(queue, 'deliver_get'))),
  stat('Consumers', count(queue.consumers ?? 0)),
  stat('Capacity', `${Math.round((queue.consumer_capacity ?? 0) * 100)} %`, { title: 'Share of the time in which consumers could take more' }),
  stat('Bodies', bytes(queue.message_bytes ?? 0)),
  Number.isInteger(queue.oldest_message_age) && stat('Oldest', duration(queue.oldest_message_age * 1000), { title: 'How long the oldest ready message has waited in this queue, at least' }));

const streamNumbers = (queue) => h('div', { class: 'stats' },
  stat('Messages', count(queue.messages ?? 0)),
  queue.first_offset !== undefined && stat('First offset', count(queue.first_offset), { title: 'Of the first message that is kept' }),
  queue.next_offset !== undefined && stat('Next offset', count(queue.next_offset), { title: 'Of the next message to come' }),
  queue.first_timestamp > 0 && stat('Goes back', duration(Date.now() - queue.first_timestamp), { title: moment(queue.first_timestamp) }),
  stat('Incoming', rate(rateOf(queue, 'publish'))),
  stat('Delivered', rate(rateOf(queue, 'deliver_get'))),
  stat('Consumers', count(queue.consumers ?? 0)),
  stat('Bodies', bytes(queue.message_bytes ?? 0)));

// What lets the oldest messages of a stream go.
const KEPT = ['max-age', 'max-length-bytes'];

const limitOf = (queue, policy, operator, wanted) => effectiveLimits(queue, policy, operator).find(({ key }) => key === wanted);

const details = (queue) => facts([
  ['Features', features(queue)],
  ['Arguments', Object.keys(queue.arguments ?? {}).length > 0 ? argumentList(queue.arguments) : undefined],
  ['Policy', queue.policy ? h('a', { href: link(['policies', queue.vhost, queue.policy]) }, queue.policy) : h('a', { href: link(['policies'], { vhost: queue.vhost, pattern: `^${literal(queue.name)}$` }) }, 'none: set one')],
  ['Operator policy', queue.operator_policy ? h('a', { href: link(['operator-policies', queue.vhost, queue.operator_policy]) }, queue.operator_policy) : 'none'],
  ['Node', queue.leader ?? queue.node], ['Members', queue.members?.join(', ')], ['Online', queue.online?.join(', ')],
  ['Exclusive owner', connectionLink(queue.owner_pid_details?.name)],
  ['Single active consumer', queue.arguments?.['x-single-active-consumer'] && queue.single_active_consumer_tag], ['Idle since', idleSince(queue)],
  ['First message published', queue.head_message_timestamp > 0 ? moment(queue.head_message_timestamp * 1000) : undefined],
  ['Delivery limit', queue.delivery_limit], ['Delayed', queue.messages_delayed > 0 ? count(queue.messages_delayed) : undefined],
  ['Ready, by priority', priorities(queue)],
  ['In memory', queue.messages_ram !== undefined && `${count(queue.messages_ram)}, ${bytes(queue.message_bytes_ram)}`],
  ['Persistent', queue.messages_persistent !== undefined && `${count(queue.messages_persistent)}, ${bytes(queue.message_bytes_persistent)}`],
  ['Ready, bytes', bytes(queue.message_bytes_ready)], ['Unacked, bytes', bytes(queue.message_bytes_unacknowledged)],
  ['Process memory', queue.memory > 0 ? bytes(queue.memory) : undefined], ['Segments', queue.segments], ['Committed offset', queue.committed_offset],
  ['First message came', queue.first_timestamp > 0 ? moment(queue.first_timestamp) : undefined],
].filter(([, value]) => value !== false));

/** A regular expression for just this name. */
const literal = (name) => name.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');

// A queue at work gives the present moment.
const idleSince = ({ idle_since: text }) => (Date.now() - Date.parse(text) > 10_000 ? moment(Date.parse(text)) : undefined);

/** How many ready messages there are of each priority. */
const priorities = (queue) => {
  const all = Object.entries(queue.messages_by_priority ?? {});
  return all.length > 0 ? argumentList(Object.fromEntries(all.map(([priority, messages]) => [`priority ${priority}:`, messages]))) : undefined;
};

const limitsTable = (queue, policy, operator) => plainTable({
  label: 'Limits in effect', rows: effectiveLimits(queue, policy, operator), rowKey: (row) => row.key,
  empty: 'Nothing limits this queue: no argument, policy or operator policy applies.',
  columns: [
    { label: 'Limit', cell: (row) => row.key },
    { label: 'Value', cell: (row) => h('strong', null, plain(row.value)) },
    { label: 'Comes from', cell: (row) => row.source },
    { label: 'Also set', cell: (row) => row.others.join(', ') },
  ],
});

const consumers = (queue) => plainTable({
  label: 'Consumers', rows: queue.consumer_details ?? [], rowKey: (one) => `${one.channel_details?.name} ${one.consumer_tag}`, empty: 'Nobody consumes from this queue.',
  columns: [
    { label: 'Channel', cell: (one) => channelLink(one.channel_details?.name) },
    { label: 'Consumer tag', cell: (one) => one.consumer_tag },
    { label: 'Activity', cell: (one) => (one.active === false ? badge(one.activity_status ?? 'waiting', 'warn') : badge(one.activity_status ?? 'up', 'good')) },
    { label: 'Ack required', cell: (one) => plain(one.ack_required) },
    { label: 'Exclusive', cell: (one) => plain(one.exclusive) },
    { label: 'Prefetch', number: true, cell: (one) => count(one.prefetch_count) },
    { label: 'Arguments', cell: (one) => argumentList(one.arguments) },
  ],
});

/** Those who read a stream, and from where on. */
const streamReaders = (queue) => plainTable({
  label: 'Consumers', rows: queue.consumer_details ?? [], rowKey: (one) => `${one.channel_details?.name} ${one.consumer_tag}`, empty: 'Nobody reads this stream.',
  columns: [
    { label: 'Channel', cell: (one) => channelLink(one.channel_details?.name) },
    { label: 'Consumer tag', cell: (one) => one.consumer_tag },
    { label: 'Began at', cell: ({ arguments: { 'x-stream-offset': offset = 'next' } }) => plain(offset) },
    { label: 'Filter', cell: (one) => filterOf(one) },
    { label: 'Prefetch', number: true, cell: (one) => count(one.prefetch_count) },
    { label: 'Other arguments', cell: (one) => argumentList(Object.fromEntries(Object.entries(one.arguments).filter(([name]) => !READING.includes(name)))) },
  ],
});

const READING = ['x-stream-offset', 'x-stream-filter', 'x-stream-match-unfiltered'];

function filterOf({ arguments: { 'x-stream-filter': wanted, 'x-stream-match-unfiltered': unfiltered } }) {
  if (wanted === undefined) return null;
  return [...[wanted].flat().map((value) => badge(String(value))), unfiltered === true && badge('without a value')];
}

/** Which exchanges messages come from and which channels take them. */
function traffic(queue) {
  const { incoming = [], deliveries = [] } = queue;
  if (incoming.length === 0 && deliveries.length === 0) return card('Message flow', noTraffic());
  return h('div', { class: 'grid' },
    card('Incoming', plainTable({
      label: 'Incoming', rows: incoming, rowKey: (one) => one.exchange?.name ?? '', empty: 'No publishes.',
      columns: [{ label: 'Exchange', cell: (one) => exchangeLink(queue.vhost, one.exchange?.name ?? '') }, { label: 'Publish', number: true, cell: (one) => rate(one.stats?.publish_details?.rate ?? 0) }],
    })),
    card('Deliveries', plainTable({
      label: 'Deliveries', rows: deliveries, rowKey: (one) => one.channel_details?.name ?? '', empty: 'No deliveries.',
      columns: [
        { label: 'Channel', cell: (one) => channelLink(one.channel_details?.name) },
        { label: 'Deliver / get', number: true, cell: (one) => rate(one.stats?.deliver_get_details?.rate ?? 0) },
        { label: 'Ack', number: true, cell: (one) => rate(one.stats?.ack_details?.rate ?? 0) },
      ],
    })));
}

// As in RabbitMQ's pages, moving is a shovel that ends when it has moved what was there; it loses nothing on the way.
const moveForm = (queue) => form({
  label: 'Move messages', action: `Move ${plural(queue.messages_ready ?? 0, 'message')}`, done: 'The messages are on their way.',
  fields: [
    field({ label: 'To queue', name: 'target', form: 'move-', required: true, hint: 'In the same virtual host. It is made if it does not exist. Needs the shovel plugin.' }),
    field({ label: 'Arguments of a new queue', name: 'arguments', form: 'move-', hint: 'key = value' }),
  ],
  onsubmit: ({ target, arguments: text }) => put(path('parameters', 'shovel', queue.vhost, `Move from ${queue.name}`), {
    value: {
      'src-uri': `amqp:///${encodeURIComponent(queue.vhost)}`, 'src-queue': queue.name, 'src-protocol': 'amqp091', 'src-prefetch-count': 1000, 'src-delete-after': 'queue-length',
      'dest-protocol': 'amqp091', 'dest-uri': `amqp:///${encodeURIComponent(queue.vhost)}`, 'dest-queue': target, 'dest-queue-args': argumentsFrom(text), 'dest-add-forward-headers': false, 'ack-mode': 'on-confirm',
    },
  }),
});

async function definition(list, vhost, name, signal) {
  if (!name) return undefined;
  const found = await getOr(undefined, path(list, vhost, name), {}, signal);
  return found && { name, definition: found.definition };
}
