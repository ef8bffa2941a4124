// What an operator sees who has no queue yet: the lines that make one, in the language they work in.

import { empty } from '../components/parts.js';
import { h } from '../view.js';

const HOST = location.hostname || 'localhost';

const SNIPPETS = [
  ['Python', `import pika
channel = pika.BlockingConnection(pika.ConnectionParameters('${HOST}')).channel()
channel.queue_declare('hello', durable=True)
channel.basic_publish('', 'hello', b'Hello')
print(channel.basic_get('hello', auto_ack=True))`],
  ['JavaScript', `import amqp from 'amqplib'
const channel = await (await amqp.connect('amqp://${HOST}')).createChannel()
await channel.assertQueue('hello', { durable: true })
channel.sendToQueue('hello', Buffer.from('Hello'))
channel.consume('hello', (message) => { console.log(message.content.toString()); channel.ack(message) })`],
  ['Java', `Channel channel = new ConnectionFactory().newConnection("amqp://${HOST}").createChannel();
channel.queueDeclare("hello", true, false, false, null);
channel.basicPublish("", "hello", null, "Hello".getBytes());
channel.basicConsume("hello", true, (tag, message) -> System.out.println(new String(message.getBody())), tag -> {});`],
  ['Go', `connection, _ := amqp.Dial("amqp://guest:guest@${HOST}/")
channel, _ := connection.Channel()
channel.QueueDeclare("hello", true, false, false, false, nil)
channel.Publish("", "hello", false, false, amqp.Publishing{Body: []byte("Hello")})
messages, _ := channel.Consume("hello", "", true, false, false, false, nil)`],
  ['C#', `var connection = await new ConnectionFactory { HostName = "${HOST}" }.CreateConnectionAsync();
var channel = await connection.CreateChannelAsync();
await channel.QueueDeclareAsync("hello", durable: true, exclusive: false, autoDelete: false);
await channel.BasicPublishAsync("", "hello", "Hello"u8.ToArray());
var message = await channel.BasicGetAsync("hello", autoAck: true);`],
];

let chosen = 0;

/** Three steps for a broker that nobody uses yet. */
export const firstSteps = () => empty('No queues yet',
  h('p', { class: 'muted' }, 'Declare one and publish to it with any AMQP 0-9-1 client, or by hand on the page ', h('a', { href: '#/queues' }, 'Queues and Streams'), '.'),
  h('div', { class: 'tabs', ref: (element) => wire(element) },
    h('div', { class: 'segmented', role: 'group', 'aria-label': 'Language' }, SNIPPETS.map(([language], index) =>
      h('button', { 'data-index': index, 'aria-pressed': String(index === chosen) }, language))),
    h('pre', { tabindex: '0', 'aria-label': 'Example' }, SNIPPETS[chosen][1])));

// The choice concerns only this box, so that it is made here and survives the page's next load.
function wire(element) {
  element.addEventListener('click', (event) => {
    const index = event.target.dataset?.index;
    if (index === undefined) return;
    chosen = Number(index);
    for (const button of element.querySelectorAll('button')) button.setAttribute('aria-pressed', String(button === event.target));
    element.querySelector('pre').textContent = SNIPPETS[chosen][1];
  });
}
