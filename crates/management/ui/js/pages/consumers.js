// Every consumer there is.

import { get, path } from '../api.js';
import { argumentList, badge, channelLink, empty, heading, queueLink, vhostLink } from '../components/parts.js';
import { localPage, table } from '../components/table.js';
import { count, plain } from '../format.js';
import { h } from '../view.js';

const SORT = { sort: 'queue.name' };

export function consumersPage(ctx) {
  return {
    title: 'Consumers',
    load: (signal) => get(ctx.vhost ? path('consumers', ctx.vhost) : 'consumers', {}, signal),
    view: (consumers) => [
      heading('Consumers'),
      table({
        ctx, id: 'consumers', label: 'Consumers', columns: COLUMNS, sort: SORT.sort, rowKey: (one) => `${one.channel_details?.name} ${one.consumer_tag}`,
        page: localPage(consumers, ctx.query, (one) => `${one.queue.name} ${one.consumer_tag}`, SORT),
        empty: empty('Nobody consumes', h('p', { class: 'muted' }, 'A client that consumes from a queue appears here with its prefetch and its acknowledgement mode.')),
      }),
    ],
  };
}

const COLUMNS = [
  { id: 'queue', label: 'Queue', sort: 'queue.name', cell: (one) => queueLink(one.queue.vhost, one.queue.name) },
  { id: 'vhost', label: 'Virtual host', sort: 'queue.vhost', cell: (one) => vhostLink(one.queue.vhost) },
  { id: 'tag', label: 'Consumer tag', sort: 'consumer_tag', cell: (one) => h('span', { class: 'clip', title: one.consumer_tag }, one.consumer_tag) },
  { id: 'channel', label: 'Channel', sort: 'channel_details.name', cell: (one) => channelLink(one.channel_details?.name) },
  { id: 'user', label: 'User', sort: 'channel_details.user', cell: (one) => one.channel_details?.user },
  { id: 'activity', label: 'Activity', sort: 'activity_status', cell: (one) => badge(one.activity_status ?? 'up', one.active === false ? 'warn' : 'good') },
  { id: 'ack', label: 'Ack required', sort: 'ack_required', cell: (one) => plain(one.ack_required) },
  { id: 'exclusive', label: 'Exclusive', sort: 'exclusive', cell: (one) => plain(one.exclusive) },
  { id: 'prefetch', label: 'Prefetch', sort: 'prefetch_count', number: true, cell: (one) => count(one.prefetch_count) },
  { id: 'arguments', label: 'Arguments', cell: (one) => argumentList(one.arguments) },
  { id: 'timeout', label: 'Timeout', sort: 'consumer_timeout', number: true, optional: true, cell: (one) => plain(one.consumer_timeout) },
];
