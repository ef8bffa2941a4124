// RabbitMQ's seven tutorials with amqplib, sender and receiver on connections of their own.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import test from 'node:test';
import { connect, inbox, text } from './amqplib.js';
import { within } from './harness.js';

async function senderAndReceiver(t) {
  const sending = await connect(t);
  const receiving = await connect(t);
  return [sending, await sending.channel(), receiving, await receiving.channel()];
}

/** A receiver of its own temporary queue, bound to `exchange` by each of `keys`. */
async function subscribe(channel, exchange, keys) {
  const { queue } = await channel.assertQueue('', { exclusive: true });
  for (const key of keys) await channel.bindQueue(queue, exchange, key);
  return inbox(channel, queue, { noAck: true });
}

test('amqplib tutorial 1: hello', async (t) => {
  const [sending, sender, , receiver] = await senderAndReceiver(t);
  const queue = await sending.queue(sender);

  sender.sendToQueue(queue, Buffer.from('Hello World!'));

  const received = await inbox(receiver, queue, { noAck: true });
  assert.equal(text(await received.next()), 'Hello World!');
});

test('amqplib tutorial 2: work queue shares tasks fairly and returns those of a lost worker', async (t) => {
  const [sending, sender, , diligent] = await senderAndReceiver(t);
  const queue = await sending.queue(sender);
  const doomed = await connect(t);
  const idle = await doomed.channel();
  await diligent.prefetch(1);
  await idle.prefetch(1);

  const hoarded = await inbox(idle, queue);
  sender.sendToQueue(queue, Buffer.from('task 0'), { persistent: true });
  assert.equal(text(await hoarded.next()), 'task 0');

  const done = await inbox(diligent, queue);
  for (let n = 1; n <= 5; n += 1) sender.sendToQueue(queue, Buffer.from(`task ${n}`), { persistent: true });
  for (let n = 1; n <= 5; n += 1) {
    const task = await done.next();
    assert.equal(text(task), `task ${n}`, 'the busy worker gets no second task');
    diligent.ack(task);
  }

  await doomed.connection.close();
  const returned = await done.next('the task of the lost worker');
  assert.equal(text(returned), 'task 0');
  assert.equal(returned.fields.redelivered, true);
  diligent.ack(returned);
});

test('amqplib tutorial 3: publish/subscribe', async (t) => {
  const [sending, sender, , receiver] = await senderAndReceiver(t);
  const logs = await sending.exchange(sender, 'fanout');
  const screen = await subscribe(receiver, logs, ['']);
  const file = await subscribe(receiver, logs, ['ignored']);

  sender.publish(logs, '', Buffer.from('info: all is well'));

  assert.equal(text(await screen.next()), 'info: all is well');
  assert.equal(text(await file.next()), 'info: all is well');
});

test('amqplib tutorial 4: routing', async (t) => {
  const [sending, sender, , receiver] = await senderAndReceiver(t);
  const logs = await sending.exchange(sender, 'direct');
  const errors = await subscribe(receiver, logs, ['error']);
  const all = await subscribe(receiver, logs, ['info', 'warning', 'error']);

  for (const severity of ['info', 'warning', 'error']) sender.publish(logs, severity, Buffer.from(severity));

  assert.deepEqual((await all.take(3)).map(text), ['info', 'warning', 'error']);
  assert.deepEqual((await errors.take(1)).map(text), ['error']);
});

test('amqplib tutorial 5: topics', async (t) => {
  const [sending, sender, , receiver] = await senderAndReceiver(t);
  const logs = await sending.exchange(sender, 'topic');
  const end = 'kern.end.critical';
  const subscriptions = {
    '#': ['kern.critical', 'kern.a.b', 'auth.info', 'cron', end],
    'kern.*': ['kern.critical'],
    'kern.#': ['kern.critical', 'kern.a.b', end],
    '*.*.critical': [end],
  };
  const received = {};
  for (const pattern of Object.keys(subscriptions)) received[pattern] = await subscribe(receiver, logs, [pattern, end]);

  for (const key of ['kern.critical', 'kern.a.b', 'auth.info', 'cron', end]) sender.publish(logs, key, Buffer.from(key));

  // Everybody is bound to the last key as well, so a message too many would come before it.
  for (const [pattern, keys] of Object.entries(subscriptions)) {
    const expected = keys.includes(end) ? keys : [...keys, end];
    const got = await received[pattern].take(expected.length, pattern);
    assert.deepEqual(got.map((message) => message.fields.routingKey), expected, pattern);
  }
});

test('amqplib tutorial 6: RPC', async (t) => {
  const [serving, server, , client] = await senderAndReceiver(t);
  const fibonacci = (n) => (n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2));
  const requests = await serving.queue(server);
  await server.prefetch(1);
  await server.consume(requests, (request) => {
    if (request === null) return; // The queue is deleted when the test ends.
    const { replyTo, correlationId } = request.properties;
    server.sendToQueue(replyTo, Buffer.from(String(fibonacci(Number(text(request))))), { correlationId });
    server.ack(request);
  });

  const { queue: replyTo } = await client.assertQueue('', { exclusive: true });
  const replies = await inbox(client, replyTo, { noAck: true });
  for (const n of [1, 10, 20]) client.sendToQueue(requests, Buffer.from(String(n)), { replyTo, correlationId: `fib-${n}` });

  const answers = (await replies.take(3)).map((reply) => [reply.properties.correlationId, text(reply)]);
  assert.deepEqual(answers, [['fib-1', '1'], ['fib-10', '55'], ['fib-20', '6765']]);
});

test('amqplib tutorial 7: publisher confirms', async (t) => {
  const session = await connect(t);
  const channel = await session.confirmChannel();
  const queue = await session.queue(channel);

  for (let n = 0; n < 10; n += 1) {
    channel.sendToQueue(queue, Buffer.from(`one ${n}`), { persistent: true });
    await within(channel.waitForConfirms(), 'confirm of a single message');
  }

  for (let n = 0; n < 100; n += 1) channel.sendToQueue(queue, Buffer.from(`batch ${n}`), { persistent: true });
  await within(channel.waitForConfirms(), 'confirm of a batch');

  const confirmed = [];
  for (let n = 0; n < 100; n += 1) {
    const message = Buffer.from(`streamed ${n}`);
    if (!channel.sendToQueue(queue, message, { persistent: true }, (error) => confirmed.push(error ?? n))) await once(channel, 'drain');
  }
  await within(channel.waitForConfirms(), 'confirms as they come');

  assert.deepEqual(confirmed, Array.from({ length: 100 }, (_, n) => n));
  assert.equal((await channel.checkQueue(queue)).messageCount, 210);
});
