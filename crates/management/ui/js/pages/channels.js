// Channels: what each is doing, and whether it waits for somebody.

import { get, path, samples } from '../api.js';
import { chart, ratePoints, spanOf, spanPicker, sparkline } from '../components/chart.js';
import { badge, card, channelLink, connectionLink, empty, exchangeLink, facts, heading, queueLink, stat, state, userLink, vhostLink } from '../components/parts.js';
import { listQuery, pageOf, plainTable, table } from '../components/table.js';
import { count, plain, rate, rateOf } from '../format.js';
import { h } from '../view.js';
import { noTraffic } from './common.js';

const SPARK = { age: 60, incr: 5 };

// What the columns of the table need, and no more.
const FIELDS = [
  'name', 'vhost', 'user', 'confirm', 'transactional', 'state', 'messages_unconfirmed', 'prefetch_count', 'messages_unacknowledged', 'consumer_count', 'messages_uncommitted',
  ...['publish', 'confirm', 'deliver_get', 'ack', 'return_unroutable', 'drop_unroutable', 'redeliver'].map((name) => `message_stats.${name}_details`),
].join();
const RATES = [['Publish', 'publish'], ['Confirm', 'confirm'], ['Deliver, manual ack', 'deliver'], ['Deliver, auto ack', 'deliver_no_ack'], ['Consumer ack', 'ack'], ['Redelivered', 'redeliver'], ['Returned', 'return_unroutable'], ['Dropped', 'drop_unroutable']];

export function channelsPage(ctx) {
  return {
    title: 'Channels',
    load: (signal) => {
      const { msg_rates_age, msg_rates_incr } = samples(SPARK);
      return get(ctx.vhost ? path('vhosts', ctx.vhost, 'channels') : 'channels', { ...listQuery(ctx.query), msg_rates_age, msg_rates_incr, columns: FIELDS }, signal);
    },
    view: (page) => [
      heading('Channels'),
      table({
        ctx, id: 'channels', label: 'Channels', page: pageOf(page, ctx.query), rowKey: (one) => one.name, columns: COLUMNS,
        empty: empty('No channels are open', h('p', { class: 'muted' }, 'A client opens a channel inside its connection to publish or to consume.')),
      }),
    ],
  };
}

export function channelPage(ctx) {
  const { name } = ctx.params;
  return {
    title: `Channel ${name}`,
    load: (signal) => get(path('channels', name), samples(spanOf(ctx.query)), signal),
    view: (channel) => [
      heading([h('span', { class: 'crumb' }, 'Channel of ', connectionLink(channel.connection_details?.name), ' in ', vhostLink(channel.vhost)), name, mode(channel), state(channel.state)], spanPicker(ctx)),
      h('div', { class: 'stats' },
        stat('Unacked', count(channel.messages_unacknowledged ?? 0)), stat('Unconfirmed', count(channel.messages_unconfirmed ?? 0)), stat('Prefetch', count(channel.prefetch_count ?? 0), { hint: 'per consumer, 0 is no limit' }),
        stat('Uncommitted', count(channel.messages_uncommitted ?? 0)), stat('Acks uncommitted', count(channel.acks_uncommitted ?? 0)), stat('Consumers', count(channel.consumer_count ?? 0))),
      h('div', { class: 'grid even' },
        card(null, chart({ ctx, id: 'channel-rates', title: 'Message rates', unit: '/s', series: RATES.map(([label, key]) => ({ name: label, points: ratePoints(channel.message_stats?.[`${key}_details`], `${path('channels', name)} ${key}`), value: rateOf(channel, key) })) })),
        card('Details', facts([['User', channel.user && userLink(channel.user)], ['Number', channel.number], ['Node', channel.node], ['Mode', channel.confirm ? 'publisher confirms' : channel.transactional ? 'transactions' : 'neither confirms nor transactions'], ['Global prefetch', channel.global_prefetch_count], ['Idle since', channel.idle_since]]))),
      card('Consumers', plainTable({
        label: 'Consumers', rows: channel.consumer_details ?? [], rowKey: (one) => one.consumer_tag, empty: 'This channel consumes nothing.',
        columns: [{ label: 'Queue', cell: (one) => queueLink(one.queue.vhost, one.queue.name) }, { label: 'Consumer tag', cell: (one) => one.consumer_tag }, { label: 'Ack required', cell: (one) => plain(one.ack_required) }, { label: 'Prefetch', number: true, cell: (one) => count(one.prefetch_count) }],
      })),
      traffic(channel),
    ],
  };
}

