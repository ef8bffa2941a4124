// A small shop as traffic: exchanges, queues of each type, a dead letter, publishers and consumers; for the pictures in
// the documentation and for looking at the pages while working on them.
//
//   PAGES=http://127.0.0.1:8080/ AMQP_URL=amqp://guest:guest@127.0.0.1:5672 node demo.js [SECONDS]

import amqp from 'amqplib';
import { pathToFileURL } from 'node:url';
import { api } from './test/browser.js';

const VHOST = 'shop';
const at = (kind, ...names) => [kind, VHOST, ...names].map(encodeURIComponent).join('/');
const ORDER = { id: 4711, customer: 'ada@example.org', items: [{ sku: 'A-17', count: 2 }, { sku: 'C-3', count: 1 }], total: '38.90' };

/** Makes the objects and starts the traffic; gives a function that ends it and removes everything. */
export async function startDemo(url = process.env.AMQP_URL) {
  await prepare();
  const shop = new URL(url);
  shop.pathname = `/${VHOST}`;
  const publisher = await amqp.connect(shop.href, { clientProperties: { connection_name: 'checkout-1' } });
  const worker = await amqp.connect(shop.href, { clientProperties: { connection_name: 'warehouse-1' } });
  const channel = await publisher.createConfirmChannel();
  const timers = [
    setInterval(() => { for (let n = 0; n < 4; n += 1) channel.publish('orders', 'order.created.eu', Buffer.from(JSON.stringify(ORDER)), { persistent: true, contentType: 'application/json', headers: { region: 'eu' } }); }, 20),
    setInterval(() => channel.publish('orders', 'order.paid.us', Buffer.from(JSON.stringify({ id: 4712, paid: true })), { persistent: true }), 25),
    setInterval(() => channel.publish('orders', 'order.cancelled.eu', Buffer.from('{"id":4713}')), 400),
  ];
  let isOver = false;
  const ackAfter = (ms) => (message, on) => setTimeout(() => isOver || on.ack(message), ms);
  await consume(worker, 'warehouse', 50, ackAfter(40));
  await consume(worker, 'invoices', 10, ackAfter(15));
  await consume(worker, 'warehouse', 50, ackAfter(60));
  await consume(worker, 'refunds', 5, () => {});
  return async () => {
    isOver = true;
    timers.forEach(clearInterval);
    await Promise.allSettled([publisher.close(), worker.close()]);
    await api('DELETE', `vhosts/${VHOST}`);
  };
}

async function prepare() {
  await api('PUT', `vhosts/${VHOST}`, { description: 'Web shop', default_queue_type: 'quorum' });
  await api('PUT', `permissions/${VHOST}/guest`, { configure: '.*', write: '.*', read: '.*' });
  for (const [name, type] of [['orders', 'topic'], ['billing', 'direct'], ['dead-letters', 'fanout'], ['audit', 'headers']]) await api('PUT', at('exchanges', name), { type, durable: true });
  const queues = [
    ['warehouse', 'quorum', { 'x-dead-letter-exchange': 'dead-letters', 'x-delivery-limit': 5 }], ['invoices', 'quorum', {}], ['refunds', 'classic', { 'x-dead-letter-exchange': 'dead-letters' }], ['search-index', 'classic', { 'x-message-ttl': 600000 }],
    ['order-log', 'stream', { 'x-max-age': '7D' }], ['parked', 'classic', {}], ['tickets', 'classic', { 'x-max-length': 100000 }],
  ];
  for (const [name, type, args] of queues) await api('PUT', at('queues', name), { durable: true, arguments: { 'x-queue-type': type, ...args } });
  const bindings = [
    ['orders', 'q', 'warehouse', 'order.created.*'], ['orders', 'q', 'order-log', '#'], ['orders', 'e', 'billing', 'order.paid.#'], ['orders', 'q', 'refunds', 'order.cancelled.*'], ['orders', 'q', 'search-index', 'order.*.eu'],
    ['billing', 'q', 'invoices', 'order.paid.us'], ['dead-letters', 'q', 'parked', ''],
  ];
  for (const [source, kind, target, key] of bindings) await api('POST', at('bindings', 'e', source, kind, target), { routing_key: key, arguments: {} });
  await api('POST', at('bindings', 'e', 'audit', 'q', 'order-log'), { routing_key: '', arguments: { 'x-match': 'any', region: 'eu' } });
  await api('PUT', at('policies', 'limits'), { pattern: '^(search|tickets)', 'apply-to': 'queues', priority: 5, definition: { 'max-length': 50000, overflow: 'reject-publish' } });
  await deadLetter();
}

/** Leaves messages in `parked` that have a history. */
async function deadLetter() {
  for (const id of [4700, 4701, 4702]) {
    const properties = { delivery_mode: 2, content_type: 'application/json', message_id: `order-${id}`, headers: { region: 'eu', attempt: 3 } };
    await api('POST', at('exchanges', 'orders', 'publish'), { routing_key: 'order.cancelled.eu', payload: JSON.stringify({ ...ORDER, id }), payload_encoding: 'string', properties });
  }
  await api('POST', at('queues', 'refunds', 'get'), { count: 3, ackmode: 'reject_requeue_false', encoding: 'auto' });
}

async function consume(connection, queue, prefetch, handle) {
  const channel = await connection.createChannel();
  await channel.prefetch(prefetch);
  await channel.consume(queue, (message) => message && handle(message, channel));
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const stop = await startDemo();
  const seconds = Number(process.argv[2] ?? 60);
  setTimeout(stop, seconds * 1000);
}
