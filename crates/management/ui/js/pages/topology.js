// The topology of a virtual host as a picture with live rates, and the route tester: where would this message go?

import { get, getOr, path } from '../api.js';
import { argumentsField, argumentsFrom, field, form } from '../components/form.js';
import { empty, exchangeLink, heading, note, queueLink } from '../components/parts.js';
import { count, exchangeName, plural, rate, rateOf } from '../format.js';
import { curve, layout } from '../graph.js';
import { link } from '../router.js';
import { bindingId, route } from '../routing.js';
import { h } from '../view.js';

// A picture with more boxes than this helps nobody; then the operator chooses where to start.
const MOST_QUEUES = 150;
// Where a queue is fed by several exchanges only the exchanges know the rates; this many are asked.
const MOST_DETAILS = 12;

const FIRST = { page: 1, page_size: 500, pagination: true, sort: 'name' };
const EXCHANGE_FIELDS = 'name,type,arguments,effective_policy_definition';
const QUEUE_FIELDS = `name,messages,consumers,arguments,effective_policy_definition,${['publish', 'deliver_get'].map((name) => `message_stats.${name}_details.rate`).join()}`;

export function topologyPage(ctx) {
  const { exchange, key } = ctx.query;
  const tester = { asked: key === undefined ? undefined : { exchange: exchange ?? '', key, headers: {} } };
  const vhostOf = () => ctx.query.vhost ?? (ctx.vhost || '/');
  return {
    title: 'Topology',
    load: (signal) => topologyOf(vhostOf(), ctx.query.exchange, signal),
    view: (topology) => {
      const vhost = vhostOf();
      const routed = tester.asked && route(topology, tester.asked.exchange, tester.asked.key, tester.asked.headers);
      return [
        heading('Topology', vhostPicker(ctx, vhost), startPicker(ctx, topology)),
        testForm(ctx, topology, tester),
        routed && verdict(vhost, tester.asked, routed),
        topology.isTooLarge && note('warn', h('strong', null, `${count(topology.total)} queues are too many for one picture.`), h('p', null, 'Choose the exchange to start from above.')),
        picture(vhost, topology, routed),
      ];
    },
  };
}

async function topologyOf(vhost, start, signal) {
  const [queuePage, exchangePage] = await Promise.all([
    get(path('queues', vhost), { ...FIRST, columns: QUEUE_FIELDS }, signal),
    get(path('exchanges', vhost), { ...FIRST, columns: EXCHANGE_FIELDS }, signal),
  ]);
  const exchanges = new Map(exchangePage.items.map((one) => [one.name, one]));
  const queues = new Map(queuePage.items.map((one) => [one.name, one]));
  const isTooLarge = start === undefined && queuePage.total_count > MOST_QUEUES;
  const bindings = start ? await bindingsFrom(vhost, start, signal) : isTooLarge ? [] : (await get(path('bindings', vhost), {}, signal)).filter((one) => one.source !== '');
  const rates = await edgeRates(vhost, bindings, queues, signal);
  return { exchanges, queues, bindings, rates, isTooLarge, total: queuePage.total_count, start };
}

/** Follows bindings from one exchange through those that it feeds. */
async function bindingsFrom(vhost, start, signal) {
  const seen = new Set();
  const found = [];
  const waiting = [start];
  while (waiting.length > 0 && found.length < MOST_QUEUES * 2) {
    const name = waiting.shift();
    if (seen.has(name) || name === '') continue;
    seen.add(name);
    const bindings = await getOr([], `${path('exchanges', vhost, name)}/bindings/source`, {}, signal);
    found.push(...bindings);
    waiting.push(...bindings.filter((one) => one.destination_type === 'exchange').map((one) => one.destination));
  }
  return found;
}

