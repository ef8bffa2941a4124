// Exchanges: the list, one exchange, and the form that declares one.

import { get, getOr, path, put, samples } from '../api.js';
import { chart, ratePoints, spanOf, spanPicker, sparkline } from '../components/chart.js';
import { argumentsField, argumentsFrom, field, fold, form } from '../components/form.js';
import { argumentList, badge, card, channelLink, empty, exchangeLink, facts, heading, queueLink, stat, vhostLink } from '../components/parts.js';
import { listQuery, pageOf, plainTable, table } from '../components/table.js';
import { exchangeName, rate, rateOf } from '../format.js';
import { link } from '../router.js';
import { seldom } from '../screen.js';
import { h } from '../view.js';
import { bindForm, bindingTable, deleteObject, noTraffic, publishForm, vhostField } from './common.js';

const SPARK = { age: 60, incr: 5 };

export function exchangesPage(ctx) {
  return {
    title: 'Exchanges',
    load: async (signal) => {
      const [page, overview] = await Promise.all([
        get(ctx.vhost ? path('exchanges', ctx.vhost) : 'exchanges', { ...listQuery(ctx.query), ...rateSamples() }, signal),
        getOr({}, 'overview', { columns: 'exchange_types' }, signal),
      ]);
      return { page, types: overview.exchange_types ?? [] };
    },
    view: ({ page, types }) => [
      heading('Exchanges'),
      table({
        ctx, id: 'exchanges', label: 'Exchanges', page: pageOf(page, ctx.query), rowKey: (one) => `${one.vhost}/${one.name}`, empty: empty('No exchanges', h('p', { class: 'muted' }, 'A virtual host has seven from the start. Choose another virtual host, or ask for permissions.')),
        columns: columns(ctx),
      }),
      fold('Declare an exchange', declareForm(ctx, types)),
    ],
  };
}

export function exchangePage(ctx) {
  const { vhost, name } = ctx.params;
  const isDefault = name === 'amq.default';
  const where = path('exchanges', vhost, name);
  const bindings = seldom((signal) => Promise.all(['source', 'destination'].map((end) => get(`${where}/bindings/${end}`, {}, signal))));
  return {
    title: `Exchange ${isDefault ? exchangeName('') : name}`,
    load: async (signal, how) => {
      const [exchange, [from, to]] = await Promise.all([get(where, samples(spanOf(ctx.query)), signal), isDefault ? [[], []] : bindings(signal, how)]);
      return { exchange, from, to };
    },
    view: ({ exchange, from, to }) => [
      heading([h('span', { class: 'crumb' }, 'Exchange in ', vhostLink(vhost)), exchangeName(exchange.name), badge(exchange.type, 'accent')], spanPicker(ctx),
        h('a', { class: 'button', href: link(['topology'], { exchange: exchange.name, vhost }) }, 'Topology'),
        !isBuiltIn(exchange.name) && h('button', { class: 'danger', onclick: () => remove(ctx, exchange, from.length) }, 'Delete')),
      h('div', { class: 'stats' }, stat('Published in', rate(rateOf(exchange, 'publish_in'))), stat('Routed out', rate(rateOf(exchange, 'publish_out'))), stat('Bindings out', String(from.length)), stat('Bindings in', String(to.length))),
      h('div', { class: 'grid even' },
        card(null, chart({
          ctx, id: 'exchange-rates', title: 'Message rates', unit: '/s',
          series: [['Published in', 'publish_in'], ['Routed out', 'publish_out']].map(([label, key]) => ({ name: label, points: ratePoints(exchange.message_stats?.[`${key}_details`], `${where} ${key}`), value: rateOf(exchange, key) })),
        })),
        card('Details', facts([
          ['Type', exchange.type], ['Features', features(exchange)], ['Arguments', Object.keys(exchange.arguments ?? {}).length > 0 ? argumentList(exchange.arguments) : undefined],
          ['Policy', exchange.policy ? h('a', { href: link(['policies', vhost, exchange.policy]) }, exchange.policy) : 'none'], ['Alternate exchange', exchange.arguments?.['alternate-exchange']],
          ['Made by', exchange.user_who_performed_action],
        ]))),
      isDefault ? card('Bindings', h('p', { class: 'muted' }, 'The default exchange is bound to every queue with the queue’s name as the routing key. That cannot be changed.')) : [
        card('Bindings from here', bindingTable({ ctx, bindings: from, label: 'Bindings from here', end: 'destination', empty: 'No bindings: messages that are published here are dropped, or returned to publishers who asked for that.' })),
        fold('Bind to a queue or an exchange', bindForm({ ctx, vhost, source: name })),
        to.length > 0 && card('Bindings to here', bindingTable({ ctx, bindings: to, label: 'Bindings to here', end: 'source', empty: '' })),
      ],
      traffic(exchange),
      !exchange.internal && fold('Publish a message', publishForm({ ctx, vhost, exchange: name })),
    ],
  };
}

