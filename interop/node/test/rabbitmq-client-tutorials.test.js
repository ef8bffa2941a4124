// RabbitMQ's seven tutorials with rabbitmq-client, sender and receiver on connections of their own.

import assert from 'node:assert/strict';
import test from 'node:test';
import { ConsumerStatus } from 'rabbitmq-client';
import { Inbox, within } from './harness.js';
import { connect } from './rabbitmq-client.js';

const bodies = (messages) => messages.map((message) => message.body);

/** A consumer of a temporary queue of its own, bound to `exchange` by each of `keys`. */
const subscribe = (session, exchange, keys) =>
  session.consumer({
    noAck: true,
    queueOptions: { exclusive: true },
    queueBindings: keys.map((routingKey) => ({ exchange, routingKey })),
  });

test('rabbitmq-client tutorial 1: hello', async (t) => {
  const [sender, receiver] = [await connect(t), await connect(t)];
  const queue = await sender.queue();

  await sender.publisher().send(queue, 'Hello World!');

  const received = await receiver.consumer({ queue });
  assert.equal((await received.next()).body, 'Hello World!');
});

test('rabbitmq-client tutorial 2: work queue shares tasks fairly', async (t) => {
  const [sender, busy, diligent] = [await connect(t), await connect(t), await connect(t)];
  const queue = await sender.queue();
  const tasks = sender.publisher({ confirm: true });
  const one = { queue, qos: { prefetchCount: 1 } };

  const started = new Inbox();
  let finish;
  const long = new Promise((resolve) => (finish = resolve));
  await busy.consumer(one, (task) => {
    started.push(task);
    return long;
  });
  await tasks.send({ routingKey: queue, durable: true }, 'long');
  assert.equal((await started.next()).body, 'long');

  const done = await diligent.consumer(one);
  for (let n = 0; n < 6; n += 1) await tasks.send({ routingKey: queue, durable: true }, `short ${n}`);

  assert.deepEqual(bodies(await done.take(6)), [0, 1, 2, 3, 4, 5].map((n) => `short ${n}`));
  assert.equal(started.items.length, 0, 'the busy worker got no second task');
  finish();
});

test('rabbitmq-client tutorial 3: publish/subscribe', async (t) => {
  const [sender, receiver] = [await connect(t), await connect(t)];
  const exchange = await sender.exchange('fanout');
  const [screen, file] = [await subscribe(receiver, exchange, ['']), await subscribe(receiver, exchange, [''])];

  await sender.publisher().send({ exchange }, { level: 'info', text: 'all is well' });

  for (const subscriber of [screen, file]) {
    assert.deepEqual((await subscriber.next()).body, { level: 'info', text: 'all is well' });
  }
});

test('rabbitmq-client tutorial 4: routing', async (t) => {
  const [sender, receiver] = [await connect(t), await connect(t)];
  const exchange = await sender.exchange('direct');
  const errors = await subscribe(receiver, exchange, ['error']);
  const all = await subscribe(receiver, exchange, ['info', 'warning', 'error']);
  const logs = sender.publisher();

  for (const routingKey of ['info', 'warning', 'error']) await logs.send({ exchange, routingKey }, routingKey);

  assert.deepEqual(bodies(await all.take(3)), ['info', 'warning', 'error']);
  assert.deepEqual(bodies(await errors.take(1)), ['error']);
});

test('rabbitmq-client tutorial 5: topics', async (t) => {
  const [sender, receiver] = [await connect(t), await connect(t)];
  const exchange = await sender.exchange('topic');
  // Each is bound to the last key as well, so a message too many would come before it.
  const quick = await subscribe(receiver, exchange, ['*.orange.*', 'end']);
  const lazy = await subscribe(receiver, exchange, ['*.*.rabbit', 'lazy.#', 'end']);
  const animals = sender.publisher();

  const keys = ['quick.orange.rabbit', 'lazy.orange.elephant', 'quick.brown.fox', 'lazy.pink.rabbit', 'orange', 'lazy.orange.new.rabbit', 'end'];
  for (const routingKey of keys) await animals.send({ exchange, routingKey }, routingKey);

  assert.deepEqual(bodies(await quick.take(3)), ['quick.orange.rabbit', 'lazy.orange.elephant', 'end']);
  assert.deepEqual(bodies(await lazy.take(5)), [
    'quick.orange.rabbit',
    'lazy.orange.elephant',
    'lazy.pink.rabbit',
    'lazy.orange.new.rabbit',
    'end',
  ]);
});

test('rabbitmq-client tutorial 6: RPC', async (t) => {
  const [serving, calling] = [await connect(t), await connect(t)];
  const queue = await serving.queue();
  await serving.consumer({ queue, qos: { prefetchCount: 1 } }, async (request, reply) => {
    let [a, b] = [0, 1];
    for (let n = request.body.n; n > 0; n -= 1) [a, b] = [b, a + b];
    await reply({ fibonacci: a });
    return ConsumerStatus.ACK;
  });

  const client = calling.rpcClient({ timeout: 10_000 });
  const answers = await Promise.all([0, 10, 30].map((n) => client.send(queue, { n })));

  assert.deepEqual(bodies(answers), [{ fibonacci: 0 }, { fibonacci: 55 }, { fibonacci: 832040 }]);
});

test('rabbitmq-client tutorial 7: publisher confirms', async (t) => {
  const session = await connect(t);
  const queue = await session.queue();
  const publisher = session.publisher({ confirm: true });
  const durable = { routingKey: queue, durable: true };

  for (let n = 0; n < 10; n += 1) await within(publisher.send(durable, `one ${n}`), 'a confirm');
  const batch = Array.from({ length: 200 }, (_, n) => publisher.send(durable, `batch ${n}`));
  await within(Promise.all(batch), 'the confirms of a batch');

  const { messageCount } = await session.connection.queueDeclare({ queue, passive: true });
  assert.equal(messageCount, 210);
});
