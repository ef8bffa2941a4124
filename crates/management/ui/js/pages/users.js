// Users: who may log in, with which tags, and what each may do where.

import { get, getOr, path, put, remove as removeAt } from '../api.js';
import { field, fold, form } from '../components/form.js';
import { attempt } from '../components/toast.js';
import { badge, card, empty, heading, note, userLink, vhostLink } from '../components/parts.js';
import { localPage, plainTable, table } from '../components/table.js';
import { link } from '../router.js';
import { h } from '../view.js';
import { deleteObject, vhostField } from './common.js';

const TAGS = [
  ['management', 'log in here, see own virtual hosts'], ['policymaker', 'and set policies and parameters there'], ['monitoring', 'and see all connections and nodes'],
  ['administrator', 'and manage users, permissions and virtual hosts'], ['impersonator', 'publish with another user’s id'],
];

export function usersPage(ctx) {
  return {
    title: 'Users',
    load: async (signal) => {
      const [users, permissions] = await Promise.all([get('users', {}, signal), get('permissions', {}, signal)]);
      return { users, permissions };
    },
    view: ({ users, permissions }) => [
      heading('Users', h('a', { class: 'button', href: link(['permissions']) }, 'What may a user do?')),
      table({
        ctx, id: 'users', label: 'Users', page: localPage(users, ctx.query, (user) => user.name), rowKey: (user) => user.name, empty: empty('No users'),
        columns: [
          { id: 'name', label: 'Name', sort: 'name', cell: (user) => userLink(user.name) },
          { id: 'tags', label: 'Tags', sort: 'tags', cell: (user) => tagsOf(user).map((tag) => badge(tag, tag === 'administrator' ? 'accent' : '')) },
          { id: 'vhosts', label: 'May use', cell: (user) => vhostsOf(user, permissions) },
          { id: 'limits', label: 'Limits', cell: (user) => Object.entries(user.limits ?? {}).map(([name, value]) => badge(`${name} ${value}`)) },
          { id: 'password', label: 'Password', cell: (user) => (user.password_hash ? 'set' : badge('cannot log in with a password', 'warn')) },
        ],
      }),
      fold('Add a user', form({
        label: 'Add a user', action: 'Add user', done: 'The user is added. Give it permissions on a virtual host next.',
        fields: [field({ label: 'Name', name: 'name', form: 'user-', required: true }), ...passwordFields('Empty: the user logs in by a certificate or a token only.'), tagsField()],
        onsubmit: async (values) => {
          await put(path('users', values.name), { ...(values.password ? { password: checked(values) } : { password_hash: '' }), tags: values.tags });
          ctx.reload();
        },
      })),
    ],
  };
}

