// What is configured, after files, environment and command line: every key with its value and where it comes from.

import { getText, orElse } from '../api.js';
import { badge, empty, heading } from '../components/parts.js';
import { localPage, table } from '../components/table.js';
import { h } from '../view.js';

const SORT = { sort: 'key' };

export function configurationPage(ctx) {
  return {
    title: 'Configuration',
    every: 60,
    load: async (signal) => {
      const text = await orElse(undefined, getText('config/effective', signal));
      return { rows: text === undefined ? undefined : entries(text) };
    },
    view: ({ rows }) => [
      heading(['Configuration', h('span', { class: 'crumb' }, 'What is in effect, and where each value comes from')], rows && choice(ctx)),
      rows === undefined ? empty('This broker does not show its configuration', h('p', { class: 'muted' }, 'Or shows it to administrators only.')) : table({
        ctx, id: 'configuration', label: 'Configuration', sort: SORT.sort, rowKey: (row) => row.key,
        page: localPage(rows.filter((row) => ctx.query.only !== 'set' || isSet(row)), ctx.query, (row) => `${row.key} ${row.value ?? ''} ${row.source}`, SORT),
        columns: [
          { id: 'key', label: 'Key', sort: 'key', cell: (row) => h('code', null, row.key) },
          { id: 'value', label: 'Value', sort: 'value', cell: (row) => (row.value === undefined ? h('span', { class: 'muted' }, 'not set') : h('code', null, row.value)) },
          { id: 'source', label: 'Comes from', sort: 'source', cell: (row) => (isSet(row) ? badge(row.source, 'accent') : h('span', { class: 'muted' }, row.source)) },
        ],
      }),
    ],
  };
}

const choice = (ctx) => h('div', { class: 'segmented', role: 'group', 'aria-label': 'Which keys' }, [['', 'All keys'], ['set', 'Set by somebody']].map(([only, label]) =>
  h('button', { 'aria-pressed': String(only === (ctx.query.only ?? '')), onclick: () => ctx.setQuery({ only, page: '' }) }, label)));

const isSet = ({ value, source }) => value !== undefined && source !== 'default';

/** The lines of `config/effective`: `key = value  # source`, and `# key is not set`. */
export function entries(text) {
  return text.split('\n').flatMap((line) => {
    const [, missing] = /^# (\S+) is not set/.exec(line) ?? [];
    if (missing) return [{ key: missing, value: undefined, source: '' }];
    const [, key, value, source = ''] = /^([^\s#]\S*) = (.*)\s# (.*)$/.exec(line) ?? /^([^\s#]\S*) = (.*)$/.exec(line) ?? [];
    return key ? [{ key, value: value.trimEnd(), source }] : [];
  });
}
