// Runtime parameters, of a virtual host and global: what shovels, federation and the like are configured with.

import { get, getOr, path, put } from '../api.js';
import { field, fold, form } from '../components/form.js';
import { card, heading, vhostLink } from '../components/parts.js';
import { plainTable } from '../components/table.js';
import { plain } from '../format.js';
import { h } from '../view.js';
import { deleteObject, vhostField } from './common.js';

// These have pages of their own, with words for what they mean.
const ELSEWHERE = new Set(['policy', 'operator_policy', 'vhost-limits', 'user-limits']);

export function parametersPage(ctx) {
  return {
    title: 'Parameters',
    load: async (signal) => {
      const [parameters, global] = await Promise.all([get('parameters', {}, signal), getOr([], 'global-parameters', {}, signal)]);
      return { parameters: parameters.filter((one) => !ELSEWHERE.has(one.component)), global };
    },
    view: ({ parameters, global }) => [
      heading('Parameters'),
      card('Of virtual hosts', plainTable({
        label: 'Parameters of virtual hosts', rows: parameters, rowKey: (one) => `${one.component} ${one.vhost} ${one.name}`, empty: 'None. Plugins such as shovel and federation keep what they are to do here.',
        columns: [
          { label: 'Component', cell: (one) => one.component }, { label: 'Name', cell: (one) => one.name }, { label: 'Virtual host', cell: (one) => vhostLink(one.vhost) }, { label: 'Value', cell: (one) => h('code', null, plain(one.value)) },
          { label: '', cell: (one) => deleteButton(ctx, one.name, path('parameters', one.component, one.vhost, one.name)) },
        ],
      })),
      fold('Set a parameter', form({
        label: 'Set a parameter', action: 'Set parameter', done: 'The parameter is set.', keep: true,
        fields: [field({ label: 'Component', name: 'component', form: 'parameter-', required: true, value: 'shovel' }), vhostField(ctx, 'parameter-'), field({ label: 'Name', name: 'name', form: 'parameter-', required: true }), jsonField('parameter-')],
        onsubmit: async ({ component, vhost, name, value }) => { await put(path('parameters', component, vhost, name), { component, vhost, name, value: json(value) }); ctx.reload(); },
      })),
      card('Global', plainTable({
        label: 'Global parameters', rows: global, rowKey: (one) => one.name, empty: 'None.',
        columns: [{ label: 'Name', cell: (one) => one.name }, { label: 'Value', cell: (one) => h('code', null, plain(one.value)) }, { label: '', cell: (one) => deleteButton(ctx, one.name, path('global-parameters', one.name)) }],
      })),
      fold('Set a global parameter', form({
        label: 'Set a global parameter', action: 'Set global parameter', done: 'The parameter is set.', keep: true,
        fields: [field({ label: 'Name', name: 'name', form: 'global-', required: true }), jsonField('global-')],
        onsubmit: async ({ name, value }) => { await put(path('global-parameters', name), { name, value: json(value) }); ctx.reload(); },
      })),
    ],
  };
}

const jsonField = (owner) => h('div', { class: 'wide', key: `${owner}value` }, field({ label: 'Value, as JSON', name: 'value', form: owner, type: 'textarea', class: 'code', value: '{}', spellcheck: 'false' }));

const deleteButton = (ctx, name, where) => h('button', { class: 'quiet', 'aria-label': `Delete parameter ${name}`, onclick: () => deleteObject({ ctx, what: `parameter ${name}`, text: 'What it configures stops at once.', where }) }, 'Delete');

function json(text) {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Error(`The value is not JSON: ${error.message}`);
  }
}
