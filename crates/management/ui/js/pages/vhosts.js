// Virtual hosts: the list, and one of them with who may use it and what limits it.

import { get, getOr, path, post, put, remove as removeAt } from '../api.js';
import { field, fold, form } from '../components/form.js';
import { attempt } from '../components/toast.js';
import { badge, card, empty, facts, heading, note, stat, userLink, vhostLink } from '../components/parts.js';
import { localPage, plainTable, table } from '../components/table.js';
import { bytes, count, rate, rateOf } from '../format.js';
import { h } from '../view.js';
import { deleteObject } from './common.js';
import { permissionForm } from './users.js';

const TYPES = [['', 'Default of the broker'], 'classic', 'quorum', 'stream'];

export function vhostsPage(ctx) {
  return {
    title: 'Virtual Hosts',
    load: (signal) => get('vhosts', {}, signal),
    view: (vhosts) => [
      heading('Virtual Hosts'),
      table({
        ctx, id: 'vhosts', label: 'Virtual hosts', page: localPage(vhosts, ctx.query, (one) => `${one.name} ${one.description ?? ''}`), rowKey: (one) => one.name, empty: empty('No virtual hosts'),
        columns: [
          { id: 'name', label: 'Name', sort: 'name', cell: (one) => vhostLink(one.name) },
          { id: 'description', label: 'Description', sort: 'description', cell: (one) => one.description },
          { id: 'tags', label: 'Tags', cell: (one) => (one.tags ?? []).map((tag) => badge(tag)) },
          { id: 'type', label: 'Default queue type', sort: 'default_queue_type', cell: (one) => one.default_queue_type },
          { id: 'state', label: 'State', cell: (one) => states(one) },
          { id: 'ready', label: 'Ready', sort: 'messages_ready', number: true, cell: (one) => count(one.messages_ready ?? 0) },
          { id: 'unacked', label: 'Unacked', sort: 'messages_unacknowledged', number: true, cell: (one) => count(one.messages_unacknowledged ?? 0) },
          { id: 'publish', label: 'Publish', sort: 'message_stats.publish_details.rate', number: true, cell: (one) => rate(rateOf(one, 'publish')) },
          { id: 'deliver', label: 'Deliver / get', sort: 'message_stats.deliver_get_details.rate', number: true, cell: (one) => rate(rateOf(one, 'deliver_get')) },
          { id: 'protected', label: 'Protected', cell: (one) => (one.protected_from_deletion ? badge('protected', 'accent') : 'no') },
        ],
      }),
      fold('Add a virtual host', form({
        label: 'Add a virtual host', action: 'Add virtual host', done: 'The virtual host is added. Give users permissions on it next.',
        fields: [field({ label: 'Name', name: 'name', form: 'vhost-', required: true }), ...describing()],
        onsubmit: async ({ name, ...body }) => {
          await put(path('vhosts', name), clean(body));
          await ctx.shell.reloadVhosts();
          ctx.reload();
        },
      })),
    ],
  };
}

export function vhostPage(ctx) {
  const { name } = ctx.params;
  const where = path('vhosts', name);
  return {
    title: `Virtual host ${name}`,
    load: async (signal) => {
      const [vhost, permissions, limits] = await Promise.all([get(where, {}, signal), getOr([], `${where}/permissions`, {}, signal), getOr([], path('vhost-limits', name), {}, signal)]);
      return { vhost, permissions, limits };
    },
    view: ({ vhost, permissions, limits }) => [
      heading([h('span', { class: 'crumb' }, 'Virtual host'), name, states(vhost)],
        h('button', { onclick: () => protect(ctx, where, vhost) }, vhost.protected_from_deletion ? 'Allow deletion' : 'Protect from deletion'),
        h('button', { class: 'danger', disabled: vhost.protected_from_deletion, onclick: () => remove(ctx, where, vhost) }, 'Delete')),
      stopped(ctx, vhost),
      permissions.length === 0 && note('warn', 'No user has permissions here, so that nobody can connect to it.'),
      h('div', { class: 'stats' },
        stat('Ready', count(vhost.messages_ready ?? 0)), stat('Unacked', count(vhost.messages_unacknowledged ?? 0)), stat('Publish', rate(rateOf(vhost, 'publish'))), stat('Deliver / get', rate(rateOf(vhost, 'deliver_get'))),
        stat('From clients', bytes(vhost.recv_oct ?? 0)), stat('To clients', bytes(vhost.send_oct ?? 0))),
      card('Details', facts([['Description', vhost.description], ['Tags', vhost.tags?.join(', ')], ['Default queue type', vhost.default_queue_type], ['Tracing', vhost.tracing]])),
      card('Permissions', plainTable({
        label: 'Permissions', rows: permissions, rowKey: (one) => one.user, empty: 'Nobody.',
        columns: [{ label: 'User', cell: (one) => userLink(one.user) }, ...['configure', 'write', 'read'].map((kind) => ({ label: kind[0].toUpperCase() + kind.slice(1), cell: (one) => h('code', null, one[kind] || '(nothing)') }))],
      })),
      fold('Set permissions', permissionForm(ctx, { vhost: name })),
      card('Limits', plainTable({
        label: 'Limits', rows: Object.entries(limits[0]?.value ?? {}), rowKey: ([limit]) => limit, empty: 'None.',
        columns: [{ label: 'Limit', cell: ([limit]) => limit }, { label: 'Value', number: true, cell: ([, value]) => String(value) }],
      })),
      fold('Change description and defaults', form({ label: 'Change the virtual host', action: 'Change virtual host', done: 'The virtual host is changed.', keep: true, fields: describing(vhost), onsubmit: async (body) => { await put(where, clean(body)); ctx.reload(); } })),
    ],
  };
}

const describing = (vhost = {}) => [
  field({ label: 'Description', name: 'description', form: 'vhost-', value: vhost.description ?? '' }),
  field({ label: 'Tags', name: 'tags', form: 'vhost-', value: vhost.tags?.join(',') ?? '', hint: 'Separated by commas.' }),
  field({ label: 'Default queue type', name: 'default_queue_type', form: 'vhost-', type: 'select', options: TYPES, value: vhost.default_queue_type ?? '' }),
];

const clean = ({ default_queue_type: type, ...body }) => (type ? { ...body, default_queue_type: type } : body);

const states = ({ cluster_state: nodes = {} }) => Object.entries(nodes).map(([node, word]) => badge(word, word === 'running' ? 'good' : 'bad', node));

/** The nodes on which it does not run, each with a way to start it there. */
const stopped = (ctx, { name, cluster_state: nodes = {} }) => Object.entries(nodes).filter(([, word]) => word !== 'running').map(([node]) =>
  h('div', { key: node }, note('bad', h('strong', null, `It does not run on ${node}, so that nobody can use it there.`), h('p', null, 'The log of the node says why. ',
    h('button', { onclick: async () => { if (await attempt(() => post(path('vhosts', name, 'start', node)), 'It was started.')) ctx.reload(); } }, 'Start it')))));

async function protect(ctx, where, vhost) {
  const at = `${where}/deletion/protection`;
  const change = () => (vhost.protected_from_deletion ? removeAt(at) : post(at));
  if (await attempt(change, vhost.protected_from_deletion ? 'It can be deleted now.' : 'It is protected now.')) ctx.reload();
}

async function remove(ctx, where, { name, messages = 0 }) {
  await deleteObject({ ctx, what: `virtual host ${name}`, text: `All its exchanges, queues, bindings, policies and permissions go with it, and ${count(messages)} messages.`, where, back: ['vhosts'], typed: name });
  await ctx.shell.reloadVhosts();
}
