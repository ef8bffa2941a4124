// What several pages ask in the same way: which vhost, bind, publish, delete.

import { path, post, remove } from '../api.js';
import { argumentsField, argumentsFrom, field, form } from '../components/form.js';
import { confirm } from '../components/dialog.js';
import { attempt } from '../components/toast.js';
import { exchangeLink, queueLink, argumentList } from '../components/parts.js';
import { plainTable } from '../components/table.js';
import { plural } from '../format.js';
import { h } from '../view.js';

const PROPERTIES = 'content_type = application/json';

/** A choice of vhost, set to the one the operator is in. */
export const vhostField = (ctx, owner = '', chosen = ctx.vhost || '/') =>
  field({ label: 'Virtual host', name: 'vhost', form: owner, type: 'select', options: ctx.vhosts.map(({ name }) => name), value: chosen });

/** Bindings as a table; `unbind` adds a button per row. `from` and `to` say which end is shown. */
export function bindingTable({ ctx, bindings, label, end, empty }) {
  const object = end === 'source'
    ? { label: 'From', cell: (one) => exchangeLink(one.vhost, one.source) }
    : { label: 'To', cell: (one) => (one.destination_type === 'queue' ? queueLink(one.vhost, one.destination) : exchangeLink(one.vhost, one.destination)) };
  return plainTable({
    label, rows: bindings, empty, rowKey: bindingKey,
    columns: [
      object,
      ...(end === 'source' ? [] : [{ label: 'Kind', cell: (one) => one.destination_type }]),
      { label: 'Routing key', cell: (one) => h('code', null, one.routing_key) },
      { label: 'Arguments', cell: (one) => argumentList(one.arguments) },
      { label: '', cell: (one) => (one.source === '' ? '' : h('button', { class: 'quiet', 'aria-label': `Unbind ${one.source} from ${one.destination}`, onclick: () => unbind(ctx, one) }, 'Unbind')) },
    ],
  });
}

/** The form that binds; `fixed` is the end that is known, the other one is asked for. */
export function bindForm({ ctx, vhost, source, destination, destinationType }) {
  return form({
    label: 'Add a binding', action: 'Bind', done: 'The binding is added.',
    fields: [
      source === undefined && field({ label: 'From exchange', name: 'source', form: 'bind-', required: true }),
      destination === undefined && field({ label: 'To', name: 'kind', form: 'bind-', type: 'select', options: [['q', 'Queue'], ['e', 'Exchange']] }),
      destination === undefined && field({ label: 'Name', name: 'destination', form: 'bind-', required: true }),
      field({ label: 'Routing key', name: 'routing_key', form: 'bind-', hint: 'For a topic exchange * stands for one word, # for any number.' }),
      argumentsField({ form: 'bind-', known: [['x-match', 'Of a headers exchange: all, any, all-with-x or any-with-x']] }),
    ],
    onsubmit: async (values) => {
      const kind = destinationType ?? values.kind;
      await post(path('bindings', vhost, 'e', source ?? values.source, kind, destination ?? values.destination), { routing_key: values.routing_key, arguments: argumentsFrom(values.arguments) });
      ctx.reload();
    },
  });
}

/** The form that publishes one message. Without `routingKey` the key is asked for. */
export function publishForm({ ctx, vhost, exchange, routingKey }) {
  return form({
    label: 'Publish a message', action: 'Publish', keep: true,
    done: (routed) => (routed ? 'Published, and routed.' : 'Published, but no queue took it: no binding matches.'),
    fields: [
      routingKey === undefined && field({ label: 'Routing key', name: 'routing_key', form: 'publish-' }),
      field({ label: 'Delivery mode', name: 'delivery_mode', form: 'publish-', type: 'select', options: [['2', 'Persistent'], ['1', 'Transient']] }),
      field({ label: 'Encoding', name: 'encoding', form: 'publish-', type: 'select', options: [['string', 'Text'], ['base64', 'Base64']] }),
      argumentsField({ label: 'Properties', name: 'properties', form: 'publish-', known: [['content_type', PROPERTIES], ['correlation_id', 'For the answer'], ['reply_to', 'Where the answer goes'], ['expiration', 'Milliseconds, as text: "60000"'], ['priority', '0 to 255'], ['message_id', ''], ['type', ''], ['app_id', '']] }),
      argumentsField({ label: 'Headers', name: 'headers', form: 'publish-' }),
      h('div', { class: 'wide', key: 'payload' }, field({ label: 'Payload', name: 'payload', form: 'publish-', type: 'textarea', class: 'code', spellcheck: 'false' })),
    ],
    onsubmit: async (values) => {
      const headers = argumentsFrom(values.headers);
      const properties = { ...argumentsFrom(values.properties), delivery_mode: Number(values.delivery_mode), headers };
      const { routed } = await post(path('exchanges', vhost, exchange, 'publish'), {
        routing_key: routingKey ?? values.routing_key, payload: values.payload, payload_encoding: values.encoding, properties,
      });
      ctx.reload();
      return routed;
    },
  });
}

/** Asks, deletes, says so, and goes back to the list. `choices`: conditions of the broker's, as [parameter, label]. */
export async function deleteObject({ ctx, what, text, where, back, typed, choices }) {
  const agreed = await confirm({ title: `Delete ${what}?`, text, action: 'Delete', typed, choices });
  if (!agreed) return;
  const query = Object.fromEntries(Object.entries(agreed).filter(([, isTicked]) => isTicked));
  const worked = await attempt(() => remove(where, { query }), `Deleted: ${what}.`);
  if (!worked) return;
  if (back) ctx.go(back);
  else ctx.reload();
}

/** Asks how many messages go, and purges. */
export async function purgeQueue(ctx, { vhost, name, messages_ready: ready = 0 }) {
  const agreed = await confirm({
    title: `Purge ${name}?`, action: `Purge ${plural(ready, 'message')}`,
    text: `${plural(ready, 'ready message')} will be gone for good. Unacked messages stay with their consumers.`,
  });
  if (agreed && (await attempt(() => remove(path('queues', vhost, name, 'contents')), `Purged ${name}.`))) ctx.reload();
}

async function unbind(ctx, binding) {
  const { vhost, source, destination, destination_type: type, properties_key: key } = binding;
  const agreed = await confirm({ title: 'Remove this binding?', text: `${source} will no longer route “${binding.routing_key}” to ${destination}.`, action: 'Unbind' });
  if (!agreed) return;
  const where = path('bindings', vhost, 'e', source, type === 'queue' ? 'q' : 'e', destination, key);
  if (await attempt(() => remove(where), 'The binding is removed.')) ctx.reload();
}

/** In the place of tables of who exchanges messages with whom, while there is nothing in them. */
export const noTraffic = () => h('p', { class: 'muted' }, 'From where and to where messages go is shown here while they go and ', h('code', null, 'management.rates_mode'), ' is ', h('code', null, 'detailed'), '.');

const bindingKey = (one) => `${one.vhost}|${one.source}|${one.destination_type}|${one.destination}|${one.properties_key}`;