/** Which exchanges it publishes to and which queues it takes from. */
function traffic({ vhost, publishes = [], deliveries = [] }) {
  if (publishes.length === 0 && deliveries.length === 0) return card('Message flow', noTraffic());
  const rates = (label, field) => ({ label, number: true, cell: (one) => rate(one.stats?.[`${field}_details`]?.rate ?? 0) });
  return h('div', { class: 'grid' },
    card('Publishes to', plainTable({
      label: 'Publishes to', rows: publishes, rowKey: (one) => one.exchange?.name ?? '', empty: 'This channel publishes nothing now.',
      columns: [{ label: 'Exchange', cell: (one) => exchangeLink(vhost, one.exchange?.name ?? '') }, rates('Publish', 'publish'), rates('Confirm', 'confirm'), rates('Returned', 'return_unroutable')],
    })),
    card('Takes from', plainTable({
      label: 'Takes from', rows: deliveries, rowKey: (one) => one.queue?.name ?? '', empty: 'Nothing is delivered to this channel now.',
      columns: [{ label: 'Queue', cell: (one) => queueLink(vhost, one.queue?.name ?? '') }, rates('Deliver / get', 'deliver_get'), rates('Redelivered', 'redeliver'), rates('Ack', 'ack')],
    })));
}

/** Publishes of a publisher, deliveries of a consumer. */
function trend(one) {
  const [field, words] = rateOf(one, 'deliver_get') > rateOf(one, 'publish') ? ['deliver_get', 'Deliveries to'] : ['publish', 'Publishes of'];
  return sparkline(ratePoints(one.message_stats?.[`${field}_details`], `${path('channels', one.name)} ${field}`), `${words} ${one.name} in the last minute`);
}

const mode = (one) => [one.confirm && badge('C', 'accent', 'publisher confirms'), one.transactional && badge('T', 'accent', 'transactions')];
const counter = (id, label, field) => ({ id, label, sort: field, number: true, cell: (one) => count(one[field] ?? 0) });
const rates = (id, label, field) => ({ id, label, sort: `message_stats.${field}_details.rate`, number: true, cell: (one) => rate(rateOf(one, field)) });

const COLUMNS = [
  { id: 'name', label: 'Channel', sort: 'name', cell: (one) => channelLink(one.name) },
  { id: 'vhost', label: 'Virtual host', sort: 'vhost', cell: (one) => one.vhost && vhostLink(one.vhost) },
  { id: 'user', label: 'User', minor: true, sort: 'user', cell: (one) => one.user && userLink(one.user) },
  { id: 'mode', label: 'Mode', minor: true, cell: mode },
  { id: 'state', label: 'State', minor: true, sort: 'state', cell: (one) => state(one.state) },
  counter('unconfirmed', 'Unconfirmed', 'messages_unconfirmed'),
  counter('prefetch', 'Prefetch', 'prefetch_count'),
  counter('unacked', 'Unacked', 'messages_unacknowledged'),
  counter('consumers', 'Consumers', 'consumer_count'),
  rates('publish', 'Publish', 'publish'),
  rates('confirm', 'Confirm', 'confirm'),
  rates('deliver', 'Deliver / get', 'deliver_get'),
  rates('ack', 'Ack', 'ack'),
  { id: 'spark', label: 'Trend', title: 'In the last minute', cell: (one) => trend(one) },
  { ...counter('uncommitted', 'Uncommitted', 'messages_uncommitted'), optional: true },
  { ...rates('return', 'Returned', 'return_unroutable'), optional: true },
  { ...rates('drop', 'Dropped', 'drop_unroutable'), optional: true },
  { ...rates('redeliver', 'Redelivered', 'redeliver'), optional: true },
];
