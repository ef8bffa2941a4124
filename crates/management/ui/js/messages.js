// Messages as people read them: what it is, where it has been, and the body as text, JSON or bytes.

import { badge, facts } from './components/parts.js';
import { bytes, clock, exchangeName, moment, plain, plural } from './format.js';
import { h } from './view.js';

const PREVIEW = 160;
const HEX_ROW = 16;
const HEX_MOST = 16 * 1024;
const forms = new Map();

/**
 * One message, folded to a line. `place` is where it stands. `more` is added to the line, `tools` and the words in `note` are shown
 * when it is open; `key` tells it from the others.
 */
export function messageView({ message, key, place, redraw, tools, more, note }) {
  const { properties = {} } = message;
  const { headers = {}, ...rest } = properties;
  const body = bodyOf(message);
  const form = forms.get(key) ?? (body.json === undefined ? (body.text === undefined ? 'hex' : 'text') : 'json');
  const choose = (name) => () => {
    forms.set(key, name);
    redraw();
  };
  return h('details', { class: 'message', key },
    h('summary', null,
      h('strong', null, place), h('span', null, exchangeName(message.exchange), ' → ', h('code', null, message.routing_key)),
      message.redelivered && badge('redelivered', 'warn'), headers['x-death'] && badge('dead-lettered', 'warn'), message.delivery_count > 0 && badge(`delivered ${plural(message.delivery_count, 'time')}`, 'warn'), expiry(message), h('span', { class: 'muted' }, bytes(message.payload_bytes)), more,
      h('span', { class: 'preview' }, body.text?.slice(0, PREVIEW) ?? 'binary')),
    h('div', { class: 'message-body' },
      headers['x-death'] && h('div', null, h('h3', null, 'Where it has been'), deaths(headers['x-death']), note && h('p', { class: 'muted' }, note)),
      facts([...Object.entries(rest).map(([name, value]) => [name, property(name, value)])]),
      Object.keys(headers).length > 0 && h('div', null, h('h3', null, 'Headers'), facts(Object.entries(headers).filter(([name]) => name !== 'x-death').map(([name, value]) => [name, plain(value)]))),
      h('div', { class: 'actions' },
        h('div', { class: 'segmented', role: 'group', 'aria-label': 'Show the body as' },
          ['text', 'json', 'hex'].map((name) => h('button', { type: 'button', 'aria-pressed': String(name === form), disabled: name !== 'hex' && body[name] === undefined, onclick: choose(name) }, name === 'json' ? 'JSON' : name === 'hex' ? 'Hex' : 'Text'))),
        h('button', { type: 'button', onclick: () => navigator.clipboard?.writeText(message.payload) }, 'Copy'), tools),
      h('pre', { class: form, tabindex: '0', 'aria-label': 'Body' }, form === 'hex' ? hex(body.bytes) : body[form]),
      message.payload_bytes > body.bytes.length && h('p', { class: 'muted' }, `The first ${bytes(body.bytes.length)} of ${bytes(message.payload_bytes)}.`)));
}

const expiry = ({ expires_at: at }) => Number.isFinite(at) && badge(`expires ${clock(at)}`, '', moment(at));

/** The body as bytes, as text if it is UTF-8, and as indented JSON if it is that. */
export function bodyOf({ payload = '', payload_encoding: encoding }) {
  if (encoding === 'base64') {
    const raw = Uint8Array.from(atob(payload), (char) => char.charCodeAt(0));
    return { bytes: raw };
  }
  return { bytes: new TextEncoder().encode(payload), text: payload, json: indented(payload) };
}

/** Bytes as a hex dump: offset, sixteen bytes, the printable ones. */
export function hex(raw) {
  const lines = [];
  for (let start = 0; start < Math.min(raw.length, HEX_MOST); start += HEX_ROW) {
    const row = [...raw.slice(start, start + HEX_ROW)];
    const digits = row.map((byte) => byte.toString(16).padStart(2, '0')).join(' ').padEnd(HEX_ROW * 3 - 1);
    const text = row.map((byte) => (byte >= 32 && byte < 127 ? String.fromCharCode(byte) : '.')).join('');
    lines.push(`${start.toString(16).padStart(6, '0')}  ${digits}  ${text}`);
  }
  return lines.join('\n') || '(empty)';
}

/** `x-death` told as a story: the newest entry comes first in the header, so that it is read backwards. */
const deaths = (entries) => h('ol', { class: 'deaths' }, [...entries].reverse().map((entry) =>
  h('li', null, `${reason(entry.reason)} in queue `, h('b', null, entry.queue), `, ${plural(entry.count, 'time')}; published to `, h('b', null, exchangeName(entry.exchange)),
    ' with ', h('code', null, (entry['routing-keys'] ?? []).join(', ')), entry.time ? `, first at ${moment(entry.time * 1000)}` : '')));

/** The queue that a dead-lettered message was in first, where it can go back to. */
export function originOf(message) {
  const headers = message.properties?.headers ?? {};
  return headers['x-first-death-queue'] ?? headers['x-death']?.at(-1)?.queue;
}

const REASONS = { rejected: 'Rejected by a consumer', expired: 'Expired', maxlen: 'Pushed out by the length limit', delivery_limit: 'Delivered too often' };
const reason = (word) => REASONS[word] ?? word;

function property(name, value) {
  if (name === 'timestamp') return moment(value * 1000);
  if (name === 'delivery_mode') return value === 2 ? '2, persistent' : '1, transient';
  return value;
}

function indented(text) {
  if (!/^\s*[[{]/.test(text)) return undefined;
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return undefined;
  }
}
