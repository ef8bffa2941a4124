// "What may this user do?" The answer for each kind of operation, and for what exists already.

import { get, getOr, path } from '../api.js';
import { badge, card, heading, note, userLink, vhostLink } from '../components/parts.js';
import { plainTable } from '../components/table.js';
import { exchangeName } from '../format.js';
import { h } from '../view.js';
import { tagsOf } from './users.js';

const KINDS = ['configure', 'write', 'read'];
const SHOWN = 100;

// What AMQP operations need, in RabbitMQ's words: the permission on which object.
const NEEDS = [
  ['Declare or delete a queue', [['configure', 'the queue']]],
  ['Declare a queue with a dead-letter exchange', [['configure', 'the queue'], ['read', 'the queue'], ['write', 'the dead-letter exchange']]],
  ['Declare or delete an exchange', [['configure', 'the exchange']]],
  ['Bind a queue', [['write', 'the queue'], ['read', 'the exchange']]],
  ['Publish', [['write', 'the exchange']]],
  ['Consume, get, purge', [['read', 'the queue']]],
];

export function permissionsPage(ctx) {
  return {
    title: 'What may a user do?',
    every: 0,
    load: async (signal) => {
      const users = await get('users', {}, signal);
      const user = users.find((one) => one.name === (ctx.query.user ?? ctx.user.name)) ?? users[0];
      const vhost = ctx.query.vhost ?? (ctx.vhost || '/');
      const [permissions, queues, exchanges] = await Promise.all([
        get(path('users', user.name, 'permissions'), {}, signal), objects('queues', vhost, ctx.query.name, signal), objects('exchanges', vhost, ctx.query.name, signal),
      ]);
      return { users, user, vhost, permission: permissions.find((one) => one.vhost === vhost), objects: [...queues, ...exchanges] };
    },
    view: ({ users, user, vhost, permission, objects: found }) => [
      heading('What may this user do?'),
      card(null, h('div', { class: 'form' },
        choice('User', user.name, users.map((one) => one.name), (value) => ctx.setQuery({ user: value })),
        choice('Virtual host', vhost, ctx.vhosts.map((one) => one.name), (value) => ctx.setQuery({ vhost: value })),
        h('div', { class: 'field' }, h('label', { for: 'check-name' }, 'Name of a queue or exchange'),
          h('input', { id: 'check-name', type: 'search', value: ctx.query.name ?? '', placeholder: 'any name, also one that does not exist', onchange: (event) => ctx.setQuery({ name: event.target.value }) })))),
      verdict(user, vhost, permission),
      permission && ctx.query.name && nameCard(permission, ctx.query.name),
      permission && card('What operations need', plainTable({
        label: 'What operations need', rows: NEEDS, rowKey: ([operation]) => operation,
        columns: [{ label: 'To', cell: ([operation]) => operation }, { label: 'the user needs', cell: ([, needs]) => needs.map(([kind, what], index) => [index > 0 && ', ', h('b', null, kind), ` on ${what}`, ' ', h('code', null, permission[kind] || '(nothing)')]) }],
      })),
      permission && card('What exists', plainTable({
        label: 'What exists', rows: found, rowKey: (one) => `${one.kind} ${one.name}`, empty: 'No queue or exchange has this in its name.',
        columns: [{ label: 'Name', cell: (one) => exchangeName(one.name) }, { label: 'Kind', cell: (one) => one.kind }, ...KINDS.map((kind) => ({ label: kind[0].toUpperCase() + kind.slice(1), cell: (one) => answer(allows(permission[kind], one.name)) }))],
      })),
    ],
  };
}

/** RabbitMQ's rule: the expression may match anywhere in the name; empty matches nothing but the empty name. */
function allows(pattern, name) {
  try {
    return new RegExp(pattern === '' ? '^$' : pattern).test(name === '' ? 'amq.default' : name);
  } catch {
    return undefined;
  }
}

const answer = (allowed) => (allowed === undefined ? badge('unreadable here', 'warn') : allowed ? badge('yes', 'good') : badge('no', 'bad'));

function verdict(user, vhost, permission) {
  const tags = tagsOf(user);
  const login = tags.some((tag) => ['management', 'policymaker', 'monitoring', 'administrator'].includes(tag));
  return [
    permission
      ? note('good', h('strong', null, userLink(user.name), ' may connect to ', vhostLink(vhost), '.'), h('p', null, login ? `It may log in here: ${tags.join(', ')}.` : 'It may not log in here: it has no tag for that.'))
      : note('bad', h('strong', null, `${user.name} may not use ${vhost}: it has no permissions there.`), h('p', null, 'Clients get “access refused” when they connect. Set permissions on the user’s page.')),
  ];
}

const nameCard = (permission, name) => card(`“${name}”`, h('div', { class: 'actions' }, KINDS.map((kind) => h('span', { key: kind }, `${kind} `, answer(allows(permission[kind], name))))));

const choice = (label, value, options, onchange) => h('div', { class: 'field' }, h('label', { for: `check-${label}` }, label),
  h('select', { id: `check-${label}`, value, onchange: (event) => onchange(event.target.value) }, options.map((option) => h('option', { value: option, selected: option === value }, option))));

async function objects(list, vhost, name = '', signal) {
  const { items = [] } = await getOr({}, path(list, vhost), { page: 1, page_size: SHOWN, name, columns: 'name', pagination: true, disable_stats: true, enable_queue_totals: true }, signal);
  return items.map((item) => ({ name: item.name, kind: list === 'queues' ? 'queue' : 'exchange' }));
}
