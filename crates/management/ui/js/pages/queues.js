// Queues and streams: the list, and the form that declares one.

import { get, path, put, samples } from '../api.js';
import { queueArguments } from '../arguments.js';
import { lengthPoints, sparkline } from '../components/chart.js';
import { argumentsField, argumentsFrom, field, fold, form } from '../components/form.js';
import { badge, heading, queueLink, state, vhostLink } from '../components/parts.js';
import { listQuery, pageOf, table } from '../components/table.js';
import { at, bytes, count, duration, rate, rateOf } from '../format.js';
import { firstSteps } from './first-steps.js';
import { vhostField } from './common.js';

const SPARK = { age: 60, incr: 5 };

// What the columns of the table need, and no more: the rest is half of an answer.
const FIELDS = [
  'name', 'vhost', 'type', 'durable', 'auto_delete', 'exclusive', 'arguments', 'policy', 'operator_policy', 'state', 'messages', 'messages_details', 'messages_ready', 'messages_unacknowledged', 'messages_delayed', 'messages_persistent',
  'messages_ram', 'message_bytes', 'message_bytes_ready', 'message_bytes_unacknowledged', 'message_bytes_persistent', 'message_bytes_ram', 'memory', 'node', 'leader', 'consumers', 'consumer_capacity', 'oldest_message_age', 'first_offset', 'next_offset', 'first_timestamp', ...['publish', 'deliver_get', 'ack', 'redeliver'].map((name) => `message_stats.${name}_details`),
].join();

export function queuesPage(ctx) {
  const declared = { type: '' };
  return {
    title: 'Queues and Streams',
    load: (signal) => get(ctx.vhost ? path('queues', ctx.vhost) : 'queues', { ...listQuery(ctx.query), ...lengthSamples(), columns: FIELDS }, signal),
    view: (page) => [
      heading('Queues and Streams'),
      table({ ctx, id: 'queues', label: 'Queues', columns: columns(ctx), page: pageOf(page, ctx.query), rowKey: (queue) => `${queue.vhost}/${queue.name}`, empty: firstSteps() }),
      fold('Declare a queue', declareForm(ctx, declared)),
    ],
  };
}

/** What a queue is, in a few letters: D durable, AD auto-delete, and so on. The words are in the tooltip. */
export function features(queue) {
  const list = [
    queue.durable && ['D', 'durable'], queue.auto_delete && ['AD', 'auto-delete'], queue.exclusive && ['Excl', 'exclusive: one connection only'],
    queue.arguments?.['x-message-ttl'] && ['TTL', 'messages expire'], queue.arguments?.['x-expires'] && ['Exp', 'the queue expires'],
    (queue.arguments?.['x-max-length'] || queue.arguments?.['x-max-length-bytes']) && ['Lim', 'length limited'],
    queue.arguments?.['x-dead-letter-exchange'] !== undefined && ['DLX', 'dead-letters'], queue.arguments?.['x-single-active-consumer'] && ['SAC', 'single active consumer'],
    queue.arguments?.['x-max-priority'] && ['Pri', 'priorities'], queue.arguments?.['x-max-age'] && ['Age', 'messages of some age go'],
  ];
  return list.filter(Boolean).map(([text, title]) => badge(text, '', title));
}

const policies = ({ policy, operator_policy: operator }) => [policy && badge(policy, 'accent', 'policy'), operator && badge(operator, '', 'operator policy')];

/** How many consume; nobody is worth a look while messages wait. */
function readers({ type, consumers = 0, messages_ready: ready = 0 }) {
  return consumers === 0 && ready > 0 && type !== 'stream' ? badge('0', 'warn', 'Messages wait and nobody consumes') : count(consumers);
}

const offsets = ({ first_offset: first, next_offset: next }) => next !== undefined && `${count(first)} … ${count(next)}`;

