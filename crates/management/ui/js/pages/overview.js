// Is the broker well? Totals, rates and the queues that need attention.

import { get, getOr, samples } from '../api.js';
import { chart, lengthPoints, meter, ratePoints, spanOf, spanPicker } from '../components/chart.js';
import { badge, card, heading, note, queueLink, stat, vhostLink } from '../components/parts.js';
import { plainTable } from '../components/table.js';
import { at, bytes, count, duration, rate, rateOf } from '../format.js';
import { link } from '../router.js';
import { h } from '../view.js';
import { firstSteps } from './first-steps.js';

const TOP = 5;
const TOP_COLUMNS = 'name,vhost,type,messages,messages_details.rate,messages_unacknowledged,consumers,oldest_message_age,message_stats.publish_details.rate';
// Messages per second from which on a queue that grows is marked; less comes and goes.
const GROWING = 1;
const QUEUES_PER_MS = 1;
const LONGEST_MS = 120_000;

const LENGTHS = [['Ready', 'messages_ready'], ['Unacked', 'messages_unacknowledged'], ['Total', 'messages']];
const RATES = [
  ['Publish', 'publish'], ['Confirm', 'confirm'], ['Deliver and get', 'deliver_get'], ['Consumer ack', 'ack'],
  ['Redelivered', 'redeliver'], ['Returned', 'return_unroutable'], ['Dropped', 'drop_unroutable'],
];
const CHURN = [
  ['Connections created', 'connection_created'], ['Connections closed', 'connection_closed'], ['Channels created', 'channel_created'], ['Channels closed', 'channel_closed'],
  ['Queues declared', 'queue_declared'], ['Queues created', 'queue_created'], ['Queues deleted', 'queue_deleted'],
];

// What makes a queue worth looking at. The server sorts; five rows come back.
const TOPS = [
  { title: 'Longest queues', sort: 'messages', value: (queue) => count(queue.messages), more: growth, show: (queue) => queue.messages > 0 },
  { title: 'Most unacked', sort: 'messages_unacknowledged', value: (queue) => count(queue.messages_unacknowledged), show: (queue) => queue.messages_unacknowledged > 0 },
  { title: 'Busiest, by publishes', sort: 'message_stats.publish_details.rate', value: (queue) => rate(rateOf(queue, 'publish')), show: (queue) => rateOf(queue, 'publish') > 0 },
  { title: 'Oldest messages', sort: 'oldest_message_age', value: (queue) => duration(queue.oldest_message_age * 1000), show: (queue) => queue.oldest_message_age > 0 },
];

export function overviewPage(ctx) {
  const top = { rows: TOPS.map(() => []), dueAt: 0 };
  return {
    title: 'Overview',
    load: async (signal) => {
      const span = spanOf(ctx.query);
      const [overview, nodes] = await Promise.all([get('overview', samples(span), signal), getOr([], 'nodes', {}, signal)]);
      if (Date.now() >= top.dueAt) findTops(ctx, top, overview.object_totals?.queues ?? 0, signal).catch(() => { top.dueAt = 0; });
      return { overview, nodes };
    },
    view: ({ overview, nodes }) => [
      heading(['Overview', h('span', { class: 'crumb' }, version(overview))], spanPicker(ctx)),
      totals(overview),
      dropped(overview),
      overview.object_totals?.queues === 0 && firstSteps(),
      h('div', { class: 'grid even' },
        card(null, chart({
          ctx, id: 'lengths', title: 'Queued messages',
          series: LENGTHS.map(([name, field]) => ({ name, points: lengthPoints(overview.queue_totals?.[`${field}_details`]), value: overview.queue_totals?.[field] ?? 0 })),
        })),
        card(null, chart({
          ctx, id: 'rates', title: 'Message rates', unit: '/s',
          series: RATES.map(([name, field]) => ({ name, points: ratePoints(overview.message_stats?.[`${field}_details`]), value: rateOf(overview, field) })),
        }))),
      top.rows.some((rows) => rows.length > 0) && h('div', { class: 'grid pairs' }, TOPS.map((one, index) => top.rows[index].length > 0 && topCard(one, top.rows[index]))),
      nodes.length > 0 && card('Nodes', nodeTable(nodes)),
      h('div', { class: 'grid' }, card('Churn', churnTable(overview)), card('Ports', listenerTable(overview))),
    ],
  };
}

const version = ({ product_name: product, product_version: number, cluster_name: cluster }) => `${product ?? 'Broker'} ${number ?? ''}, cluster ${cluster}`;

function totals({ object_totals: objects = {}, queue_totals: queues = {}, message_stats: stats }) {
  return h('div', { class: 'stats' },
    stat('Ready', count(queues.messages_ready ?? 0), { href: link(['queues'], { sort: 'messages_ready', sort_reverse: true }) }),
    stat('Unacked', count(queues.messages_unacknowledged ?? 0), { href: link(['queues'], { sort: 'messages_unacknowledged', sort_reverse: true }) }),
    stat('Publish', rate(at(stats ?? {}, 'publish_details.rate') ?? 0)),
    stat('Deliver', rate(at(stats ?? {}, 'deliver_get_details.rate') ?? 0)),
    ...['connections', 'channels', 'exchanges', 'queues', 'consumers'].map((kind) =>
      stat(kind[0].toUpperCase() + kind.slice(1), count(objects[kind] ?? 0), { href: link([kind]) })));
}