function columns(ctx) {
  return [
    { id: 'name', label: 'Name', sort: 'name', cell: (one) => exchangeLink(one.vhost, one.name) },
    { id: 'vhost', label: 'Virtual host', sort: 'vhost', optional: Boolean(ctx.vhost), cell: (one) => vhostLink(one.vhost) },
    { id: 'type', label: 'Type', sort: 'type', cell: (one) => one.type },
    { id: 'features', label: 'Features', minor: true, cell: features },
    { id: 'policy', label: 'Policy', sort: 'policy', cell: (one) => one.policy && badge(one.policy, 'accent') },
    { id: 'in', label: 'Rate in', sort: 'message_stats.publish_in_details.rate', number: true, cell: (one) => rate(rateOf(one, 'publish_in')) },
    { id: 'out', label: 'Rate out', sort: 'message_stats.publish_out_details.rate', number: true, cell: (one) => rate(rateOf(one, 'publish_out')) },
    { id: 'spark', label: 'Trend', title: 'In the last minute', cell: (one) => sparkline(ratePoints(one.message_stats?.publish_in_details, `${path('exchanges', one.vhost, one.name)} publish_in`), `Published to ${exchangeName(one.name)} in the last minute`) },
  ];
}

function features(one) {
  const list = [one.durable && ['D', 'durable'], one.auto_delete && ['AD', 'auto-delete'], one.internal && ['I', 'internal: exchanges publish here, clients do not'], one.arguments?.['alternate-exchange'] && ['AE', 'alternate exchange']];
  return list.filter(Boolean).map(([text, title]) => badge(text, '', title));
}

const isBuiltIn = (name) => name === '' || name.startsWith('amq.');

const remove = (ctx, { vhost, name }, bindings) => deleteObject({
  ctx, what: name, where: path('exchanges', vhost, name), back: ['exchanges'], choices: [['if-unused', 'Only if nothing is bound to it']],
  text: bindings > 0 ? `Its ${bindings} bindings go with it, and publishers who use it get their channel closed.` : 'It has no bindings.',
});

function traffic({ vhost, incoming = [], outgoing = [] }) {
  if (incoming.length === 0 && outgoing.length === 0) return card('Message flow', noTraffic());
  return h('div', { class: 'grid' },
    card('Publishers', plainTable({
      label: 'Publishers', rows: incoming, rowKey: (one) => one.channel_details?.name ?? '', empty: 'Nobody publishes now.',
      columns: [{ label: 'Channel', cell: (one) => channelLink(one.channel_details?.name) }, { label: 'Publish', number: true, cell: (one) => rate(one.stats?.publish_details?.rate ?? 0) }],
    })),
    card('Routed to', plainTable({
      label: 'Routed to', rows: outgoing, rowKey: (one) => one.queue?.name ?? '', empty: 'Nothing is routed now.',
      columns: [{ label: 'Queue', cell: (one) => queueLink(vhost, one.queue?.name ?? '') }, { label: 'Rate', number: true, cell: (one) => rate(one.stats?.publish_details?.rate ?? 0) }],
    })));
}

function rateSamples() {
  const { msg_rates_age, msg_rates_incr } = samples(SPARK);
  return { msg_rates_age, msg_rates_incr };
}

const declareForm = (ctx, types) => form({
  label: 'Declare an exchange', action: 'Declare exchange', done: 'The exchange is declared.',
  fields: [
    vhostField(ctx, 'exchange-'),
    field({ label: 'Name', name: 'name', form: 'exchange-', required: true }),
    field({ label: 'Type', name: 'type', form: 'exchange-', type: 'select', options: types.length > 0 ? types.map((type) => type.name) : ['direct', 'fanout', 'topic', 'headers'] }),
    field({ label: 'Durability', name: 'durable', form: 'exchange-', type: 'select', options: [['true', 'Durable'], ['false', 'Transient']] }),
    field({ label: 'Auto-delete when the last binding goes', name: 'auto_delete', form: 'exchange-', type: 'checkbox' }),
    field({ label: 'Internal: only exchanges publish to it', name: 'internal', form: 'exchange-', type: 'checkbox' }),
    argumentsField({ form: 'exchange-', known: [['alternate-exchange', 'Where messages go that no binding matches']] }),
  ],
  onsubmit: async (values) => {
    await put(path('exchanges', values.vhost, values.name), {
      type: values.type, durable: values.durable === 'true', auto_delete: values.auto_delete, internal: values.internal, arguments: argumentsFrom(values.arguments),
    });
    ctx.reload();
  },
});
