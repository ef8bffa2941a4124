// Policies and operator policies, with a preview of what one would match before it is saved.

import { get, getOr, path, put } from '../api.js';
import { OPERATOR_POLICY_KEYS, POLICY_KEYS } from '../arguments.js';
import { argumentsField, argumentsFrom, argumentsText, field, fold, values } from '../components/form.js';
import { attempt } from '../components/toast.js';
import { argumentList, badge, card, empty, exchangeLink, facts, heading, queueLink, vhostLink } from '../components/parts.js';
import { localPage, plainTable, table } from '../components/table.js';
import { plural } from '../format.js';
import { preview } from '../policies.js';
import { link } from '../router.js';
import { h } from '../view.js';
import { deleteObject, vhostField } from './common.js';

// The preview looks at this many matches of each kind; beyond that it says only how many there are.
const MOST = 200;
const APPLY_TO = ['all', 'queues', 'classic_queues', 'quorum_queues', 'streams', 'exchanges'];
const TITLES = { policies: 'Policies', 'operator-policies': 'Operator policies' };

export function policiesPage(ctx) {
  const forms = { policies: editor(ctx, 'policies'), 'operator-policies': editor(ctx, 'operator-policies') };
  return {
    title: 'Policies',
    load: async (signal) => {
      const inVhost = ctx.vhost ? `/${encodeURIComponent(ctx.vhost)}` : '';
      const [policies, operator] = await Promise.all([get(`policies${inVhost}`, {}, signal), getOr([], `operator-policies${inVhost}`, {}, signal)]);
      return { policies, operator };
    },
    view: ({ policies, operator }) => [
      heading('Policies'),
      list(ctx, 'policies', policies, empty('No policies', h('p', { class: 'muted' }, 'A policy sets limits, dead-lettering and the like for all queues or exchanges whose name matches, also those that exist already, without a change in any client.'))),
      h('details', { class: 'fold', key: 'fold-policy', open: Boolean(ctx.query.pattern) }, h('summary', null, 'Add or change a policy'), forms.policies.view()),
      card('Operator policies', operator.length === 0 ? h('p', { class: 'muted' }, 'None. An operator policy caps what clients and policies ask for.') : list(ctx, 'operator-policies', operator)),
      fold('Add or change an operator policy', forms['operator-policies'].view()),
    ],
  };
}

export const policyPage = (list) => (ctx) => {
  const { vhost, name } = ctx.params;
  const where = path(list, vhost, name);
  const form = editor(ctx, list);
  return {
    title: `Policy ${name}`,
    every: 30,
    load: async (signal) => {
      const policy = await get(where, {}, signal);
      return { policy, matches: await previewOf(list, policy, signal) };
    },
    view: ({ policy, matches }) => [
      heading([h('span', { class: 'crumb' }, list === 'policies' ? 'Policy in ' : 'Operator policy in ', vhostLink(vhost)), name],
        h('button', { class: 'danger', onclick: () => deleteObject({ ctx, what: `policy ${name}`, text: `It is in effect on ${plural(matches.rows.filter((row) => row.effect === 'same').length, 'object')}, which lose what it sets at once.`, where, back: ['policies'] }) }, 'Delete')),
      card('Details', facts([['Pattern', h('code', null, policy.pattern)], ['Applies to', policy['apply-to']], ['Priority', `${policy.priority}: of several policies that match, the highest is in effect`], ['Definition', argumentList(policy.definition)]])),
      card('What it matches', matchTable(matches)),
      fold('Change this policy', form.view(policy)),
    ],
  };
};

const list = (ctx, kind, policies, nothing) => table({
  ctx, id: kind, label: TITLES[kind], page: localPage(policies, ctx.query, (one) => one.name), rowKey: (one) => `${one.vhost}/${one.name}`, empty: nothing, filter: kind === 'policies',
  columns: [
    { id: 'name', label: 'Name', sort: 'name', cell: (one) => h('a', { href: link([kind, one.vhost, one.name]) }, one.name) },
    { id: 'vhost', label: 'Virtual host', sort: 'vhost', cell: (one) => vhostLink(one.vhost) },
    { id: 'pattern', label: 'Pattern', sort: 'pattern', cell: (one) => h('code', null, one.pattern) },
    { id: 'apply', label: 'Applies to', sort: 'apply-to', cell: (one) => one['apply-to'] },
    { id: 'definition', label: 'Definition', cell: (one) => argumentList(one.definition) },
    { id: 'priority', label: 'Priority', sort: 'priority', number: true, cell: (one) => String(one.priority) },
  ],
});

