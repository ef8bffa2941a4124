// One connection of amqplib for one test; what it declares by name goes away with it.

import amqp from 'amqplib';
import { Inbox, unique, url } from './harness.js';

export async function connect(t, { query = '', ...socketOptions } = {}) {
  const connection = await amqp.connect(url + query, socketOptions);
  // A test that expects an error reads it from where it awaits; an emitter without a listener would throw.
  connection.on('error', () => {});
  const session = new Session(connection);
  t.after(() => session.close());
  return session;
}

class Session {
  #queues = [];
  #exchanges = [];
  #open = true;

  constructor(connection) {
    this.connection = connection;
    connection.on('close', () => (this.#open = false));
  }

  async channel() {
    const channel = await this.connection.createChannel();
    channel.on('error', () => {});
    return channel;
  }

  async confirmChannel() {
    const channel = await this.connection.createConfirmChannel();
    channel.on('error', () => {});
    return channel;
  }

  async queue(channel, { name = unique('queue'), ...options } = {}) {
    const { queue } = await channel.assertQueue(name, { durable: true, ...options });
    this.#queues.push(queue);
    return queue;
  }

  async exchange(channel, type, options = {}) {
    const { exchange } = await channel.assertExchange(unique(type), type, { durable: true, ...options });
    this.#exchanges.push(exchange);
    return exchange;
  }

  async close() {
    if (!this.#open) return;
    const channel = await this.channel();
    for (const queue of this.#queues) await channel.deleteQueue(queue);
    for (const exchange of this.#exchanges) await channel.deleteExchange(exchange);
    await this.connection.close();
  }
}

/** Consumes into an inbox. */
export async function inbox(channel, queue, options = {}) {
  const messages = new Inbox();
  const { consumerTag } = await channel.consume(queue, (message) => messages.push(message), options);
  return Object.assign(messages, { consumerTag });
}

/** The error a channel is closed with; ask before provoking it. */
export const channelError = (channel) => new Promise((resolve) => channel.once('error', resolve));

export const text = (message) => message.content.toString();
