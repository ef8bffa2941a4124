// What amqplib's users rely on beyond the tutorials.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import test from 'node:test';
import amqp from 'amqplib';
import { channelError, connect, inbox, text } from './amqplib.js';
import { Inbox, eventually, unique, url, within } from './harness.js';

const persistent = { persistent: true };

async function open(t, options) {
  const session = await connect(t, options);
  return { session, channel: await session.channel() };
}

test('amqplib: every publish is confirmed once, by single and multiple acks', async (t) => {
  const session = await connect(t);
  const channel = await session.confirmChannel();
  const queue = await session.queue(channel);
  const settled = new Set();
  let upTo = 0;
  channel.on('ack', ({ deliveryTag, multiple }) => {
    for (let tag = multiple ? upTo + 1 : deliveryTag; tag <= deliveryTag; tag += 1) settled.add(tag);
    while (settled.has(upTo + 1)) upTo += 1;
  });

  for (let n = 0; n < 500; n += 1) channel.sendToQueue(queue, Buffer.from(`${n}`), persistent);
  await within(channel.waitForConfirms(), 'confirms');

  assert.equal(upTo, 500);
  assert.equal(settled.size, 500);
});

test('amqplib: an unroutable mandatory message returns before its confirm', async (t) => {
  const session = await connect(t);
  const channel = await session.confirmChannel();
  const events = new Inbox();
  channel.on('return', (message) => events.push(message));

  const key = unique('nowhere');
  channel.publish('', key, Buffer.from('lost'), { mandatory: true, messageId: 'm1' }, (error) => events.push({ confirmed: error === null }));

  const returned = await events.next('basic.return');
  assert.equal(returned.fields.replyCode, 312);
  assert.equal(returned.fields.replyText, 'NO_ROUTE');
  assert.equal(returned.fields.routingKey, key);
  assert.equal(returned.properties.messageId, 'm1');
  assert.equal(text(returned), 'lost');
  assert.deepEqual(await events.next('confirm'), { confirmed: true });
});

test('amqplib: consumers learn that their queue is deleted', async (t) => {
  const { session, channel } = await open(t);
  const other = await session.channel();
  const queue = await session.queue(channel);
  const messages = await inbox(channel, queue);

  await other.deleteQueue(queue);

  assert.equal(await messages.next('basic.cancel'), null, 'amqplib hands a cancel to the callback as null');
});

test('amqplib: prefetch bounds what is unacknowledged', async (t) => {
  const { session, channel } = await open(t);
  const asking = await session.channel();
  const queue = await session.queue(channel);
  for (let n = 0; n < 10; n += 1) channel.sendToQueue(queue, Buffer.from(`${n}`));
  await channel.prefetch(3);
  const messages = await inbox(channel, queue);

  const held = await messages.take(3);
  await eventually(() => asking.checkQueue(queue), (ok) => ok.messageCount === 7, 'seven messages wait');
  assert.equal(messages.items.length, 0);

  channel.ack(held[1], true);
  assert.deepEqual((await messages.take(2)).map(text), ['3', '4']);
  await eventually(() => asking.checkQueue(queue), (ok) => ok.messageCount === 5, 'five messages wait');
  assert.equal(messages.items.length, 0);
});

test('amqplib: nack with requeue redelivers, in the old place', async (t) => {
  const { session, channel } = await open(t);
  const queue = await session.queue(channel);
  for (const body of ['first', 'second']) channel.sendToQueue(queue, Buffer.from(body));

  const first = await eventually(() => channel.get(queue), Boolean, 'a message');
  assert.equal(first.fields.redelivered, false);
  channel.nack(first, false, true);

  const again = await eventually(() => channel.get(queue), Boolean, 'the message again');
  assert.equal(text(again), 'first');
  assert.equal(again.fields.redelivered, true);
  channel.ack(again);
});

