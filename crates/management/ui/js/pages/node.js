// One node of the cluster: limits, files, plugins.

import { get, getOr, path, post, remove, samples } from '../api.js';
import { chart, lengthPoints, spanOf, spanPicker } from '../components/chart.js';
import { confirm } from '../components/dialog.js';
import { badge, card, facts, heading, note, stat } from '../components/parts.js';
import { plainTable } from '../components/table.js';
import { attempt } from '../components/toast.js';
import { bytes, count, duration } from '../format.js';
import { seldom } from '../screen.js';
import { h } from '../view.js';

export function nodePage(ctx) {
  const { name } = ctx.params;
  const sampled = (span) => ({ ...samples(span), node_stats_age: span.age, node_stats_incr: span.incr });
  const rest = seldom((signal) => Promise.all([getOr({}, path('nodes', name, 'memory'), {}, signal), getOr([], path('auth', 'attempts', name), {}, signal)]));
  return {
    title: `Node ${name}`,
    load: async (signal, how) => {
      const [node, [memory, attempts]] = await Promise.all([get(path('nodes', name), sampled(spanOf(ctx.query)), signal), rest(signal, how)]);
      return { node, memory: memory.memory, attempts };
    },
    view: ({ node, memory, attempts }) => [
      heading([h('span', { class: 'crumb' }, 'Node'), name, node.running ? badge('running', 'good') : badge('not running', 'bad'), node.being_drained && badge('maintenance', 'warn')], spanPicker(ctx), resetButton(ctx, node), maintenance(ctx, node)),
      node.being_drained && note('warn', h('strong', null, 'This node is in maintenance.'), h('p', null, 'It lets no client in, and has closed the connections there were. Take it out of maintenance when the work is done.')),
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
      h('div', { class: 'grid' },
        memory && typeof memory === 'object' && card('Memory, by what uses it', memoryTable(memory)),
        attempts.length > 0 && card('Log-ins, by protocol', plainTable({
          label: 'Log-ins', rows: attempts, rowKey: (one) => `${one.protocol}`, empty: 'None.',
          columns: [{ label: 'Protocol', cell: (one) => one.protocol }, { label: 'Attempts', number: true, cell: (one) => count(one.auth_attempts) }, { label: 'Succeeded', number: true, cell: (one) => count(one.auth_attempts_succeeded) }, { label: 'Failed', number: true, cell: (one) => count(one.auth_attempts_failed) }],
        }))),
      card('Applications', plainTable({
        label: 'Applications', rows: node.applications ?? [], rowKey: (one) => one.name, empty: 'None.',
        columns: [{ label: 'Name', cell: (one) => one.name }, { label: 'Description', cell: (one) => one.description }, { label: 'Version', cell: (one) => one.version }],
      })),
    ],
  };
}

function memoryTable(memory) {
  const rows = Object.entries(memory).filter(([use, value]) => Number.isFinite(value) && value > 0 && use !== 'total').sort(([, a], [, b]) => b - a);
  return plainTable({
    label: 'Memory', rows, rowKey: ([use]) => use, empty: 'The node does not say.',
    columns: [{ label: 'Use', cell: ([use]) => use.replaceAll('_', ' ') }, { label: 'Memory', number: true, cell: ([, value]) => bytes(value) }],
  });
}

/** Forgets the samples of all charts, and nothing else. */
const resetButton = (ctx, { name }) => ctx.user.tags.includes('administrator') && h('button', {
  onclick: async () => {
    const agreed = await confirm({ title: 'Forget the statistics of this node?', action: 'Reset statistics', text: 'All charts begin anew. Messages, counters and objects stay.' });
    if (agreed && (await attempt(() => remove(path('reset', name)), 'The statistics begin anew.'))) ctx.reload();
  },
}, 'Reset statistics …');

/** Into maintenance and out of it; a node of RabbitMQ's is asked on its command line. */
function maintenance(ctx, node) {
  if (!ctx.user.tags.includes('administrator')) return null;
  const change = async (what, done) => {
    if (await attempt(() => post(`leveret/node/${what}`, {}), done)) ctx.reload();
  };
  if (node.being_drained) return h('button', { class: 'primary', onclick: () => change('revive', 'Clients may come back.') }, 'End maintenance');
  return h('button', {
    class: 'danger',
    onclick: async () => {
      const agreed = await confirm({ title: 'Put this node into maintenance?', action: 'Start maintenance', typed: node.name, text: 'All client connections are closed, and no new ones are let in until it ends. Messages stay.' });
      if (agreed) await change('drain', 'The node is in maintenance.');
    },
  }, 'Maintenance …');
}