export function userPage(ctx) {
  const { name } = ctx.params;
  const where = path('users', name);
  return {
    title: `User ${name}`,
    load: async (signal) => {
      const [user, permissions, topics, limits] = await Promise.all([get(where, {}, signal), get(`${where}/permissions`, {}, signal), get(`${where}/topic-permissions`, {}, signal), getOr([], path('user-limits', name), {}, signal)]);
      return { user, permissions, topics, limits };
    },
    view: ({ user, permissions, topics, limits }) => [
      heading([h('span', { class: 'crumb' }, 'User'), name, tagsOf(user).map((tag) => badge(tag, 'accent'))],
        h('a', { class: 'button', href: link(['permissions'], { user: name }) }, 'What may this user do?'),
        h('button', { class: 'danger', onclick: () => deleteObject({ ctx, what: `user ${name}`, text: 'Its permissions go with it, and its connections are closed.', where, back: ['users'] }) }, 'Delete')),
      permissions.length === 0 && note('warn', 'This user has no permissions, so that clients cannot connect with it. Set them below.'),
      card('Permissions', plainTable({
        label: 'Permissions', rows: permissions, rowKey: (one) => one.vhost, empty: 'None.',
        columns: [
          { label: 'Virtual host', cell: (one) => vhostLink(one.vhost) }, ...['configure', 'write', 'read'].map((kind) => ({ label: kind[0].toUpperCase() + kind.slice(1), cell: (one) => h('code', null, one[kind] || '(nothing)') })),
          { label: '', cell: (one) => clearButton(ctx, path('permissions', one.vhost, name), `permissions on ${one.vhost}`) },
        ],
      })),
      fold('Set permissions', permissionForm(ctx, { user: name })),
      card('Topic permissions', plainTable({
        label: 'Topic permissions', rows: topics, rowKey: (one) => `${one.vhost} ${one.exchange}`, empty: 'None: every routing key is allowed on topic exchanges that the permissions allow.',
        columns: [
          { label: 'Virtual host', cell: (one) => vhostLink(one.vhost) }, { label: 'Exchange', cell: (one) => one.exchange || '(AMQP default)' }, ...['write', 'read'].map((kind) => ({ label: kind[0].toUpperCase() + kind.slice(1), cell: (one) => h('code', null, one[kind]) })),
          { label: '', cell: (one) => clearButton(ctx, path('topic-permissions', one.vhost, name, one.exchange), `topic permissions on ${one.exchange}`) },
        ],
      })),
      fold('Set topic permissions', form({
        label: 'Set topic permissions', action: 'Set topic permissions', done: 'The topic permissions are set.', keep: true,
        fields: [vhostField(ctx, 'topic-'), field({ label: 'Exchange', name: 'exchange', form: 'topic-', value: 'amq.topic', required: true }), ...patterns(['write', 'read'], 'topic-')],
        onsubmit: async ({ vhost, ...body }) => { await put(path('topic-permissions', vhost, name), body); ctx.reload(); },
      })),
      card('Limits', plainTable({
        label: 'Limits', rows: Object.entries(limits[0]?.value ?? {}), rowKey: ([limit]) => limit, empty: 'None.',
        columns: [{ label: 'Limit', cell: ([limit]) => limit }, { label: 'Value', number: true, cell: ([, value]) => String(value) }, { label: '', cell: ([limit]) => clearButton(ctx, path('user-limits', name, limit), limit) }],
      })),
      fold('Change password or tags', form({
        label: 'Change the user', action: 'Change user', done: 'The user is changed.',
        fields: [...passwordFields('Empty keeps the old one.', 'New password'), noPassword(user), tagsField(tagsOf(user).join(','))],
        onsubmit: async (values) => {
          const kept = { password_hash: values.without ? '' : user.password_hash ?? '', hashing_algorithm: user.hashing_algorithm };
          const password = values.password && !values.without ? { password: checked(values) } : kept;
          await put(where, { ...password, tags: values.tags });
          ctx.reload();
        },
      })),
    ],
  };
}

/** The form that gives a user permissions on a vhost; one of both is known, or neither. */
export const permissionForm = (ctx, { user, vhost }) => form({
  label: 'Set permissions', action: 'Set permissions', done: 'The permissions are set.', keep: true,
  fields: [user === undefined && field({ label: 'User', name: 'user', form: 'permission-', required: true }), vhost === undefined && vhostField(ctx, 'permission-'), ...patterns(['configure', 'write', 'read'], 'permission-')],
  onsubmit: async ({ user: typed, vhost: chosen, ...body }) => { await put(path('permissions', vhost ?? chosen, user ?? typed), body); ctx.reload(); },
});

/** The tags of a user, which older answers give as one text. */
export const tagsOf = ({ tags }) => (Array.isArray(tags) ? tags : String(tags ?? '').split(',').filter((tag) => tag !== ''));

const patterns = (kinds, owner) => kinds.map((kind) =>
  field({ label: `${kind[0].toUpperCase()}${kind.slice(1)}`, name: kind, form: owner, value: '.*', hint: 'A regular expression over names; empty for none.' }));

const passwordFields = (hint, label = 'Password') => [
  field({ label, name: 'password', form: 'user-', type: 'password', autocomplete: 'new-password', hint }),
  field({ label: 'The same again', name: 'again', form: 'user-', type: 'password', autocomplete: 'new-password' }),
];

const noPassword = ({ password_hash: hash }) => Boolean(hash) && field({ label: 'Take the password away', name: 'without', form: 'user-', type: 'checkbox' });

const tagsField = (value = '') => h('div', { class: 'wide', key: 'tags' },
  field({ label: 'Tags', name: 'tags', form: 'user-', value, list: 'known-tags', hint: `Separated by commas: ${TAGS.map(([tag, meaning]) => `${tag} (${meaning})`).join(', ')}. Clients that only send and receive need none.` }),
  h('datalist', { id: 'known-tags' }, TAGS.map(([tag]) => h('option', { value: tag }))));

function checked({ password, again }) {
  if (password !== again) throw new Error('The two passwords differ.');
  return password;
}

function vhostsOf(user, permissions) {
  const mine = permissions.filter((one) => one.user === user.name);
  if (mine.length === 0) return badge('no virtual host', 'warn');
  return mine.map((one, index) => [index > 0 && ', ', vhostLink(one.vhost)]);
}

const clearButton = (ctx, where, what) => h('button', {
  class: 'quiet', 'aria-label': `Clear ${what}`,
  onclick: async () => { if (await attempt(() => removeAt(where), `Cleared ${what}.`)) ctx.reload(); },
}, 'Clear');
