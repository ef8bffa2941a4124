// What administrators changed over the HTTP API, newest first.

import { getOr } from '../api.js';
import { badge, empty, heading, userLink } from '../components/parts.js';
import { localPage, table } from '../components/table.js';
import { moment } from '../format.js';
import { h } from '../view.js';

const MOST = 1000;
const SORT = { sort: 'time', reverse: true };

export function auditPage(ctx) {
  return {
    title: 'Audit Log',
    load: async (signal) => ({ answer: await getOr(undefined, 'leveret/audit', { lines: MOST }, signal) }),
    view: ({ answer }) => [
      heading(['Audit Log', h('span', { class: 'crumb' }, 'What was changed over the HTTP API since the node started')]),
      answer === undefined ? empty('This broker does not show its audit log', h('p', { class: 'muted' }, 'Or shows it to administrators only.')) : table({
        ctx, id: 'audit', label: 'Audit log', sort: SORT.sort, reverse: SORT.reverse, rowKey: (one) => one.key,
        page: localPage(answer.items.map((one, index) => ({ ...one, key: index })), ctx.query, (one) => `${one.user} ${one.method} ${one.path} ${one.peer}`, SORT),
        empty: empty('Nothing was changed', h('p', { class: 'muted' }, 'Declares, deletes, users, permissions and policies appear here with who made them and from where.')),
        columns: [
          { id: 'time', label: 'Time', sort: 'time', cell: (one) => h('time', null, moment(one.time)) },
          { id: 'user', label: 'User', sort: 'user', cell: (one) => one.user && userLink(one.user) },
          { id: 'what', label: 'What', sort: 'path', cell: (one) => h('code', null, `${one.method} ${one.path}`) },
          { id: 'status', label: 'Outcome', sort: 'status', cell: (one) => badge(String(one.status), one.status < 400 ? 'good' : 'bad') },
          { id: 'peer', label: 'From', sort: 'peer', cell: (one) => one.peer },
        ],
      }),
    ],
  };
}