test('amqplib: a rejected message is dead-lettered with x-death', async (t) => {
  const { session, channel } = await open(t);
  const graveyard = await session.exchange(channel, 'direct');
  const dead = await session.queue(channel);
  await channel.bindQueue(dead, graveyard, 'buried');
  const queue = await session.queue(channel, { deadLetterExchange: graveyard, deadLetterRoutingKey: 'buried' });
  const burials = await inbox(channel, dead, { noAck: true });

  channel.sendToQueue(queue, Buffer.from('poison'), { headers: { trace: 'abc' } });
  const poison = await eventually(() => channel.get(queue), Boolean, 'the message');
  channel.reject(poison, false);

  const { fields, properties } = await burials.next();
  assert.equal(fields.routingKey, 'buried');
  assert.equal(properties.headers.trace, 'abc');
  assert.equal(properties.headers['x-first-death-queue'], queue);
  assert.equal(properties.headers['x-first-death-reason'], 'rejected');
  assert.equal(properties.headers['x-first-death-exchange'], '');
  const [death] = properties.headers['x-death'];
  assert.equal(death.queue, queue);
  assert.equal(death.reason, 'rejected');
  assert.equal(death.count, 1);
  assert.equal(death.exchange, '');
  assert.deepEqual(death['routing-keys'], [queue]);
  assert.equal(death.time['!'], 'timestamp');
});

test('amqplib: expired messages are dead-lettered, and x-death counts the rounds', async (t) => {
  const { session, channel } = await open(t);
  const wait = unique('wait');
  const work = await session.queue(channel, { deadLetterExchange: '', deadLetterRoutingKey: wait });
  await session.queue(channel, { name: wait, messageTtl: 1, deadLetterExchange: '', deadLetterRoutingKey: work });
  const attempts = await inbox(channel, work);

  channel.sendToQueue(work, Buffer.from('again and again'));

  for (let round = 0; round < 4; round += 1) {
    const attempt = await attempts.next(`round ${round}`);
    const deaths = attempt.properties.headers?.['x-death'] ?? [];
    const rounds = (queue, reason) => deaths.find((death) => death.queue === queue && death.reason === reason)?.count ?? 0;
    assert.equal(rounds(wait, 'expired'), round);
    assert.equal(rounds(work, 'rejected'), round);
    if (round < 3) channel.nack(attempt, false, false);
    else channel.ack(attempt);
  }
});

test('amqplib: max-length with reject-publish nacks', async (t) => {
  const session = await connect(t);
  const channel = await session.confirmChannel();
  const queue = await session.queue(channel, { maxLength: 1, overflow: 'reject-publish' });
  const publish = () => new Promise((resolve) => channel.sendToQueue(queue, Buffer.from('x'), {}, (error) => resolve(error ? 'nack' : 'ack')));

  assert.equal(await within(publish(), 'a confirm'), 'ack');
  assert.equal(await within(publish(), 'a confirm'), 'nack');
});

test('amqplib: an exclusive queue is locked for other connections', async (t) => {
  const { channel } = await open(t);
  const { queue } = await channel.assertQueue(unique('mine'), { exclusive: true });
  const { channel: intruder } = await open(t);

  await assert.rejects(intruder.checkQueue(queue), (error) => {
    assert.equal(error.code, 405);
    assert.match(error.message, /RESOURCE_LOCKED - cannot obtain exclusive access to locked queue/);
    return true;
  });
  assert.equal((await channel.checkQueue(queue)).queue, queue);
});

test('amqplib: passive declare of what is absent is 404 and closes the channel only', async (t) => {
  const { session, channel } = await open(t);
  const name = unique('absent');

  await assert.rejects(channel.checkQueue(name), (error) => {
    assert.equal(error.code, 404);
    assert.ok(error.message.includes(`NOT_FOUND - no queue '${name}' in vhost '/'`), error.message);
    return true;
  });
  const next = await session.channel();
  await assert.rejects(next.checkExchange(name), { code: 404 });
  assert.ok(await session.channel());
});

test('amqplib: declaring a queue differently is 406', async (t) => {
  const { session, channel } = await open(t);
  const queue = await session.queue(channel, { maxLength: 5 });

  await assert.rejects(channel.assertQueue(queue, { durable: true, maxLength: 6 }), (error) => {
    assert.equal(error.code, 406);
    assert.ok(error.message.includes(`inequivalent arg 'x-max-length' for queue '${queue}' in vhost '/'`), error.message);
    return true;
  });
});