/** Messages per second from an exchange to a queue, by `exchange|queue`. */
async function edgeRates(vhost, bindings, queues, signal) {
  const sources = new Map();
  for (const { source, destination, destination_type: type } of bindings) {
    if (type === 'queue') sources.set(destination, (sources.get(destination) ?? new Set()).add(source));
  }
  const rates = new Map();
  const ambiguous = new Set();
  for (const [queue, names] of sources) {
    if (names.size === 1) rates.set(`${[...names][0]}|${queue}`, rateOf(queues.get(queue) ?? {}, 'publish'));
    else names.forEach((name) => ambiguous.add(name));
  }
  await Promise.all([...ambiguous].slice(0, MOST_DETAILS).map(async (name) => {
    const { outgoing = [] } = await getOr({}, path('exchanges', vhost, name), {}, signal);
    for (const { queue, stats } of outgoing) rates.set(`${name}|${queue?.name}`, stats?.publish_details?.rate ?? 0);
  }));
  return rates;
}

const vhostPicker = (ctx, vhost) => h('label', { class: 'inline' }, 'Virtual host',
  h('select', { value: vhost, onchange: (event) => ctx.setQuery({ vhost: event.target.value, exchange: undefined, key: undefined }) },
    ctx.vhosts.map(({ name }) => h('option', { value: name, selected: name === vhost }, name))));

const startPicker = (ctx, { exchanges }) => h('label', { class: 'inline' }, 'Start from',
  h('select', { value: ctx.query.exchange ?? '', onchange: (event) => ctx.setQuery({ exchange: event.target.value || undefined }) },
    h('option', { value: '', selected: !ctx.query.exchange }, 'all exchanges'),
    [...exchanges.keys()].filter((name) => name !== '').map((name) => h('option', { value: name, selected: name === ctx.query.exchange }, name))));

const testForm = (ctx, { exchanges }, tester) => h('details', { class: 'fold', open: Boolean(ctx.query.key), key: 'tester' }, h('summary', null, 'Route tester: where would this message go?'),
  form({
    label: 'Route tester', action: 'Test the route', keep: true, done: 'The way is marked in the picture.',
    fields: [
      field({ label: 'Exchange', name: 'exchange', form: 'route-', type: 'select', options: [...exchanges.keys()].map((name) => [name, exchangeName(name)]), value: ctx.query.exchange ?? '' }),
      field({ label: 'Routing key', name: 'key', form: 'route-', value: ctx.query.key ?? '' }),
      argumentsField({ label: 'Headers', name: 'headers', form: 'route-' }),
    ],
    onsubmit: async ({ exchange, key, headers }) => {
      tester.asked = { exchange, key, headers: argumentsFrom(headers) };
      ctx.redraw();
    },
  }));

const verdict = (vhost, { exchange, key }, { queues, notes }) => note(queues.size > 0 ? 'good' : 'bad',
  h('strong', null, queues.size > 0 ? `“${key}” to ${exchangeName(exchange)} reaches ${plural(queues.size, 'queue')}: ` : `“${key}” to ${exchangeName(exchange)} reaches no queue.`),
  [...queues].map((name, index) => [index > 0 && ', ', queueLink(vhost, name)]),
  queues.size === 0 && h('p', null, 'It would be dropped, or returned if the publisher set “mandatory”. Add a binding that matches on the page of ', exchangeLink(vhost, exchange), '.'),
  notes.map((text) => h('p', null, text)));

function picture(vhost, topology, routed) {
  const { nodes, edges } = parts(topology);
  if (edges.length === 0 && !topology.isTooLarge) return empty('Nothing is bound here', h('p', { class: 'muted' }, 'Exchanges, the queues that are bound to them and who consumes appear here. Bind a queue on the page of an exchange.'));
  if (nodes.length === 0) return null;
  const drawn = layout(nodes, edges);
  return h('div', { class: 'graph', tabindex: '0', role: 'region', 'aria-label': 'Topology' },
    h('svg', { width: drawn.width, height: drawn.height, viewBox: `0 0 ${drawn.width} ${drawn.height}`, role: 'group', 'aria-label': `${plural(nodes.length, 'object')} and ${plural(edges.length, 'binding')}` },
      drawn.titles.map(({ x, text }) => h('text', { class: 'title', x, y: 20 }, text)),
      edges.map((edge) => line(edge, drawn, routed)),
      edges.map((edge) => edgeLabel(edge, drawn)),
      [...drawn.nodes.values()].map((node) => box(vhost, node, routed))));
}

