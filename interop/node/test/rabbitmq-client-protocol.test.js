// What rabbitmq-client's users rely on beyond the tutorials. The client names errors instead of numbering them.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import test from 'node:test';
import { Connection, ConsumerStatus } from 'rabbitmq-client';
import { Inbox, eventually, unique, url, within } from './harness.js';
import { connect } from './rabbitmq-client.js';

const count = (session, queue) => session.connection.queueDeclare({ queue, passive: true }).then((ok) => ok.messageCount);

test('rabbitmq-client: an unroutable mandatory message returns and is confirmed', async (t) => {
  const session = await connect(t);
  const returns = new Inbox();
  const publisher = session.publisher({ confirm: true });
  publisher.on('basic.return', (message) => returns.push(message));
  const routingKey = unique('nowhere');

  await within(publisher.send({ routingKey, mandatory: true, messageId: 'm1' }, 'lost'), 'the confirm');

  const returned = await returns.next('basic.return');
  assert.equal(returned.replyCode, 312);
  assert.equal(returned.replyText, 'NO_ROUTE');
  assert.equal(returned.routingKey, routingKey);
  assert.equal(returned.messageId, 'm1');
  assert.equal(returned.body, 'lost');
});

test('rabbitmq-client: a full queue with reject-publish rejects the publish', async (t) => {
  const session = await connect(t);
  const queue = await session.queue({ arguments: { 'x-max-length': 1, 'x-overflow': 'reject-publish' } });
  const publisher = session.publisher({ confirm: true });

  await within(publisher.send(queue, 'fits'), 'a confirm');

  await assert.rejects(within(publisher.send(queue, 'too much'), 'a confirm'), { code: 'NACK' });
});

test('rabbitmq-client: consumers learn that their queue is deleted', async (t) => {
  const session = await connect(t);
  const queue = unique('doomed');
  await session.connection.queueDeclare({ queue, durable: true });
  const channel = await session.channel();
  const cancelled = new Inbox();
  channel.on('basic.cancel', (consumerTag) => cancelled.push(consumerTag));
  await channel.basicConsume({ queue, consumerTag: 'mine' }, () => {});

  await session.connection.queueDelete(queue);

  assert.equal(await cancelled.next('basic.cancel'), 'mine');
});

test('rabbitmq-client: prefetch bounds what is unacknowledged', async (t) => {
  const session = await connect(t);
  const queue = await session.queue();
  const publisher = session.publisher({ confirm: true });
  for (let n = 0; n < 10; n += 1) await publisher.send(queue, n);
  const channel = await session.channel();
  const messages = new Inbox();
  await channel.basicQos({ prefetchCount: 4 });
  await channel.basicConsume({ queue }, (message) => messages.push(message));

  const held = await messages.take(4);
  await eventually(() => count(session, queue), (ready) => ready === 6, 'six messages wait');
  assert.equal(messages.items.length, 0);

  channel.basicAck({ deliveryTag: held[2].deliveryTag, multiple: true });
  assert.deepEqual((await messages.take(3)).map((message) => message.body), [4, 5, 6]);
  await eventually(() => count(session, queue), (ready) => ready === 3, 'three messages wait');
  assert.equal(messages.items.length, 0);
});

test('rabbitmq-client: requeue, then drop to the dead-letter exchange, with x-death', async (t) => {
  const session = await connect(t);
  const graveyard = await session.exchange('fanout');
  const dead = await session.queue();
  await session.bind(dead, graveyard, '');
  const queue = await session.queue({ arguments: { 'x-dead-letter-exchange': graveyard } });
  const burials = await session.consumer({ queue: dead });
  const attempts = [];
  await session.consumer({ queue }, (message) => {
    attempts.push(message.redelivered);
    return message.redelivered ? ConsumerStatus.DROP : ConsumerStatus.REQUEUE;
  });

  await session.publisher().send(queue, 'poison');

  const { body, headers, routingKey } = await burials.next('the dead letter');
  assert.equal(body, 'poison');
  assert.equal(routingKey, queue, 'the key stays when the queue names none');
  assert.deepEqual(attempts, [false, true]);
  const [death] = headers['x-death'];
  assert.equal(death.reason, 'rejected');
  assert.equal(death.queue, queue);
  assert.equal(death.count, 1);
  assert.deepEqual(death['routing-keys'], [queue]);
});

