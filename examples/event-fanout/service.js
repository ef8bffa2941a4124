// One instance of a service that listens to the shop's events until it is stopped.

import amqp from 'amqplib';

const service = process.argv[2];
const connection = await amqp.connect(process.env.AMQP_URL ?? 'amqp://localhost');
const channel = await connection.createChannel();
await channel.assertExchange('shop.events', 'fanout', { durable: true });
// Named for the service, not for the instance: that is what makes instances share.
const { queue } = await channel.assertQueue(`shop.events.${service}`, { durable: true });
await channel.bindQueue(queue, 'shop.events', '');
await channel.prefetch(10);

await channel.consume(queue, (message) => {
  const { order } = JSON.parse(message.content);
  console.log(`${service} handles ${order}`);
  channel.ack(message);
});
console.log(`${service} listens`);

process.once('SIGTERM', () => connection.close());
