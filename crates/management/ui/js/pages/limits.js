// Limits per virtual host and per user.

import { get, getOr, path, put, remove } from '../api.js';
import { field, fold, form } from '../components/form.js';
import { attempt } from '../components/toast.js';
import { card, heading, userLink, vhostLink } from '../components/parts.js';
import { plainTable } from '../components/table.js';
import { h } from '../view.js';
import { vhostField } from './common.js';

const KINDS = {
  'vhost-limits': { names: ['max-connections', 'max-queues'], owner: 'vhost', title: 'Virtual host limits', empty: 'No virtual host is limited.', link: vhostLink },
  'user-limits': { names: ['max-connections', 'max-channels'], owner: 'user', title: 'User limits', empty: 'No user is limited.', link: userLink },
};

export function limitsPage(ctx) {
  return {
    title: 'Limits',
    load: async (signal) => {
      const [vhosts, users] = await Promise.all([get('vhost-limits', {}, signal), getOr([], 'user-limits', {}, signal)]);
      return { 'vhost-limits': vhosts, 'user-limits': users };
    },
    view: (data) => [heading('Limits'), Object.entries(KINDS).map(([kind, about]) => [
      card(about.title, limitTable(ctx, kind, about, data[kind])),
      fold(`Set a ${about.owner === 'vhost' ? 'virtual host' : 'user'} limit`, limitForm(ctx, kind, about)),
    ])],
  };
}

function limitTable(ctx, kind, about, rows) {
  const flat = rows.flatMap((row) => Object.entries(row.value).map(([name, value]) => ({ owner: row[about.owner], name, value })));
  return plainTable({
    label: about.title, rows: flat, rowKey: (row) => `${row.owner} ${row.name}`, empty: about.empty,
    columns: [
      { label: about.owner === 'vhost' ? 'Virtual host' : 'User', cell: (row) => about.link(row.owner) }, { label: 'Limit', cell: (row) => row.name }, { label: 'Value', number: true, cell: (row) => (row.value < 0 ? 'no limit' : String(row.value)) },
      { label: '', cell: (row) => h('button', { class: 'quiet', 'aria-label': `Clear ${row.name} of ${row.owner}`, onclick: async () => { if (await attempt(() => remove(path(kind, row.owner, row.name)), 'The limit is cleared.')) ctx.reload(); } }, 'Clear') },
    ],
  });
}

const limitForm = (ctx, kind, about) => form({
  label: about.title, action: 'Set limit', done: 'The limit is set.',
  fields: [
    about.owner === 'vhost' ? vhostField(ctx, `${kind}-`) : field({ label: 'User', name: 'user', form: `${kind}-`, required: true }),
    field({ label: 'Limit', name: 'name', form: `${kind}-`, type: 'select', options: about.names }),
    field({ label: 'Value', name: 'value', form: `${kind}-`, type: 'number', required: true, hint: '0 allows none; –1 is no limit.' }),
  ],
  onsubmit: async (values) => {
    await put(path(kind, values[about.owner], values.name), { value: Number(values.value) });
    ctx.reload();
  },
});