function columns(ctx) {
  const counter = (id, label, field) => ({ id, label, sort: field, number: true, cell: (queue) => count(queue[field] ?? 0) });
  const optional = (column) => ({ ...column, optional: true });
  const rates = (id, label, field) => ({ id, label, sort: `message_stats.${field}_details.rate`, number: true, cell: (queue) => rate(rateOf(queue, field)) });
  return [
    { id: 'name', label: 'Name', sort: 'name', cell: (queue) => queueLink(queue.vhost, queue.name) },
    { id: 'vhost', label: 'Virtual host', sort: 'vhost', optional: Boolean(ctx.vhost), cell: (queue) => vhostLink(queue.vhost) },
    { id: 'type', label: 'Type', minor: true, sort: 'type', cell: (queue) => queue.type },
    { id: 'features', label: 'Features', minor: true, cell: (queue) => [features(queue), policies(queue)] },
    { id: 'state', label: 'State', minor: true, sort: 'state', cell: (queue) => state(queue.state) },
    counter('ready', 'Ready', 'messages_ready'),
    counter('unacked', 'Unacked', 'messages_unacknowledged'),
    counter('total', 'Total', 'messages'),
    { id: 'spark', label: 'Trend', title: 'In the last minute', cell: (queue) => sparkline(lengthPoints(queue.messages_details, `${path('queues', queue.vhost, queue.name)} messages`, queue.messages), `Messages in ${queue.name} in the last minute`) },
    rates('incoming', 'Incoming', 'publish'),
    rates('deliver', 'Deliver / get', 'deliver_get'),
    rates('ack', 'Ack', 'ack'),
    { id: 'consumers', label: 'Consumers', sort: 'consumers', number: true, cell: readers },
    optional({ id: 'oldest', label: 'Oldest', title: 'Age of the oldest ready message', sort: 'oldest_message_age', number: true, cell: (queue) => (Number.isInteger(queue.oldest_message_age) ? duration(queue.oldest_message_age * 1000) : '') }),
    optional({ id: 'policy', label: 'Policy', sort: 'policy', cell: policies }),
    optional(rates('redeliver', 'Redelivered', 'redeliver')),
    optional({ id: 'capacity', label: 'Consumer capacity', sort: 'consumer_capacity', number: true, cell: (queue) => `${Math.round((queue.consumer_capacity ?? 0) * 100)} %` }),
    optional({ id: 'bytes', label: 'Bytes', sort: 'message_bytes', number: true, cell: (queue) => bytes(queue.message_bytes ?? 0) }),
    optional({ id: 'ready_bytes', label: 'Ready bytes', sort: 'message_bytes_ready', number: true, cell: (queue) => bytes(queue.message_bytes_ready ?? 0) }),
    optional({ id: 'unacked_bytes', label: 'Unacked bytes', sort: 'message_bytes_unacknowledged', number: true, cell: (queue) => bytes(queue.message_bytes_unacknowledged ?? 0) }),
    optional({ id: 'persistent_bytes', label: 'Persistent bytes', sort: 'message_bytes_persistent', number: true, cell: (queue) => bytes(queue.message_bytes_persistent ?? 0) }),
    optional({ id: 'memory_bytes', label: 'Bytes in memory', sort: 'message_bytes_ram', number: true, cell: (queue) => bytes(queue.message_bytes_ram ?? 0) }),
    optional(counter('delayed', 'Delayed', 'messages_delayed')),
    optional(counter('persistent', 'Persistent', 'messages_persistent')),
    optional(counter('memory_messages', 'In memory', 'messages_ram')),
    optional({ id: 'offsets', label: 'Offsets', title: 'Of a stream: the first that is kept, and the next to come', sort: 'next_offset', number: true, cell: (queue) => offsets(queue) }),
    optional({ id: 'kept', label: 'Goes back', title: 'Of a stream: when the first message that is kept came', sort: 'first_timestamp', number: true, cell: (queue) => queue.first_timestamp > 0 && duration(Date.now() - queue.first_timestamp) }),
    optional({ id: 'memory', label: 'Process memory', sort: 'memory', number: true, cell: (queue) => bytes(queue.memory) }),
    optional({ id: 'node', label: 'Node', sort: 'node', cell: (queue) => at(queue, 'leader') ?? queue.node }),
  ];
}

function lengthSamples() {
  const { lengths_age, lengths_incr } = samples(SPARK);
  return { lengths_age, lengths_incr };
}

/** The fields are those of the type that is chosen: a stream is durable and stays, whoever reads it. */
const declareForm = (ctx, declared) => form({
  label: 'Declare a queue', action: 'Declare queue', done: 'The queue is declared.',
  fields: [
    vhostField(ctx, 'queue-'),
    field({ label: 'Name', name: 'name', form: 'queue-', required: true }),
    field({ label: 'Type', name: 'type', form: 'queue-', type: 'select', options: [['', 'Default of the virtual host'], ['classic', 'Classic'], ['quorum', 'Quorum (replicated)'], ['stream', 'Stream (keeps what was read)']], value: declared.type, onchange: (event) => { declared.type = event.target.value; ctx.redraw(); } }),
    declared.type !== 'stream' && field({ label: 'Durability', name: 'durable', form: 'queue-', type: 'select', options: [['true', 'Durable'], ['false', 'Transient']] }),
    declared.type !== 'stream' && field({ label: 'Auto-delete when the last consumer leaves', name: 'auto_delete', form: 'queue-', type: 'checkbox' }),
    argumentsField({ groups: queueArguments(declared.type), form: 'queue-' }),
  ],
  onsubmit: async (values) => {
    const type = values.type ? { 'x-queue-type': values.type } : {};
    await put(path('queues', values.vhost, values.name), {
      durable: values.durable !== 'false', auto_delete: values.auto_delete ?? false, arguments: { ...type, ...argumentsFrom(values.arguments) },
    });
    ctx.reload();
  },
});
