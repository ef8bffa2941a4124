// One connection of rabbitmq-client for one test; what it declares by name goes away with it.

import { Connection } from 'rabbitmq-client';
import { Inbox, unique, url, within } from './harness.js';

export async function connect(t, options = {}) {
  const connection = new Connection({ url, connectionName: 'interop node', ...options });
  const session = new Session(connection);
  t.after(() => session.close());
  await within(connection.onConnect(), 'connection');
  return session;
}

class Session {
  /** Errors of the connection and of its channels, in the order they came. */
  errors = new Inbox();
  #queues = [];
  #exchanges = [];
  #channels = [];
  #parts = [];

  constructor(connection) {
    this.connection = connection;
    connection.on('error', (error) => this.errors.push(error));
  }

  async channel() {
    const channel = await this.connection.acquire();
    this.#channels.push(channel);
    return channel;
  }

  async queue(options = {}) {
    const { queue } = await this.connection.queueDeclare({ queue: unique('queue'), durable: true, ...options });
    this.#queues.push(queue);
    return queue;
  }

  async exchange(type, options = {}) {
    const exchange = unique(type);
    await this.connection.exchangeDeclare({ exchange, type, durable: true, ...options });
    this.#exchanges.push(exchange);
    return exchange;
  }

  async bind(queue, exchange, routingKey, args) {
    await this.connection.queueBind({ queue, exchange, routingKey, arguments: args });
  }

  publisher(props) {
    return this.#part(this.connection.createPublisher(props));
  }

  rpcClient(props) {
    return this.#part(this.connection.createRPCClient(props));
  }

  /** A consumer that is ready, with its messages as an inbox unless `handler` takes them. */
  async consumer(props, handler) {
    const messages = new Inbox();
    // The client declares the queue it consumes; a queue that is there already keeps its arguments.
    const queueOptions = props.queueOptions ?? { passive: true };
    const consumer = this.connection.createConsumer({ ...props, queueOptions }, handler ?? ((message) => void messages.push(message)));
    consumer.on('error', (error) => this.errors.push(error));
    await within(new Promise((resolve) => consumer.once('ready', resolve)), 'the consumer');
    return Object.assign(messages, { consumer: this.#part(consumer), queue: consumer.queue });
  }

  #part(part) {
    this.#parts.push(part);
    return part;
  }

  async close() {
    for (const part of this.#parts) await part.close();
    for (const channel of this.#channels) await channel.close();
    for (const queue of this.#queues) await this.connection.queueDelete(queue);
    for (const exchange of this.#exchanges) await this.connection.exchangeDelete({ exchange });
    await this.connection.close();
  }
}