/** Publishes that reach no queue, which nobody else notices, and the way to who makes them. */
function dropped(overview) {
  const lost = rateOf(overview, 'drop_unroutable');
  const who = link(['channels'], { sort: 'message_stats.drop_unroutable_details.rate', sort_reverse: true });
  return lost > 0 && note('warn', `${rate(lost)} of what is published reaches no queue and is dropped. `, h('a', { href: who }, 'Which channels publish it?'));
}

// Ordering many queues is work for the broker: it is asked for one order after another, and more seldom the more there are. The
// page does not wait for it, and keeps what it has when one does not come.
async function findTops(ctx, top, queues, signal) {
  top.dueAt = Date.now() + Math.min(LONGEST_MS, queues / QUEUES_PER_MS);
  for (const [index, one] of TOPS.entries()) {
    top.rows[index] = await topQueues(ctx, one, signal);
    ctx.redraw();
  }
}

async function topQueues(ctx, { sort, show }, signal) {
  const query = { page: 1, page_size: TOP, sort, sort_reverse: true, pagination: true, columns: TOP_COLUMNS };
  const where = ctx.vhost ? `queues/${encodeURIComponent(ctx.vhost)}` : 'queues';
  const { items = [] } = await getOr({}, where, query, signal);
  return items.filter(show);
}

/** How fast a queue grows; one that nobody reads grows until somebody does. */
function growth({ type, consumers, messages_details: details }) {
  const change = details?.rate ?? 0;
  if (consumers === 0 && type !== 'stream') return badge('no consumer', 'warn');
  if (change === 0) return '';
  return badge(`${change > 0 ? '+' : ''}${rate(change)}`, change >= GROWING ? 'warn' : change < 0 ? 'good' : '');
}

const topCard = ({ title, sort, value, more }, rows) =>
  card(title, plainTable({
    label: title, rows, rowKey: (queue) => `${queue.vhost}/${queue.name}`,
    columns: [
      { label: 'Queue', cell: (queue) => queueLink(queue.vhost, queue.name) },
      { label: 'Virtual host', cell: (queue) => vhostLink(queue.vhost) },
      ...(more ? [{ label: 'Change', cell: more }] : []),
      { label: sort.endsWith('age') ? 'Age' : sort.includes('rate') ? 'Rate' : 'Messages', number: true, cell: value },
    ],
  }));

const nodeTable = (nodes) => plainTable({
  label: 'Nodes', rows: nodes, rowKey: (node) => node.name,
  columns: [
    { label: 'Name', cell: (node) => [h('a', { href: link(['nodes', node.name]) }, node.name), ' ', node.running === false ? badge('not running', 'bad') : node.being_drained ? badge('maintenance', 'warn') : badge('running', 'good')] },
    { label: 'Memory', cell: (node) => meter({ label: `Memory of ${node.name}`, value: node.mem_used, limit: node.mem_limit, text: `${bytes(node.mem_used)} of ${bytes(node.mem_limit)}` }) },
    { label: 'Disk free', cell: (node) => meter({ label: `Disk of ${node.name}`, value: node.disk_free_limit, limit: node.disk_free, text: `${bytes(node.disk_free)}, limit ${bytes(node.disk_free_limit)}`, tone: node.disk_free_alarm ? 'bad' : undefined }) },
    { label: 'File descriptors', cell: (node) => meter({ label: `File descriptors of ${node.name}`, value: node.fd_used, limit: node.fd_total, text: `${count(node.fd_used)} of ${count(node.fd_total)}` }) },
    { label: 'Cores', number: true, cell: (node) => count(node.processors) },
    { label: 'Uptime', number: true, cell: (node) => duration(node.uptime) },
  ],
});

const churnTable = ({ churn_rates: churn = {} }) => plainTable({
  label: 'Churn', rows: CHURN, rowKey: ([name]) => name,
  columns: [
    { label: 'Event', cell: ([name]) => name },
    { label: 'Since start', number: true, cell: ([, field]) => count(churn[field] ?? 0) },
    { label: 'Now', number: true, cell: ([, field]) => rate(churn[`${field}_details`]?.rate ?? 0) },
  ],
});

const listenerTable = ({ listeners = [] }) => plainTable({
  label: 'Ports', rows: listeners, rowKey: (one) => `${one.node} ${one.protocol} ${one.ip_address} ${one.port}`, empty: 'Your user may not see the ports.',
  columns: [
    { label: 'Protocol', cell: (one) => one.protocol },
    { label: 'Bound to', cell: (one) => one.ip_address },
    { label: 'Port', number: true, cell: (one) => String(one.port) },
    { label: 'TLS', cell: (one) => (one.tls ? badge('TLS', 'good') : 'no') },
  ],
});
