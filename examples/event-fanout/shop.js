// Announces orders, given by number, and ends when the broker has them all.

import amqp from 'amqplib';

const connection = await amqp.connect(process.env.AMQP_URL ?? 'amqp://localhost');
const channel = await connection.createConfirmChannel();
await channel.assertExchange('shop.events', 'fanout', { durable: true });

for (const order of process.argv.slice(2)) {
  const event = { type: 'order.placed', order };
  channel.publish('shop.events', '', Buffer.from(JSON.stringify(event)), {
    contentType: 'application/json',
    type: event.type,
    persistent: true,
  });
}
await channel.waitForConfirms();
console.log(`announced ${process.argv.length - 2} orders`);

await connection.close();