/** The form of a policy with its preview; keeps the last preview while the page is shown. */
function editor(ctx, kind) {
  let matches;
  const owner = `${kind}-`;
  const read = (element) => {
    const { vhost, name, pattern, apply_to: applyTo, priority, definition } = values(element);
    return { vhost, name, pattern, 'apply-to': applyTo, priority: Number(priority), definition: argumentsFrom(definition) };
  };
  const look = async (event) => {
    const element = event.target.closest('form');
    if (!element.reportValidity()) return;
    await attempt(async () => { matches = await previewOf(kind, read(element)); }, () => 'The preview is below.');
    ctx.redraw();
  };
  const save = async (event) => {
    event.preventDefault();
    const { vhost, name, ...body } = read(event.target);
    if (await attempt(() => put(path(kind, vhost, name), body), `Saved policy ${name}.`)) {
      matches = undefined;
      ctx.reload();
    }
  };
  const view = (policy = {}) => h('form', { class: 'form', 'aria-label': `Edit ${TITLES[kind]}`, onsubmit: (event) => { event.preventDefault(); save(event).catch((error) => attempt(() => { throw error; })); } },
    policy.vhost ? field({ label: 'Virtual host', name: 'vhost', form: owner, value: policy.vhost, readonly: true }) : vhostField(ctx, owner, ctx.query.vhost),
    field({ label: 'Name', name: 'name', form: owner, required: true, value: policy.name ?? '', readonly: policy.name !== undefined }),
    field({ label: 'Pattern', name: 'pattern', form: owner, required: true, value: policy.pattern ?? ctx.query.pattern ?? '', hint: 'A regular expression: ^orders\\. matches names that begin with “orders.”' }),
    field({ label: 'Apply to', name: 'apply_to', form: owner, type: 'select', options: kind === 'policies' ? APPLY_TO : APPLY_TO.slice(1, 5), value: policy['apply-to'] ?? (kind === 'policies' && !ctx.query.pattern ? 'all' : 'queues') }),
    field({ label: 'Priority', name: 'priority', form: owner, type: 'number', value: String(policy.priority ?? 0), hint: 'Of several that match, the highest is in effect.' }),
    argumentsField({ label: 'Definition', name: 'definition', form: owner, groups: kind === 'policies' ? POLICY_KEYS : OPERATOR_POLICY_KEYS, value: argumentsText(policy.definition) }),
    h('div', { class: 'actions' }, h('button', { type: 'button', onclick: look }, 'Preview'), h('button', { type: 'submit', class: 'primary' }, 'Save policy')),
    matches && h('div', { class: 'wide', key: 'preview' }, matchTable(matches)));
  return { view };
}

/** What a policy matches now: the server filters by its pattern, priorities are compared here. */
async function previewOf(kind, policy, signal) {
  const query = { page: 1, page_size: MOST, name: policy.pattern, use_regex: true, columns: 'name,type', pagination: true, disable_stats: true, enable_queue_totals: true };
  const [policies, queues, exchanges] = await Promise.all([
    get(path(kind, policy.vhost), {}, signal), get(path('queues', policy.vhost), query, signal), get(path('exchanges', policy.vhost), query, signal),
  ]);
  const objects = [...queues.items.map((one) => ({ ...one, kind: 'queue' })), ...exchanges.items.map((one) => ({ ...one, kind: 'exchange' }))];
  const more = Math.max(0, queues.filtered_count - MOST) + Math.max(0, exchanges.filtered_count - MOST);
  return { vhost: policy.vhost, rows: preview(policy, policies, objects), more };
}

const EFFECTS = { applies: ['would take effect', 'good'], same: ['in effect', 'accent'], loses: ['loses: another has more priority', 'warn'] };

const matchTable = ({ vhost, rows, more }) => [
  h('p', { class: 'muted', role: 'status' }, `${plural(rows.length, 'match', 'matches')}.`, more > 0 && ` ${plural(more, 'more object')} match the pattern and are not listed.`),
  rows.length > 0 && plainTable({
    label: 'Matches', rows, rowKey: ({ object }) => `${object.kind} ${object.name}`,
    columns: [
      { label: 'Name', cell: ({ object }) => (object.kind === 'queue' ? queueLink(vhost, object.name) : exchangeLink(vhost, object.name)) },
      { label: 'Kind', cell: ({ object }) => `${object.type} ${object.kind}` },
      { label: 'In effect now', cell: ({ before }) => before?.name },
      { label: 'This policy', cell: ({ effect }) => badge(...EFFECTS[effect]) },
    ],
  }),
];
