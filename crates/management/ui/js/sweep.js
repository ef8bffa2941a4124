// Moves, copies, sends back or deletes messages of a queue: those that are named, or all that a filter means. The broker
// counts first, so that the operator agrees to a number.

import { getOr, path, post } from './api.js';
import { open } from './components/dialog.js';
import { field, values } from './components/form.js';
import { note } from './components/parts.js';
import { attempt, failed } from './components/toast.js';
import { count, plural } from './format.js';
import { h } from './view.js';

const SUGGESTIONS = 10;

const WORDS = {
  move: { verb: 'Move', done: 'Moved', text: 'They are appended to the target first and leave this queue then: a failure may leave a message in both, never in neither.' },
  copy: { verb: 'Copy', done: 'Copied', text: 'Copies have the same properties and headers. The originals stay where they are.' },
  requeue: { verb: 'Send back', done: 'Sent back', text: 'Dead-lettered messages go back to where they were first; others stay.' },
  delete: { verb: 'Delete', done: 'Deleted', text: 'They are gone for good, and are not dead-lettered.' },
};

/** What the address says of the messages that are wanted, as the parameters of a GET. */
export function criteria({ text, exchange, key, body, property, property_value: propertyValue = '', header, header_value: headerValue = '' }) {
  const pairs = [['text', text], ['exchange', exchange], ['routing_key', key], ['body', body], [`property.${property}`, property && propertyValue], [`header.${header}`, header && headerValue]];
  return Object.fromEntries(pairs.filter(([, value]) => value));
}

/** The same as the filter of a POST. */
export function filterOf(query) {
  const filter = {};
  for (const [name, value] of Object.entries(criteria(query))) {
    const [kind, ...rest] = name.split('.');
    const group = { property: 'properties', header: 'headers' }[kind];
    if (group === undefined || rest.length === 0) filter[name] = value;
    else filter[group] = { [rest.join('.')]: value };
  }
  return filter;
}

/** Asks where to and whether, with the number of messages, and does it. Gives whether the operator agreed. */
export async function sweep({ action, queue, where, which, all }) {
  const endpoint = `leveret/${where}/messages`;
  const words = WORDS[action];
  let counted;
  try {
    counted = await post(endpoint, { action: 'delete', dry_run: true, ...which });
  } catch (error) {
    failed(error);
    return false;
  }
  const wanted = await ask(action, words, queue, counted, which.ids ? '' : all);
  if (!wanted) return false;
  // No more than the operator agreed to, though others may match by now.
  const limit = which.ids ? {} : { limit: counted.matched };
  await attempt(async () => {
    const outcome = await post(endpoint, { action, ...wanted, ...which, ...limit });
    if (outcome.error) throw new Error(said(words, outcome));
    return outcome;
  }, (outcome) => said(words, outcome));
  return true;
}

/** The dialog. Gives what the request says beside the action, or undefined. */
function ask(action, words, queue, { matched, gone }, all) {
  const messages = plural(matched, 'message');
  const target = { kind: 'queue', names: [] };
  return open((close, redraw) => h('form', { onsubmit: (event) => { event.preventDefault(); close(targetOf(action, values(event.target))); } },
    h('h2', { id: 'dialog-title' }, `${words.verb} ${messages} of ${queue.name}?`),
    h('p', null, all && `These are ${all}, ${count(matched)} just now. `, gone > 0 && `${plural(gone, 'chosen message is', 'chosen messages are')} no longer there. `, words.text),
    (action === 'move' || action === 'copy') && targetFields(target, queue.vhost, redraw),
    action === 'requeue' && field({ label: 'By way of', name: 'origin', form: 'sweep-', type: 'select', options: [['queue', 'the queue it was in first'], ['exchange', 'the exchange and key it was published with']] }),
    matched === 0 && note('warn', 'There is no such message any more.'),
    h('div', { class: 'actions' }, h('button', { type: 'button', onclick: () => close() }, 'Cancel'),
      h('button', { type: 'submit', class: action === 'delete' ? 'danger' : 'primary', disabled: matched === 0 }, `${words.verb} ${messages}`))));
}

/** Where to. What is typed is completed from the names that have it in them. */
function targetFields(target, vhost, redraw) {
  const choose = (event) => {
    Object.assign(target, { kind: event.target.value, names: [] });
    redraw();
  };
  const suggest = async (event) => {
    const name = event.target.value;
    const query = { page: 1, page_size: SUGGESTIONS, name, columns: 'name', disable_stats: true, enable_queue_totals: true };
    const { items = [] } = await getOr({}, path(`${target.kind}s`, vhost), query).catch(() => ({}));
    if (event.target.value !== name) return;
    target.names = items.map((one) => one.name);
    redraw();
  };
  const isQueue = target.kind === 'queue';
  return [
    field({ label: 'To', name: 'kind', form: 'sweep-', type: 'select', options: [['queue', 'a queue of this virtual host'], ['exchange', 'an exchange']], value: target.kind, onchange: choose }),
    field({ label: isQueue ? 'Queue' : 'Exchange', name: target.kind, form: 'sweep-', required: true, list: 'sweep-names', oninput: suggest }),
    h('datalist', { id: 'sweep-names' }, target.names.map((name) => h('option', { value: name }))),
    !isQueue && field({ label: 'Routing key', name: 'routing_key', form: 'sweep-', hint: 'Empty: each message keeps its own.' }),
  ];
}

function targetOf(action, { kind, queue, exchange, routing_key: key, origin }) {
  if (action === 'delete') return {};
  if (action === 'requeue') return { origin };
  if (kind === 'queue') return { to: { queue } };
  return { to: { exchange, ...(key === '' ? {} : { routing_key: key }) } };
}

function said(words, { done, gone, unroutable, refused, without_origin: homeless, reason, error }) {
  const rest = [
    [gone, 'had gone meanwhile'], [unroutable, 'no queue takes'], [refused, 'the target refused'], [homeless, 'have no origin'],
  ].filter(([number]) => number > 0).map(([number, why]) => `${count(number)} ${why}`);
  return [`${words.done} ${plural(done, 'message')}`, ...rest, reason, error].filter(Boolean).join('; ') + '.';
}
