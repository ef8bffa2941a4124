// Calls the API no more than `allowed` times per window until it is stopped.

import { setTimeout as delay } from 'node:timers/promises';
import { ConsumerStatus, Connection } from 'rabbitmq-client';

const [allowed, windowMs] = process.argv.slice(2).map(Number);
const rabbit = new Connection(process.env.AMQP_URL ?? 'amqp://localhost');

const consumer = rabbit.createConsumer(
  { queue: 'api.calls', queueOptions: { durable: true }, qos: { prefetchCount: allowed } },
  async ({ body }) => {
    const call = callApi(body.n);
    const windowEnd = performance.now() + windowMs;
    await call;
    await until(windowEnd);
    return ConsumerStatus.ACK;
  },
);
consumer.on('ready', () => console.log('worker is ready'));
consumer.on('error', (error) => console.error(error));

async function callApi(n) {
  console.log(`call ${n} at ${Math.round(performance.now())} ms`);
}

/** Asks the clock again, because a timer counts from when the event loop last looked at it and may come early. */
async function until(time) {
  for (let left; (left = time - performance.now()) > 0; ) await delay(left);
}

process.once('SIGTERM', async () => {
  await consumer.close();
  await rabbit.close();
});