test('amqplib: publishing to an absent exchange closes the channel, not the connection', async (t) => {
  const { session, channel } = await open(t);
  const closed = channelError(channel);

  channel.publish(unique('absent'), 'key', Buffer.from('x'));

  assert.equal((await within(closed, 'channel error')).code, 404);
  assert.ok(await session.channel());
});

test('amqplib: an unknown delivery tag is 406', async (t) => {
  const { channel } = await open(t);
  const closed = channelError(channel);

  channel.ack({ fields: { deliveryTag: 99 } });

  const error = await within(closed, 'channel error');
  assert.equal(error.code, 406);
  assert.match(error.message, /PRECONDITION_FAILED - unknown delivery tag 99/);
});

test('amqplib: a headers exchange matches all, any, and the x- forms', async (t) => {
  const { session, channel } = await open(t);
  const exchange = await session.exchange(channel, 'headers');
  const bindings = {
    all: { 'x-match': 'all', format: 'pdf', pages: 3 },
    any: { 'x-match': 'any', format: 'pdf', pages: 3 },
    'all-with-x': { 'x-match': 'all-with-x', format: 'pdf', 'x-kind': 'report' },
  };
  const last = { 'x-match': 'any', last: true };
  const received = {};
  for (const [name, headers] of Object.entries(bindings)) {
    const { queue } = await channel.assertQueue('', { exclusive: true });
    await channel.bindQueue(queue, exchange, '', headers);
    await channel.bindQueue(queue, exchange, '', last);
    received[name] = await inbox(channel, queue, { noAck: true });
  }

  const messages = {
    a: { format: 'pdf', pages: 3 },
    b: { format: 'pdf', pages: 4 },
    c: { format: 'pdf', 'x-kind': 'report' },
    d: { format: 'zip' },
    end: { last: true },
  };
  for (const [body, headers] of Object.entries(messages)) channel.publish(exchange, '', Buffer.from(body), { headers });

  for (const [name, expected] of Object.entries({ all: ['a', 'end'], any: ['a', 'b', 'c', 'end'], 'all-with-x': ['c', 'end'] })) {
    assert.deepEqual((await received[name].take(expected.length, name)).map(text), expected, name);
  }
});

test('amqplib: higher priorities are delivered first', async (t) => {
  const { session, channel } = await open(t);
  const queue = await session.queue(channel, { maxPriority: 10 });
  for (const priority of [1, 5, 0, 9, 5, 12]) channel.sendToQueue(queue, Buffer.from(`${priority}`), { priority });
  await eventually(() => channel.checkQueue(queue), (ok) => ok.messageCount === 6, 'all are queued');

  const messages = await inbox(channel, queue, { noAck: true });

  // 12 is above the maximum and counts as 10.
  assert.deepEqual((await messages.take(6)).map(text), ['12', '9', '5', '5', '1', '0']);
});

test('amqplib: a body of 1 MiB, and an empty one, arrive unchanged', async (t) => {
  const { session, channel } = await open(t);
  const queue = await session.queue(channel);
  const messages = await inbox(channel, queue, { noAck: true });
  const large = randomBytes(1 << 20);

  for (const body of [large, Buffer.alloc(0), large]) channel.sendToQueue(queue, body, persistent);

  assert.ok((await messages.next()).content.equals(large));
  assert.equal((await messages.next()).content.length, 0);
  assert.ok((await messages.next()).content.equals(large));
});

test('amqplib: properties and every header type arrive as sent', async (t) => {
  const { session, channel } = await open(t);
  const queue = await session.queue(channel);
  const messages = await inbox(channel, queue, { noAck: true });
  const properties = {
    contentType: 'application/json',
    contentEncoding: 'identity',
    deliveryMode: 2,
    priority: 7,
    correlationId: 'c-1',
    replyTo: 'somewhere',
    expiration: '600000',
    messageId: 'm-1',
    timestamp: 1_700_000_000,
    type: 'order.placed',
    userId: 'guest',
    appId: 'shop',
    headers: {
      text: 'tab\tand snowman \u2603',
      truth: true,
      small: 1,
      negative: -70_000,
      big: 2 ** 40,
      double: 0.25,
      nothing: null,
      bytes: Buffer.from([0, 1, 255]),
      list: ['a', 1, { deep: [true] }],
      table: { nested: { deeper: 'x' } },
    },
  };

  channel.sendToQueue(queue, Buffer.from('{}'), { ...properties, deliveryMode: undefined, persistent: true });

  const received = (await messages.next()).properties;
  for (const [name, value] of Object.entries(properties)) assert.deepEqual(received[name], value, name);
});

