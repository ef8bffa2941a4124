// Connections: who is here, how much flows, and closing one with a reason.

import { get, getOr, path, remove, samples } from '../api.js';
import { chart, ratePoints, spanOf, spanPicker, sparkline } from '../components/chart.js';
import { open } from '../components/dialog.js';
import { field, values } from '../components/form.js';
import { argumentList, badge, card, channelLink, connectionLink, empty, facts, heading, stat, state, userLink, vhostLink } from '../components/parts.js';
import { attempt } from '../components/toast.js';
import { listQuery, pageOf, plainTable, table } from '../components/table.js';
import { byteRate, bytes, count, moment, plain, rate, rateOf } from '../format.js';
import { h } from '../view.js';

const SPARK = { age: 60, incr: 5 };

// What the columns of the table need, and no more.
const FIELDS = [
  'name', 'vhost', 'user', 'state', 'ssl', 'ssl_protocol', 'protocol', 'channels', 'recv_oct_details', 'send_oct_details', 'client_properties', 'user_provided_name', 'connected_at',
  'timeout', 'channel_max', 'frame_max', 'auth_mechanism', 'container_id', 'node',
].join();

export function connectionsPage(ctx) {
  return {
    title: 'Connections',
    load: (signal) => {
      const { data_rates_age, data_rates_incr } = samples(SPARK);
      return get(ctx.vhost ? path('vhosts', ctx.vhost, 'connections') : 'connections', { ...listQuery(ctx.query), data_rates_age, data_rates_incr, columns: FIELDS }, signal);
    },
    view: (page) => [
      heading('Connections'),
      table({
        ctx, id: 'connections', label: 'Connections', page: pageOf(page, ctx.query), rowKey: (one) => one.name, columns: COLUMNS,
        empty: empty('Nobody is connected', h('p', { class: 'muted' }, 'Clients connect with AMQP to the ports on the overview. If one should be here: look for refused log-ins in the broker’s log.')),
      }),
    ],
  };
}

export function connectionPage(ctx) {
  const { name } = ctx.params;
  const where = path('connections', name);
  return {
    title: `Connection ${name}`,
    load: async (signal) => {
      const [connection, channels] = await Promise.all([get(where, samples(spanOf(ctx.query)), signal), getOr([], `${where}/channels`, {}, signal)]);
      return { connection, channels };
    },
    view: ({ connection, channels }) => [
      heading([h('span', { class: 'crumb' }, 'Connection in ', vhostLink(connection.vhost)), clientName(connection) ?? name, state(connection.state)], spanPicker(ctx),
        h('button', { class: 'danger', onclick: () => close(ctx, name, channels.length) }, 'Close connection')),
      h('div', { class: 'stats' },
        stat('From client', byteRate(connection.recv_oct_details?.rate ?? 0), { hint: `${bytes(connection.recv_oct ?? 0)} in all` }),
        stat('To client', byteRate(connection.send_oct_details?.rate ?? 0), { hint: `${bytes(connection.send_oct ?? 0)} in all` }),
        stat('Channels', count(connection.channels ?? 0)), stat('Heartbeat', connection.timeout === undefined ? '–' : `${connection.timeout} s`), stat('Send pending', count(connection.send_pend ?? 0))),
      h('div', { class: 'grid even' },
        card(null, chart({
          ctx, id: 'connection-data', title: 'Data rates', format: bytes, unit: '/s',
          series: [['From client', 'recv_oct'], ['To client', 'send_oct']].map(([label, key]) => ({ name: label, points: ratePoints(connection[`${key}_details`], `${where} ${key}`), value: connection[`${key}_details`]?.rate ?? 0 })),
        })),
        card('Details', facts([
          ['Name', name], ['User', connection.user && userLink(connection.user)], ['Protocol', connection.protocol], ['Node', connection.node], ['Connected at', moment(connection.connected_at)],
          ['Authentication', connection.auth_mechanism], ['TLS', connection.ssl ? `${connection.ssl_protocol}, ${connection.ssl_cipher}` : 'no'], ['Certificate', connection.peer_cert_subject], ['Issuer', connection.peer_cert_issuer], ['Valid', connection.peer_cert_validity],
          ['Frame max', connection.frame_max && `${count(connection.frame_max)} bytes`], ['Channel max', connection.channel_max && count(connection.channel_max)], ['Container id', connection.container_id],
        ]))),
      card('Channels', plainTable({
        label: 'Channels', rows: channels, rowKey: (one) => one.name, empty: 'No channels are open.',
        columns: [
          { label: 'Channel', cell: (one) => channelLink(one.name, `${one.number}`) }, { label: 'State', cell: (one) => state(one.state) }, { label: 'Prefetch', number: true, cell: (one) => count(one.prefetch_count ?? 0) },
          { label: 'Unacked', number: true, cell: (one) => count(one.messages_unacknowledged ?? 0) }, { label: 'Unconfirmed', number: true, cell: (one) => count(one.messages_unconfirmed ?? 0) },
          { label: 'Consumers', number: true, cell: (one) => count(one.consumer_count ?? 0) }, { label: 'Publish', number: true, cell: (one) => rate(rateOf(one, 'publish')) }, { label: 'Deliver / get', number: true, cell: (one) => rate(rateOf(one, 'deliver_get')) },
        ],
      })),
      card('What the client says of itself', facts(Object.entries(connection.client_properties ?? {}).map(([key, value]) => [key, typeof value === 'object' && value !== null ? argumentList(value) : plain(value)]))),
    ],
  };
}

