// Enqueues as many calls as it is told.

import { Connection } from 'rabbitmq-client';

const count = Number(process.argv[2]);
const rabbit = new Connection(process.env.AMQP_URL ?? 'amqp://localhost');
const calls = rabbit.createPublisher({ confirm: true, queues: [{ queue: 'api.calls', durable: true }] });

for (let n = 1; n <= count; n += 1) await calls.send({ routingKey: 'api.calls', durable: true }, { n });
console.log(`enqueued ${count} calls`);

await calls.close();
await rabbit.close();
