// Definitions: download what the broker has, and import a file after seeing what it would change.

import { get, path, post } from '../api.js';
import { confirm } from '../components/dialog.js';
import { attempt, failed } from '../components/toast.js';
import { badge, card, heading, note } from '../components/parts.js';
import { plainTable } from '../components/table.js';
import { plural } from '../format.js';
import { difference } from '../definitions.js';
import { h } from '../view.js';

const SHOWN = 500;
const TONES = { added: 'good', changed: 'warn' };

export function definitionsPage(ctx) {
  let file;
  const scope = () => (ctx.vhost ? path('definitions', ctx.vhost) : 'definitions');

  const choose = async (event) => {
    const [chosen] = event.target.files;
    file = undefined;
    if (!chosen) return ctx.redraw();
    try {
      const content = JSON.parse(await chosen.text());
      file = { name: chosen.name, content, rows: difference(content, await get(scope()), ctx.vhost) };
    } catch (error) {
      failed(error instanceof SyntaxError ? new Error(`${chosen.name} is not JSON: ${error.message}`) : error);
    }
    return ctx.redraw();
  };

  const upload = async () => {
    const changes = file.rows.filter((row) => row.effect !== 'unchanged').length;
    const agreed = await confirm({ title: `Import ${file.name}?`, text: `${plural(changes, 'entry', 'entries')} will be added or changed. Nothing is deleted.`, action: `Import ${plural(changes, 'change')}` });
    if (!agreed || !(await attempt(() => post(scope(), file.content), `Imported ${file.name}.`))) return;
    file = undefined;
    await ctx.shell.reloadVhosts();
    ctx.redraw();
  };

  return {
    title: 'Definitions',
    every: 0,
    load: async () => ({}),
    view: () => [
      heading('Definitions'),
      h('p', { class: 'muted' }, ctx.vhost ? `Of the virtual host ${ctx.vhost}. Choose “All vhosts” above for the whole cluster.` : 'Of the whole cluster: users, virtual hosts, permissions, policies, parameters, exchanges, queues and bindings. Messages are not part of it.'),
      card('Export', h('div', { class: 'actions' }, h('button', { class: 'primary', onclick: () => attempt(() => download(scope(), ctx.vhost), 'The definitions are downloaded.') }, 'Download definitions'), h('span', { class: 'muted' }, 'The file has the hashes of passwords. Keep it safe.'))),
      card('Import',
        h('div', { class: 'field' }, h('label', { for: 'definitions-file' }, 'Definitions file'), h('input', { id: 'definitions-file', type: 'file', accept: '.json,application/json', onchange: choose })),
        file ? dryRun(file, upload) : h('p', { class: 'muted nothing' }, 'Choosing a file changes nothing yet: first you see what it would do.')),
    ],
  };
}

function dryRun({ name, rows }, upload) {
  const of = (effect) => rows.filter((row) => row.effect === effect);
  const changes = [...of('changed'), ...of('added')];
  return [
    note(changes.length > 0 ? 'warn' : 'good', h('strong', null, `Dry run of ${name}: ${of('added').length} added, ${of('changed').length} changed, ${of('unchanged').length} unchanged.`),
      h('p', null, 'What the broker has and the file does not mention stays.')),
    plainTable({
      label: 'What would change', rows: changes.slice(0, SHOWN), rowKey: (row) => `${row.section} ${row.name}`, empty: 'Nothing would change.',
      columns: [{ label: 'What', cell: (row) => row.section.replaceAll('_', ' ') }, { label: 'Name', cell: (row) => row.name }, { label: 'Effect', cell: (row) => badge(row.effect, TONES[row.effect]) }, { label: 'Fields', cell: (row) => row.fields.join(', ') }],
    }),
    changes.length > SHOWN && h('p', { class: 'muted' }, `And ${plural(changes.length - SHOWN, 'more change')}.`),
    h('div', { class: 'actions' }, h('button', { class: 'primary', disabled: changes.length === 0, onclick: upload }, `Import ${plural(changes.length, 'change')}`)),
  ];
}

async function download(where, vhost) {
  const text = JSON.stringify(await get(where), null, 2);
  const url = URL.createObjectURL(new Blob([text], { type: 'application/json' }));
  const anchor = document.createElement('a');
  anchor.href = url;
  anchor.download = `definitions${vhost ? `-${vhost.replaceAll('/', '_')}` : ''}-${new Date().toISOString().slice(0, 10)}.json`;
  anchor.click();
  URL.revokeObjectURL(url);
}