const COLUMNS = [
  { id: 'name', label: 'Name', sort: 'name', cell: (one) => [connectionLink(one.name), clientName(one) && h('span', { class: 'second' }, clientName(one))] },
  { id: 'vhost', label: 'Virtual host', sort: 'vhost', cell: (one) => one.vhost && vhostLink(one.vhost) },
  { id: 'user', label: 'User', minor: true, sort: 'user', cell: (one) => one.user && userLink(one.user) },
  { id: 'state', label: 'State', sort: 'state', cell: (one) => state(one.state) },
  { id: 'ssl', label: 'TLS', minor: true, sort: 'ssl', cell: (one) => (one.ssl ? badge('TLS', 'good', one.ssl_protocol) : 'no') },
  { id: 'protocol', label: 'Protocol', minor: true, sort: 'protocol', cell: (one) => one.protocol },
  { id: 'channels', label: 'Channels', sort: 'channels', number: true, cell: (one) => count(one.channels ?? 0) },
  { id: 'recv', label: 'From client', sort: 'recv_oct_details.rate', number: true, cell: (one) => byteRate(one.recv_oct_details?.rate ?? 0) },
  { id: 'send', label: 'To client', sort: 'send_oct_details.rate', number: true, cell: (one) => byteRate(one.send_oct_details?.rate ?? 0) },
  { id: 'spark', label: 'Trend', title: 'In the last minute', cell: (one) => sparkline(ratePoints(one.send_oct_details, `${path('connections', one.name)} send_oct`), `Data to ${one.name} in the last minute`) },
  { id: 'client', label: 'Client', sort: 'client_properties.product', cell: (one) => [one.client_properties?.product, one.client_properties?.version].filter(Boolean).join(' ') },
  { id: 'connected', label: 'Connected at', sort: 'connected_at', optional: true, cell: (one) => moment(one.connected_at) },
  { id: 'heartbeat', label: 'Heartbeat', sort: 'timeout', number: true, optional: true, cell: (one) => (one.timeout === undefined ? undefined : `${one.timeout} s`) },
  { id: 'channel_max', label: 'Channel max', sort: 'channel_max', number: true, optional: true, cell: (one) => count(one.channel_max) },
  { id: 'frame_max', label: 'Frame max', sort: 'frame_max', number: true, optional: true, cell: (one) => count(one.frame_max) },
  { id: 'auth', label: 'SASL', sort: 'auth_mechanism', optional: true, cell: (one) => one.auth_mechanism },
  { id: 'container', label: 'Container id', sort: 'container_id', optional: true, cell: (one) => one.container_id },
  { id: 'node', label: 'Node', sort: 'node', optional: true, cell: (one) => one.node },
];

const clientName = (one) => one.user_provided_name ?? one.client_properties?.connection_name;

async function close(ctx, name, channels) {
  const reason = await open((done) => h('form', { onsubmit: (event) => { event.preventDefault(); done(values(event.target).reason || 'Closed via management'); } },
    h('h2', { id: 'dialog-title' }, 'Close this connection?'),
    h('p', null, `Its ${channels} channels close too, and unacked messages go back to their queues. Most clients connect again by themselves.`),
    field({ label: 'Reason, for the client and the log', name: 'reason', form: 'close-', value: 'Closed via management' }),
    h('div', { class: 'actions' }, h('button', { type: 'button', onclick: () => done() }, 'Cancel'), h('button', { type: 'submit', class: 'danger' }, 'Close connection'))));
  if (reason === undefined) return;
  if (await attempt(() => remove(path('connections', name), { headers: { 'x-reason': reason } }), 'The connection is closed.')) ctx.go(['connections']);
}
