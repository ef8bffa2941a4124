// The cluster's name, and its feature flags and deprecated features.

import { get, getOr, path, put } from '../api.js';
import { field, form } from '../components/form.js';
import { attempt } from '../components/toast.js';
import { badge, card, empty, heading } from '../components/parts.js';
import { localPage, plainTable, table } from '../components/table.js';
import { h } from '../view.js';

export function clusterPage(ctx) {
  return {
    title: 'Cluster',
    load: (signal) => get('cluster-name', {}, signal),
    view: ({ name }) => [
      heading('Cluster'),
      card('Name', form({
        label: 'Cluster name', action: 'Change name', done: 'The name is changed.', keep: true,
        fields: [field({ label: 'Cluster name', name: 'name', form: 'cluster-', value: name, required: true, hint: 'Clients see it when they connect; federation and shovels use it to tell clusters apart.' })],
        onsubmit: async (values) => { await put('cluster-name', { name: values.name }); ctx.reload(); },
      })),
    ],
  };
}

export function featureFlagsPage(ctx) {
  return {
    title: 'Feature Flags',
    load: async (signal) => {
      const [flags, deprecated] = await Promise.all([get('feature-flags', {}, signal), getOr([], 'deprecated-features', {}, signal)]);
      return { flags, deprecated };
    },
    view: ({ flags, deprecated }) => [
      heading('Feature Flags'),
      table({
        ctx, id: 'feature-flags', label: 'Feature flags', page: localPage(flags, ctx.query, (flag) => flag.name), rowKey: (flag) => flag.name, empty: empty('No feature flags', h('p', { class: 'muted' }, 'Everything this version can do is on.')),
        columns: [
          { id: 'name', label: 'Name', sort: 'name', cell: (flag) => flag.name },
          { id: 'state', label: 'State', sort: 'state', cell: (flag) => [badge(flag.state, flag.state === 'enabled' ? 'good' : 'warn'), flag.state === 'disabled' && enableButton(ctx, flag)] },
          { id: 'stability', label: 'Stability', sort: 'stability', cell: (flag) => flag.stability },
          { id: 'desc', label: 'Description', cell: (flag) => flag.desc },
        ],
      }),
      card('Deprecated features', plainTable({
        label: 'Deprecated features', rows: deprecated, rowKey: (one) => one.name, empty: 'None.',
        columns: [{ label: 'Name', cell: (one) => one.name }, { label: 'Phase', cell: (one) => one.deprecation_phase?.replaceAll('_', ' ') }, { label: 'State', cell: (one) => badge(one.state, one.state === 'permitted' ? 'warn' : '') }],
      })),
    ],
  };
}

const enableButton = (ctx, flag) => h('button', { class: 'quiet', 'aria-label': `Enable ${flag.name}`, onclick: async () => { if (await attempt(() => put(path('feature-flags', flag.name, 'enable'), {}), `${flag.name} is enabled.`)) ctx.reload(); } }, 'Enable');
