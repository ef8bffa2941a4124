// One node of the cluster: limits, files, plugins.

import { get, path, samples } from '../api.js';
import { chart, lengthPoints, spanOf, spanPicker } from '../components/chart.js';
import { badge, card, facts, heading, stat } from '../components/parts.js';
import { plainTable } from '../components/table.js';
import { bytes, count, duration } from '../format.js';
import { h } from '../view.js';

export function nodePage(ctx) {
  const { name } = ctx.params;
  const sampled = (span) => ({ ...samples(span), node_stats_age: span.age, node_stats_incr: span.incr });
  return {
    title: `Node ${name}`,
    load: (signal) => get(path('nodes', name), sampled(spanOf(ctx.query)), signal),
    view: (node) => [
      heading([h('span', { class: 'crumb' }, 'Node'), name, node.running ? badge('running', 'good') : badge('not running', 'bad')], spanPicker(ctx)),
      h('div', { class: 'stats' },
        stat('Memory', bytes(node.mem_used), { hint: `of ${bytes(node.mem_limit)}`, tone: node.mem_alarm ? 'bad' : '' }),
        stat('Disk free', bytes(node.disk_free), { hint: `limit ${bytes(node.disk_free_limit)}`, tone: node.disk_free_alarm ? 'bad' : '' }),
        stat('File descriptors', count(node.fd_used), { hint: `of ${count(node.fd_total)}` }),
        stat('Sockets', count(node.sockets_used)),
        stat('Uptime', duration(node.uptime)),
        stat('Cores', count(node.processors))),
      h('div', { class: 'grid even' },
        card(null, chart({ ctx, id: 'node-memory', title: 'Memory', format: bytes, series: [{ name: 'Used', points: lengthPoints(node.mem_used_details, `${name} mem_used`, node.mem_used), value: node.mem_used }] })),
        card(null, chart({ ctx, id: 'node-disk', title: 'Disk free', format: bytes, series: [{ name: 'Free', points: lengthPoints(node.disk_free_details, `${name} disk_free`, node.disk_free), value: node.disk_free }] }))),
      card('Details', facts([
        ['Type', node.type], ['Process id', node.os_pid], ['Data directory', node.db_dir], ['Configuration files', node.config_files?.join(', ')], ['Log files', node.log_files?.join(', ')],
        ['Rates mode', node.rates_mode], ['Net tick time', node.net_ticktime && `${node.net_ticktime} s`], ['Plugins', node.enabled_plugins?.join(', ')],
        ['Exchange types', node.exchange_types?.map((type) => type.name).join(', ')], ['Login mechanisms', node.auth_mechanisms?.filter((one) => one.enabled).map((one) => one.name).join(', ')],
      ])),
      card('Applications', plainTable({
        label: 'Applications', rows: node.applications ?? [], rowKey: (one) => one.name, empty: 'None.',
        columns: [{ label: 'Name', cell: (one) => one.name }, { label: 'Description', cell: (one) => one.description }, { label: 'Version', cell: (one) => one.version }],
      })),
    ],
  };
}