test('rabbitmq-client: an expired message is dead-lettered without its expiration', async (t) => {
  const session = await connect(t);
  const dead = await session.queue();
  const queue = await session.queue({ arguments: { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': dead } });
  const burials = await session.consumer({ queue: dead });

  await session.publisher().send({ routingKey: queue, expiration: '1' }, 'brief');

  const { expiration, headers } = await burials.next('the dead letter');
  assert.equal(expiration, undefined);
  assert.equal(headers['x-death'][0].reason, 'expired');
  assert.equal(headers['x-death'][0]['original-expiration'], '1');
});

test('rabbitmq-client: an exclusive queue is locked for other connections', async (t) => {
  const [owner, intruder] = [await connect(t), await connect(t)];
  const queue = unique('mine');
  await owner.connection.queueDeclare({ queue, exclusive: true });

  await assert.rejects(intruder.connection.queueDeclare({ queue, passive: true }), { code: 'RESOURCE_LOCKED' });
});

test('rabbitmq-client: passive declares of what is absent fail, the connection goes on', async (t) => {
  const session = await connect(t);
  const name = unique('absent');

  await assert.rejects(session.connection.queueDeclare({ queue: name, passive: true }), {
    code: 'NOT_FOUND',
    message: `QueueDeclare: NOT_FOUND - no queue '${name}' in vhost '/'`,
  });
  await assert.rejects(session.connection.exchangeDeclare({ exchange: name, passive: true }), {
    code: 'NOT_FOUND',
    message: `ExchangeDeclare: NOT_FOUND - no exchange '${name}' in vhost '/'`,
  });
  assert.equal(await count(session, await session.queue()), 0);
});

test('rabbitmq-client: another declaration of the same queue is PRECONDITION_FAILED', async (t) => {
  const session = await connect(t);
  const queue = await session.queue({ arguments: { 'x-message-ttl': 1000 } });

  await assert.rejects(session.connection.queueDeclare({ queue, durable: true }), (error) => {
    assert.equal(error.code, 'PRECONDITION_FAILED');
    assert.ok(error.message.includes(`inequivalent arg 'x-message-ttl' for queue '${queue}' in vhost '/'`), error.message);
    return true;
  });
});

test('rabbitmq-client: a headers exchange routes by all or any', async (t) => {
  const session = await connect(t);
  const exchange = await session.exchange('headers');
  const [all, any] = [await session.queue(), await session.queue()];
  await session.bind(all, exchange, '', { 'x-match': 'all', kind: 'invoice', urgent: true });
  await session.bind(any, exchange, '', { 'x-match': 'any', kind: 'invoice', urgent: true });
  const publisher = session.publisher({ confirm: true });

  for (const headers of [{ kind: 'invoice', urgent: true }, { kind: 'invoice', urgent: false }, { kind: 'note' }, {}]) {
    await publisher.send({ exchange, headers }, 'x');
  }

  assert.equal(await count(session, all), 1);
  assert.equal(await count(session, any), 2);
});

test('rabbitmq-client: higher priorities are delivered first', async (t) => {
  const session = await connect(t);
  const queue = await session.queue({ arguments: { 'x-max-priority': 5 } });
  const publisher = session.publisher({ confirm: true });
  for (const priority of [0, 3, 1, 5, 3]) await publisher.send({ routingKey: queue, priority }, priority);

  const messages = await session.consumer({ queue });

  assert.deepEqual((await messages.take(5)).map((message) => message.body), [5, 3, 3, 1, 0]);
});

test('rabbitmq-client: a body of 1 MiB arrives unchanged', async (t) => {
  const session = await connect(t);
  const queue = await session.queue();
  const body = randomBytes(1 << 20);
  const messages = await session.consumer({ queue });

  await within(session.publisher({ confirm: true }).send({ routingKey: queue, durable: true }, body), 'the confirm');

  assert.ok(body.equals((await messages.next()).body));
});

test('rabbitmq-client: a rolled back transaction leaves nothing, a committed one everything', async (t) => {
  const session = await connect(t);
  const queue = await session.queue();
  const channel = await session.channel();
  await channel.txSelect();

  await channel.basicPublish(queue, 'undone');
  await channel.txRollback();
  await channel.basicPublish(queue, 'kept 1');
  await channel.basicPublish(queue, 'kept 2');
  assert.equal(await count(session, queue), 0, 'nothing before the commit');
  await channel.txCommit();

  const kept = [await session.connection.basicGet({ queue, noAck: true }), await session.connection.basicGet({ queue, noAck: true })];
  assert.deepEqual(kept.map((message) => message.body), ['kept 1', 'kept 2']);
  assert.equal(await session.connection.basicGet(queue), undefined);
});

test('rabbitmq-client: an acknowledgement in a transaction counts with the commit', async (t) => {
  const session = await connect(t);
  const queue = await session.queue();
  await session.publisher({ confirm: true }).send(queue, 'once');
  const channel = await session.channel();
  await channel.txSelect();

  const { deliveryTag } = await channel.basicGet(queue);
  channel.basicAck({ deliveryTag });
  await channel.txRollback();
  channel.basicAck({ deliveryTag });
  await channel.txCommit();
  await channel.basicRecover({ requeue: true });

  assert.equal(await count(session, queue), 0);
});

test('rabbitmq-client: basic.recover gives unacknowledged messages back', async (t) => {
  const session = await connect(t);
  const queue = await session.queue();
  await session.publisher({ confirm: true }).send(queue, 'held');
  const channel = await session.channel();
  assert.equal((await channel.basicGet(queue)).redelivered, false);

  await channel.basicRecover({ requeue: true });

  const again = await eventually(() => channel.basicGet({ queue, noAck: true }), Boolean, 'the message');
  assert.equal(again.redelivered, true);
});

test('rabbitmq-client: an exclusive consumer keeps others out', async (t) => {
  const session = await connect(t);
  const queue = await session.queue();
  const first = await session.channel();
  await first.basicConsume({ queue, exclusive: true }, () => {});
  const second = await session.channel();

  await assert.rejects(second.basicConsume({ queue }, () => {}), { code: 'ACCESS_REFUSED' });
});

test('rabbitmq-client: a single active consumer hands over when it leaves', async (t) => {
  const session = await connect(t);
  const queue = await session.queue({ arguments: { 'x-single-active-consumer': true } });
  const [first, second] = [await session.consumer({ queue }), await session.consumer({ queue })];
  const publisher = session.publisher({ confirm: true });

  for (let n = 0; n < 4; n += 1) await publisher.send(queue, n);
  assert.deepEqual((await first.take(4)).map((message) => message.body), [0, 1, 2, 3]);
  assert.equal(second.items.length, 0);

  await first.consumer.close();
  await publisher.send(queue, 'yours');
  assert.equal((await second.next()).body, 'yours');
});

test('rabbitmq-client: a consumer comes back after its channel was closed by an error', async (t) => {
  const session = await connect(t);
  const queue = await session.queue();
  const messages = await session.consumer({ queue });
  const publisher = session.publisher();

  await publisher.send({ exchange: unique('absent') }, 'lost');
  assert.equal((await session.errors.next('the error')).code, 'NOT_FOUND');

  await eventually(() => publisher.send(queue, 'found').then(() => true, () => false), Boolean, 'a new channel');
  assert.equal((await messages.next()).body, 'found');
});

test('rabbitmq-client: heartbeats keep an idle connection', async (t) => {
  const session = await connect(t, { heartbeat: 1 });
  const queue = await session.queue();

  // The client gives up after about two silent seconds, and so does the broker.
  const idle = await within(session.errors.next('an error'), 'idle', 4000).catch(() => 'no error');

  assert.equal(idle, 'no error');
  assert.equal(await count(session, queue), 0);
});

test('rabbitmq-client: login and vhost are checked', async (t) => {
  for (const [change, code] of [
    [{ password: 'wrong' }, 'ACCESS_REFUSED'],
    [{ pathname: '/no-such-vhost' }, 'NOT_ALLOWED'],
  ]) {
    const connection = new Connection(Object.assign(new URL(url), change).href);
    const error = await within(new Promise((resolve) => connection.once('error', resolve)), 'the refusal');
    connection.on('error', () => {});
    await connection.close();
    assert.equal(error.code, code);
  }
});
