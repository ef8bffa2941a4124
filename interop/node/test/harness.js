// What every test here needs, whichever client it drives: where the broker is, names nobody else
// uses, and waiting with a deadline instead of sleeping.

import { randomUUID } from 'node:crypto';

const host = process.env.AMQP_HOST ?? '127.0.0.1';
const port = process.env.AMQP_PORT ?? '5672';
export const url = process.env.AMQP_URL ?? `amqp://guest:guest@${host}:${port}/%2f`;

const DEADLINE_MS = 15_000;

export const unique = (stem) => `interop.node.${stem}.${randomUUID()}`;

/** The promise's value, or a failure that names what never came. */
export async function within(promise, what, ms = DEADLINE_MS) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: nothing after ${ms} ms`)), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Asks again until the answer satisfies `good`; for state that only a question can reveal. */
export async function eventually(ask, good, what, ms = DEADLINE_MS) {
  const end = Date.now() + ms;
  for (;;) {
    const answer = await within(ask(), what, ms);
    if (good(answer)) return answer;
    if (Date.now() > end) throw new Error(`${what}: still ${JSON.stringify(answer)} after ${ms} ms`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** Collects what callbacks bring, so that a test can await it item by item. */
export class Inbox {
  items = [];
  #waiting = [];

  push(item) {
    const waiter = this.#waiting.shift();
    if (waiter) waiter(item);
    else this.items.push(item);
  }

  next(what = 'a message') {
    if (this.items.length > 0) return Promise.resolve(this.items.shift());
    return within(new Promise((resolve) => this.#waiting.push(resolve)), what);
  }

  async take(count, what = 'messages') {
    const taken = [];
    while (taken.length < count) taken.push(await this.next(`${what} (${taken.length} of ${count} came)`));
    return taken;
  }
}
