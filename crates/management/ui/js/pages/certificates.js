// The certificates of the listeners, and how long they last.

import { getOr } from '../api.js';
import { badge, card, empty, heading, note } from '../components/parts.js';
import { plainTable } from '../components/table.js';
import { moment, plural } from '../format.js';
import { h } from '../view.js';

const DAY_MS = 86_400_000;
const SOON_DAYS = 30;

export function certificatesPage() {
  return {
    title: 'Certificates',
    every: 60,
    load: async (signal) => ({ listeners: await getOr(undefined, 'leveret/certificates', {}, signal) }),
    view: ({ listeners }) => [heading('Certificates'), shown(listeners)],
  };
}

function shown(listeners) {
  if (listeners === undefined) return empty('This broker does not show its certificates', h('p', { class: 'muted' }, 'Or shows them to administrators only.'));
  if (listeners.length === 0) {
    return empty('No listener has TLS', h('p', { class: 'muted' }, 'Everything that clients send can be read on its way. With these lines in the configuration clients connect with TLS on port 5671:'),
      h('pre', { tabindex: '0', 'aria-label': 'Example' }, 'listeners.ssl.default = 5671\nssl_options.certfile = /path/server.pem\nssl_options.keyfile = /path/server.key\nssl_options.cacertfile = /path/ca.pem'));
  }
  const ending = listeners.flatMap(files).flatMap((file) => file.certificates ?? []).filter((one) => daysLeft(one) < SOON_DAYS);
  return [
    ending.length > 0 && note('warn', h('strong', null, `${plural(ending.length, 'certificate')} will end within ${SOON_DAYS} days, or ${ending.length === 1 ? 'has' : 'have'} ended.`), h('p', null, 'Put new files in the place of the old ones: the broker takes them by itself, without closing a connection.')),
    listeners.map((listener) => card(`${listener.protocol} on ${listener.ip}:${listener.port}`, files(listener).map((file) => certificates(file)))),
  ];
}

const files = ({ certfile, cacertfile }) => [['Shows', certfile], ['Trusts', cacertfile]].filter(([, file]) => file).map(([role, file]) => ({ role, ...file }));

const certificates = ({ role, path, error, certificates: found = [] }) => h('div', { class: 'part', key: role },
  h('h3', null, role, ' ', h('code', null, path)),
  error ? note('bad', error) : plainTable({
    label: `${role} ${path}`, rows: found, rowKey: (one) => `${one.serial_number} ${one.subject}`, empty: 'The file has no certificate.',
    columns: [
      { label: 'Subject', cell: (one) => one.subject }, { label: 'Names', cell: (one) => one.names?.join(', ') }, { label: 'Issuer', cell: (one) => (one.issuer === one.subject ? 'itself' : one.issuer) },
      { label: 'From', cell: (one) => moment(one.not_before) }, { label: 'Until', cell: (one) => moment(one.not_after) }, { label: 'Left', cell: left }, { label: 'Serial number', cell: (one) => h('code', { class: 'long' }, one.serial_number) },
    ],
  }));

const daysLeft = ({ not_after: end }) => Math.floor((end - Date.now()) / DAY_MS);

function left(certificate) {
  const days = daysLeft(certificate);
  if (days < 0) return badge('ended', 'bad');
  return badge(plural(days, 'day'), days < SOON_DAYS ? 'warn' : 'good');
}