/** The boxes and lines: exchanges with bindings, bound queues, and one box of consumers per queue that has some. */
function parts({ exchanges, queues, bindings, rates, start }) {
  const names = new Set(bindings.flatMap((one) => (one.destination_type === 'exchange' ? [one.source, one.destination] : [one.source])));
  if (start) names.add(start);
  const bound = [...new Set(bindings.filter((one) => one.destination_type === 'queue').map((one) => one.destination))].slice(0, MOST_QUEUES);
  const consumed = bound.filter((name) => queues.get(name)?.consumers > 0);
  const nodes = [
    ...[...names].map((name) => ({ id: `e:${name}`, kind: 'exchange', name, sub: exchanges.get(name)?.type ?? 'exchange' })),
    ...bound.map((name) => ({ id: `q:${name}`, kind: 'queue', name, sub: queues.has(name) ? holding(queues.get(name)) : '' })),
    ...consumed.map((name) => ({ id: `c:${name}`, kind: 'consumers', name: plural(queues.get(name).consumers, 'consumer'), sub: rate(rateOf(queues.get(name), 'deliver_get')), queue: name })),
  ];
  const known = new Set(nodes.map((node) => node.id));
  const edges = [
    ...bindings.map((one) => ({ id: bindingId(one), from: `e:${one.source}`, to: `${one.destination_type === 'queue' ? 'q' : 'e'}:${one.destination}`, label: one.routing_key, rate: rates.get(`${one.source}|${one.destination}`) })),
    ...consumed.map((name) => ({ id: `consume ${name}`, from: `q:${name}`, to: `c:${name}`, rate: rateOf(queues.get(name), 'deliver_get'), label: '' })),
  ].filter((edge) => known.has(edge.from) && known.has(edge.to));
  return { nodes, edges };
}

/** What a queue holds, and where its dead letters go. */
function holding({ messages = 0, arguments: args, effective_policy_definition: policy }) {
  const dead = args?.['x-dead-letter-exchange'] ?? policy?.['dead-letter-exchange'];
  return `${plural(messages, 'message')}${dead === undefined ? '' : `, dead to ${exchangeName(dead)}`}`;
}

function line(edge, drawn, routed) {
  const tone = routed?.edges.has(edge.id) ? 'routed' : edge.rate > 0 ? 'live' : '';
  return h('path', { key: edge.id, class: `edge ${tone}`, d: curve(drawn, edge) });
}

function edgeLabel(edge, { nodes }) {
  const to = nodes.get(edge.to);
  const middle = to.y + to.height / 2;
  const text = (which, words, y) => h('text', { key: `${which} ${edge.id}`, class: 'edge-label', x: to.x - 8, y, 'text-anchor': 'end' }, words);
  return [edge.label && text('key', shortened(edge.label, 22), middle - 5), edge.rate > 0 && text('rate', rate(edge.rate), middle + 14)];
}

function box(vhost, node, routed) {
  const go = () => { location.hash = link(node.kind === 'exchange' ? ['exchanges', vhost, node.name] : ['queues', vhost, node.queue ?? node.name]); };
  const isRouted = node.kind === 'exchange' ? routed?.exchanges.has(node.name) : node.kind === 'queue' && routed?.queues.has(node.name);
  const shown = shortened(node.name, 24);
  const keys = (event) => { if (event.key === 'Enter') go(); };
  return h('g', { key: node.id, class: `node ${node.kind} ${isRouted ? 'routed' : ''}`, role: 'link', tabindex: '0', onclick: go, onkeydown: keys },
    h('rect', { class: 'box', x: node.x, y: node.y, width: node.width, height: node.height, rx: node.kind === 'exchange' ? 20 : 6 }),
    h('text', { x: node.x + 16, y: node.y + 17 }, shown),
    h('text', { class: 'sub', x: node.x + 16, y: node.y + 32 }, shortened(node.sub, 29)));
}

const shortened = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);