test('amqplib: a message can be routed through an exchange bound to an exchange, and to the alternate', async (t) => {
  const { session, channel } = await open(t);
  const alternate = await session.exchange(channel, 'fanout');
  const front = await session.exchange(channel, 'topic', { alternateExchange: alternate });
  const back = await session.exchange(channel, 'fanout');
  await channel.bindExchange(back, front, 'order.#');
  const matched = await session.queue(channel);
  const others = await session.queue(channel);
  await channel.bindQueue(matched, back, '');
  await channel.bindQueue(others, alternate, '');
  const [orders, rest] = [await inbox(channel, matched, { noAck: true }), await inbox(channel, others, { noAck: true })];

  for (const key of ['order.placed', 'refund', 'order']) channel.publish(front, key, Buffer.from(key));

  assert.deepEqual((await orders.take(2)).map(text), ['order.placed', 'order']);
  assert.equal(text(await rest.next()), 'refund');
});

test('amqplib: direct reply-to', async (t) => {
  const { session, channel: server } = await open(t);
  const { channel: client } = await open(t);
  const queue = await session.queue(server);
  await server.consume(
    queue,
    (request) => request && server.sendToQueue(request.properties.replyTo, Buffer.from(text(request).toUpperCase())),
    { noAck: true },
  );

  const replies = await inbox(client, 'amq.rabbitmq.reply-to', { noAck: true });
  client.sendToQueue(queue, Buffer.from('hello'), { replyTo: 'amq.rabbitmq.reply-to' });

  const reply = await replies.next('the reply');
  assert.equal(text(reply), 'HELLO');
  assert.match(reply.fields.routingKey, /^amq\.rabbitmq\.reply-to\./);
});

test('amqplib: an auto-delete queue goes with its last consumer', async (t) => {
  const { session, channel } = await open(t);
  const { queue } = await channel.assertQueue(unique('fleeting'), { autoDelete: true });
  const { consumerTag } = await inbox(channel, queue);

  await channel.cancel(consumerTag);

  const asking = await session.channel();
  await assert.rejects(asking.checkQueue(queue), { code: 404 });
});

test('amqplib: connection name and client properties are accepted, the server presents itself', async (t) => {
  const { session, channel } = await open(t, { clientProperties: { connection_name: 'interop node', custom: { nested: [1, 'two', true] } } });

  const { serverProperties } = session.connection.connection;
  assert.match(serverProperties.product, /^RabbitMQ$/);
  for (const capability of ['publisher_confirms', 'basic.nack', 'consumer_cancel_notify', 'connection.blocked']) {
    assert.equal(serverProperties.capabilities[capability], true, capability);
  }
  assert.ok((await channel.assertQueue('', { exclusive: true })).queue.startsWith('amq.gen-'));
});

test('amqplib: heartbeats keep an idle connection', async (t) => {
  const { session, channel } = await open(t, { query: '?heartbeat=1' });

  // The client gives up after two silent seconds, and so does the broker.
  const ending = once(session.connection, 'close').then(() => 'closed');
  const idle = await Promise.race([ending, within(ending, 'idle', 4000).catch(() => 'still open')]);

  assert.equal(idle, 'still open');
  assert.ok(await channel.assertQueue('', { exclusive: true }));
});

test('amqplib: a wrong password is refused with 403', async () => {
  const wrong = new URL(url);
  wrong.password = 'wrong';

  await assert.rejects(within(amqp.connect(wrong.href), 'an answer'), /ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN/);
});

test('amqplib: an unknown vhost is refused, which amqplib tells without the code', async () => {
  const elsewhere = new URL(url);
  elsewhere.pathname = '/no-such-vhost';

  await assert.rejects(within(amqp.connect(elsewhere.href), 'an answer'), /Expected ConnectionOpenOk; got <ConnectionClose channel:0>/);
});
